"""The table of a measurement in which some runs failed."""

import json
from pathlib import Path

from tests.bench.measuring import Case, Measured
from tests.bench.plan import Round, cases
from tests.bench.receivers import ReferenceReceiver, StorescpSynchronous
from tests.bench.tables import Setting, write


def _round(rate: float, *, without: type | None = None) -> Round:
    return {case: _measured(case, rate) for group in cases() for case in group if case.receiver is not without}


def _measured(case: Case, rate: float) -> Measured:
    peaks = {"receiver": 100.0, "recorder": 100.0}
    ours = rate if case.receiver.name.startswith("node") else 1.0
    return Measured(count=10, acknowledged_s=10 / ours, recorded_s=10 / ours, peaks_mb=peaks, cpu_s={"receiver": 1.0})


def test_a_run_that_failed_is_told_and_costs_no_other_row(tmp_path: Path) -> None:
    without = _round(9.0, without=ReferenceReceiver)
    for case in [case for case in without if case.receiver is StorescpSynchronous]:
        del without[case]
    rounds = [_round(2.0, without=ReferenceReceiver), without, _round(4.0, without=ReferenceReceiver)]
    setting = Setting(machine="m", date="2026-01-02", sample=1, stock_objects=1, faults=("run 2, storescp: it hung",))
    write(rounds, setting, tmp_path)

    told = json.loads((tmp_path / "receiving.json").read_text())
    value = {row["name"]: row["value"] for row in told["rows"]}
    holds = {row["name"]: row["holds"] for row in told["rows"]}
    assert value["objects/s, 4 associations: node ÷ storescp --fork, +S"] == 3.0
    assert value["objects/s, 4 associations: node ÷ Orthanc"] == 4.0
    assert value["objects/s, 4 associations: node ÷ C program"] is None
    assert holds["objects/s, 4 associations: node ÷ C program"] is False
    assert told["faults"] == ["run 2, storescp: it hung"]
    text = (tmp_path / "receiving.md").read_text()
    assert "* run 2, storescp: it hung" in text
    assert "not measured" in text
