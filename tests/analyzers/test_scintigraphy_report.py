"""The table of the accuracy benchmark says what the outcomes say."""

import json
from pathlib import Path

import pytest

from tests.analyzers.scintigraphy_accuracy import Measured, Outcome
from tests.analyzers.scintigraphy_free_response import Read
from tests.analyzers.scintigraphy_report import Costs, rows_of, write_report

COSTS = Costs(seconds=1.5, processor_seconds=1.2, peak_mib=400.0)


def outcome(
    seed: int, *, shunt_error: float = 0.0, true_shunt: float = 0.06, missing: str = "", said: str = ""
) -> Outcome:
    said_shunt = true_shunt + shunt_error
    return Outcome(
        seed=seed,
        case=("complete",),
        reasons=(),
        shunt=Measured(true=true_shunt, said=said_shunt, low=said_shunt - 0.01, high=said_shunt + 0.01),
        raw_shunt=2 * true_shunt,
        shunt_limited=False,
        left_share=Measured(true=0.3, said=0.32 if seed % 2 else 0.28, low=0.25, high=0.4),
        missing_lobe=missing,
        said_missing=said,
        free_response=Read(foci=(), reported=(), assessed=True),
    )


def test_a_bias_of_two_points_is_seen_and_does_not_hold() -> None:
    rows = {row.name: row for row in rows_of([outcome(seed, shunt_error=0.02) for seed in range(8)], COSTS)}
    bias = next(row for name, row in rows.items() if name.startswith("LSF corrected, true up to 15 % (n = 8)"))

    assert bias.value == "+2.00"
    assert bias.holds is False
    assert rows["LSF: stated 95 % interval holds the truth"].value.startswith("0 of 8")


def test_errors_of_high_shunts_are_relative_to_their_value() -> None:
    group = [outcome(seed, true_shunt=0.25, shunt_error=0.025 * (1 if seed % 2 else -1)) for seed in range(40)]
    row = next(row for row in rows_of(group, COSTS) if row.name.startswith("LSF corrected, true above 15 %: 95 %"))

    assert row.value == "-20 to +20"


def test_a_lobe_counts_only_where_the_right_one_is_named() -> None:
    group = [outcome(1, missing="left", said="left"), outcome(2, missing="left", said="right"), outcome(3)]
    rows = {row.name: row for row in rows_of(group, COSTS)}

    assert rows["lobe without uptake: sensitivity"].value.startswith("1 of 2")
    assert rows["lobe without uptake: specificity"].value.startswith("1 of 1")


def test_rows_of_a_spect_benchmark_are_taken_in(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spect = {"rows": [{"name": "LSF from SPECT/CT", "value": "+0.4", "must": "+-1 pp", "holds": True}]}
    (tmp_path / "scintigraphy-spect.json").write_text(json.dumps(spect), encoding="utf-8")
    write_report([outcome(seed) for seed in range(4)], "evaluation", COSTS, tmp_path)
    left = json.loads((tmp_path / "scintigraphy.json").read_text(encoding="utf-8"))

    assert left["rows"][-1] == spect["rows"][0]
    assert set(left) == {"rows", "machine", "date", "studies"}
    assert all(set(row) == {"name", "value", "must", "holds"} for row in left["rows"])
    assert "LSF from SPECT/CT" in (tmp_path / "scintigraphy.md").read_text(encoding="utf-8")
    assert "LSF from SPECT/CT" in capsys.readouterr().out
