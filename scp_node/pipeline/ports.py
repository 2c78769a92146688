"""What the pipeline needs from outside, as narrow protocols; ``node.py`` wires the real things."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from scp_node.domain.completion import ArchivedSeries
from scp_node.domain.outcome import Outcome


class Courier(Protocol):
    """Brings encoded objects to a peer and makes sure that the peer holds them."""

    def deliver(self, peer: str, now: datetime) -> Outcome:
        """Send what is due for the peer."""

    def act(self, peer: str, now: datetime) -> Outcome:
        """Act on the proof that the peer sent."""

    def confirm(self, peer: str, now: datetime) -> Outcome:
        """Ask the peer for proof that it holds what it accepted."""

    def stored_count(self, peer: str) -> int:
        """How many objects the peer has accepted since the start of the node: it is there when this grows."""


class Archive(Protocol):
    """An archive that can be asked what it holds."""

    def series_of(self, peer: str, study_instance_uid: str) -> tuple[ArchivedSeries, ...]:
        """Every series of a study that the peer holds, with the number of its objects.

        Raises
        ------
        DeliveryError
            If the peer cannot be asked.
        """


class Ending(StrEnum):
    """How a child process ended."""

    EXITED = "exited"
    TIMED_OUT = "timed-out"
    OUT_OF_MEMORY = "out-of-memory"
    STOPPED = "stopped"
    """Killed because its result is no longer wanted, or the node is stopping."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one child process may use."""

    time_s: float
    memory_gib: float
    """Resident memory of the whole process group."""
    niceness: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildEnd:
    """What became of a child process."""

    ending: Ending
    exit_code: int
    seconds: float
    peak_memory_gib: float
    stdout: bytes
    stderr_tail: str
    """The last lines of standard error."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Child:
    """One command for a runner."""

    command: Sequence[str]
    log: Path
    """Where its standard error is kept."""
    limits: Limits


class Runner(Protocol):
    """Runs one command under limits: a local child process today, another machine when a site outgrows one."""

    def run(
        self,
        child: Child,
        *,
        started: Callable[[int, float], None],
        wanted: Callable[[], bool],
    ) -> ChildEnd:
        """Run to the end and say how it ended.

        Parameters
        ----------
        child : Child
            Command, log and limits.
        started : (pid, start time) -> None
            Called once, when the process exists.
        wanted : () -> bool
            Asked about every second; ``False`` kills the process group.
        """
