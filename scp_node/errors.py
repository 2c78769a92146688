"""The errors of the node, by who must act.

NodeError
  SettingsError                 operator: fix the configuration (all faults listed, each with its place)
  IntakeError                   peer: carries the DIMSE status to answer
    UnreadableObjectError       0xC000-0xCFFF
    MismatchedObjectError       0xA900
    SpoolFullError              0xA700
  StoreError
    IllegalTransitionError      programming fault, or a row changed under us
    LostRaceError               harmless: someone else has it
    UnknownStudyError           operator: no such study
  AnalyzerError                 analyzer author
    AnalyzerCrashedError
    AnalyzerTimedOutError
    AnalyzerOutOfMemoryError
  EncodingError                 developer: an object could not be made, or the gate refused it
  DeliveryError
    TransientDeliveryError      retried by policy
    PermanentDeliveryError      operator
"""

from __future__ import annotations

from dataclasses import dataclass


class NodeError(Exception):
    """Something the node can name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One configuration fault: what is wrong, where, and what would be right."""

    what: str
    file: str
    key: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.what} @ {self.file}:{self.key} - {self.remedy}"


class SettingsError(NodeError):
    """The configuration is wrong; ``faults`` holds every fault found."""

    def __init__(self, faults: tuple[Fault, ...]) -> None:
        super().__init__("\n".join(str(fault) for fault in faults))
        self.faults = faults


class IntakeError(NodeError):
    """An object cannot be taken; ``status`` is the DIMSE status for the peer, ``reason`` its error comment."""

    status = 0xC000

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class UnreadableObjectError(IntakeError):
    """The data set cannot be understood (0xC000)."""

    status = 0xC000


class MismatchedObjectError(IntakeError):
    """The data set does not match its SOP class or instance (0xA900)."""

    status = 0xA900


class SpoolFullError(IntakeError):
    """No room: disk or quota (0xA700)."""

    status = 0xA700


class StoreError(NodeError):
    """The store refused."""


class IllegalTransitionError(StoreError):
    """The event is not legal in the present state."""

    def __init__(self, lifecycle: str, subject: str, state: str, event: str) -> None:
        super().__init__(f"{lifecycle} {subject}: event {event} is not legal in state {state}")
        self.state = state
        self.event = event


class LostRaceError(StoreError):
    """Somebody else holds the lease, or the row changed since it was read."""


class UnknownStudyError(StoreError):
    """No such study."""


class AnalyzerError(NodeError):
    """An attempt of an analyzer ended badly."""


class AnalyzerCrashedError(AnalyzerError):
    """The child ended with an error."""


class AnalyzerTimedOutError(AnalyzerError):
    """The child ran longer than its limit and was killed."""


class AnalyzerOutOfMemoryError(AnalyzerError):
    """The child's processes together used more memory than their limit and were killed."""


class EncodingError(NodeError):
    """An object could not be encoded, or the gate refused it."""


class DeliveryError(NodeError):
    """A peer did not take an object."""


class TransientDeliveryError(DeliveryError):
    """It may work later."""

    def __init__(self, cause: str, status: int | None = None) -> None:
        super().__init__(cause)
        self.status = status


class PermanentDeliveryError(DeliveryError):
    """It will not work by trying again."""

    def __init__(self, cause: str, status: int | None = None) -> None:
        super().__init__(cause)
        self.status = status
