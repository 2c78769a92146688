"""DIMSE status codes by name: PS3.7 annex C, and PS3.4 annexes B.2.3, C.4.1 and J.3 for the services."""

from __future__ import annotations

from typing import Final

SUCCESS: Final = 0x0000
PROCESSING_FAILURE: Final = 0x0110
DUPLICATE_INSTANCE: Final = 0x0111
NO_SUCH_INSTANCE: Final = 0x0112
INVALID_ARGUMENT: Final = 0x0115
INVALID_INSTANCE: Final = 0x0117
CLASS_INSTANCE_CONFLICT: Final = 0x0119
SOP_CLASS_NOT_SUPPORTED: Final = 0x0122
NOT_AUTHORISED: Final = 0x0124
DUPLICATE_TRANSACTION: Final = 0x0131
UNRECOGNISED_OPERATION: Final = 0x0211
RESOURCE_LIMITATION: Final = 0x0213
NO_RESOURCES: Final = 0xA700
"""The first of the group 0xA7xx of C-STORE."""
MISMATCH: Final = 0xA900
"""The first of the group 0xA9xx: the data set does not match its SOP class."""
NOT_UNDERSTOOD: Final = 0xC000
"""The first of the group 0xCxxx."""
PENDING: Final = frozenset({0xFF00, 0xFF01})


def status_text(status: int) -> str:
    """The usual way to write a status."""
    return f"0x{status:04X}"
