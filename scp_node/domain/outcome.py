"""What a pipeline stage answers. Exceptions are for what nobody planned."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """The step is finished; ``what`` is one line for the journal."""

    what: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """Nothing to do before ``until`` (aware UTC)."""

    until: datetime
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """It did not work and may work later: after ``after_s`` seconds."""

    after_s: float
    cause: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Fail:
    """It will not work by trying again; a person has to act."""

    cause: str


Outcome = Done | Wait | Retry | Fail
