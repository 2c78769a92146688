"""What the runner of a stage makes of a row that changed while a step worked on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

import pytest

from scp_node.domain.outcome import Outcome
from scp_node.errors import IllegalTransitionError, LostRaceError, StoreError
from scp_node.pipeline.clock import Clock
from scp_node.pipeline.stage import StageRunner
from tests.node.network import eventually
from tests.node.store_samples import at


@dataclass
class Unlucky:
    """A stage each of whose steps meets the same fault."""

    fault: Exception
    steps: list[datetime] = field(default_factory=list)

    @property
    def name(self) -> str:
        return "unlucky"

    def due(self, now: datetime) -> Sequence[str]:
        return ("item",)

    def key(self, item: str) -> str:
        return item

    def step(self, item: str, now: datetime) -> Outcome:
        self.steps.append(now)
        raise self.fault


@pytest.mark.parametrize(
    ("fault", "steps"),
    [
        (LostRaceError("another has it"), 2),
        (IllegalTransitionError("study", "1", "held", "route-analyze"), 2),
        (StoreError("the store is busy"), 1),
    ],
)
def test_a_row_that_changed_meanwhile_is_no_fault_of_the_program(
    fault: Exception, steps: int, capsys: pytest.CaptureFixture[str]
) -> None:
    stage = Unlucky(fault)
    runner = StageRunner(stage)
    runner.run(at(0))
    runner.run(at(1))

    assert len(stage.steps) == steps
    said = capsys.readouterr()
    assert "nobody planned" not in said.out + said.err
    assert "Traceback" not in said.out + said.err


@pytest.mark.parametrize(
    ("fault", "planned"), [(StoreError("another process held the database"), True), (ValueError("a slip"), False)]
)
def test_a_duty_that_meets_a_busy_store_is_tried_again_without_a_traceback(
    fault: Exception, planned: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    called: list[datetime] = []
    clock = Clock(threads=1)

    def duty(now: datetime) -> None:
        called.append(now)
        raise fault

    clock.every(0.05, "duty", duty)
    clock.start()
    assert eventually(lambda: len(called) >= 2)
    clock.stop()
    said = capsys.readouterr()
    assert ("nobody planned" in said.out + said.err) is not planned
    assert ("will be tried again" in said.out + said.err) is planned
