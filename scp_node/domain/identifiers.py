"""The identifiers of DICOM: what a UID may look like, and the one by which this software names itself."""

from __future__ import annotations

import re

IMPLEMENTATION_CLASS_UID = "2.25.73347889838372882663593712914516644494"
"""Names this software in file meta information and on every association (PS3.7 D.3.3.2)."""
IMPLEMENTATION_VERSION_NAME = "HAI_NODE"
"""At most 16 characters."""

MAX_UID_CHARACTERS = 64

_UID = re.compile(r"[0-9]+(?:\.[0-9]+)+")


def is_uid(text: str) -> bool:
    """Tell whether a text has the form of a UID (PS3.5 section 9.1).

    Components with leading zeros are let pass: they are not allowed, and too many scanners write them.
    """
    return len(text) <= MAX_UID_CHARACTERS and _UID.fullmatch(text) is not None
