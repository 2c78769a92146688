"""The measured rounds as tables: for the terminal, for readers and for programs."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from tests.bench.measuring import REST_S, WARM_UP_ASSOCIATIONS, Case, Measured
from tests.bench.plan import Round, Row, acknowledged, median, recorded, rows, values

UNTIL = {recorded: "until the last row was committed", acknowledged: "until the last acknowledgement"}

_TEXT = """\
# Receiving: the node beside other receivers

Made by `make bench`; do not edit. {runs} interleaved runs, {date}.
Machine: {machine}.

A ratio is the median of the ratios of the runs. Of the node two times are taken: until the last row was committed,
which is what *must* and *aim* are compared with (but for the 200 MB object, whose sender is what matters), and until
the last acknowledgement. The other receivers with an index
write it before they answer. *node* has two receiver processes, as it ships. After every run counts, rows, the bytes of
{sample} objects and the processes left were checked.

Every receiver is started on an empty folder and takes 40 objects of another study by {warm} associations before it is
measured, as one in use has. What the runs of a round stored is removed when the round is over, and the next one
begins {rest:g} s later: without a journal ext4 looks through the inodes of the last minute's removals for each new
file, which cost a receiver a sixth of its processor time where each run removed what the one before had stored. Tables
before 2026-11-25 were made that way, and without the 40 objects.

* Orthanc as it comes: it syncs every file. Its web server is off.
* storescp as it comes: one process, nothing synced. *storescp --fork, +S*: a process for each association, writing into
  a folder that is synchronous by `chattr +S`.
* *C program*: `tests/bench/reference_receiver.c`; a process for each association, and for each object a new file,
  fsync of file and folder, one row appended to a text file and fdatasynced.
* The 200 MB object goes through the system's file cache, and its row depends on the state of that: on one day it was
  0.3 and 1.5, with 100 and 590 ms of our receiver's processor time, and 0.4 a minute after the latter.
* TCP_NODELAY=1 for storescp and Orthanc, except in the rows *as shipped*, which use the stock dcmsend, {stock} objects.

{ratios}

{faults}

## Rates, for information

They say more about the machine than about the programs. Medians; objects per second, CPU time in ms per
object (ended children are counted only where their parent waits for them), memory in MB (10^6 bytes).

{rates}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """Under which conditions was measured."""

    machine: str
    date: str
    sample: int
    stock_objects: int
    faults: tuple[str, ...] = ()
    """Runs that failed, each with its cause; they are in no ratio."""


def show(rounds: Sequence[Round], console: Console) -> None:
    """Print the table of ratios."""
    table = Table("ratio", "must", "aim", "rows committed", "acknowledged", "holds", title=f"{len(rounds)} runs")
    for line in _ratio_lines(rounds):
        table.add_row(*line)
    console.print(table)


def write(rounds: Sequence[Round], setting: Setting, folder: Path) -> None:
    """Leave ``receiving.md`` and ``receiving.json``."""
    ratios = _markdown(
        ("ratio", "must", "aim", "rows committed", "acknowledged", "holds", "runs"),
        [
            (*line, str(len(values(rounds, row, recorded))))
            for row, line in zip(rows(), _ratio_lines(rounds), strict=True)
        ],
    )
    faults = "\n".join(("Runs that failed, and are in no ratio:", "", *(f"* {one}" for one in setting.faults)))
    rates = _markdown(
        ("run", "rows committed", "acknowledged", "CPU ms per object", "peak memory"), _rate_lines(rounds)
    )
    text = _TEXT.format(
        runs=len(rounds), date=setting.date, machine=setting.machine, sample=setting.sample,
        stock=setting.stock_objects, warm=WARM_UP_ASSOCIATIONS, rest=REST_S, ratios=ratios, rates=rates,
        faults=faults if setting.faults else "No run failed.",
    )  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "receiving.md").write_text(text, encoding="utf-8")
    told = {"rows": _json_rows(rounds), "machine": setting.machine, "date": setting.date, "runs": len(rounds)}
    told["faults"] = list(setting.faults)
    (folder / "receiving.json").write_text(json.dumps(told, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def failing(rounds: Sequence[Round]) -> list[str]:
    """Names of the rows that do not hold."""
    return [row.name for row in rows() if row.holds(median(rounds, row, row.judged_by)) is False]


def _json_rows(rounds: Sequence[Round]) -> list[dict[str, Any]]:
    told: list[dict[str, Any]] = []
    for row in rows():
        value = median(rounds, row, row.judged_by)
        must, aim = _limit(row, row.must), _limit(row, row.aim)
        told.append({"name": row.name, "value": _rounded(value), "must": must, "aim": aim, "holds": row.holds(value)})
        if row.is_timed:
            other = acknowledged if row.judged_by is recorded else recorded
            value, name = median(rounds, row, other), f"{row.name}, {UNTIL[other]}"
            told.append({"name": name, "value": _rounded(value), "must": None, "aim": None, "holds": None})
    return told


def _ratio_lines(rounds: Sequence[Round]) -> list[tuple[str, ...]]:
    lines: list[tuple[str, ...]] = []
    for row in rows():
        value = median(rounds, row, recorded)
        holds = {True: "yes", False: "NO", None: "reported"}[row.holds(median(rounds, row, row.judged_by))]
        second = _number(median(rounds, row, acknowledged)) if row.is_timed else ""
        must, aim = _limit(row, row.must) or "", _limit(row, row.aim) or ""
        lines.append((row.name, must, aim, _number(value), second, holds))
    return lines


def _rate_lines(rounds: Sequence[Round]) -> list[tuple[str, ...]]:
    cases = dict.fromkeys(case for one in rounds for case in one)
    return [_rate_line([one[case] for one in rounds if case in one], case) for case in cases]


def _rate_line(runs: Sequence[Measured], case: Case) -> tuple[str, ...]:
    first = runs[0]
    return (
        case.name,
        f"{statistics.median(run.count / run.recorded_s for run in runs):.1f}",
        f"{statistics.median(run.count / run.acknowledged_s for run in runs):.1f}",
        ", ".join(
            f"{role} {statistics.median(1000 * run.cpu_s.get(role, 0.0) / run.count for run in runs):.2f}"
            for role in sorted(first.cpu_s)
        ),
        ", ".join(
            f"{role} {statistics.median(run.peaks_mb.get(role, 0.0) for run in runs):.0f}"
            for role in sorted(first.peaks_mb)
        ),
    )


def _limit(row: Row, limit: float | None) -> str | None:
    return None if limit is None else f"{'≤' if row.is_limit else '≥'} {limit:g}"


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)


def _number(value: float | None) -> str:
    if value is None:
        return "not measured"
    return f"{value:.0f}" if value >= 20 else f"{value:.2f}"


def _markdown(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    ruled = [head, ["---"] * len(head), *lines]
    return "\n".join("| " + " | ".join(line) + " |" for line in ruled)
