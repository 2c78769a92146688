"""What the runner of a stage makes of a row that changed while a step worked on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

import pytest

from scp_node.domain.outcome import Outcome
from scp_node.errors import IllegalTransitionError, LostRaceError, StoreError
from scp_node.pipeline.stage import StageRunner
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
