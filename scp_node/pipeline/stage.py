"""What a stage is, and the one place that runs them.

A stage names what is due and does one step for one item. The runner turns a fault that nobody planned into a retry
with its traceback in the journal, and leaves an item alone until the time that its outcome named. That memory is a
courtesy, not the truth: after a restart every due item is simply looked at again.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Generic, Protocol, TypeVar, assert_never

from scp_node.domain.outcome import Done, Fail, Outcome, Retry, Wait
from scp_node.errors import IllegalTransitionError, LostRaceError, StoreError
from scp_node.journal import journal

Item = TypeVar("Item")

AFTER_A_FAULT_S = 60.0


class Stage(Protocol[Item]):
    """One stage of the pipeline."""

    @property
    def name(self) -> str:
        """The verb."""

    def due(self, now: datetime) -> Sequence[Item]:
        """What may be worked on, best first."""

    def key(self, item: Item) -> str:
        """Names the item and everything that makes looking again worthwhile."""

    def step(self, item: Item, now: datetime) -> Outcome:
        """Do one step for one item."""


class StageRunner(Generic[Item]):
    """Runs one stage whenever the clock says so."""

    def __init__(self, stage: Stage[Item]) -> None:
        self._stage = stage
        self._postponed: dict[str, datetime] = {}
        self._journal = journal(f"pipeline.{stage.name}")

    def run(self, now: datetime) -> None:
        """Do one step for each item that is due and not postponed."""
        items = {self._stage.key(item): item for item in self._stage.due(now)}
        self._postponed = {key: until for key, until in self._postponed.items() if key in items}
        for key, item in items.items():
            if now < self._postponed.get(key, now):
                continue
            until = self._settle(item, key, now)
            if until is not None:
                self._postponed[key] = until

    def _settle(self, item: Item, key: str, now: datetime) -> datetime | None:
        """Do the step; the time before which there is no use in trying again."""
        outcome = self._step(item, key, now)
        match outcome:
            case Done(what=what):
                self._journal.info("done", what=what)
                return None
            case Wait(until=until):
                return until
            case Retry(after_s=after_s, cause=cause):
                self._journal.warning("will be tried again", where=key, cause=cause, seconds=after_s)
                return now + timedelta(seconds=after_s)
            case Fail(cause=cause):
                self._journal.error("failed; a person has to act", where=key, cause=cause)
                return now + timedelta(seconds=AFTER_A_FAULT_S)
            case _:
                assert_never(outcome)

    def _step(self, item: Item, key: str, now: datetime) -> Outcome:
        try:
            return self._stage.step(item, now)
        except (LostRaceError, IllegalTransitionError):
            return Wait(until=now, why="somebody else has it, or it changed meanwhile")
        except StoreError as fault:
            return Retry(after_s=AFTER_A_FAULT_S, cause=str(fault))
        except Exception as fault:
            self._journal.exception("a stage met a fault that nobody planned", where=key, cause=type(fault).__name__)
            return Retry(after_s=AFTER_A_FAULT_S, cause=f"unplanned fault: {type(fault).__name__}")
