"""What became of an object at a peer, and which status means what. The one table of DIMSE statuses for sending.

The groups are those of the storage service (PS3.4 B.2.3, PS3.7 annex C). Where the standard leaves open whether trying
again helps:

* ``0xA9xx`` and ``0xCxxx`` blame the object, yet archives answer them also when their database is down. They are tried
  again until the object was refused :data:`REFUSALS_BELIEVED` times; then a person has to look.
* ``0x0122`` (class not supported) and ``0x0117`` (invalid instance) will not change by themselves: permanent at once.
* ``0x0124`` (not authorised) is mended in the peer's configuration: transient, so that it goes on by itself then.
* ``0x0111`` (duplicate instance) says that the peer has the object: stored. The proof is asked for afterwards anyway.
* What the table does not know is transient: nothing is given up for a number that somebody made up.
"""

from __future__ import annotations

from dataclasses import dataclass

from scp_node.dimse.statuses import (
    DUPLICATE_INSTANCE,
    INVALID_INSTANCE,
    NOT_AUTHORISED,
    SOP_CLASS_NOT_SUPPORTED,
    SUCCESS,
    status_text,
)

REFUSALS_BELIEVED = 3
"""So many attempts at an object before "does not match" and "cannot understand" are believed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """The peer says that it has the object."""

    status: int
    warning: str = ""
    """What it remarked: coerced elements, discarded elements."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Transient:
    """It may work later."""

    cause: str
    status: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Permanent:
    """It will not work by trying again."""

    cause: str
    status: int | None = None


StoreOutcome = Stored | Transient | Permanent

_WARNINGS = {
    0xB000: "it coerced data elements",
    0xB006: "it discarded data elements",
    0xB007: "it finds that the data set does not match its SOP class",
}


def outcome_of(status: int, attempts: int) -> StoreOutcome:
    """What a C-STORE status means.

    Parameters
    ----------
    status : int
        As the peer answered.
    attempts : int
        Attempts at this object so far, this one included.
    """
    text = status_text(status)
    if status == SUCCESS:
        return Stored(status=status)
    if status == DUPLICATE_INSTANCE:
        return Stored(status=status, warning="it had the object already")
    if status == 0x0001 or status & 0xF000 == 0xB000:
        return Stored(status=status, warning=_WARNINGS.get(status, f"warning {text}"))
    if status in (SOP_CLASS_NOT_SUPPORTED, INVALID_INSTANCE):
        return Permanent(cause=f"refused for good ({text}): its class or instance is not supported", status=status)
    if status == NOT_AUTHORISED:
        return Transient(cause=f"not authorised ({text}): let the peer accept our AE title", status=status)
    if status & 0xFF00 == 0xA700:
        return Transient(cause=f"out of resources ({text})", status=status)
    if status & 0xFF00 == 0xA900 or status & 0xF000 == 0xC000:
        return _blamed(text, status, attempts)
    return Transient(cause=f"failed ({text})", status=status)


def _blamed(text: str, status: int, attempts: int) -> Transient | Permanent:
    what = "does not match its SOP class" if status & 0xF000 == 0xA000 else "is not understood"
    if attempts < REFUSALS_BELIEVED:
        return Transient(cause=f"the object {what} ({text})", status=status)
    return Permanent(cause=f"the object {what} ({text}), in each of {attempts} attempts", status=status)
