"""Ask the analyzers of a route whether a study is complete, each in a child process, once per state of the study."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from analyzers.contract import Complete, Expectation, Missing, StudySummary
from analyzers.wire import expectation_from_json, write_summary
from scp_node.journal import journal
from scp_node.pipeline.ports import Child, Ending, Limits, Runner
from scp_node.pipeline.thresholds import SiteThresholds, threshold_arguments

TIME_S = 60.0
MEMORY_GIB = 2.0
REMEMBERED = 256


class Expectations:
    """Answers of ``python -m analyzers NAME --expects``, remembered while the study stays as it is."""

    def __init__(
        self, runner: Runner, *, niceness: int, thresholds: SiteThresholds, stopping: Callable[[], bool]
    ) -> None:
        self._runner = runner
        self._stopping = stopping
        self._thresholds = thresholds
        self._limits = Limits(time_s=TIME_S, memory_gib=MEMORY_GIB, niceness=niceness)
        self._answers: dict[tuple[str, str], Expectation | None] = {}
        self._journal = journal("pipeline.expectations")

    def ask(self, summary: StudySummary, analyzers: Sequence[str], state_key: str) -> Expectation | None:
        """What the analyzers say together; ``None`` when none of them could answer, also because the node stops.

        Parameters
        ----------
        summary : StudySummary
            Headers of the whole study.
        analyzers : sequence of str
            All must find the study complete.
        state_key : str
            Changes whenever the study changes.
        """
        answers = [answer for name in analyzers if (answer := self._one(summary, name, state_key)) is not None]
        missing = tuple(what for answer in answers if isinstance(answer, Missing) for what in answer.what)
        if missing:
            return Missing(what=missing)
        complete = [answer.reason for answer in answers if isinstance(answer, Complete)]
        return Complete(reason="; ".join(complete)) if len(complete) == len(analyzers) else None

    def _one(self, summary: StudySummary, analyzer: str, state_key: str) -> Expectation | None:
        key = (state_key, analyzer)
        if key not in self._answers:
            while len(self._answers) >= REMEMBERED:
                self._answers.pop(next(iter(self._answers)))
            self._answers[key] = self._run(summary, analyzer)
        return self._answers[key]

    def _run(self, summary: StudySummary, analyzer: str) -> Expectation | None:
        try:
            return self._asked(summary, analyzer)
        except OSError as fault:
            # A full disk for temporary files, say; completion must not wait for it.
            self._journal.warning(
                "an analyzer could not be asked what it expects",
                analyzer=analyzer,
                study=summary.study_instance_uid,
                cause=fault.strerror or type(fault).__name__,
            )
            return None

    def _asked(self, summary: StudySummary, analyzer: str) -> Expectation | None:
        with tempfile.TemporaryDirectory(prefix="hai-expects-") as folder:
            question = Path(folder) / "summary.json"
            write_summary(question, summary)
            thresholds = threshold_arguments(self._thresholds, analyzer, Path(folder))
            command = (sys.executable, "-m", "analyzers", analyzer, "--expects", str(question), *thresholds)
            child = Child(command=command, log=Path(folder) / "stderr", limits=self._limits)
            end = self._runner.run(child, started=lambda _pid, _at: None, wanted=lambda: not self._stopping())
        answer = _parsed(end.stdout) if end.exit_code == 0 else None
        if answer is None and end.ending is not Ending.STOPPED:
            # The study is not lost: without an answer the plain quiet time holds.
            self._journal.warning(
                "an analyzer did not say what it expects",
                analyzer=analyzer,
                study=summary.study_instance_uid,
                exit_code=end.exit_code,
            )
        return answer


def _parsed(stdout: bytes) -> Expectation | None:
    try:
        return expectation_from_json(json.loads(stdout))
    except ValueError:
        return None
