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

from tests.bench.measuring import Case
from tests.bench.plan import Round, Row, acknowledged, median, recorded, rows

UNTIL = {recorded: "until the last row was committed", acknowledged: "until the last acknowledgement"}

_TEXT = """\
# Receiving: the node beside other receivers

Made by `make bench`; do not edit. {runs} interleaved runs, {date}.
Machine: {machine}.

A ratio is the median of the ratios of the runs. Of the node two times are taken: until the last row was committed,
which is what *must* and *aim* are compared with (but for the 200 MB object, whose sender is what matters), and until
the last acknowledgement. The other receivers with an index
write it before they answer. *node* has one receiver process, as it ships. After every run counts, rows, the bytes of
{sample} objects and the processes left were checked.

* Orthanc as it comes: it syncs every file. Its web server is off.
* storescp as it comes: one process, nothing synced. *storescp --fork, +S*: a process for each association, writing into
  a folder that is synchronous by `chattr +S`.
* *C program*: `tests/bench/reference_receiver.c`; a process for each association, and for each object a new file,
  fsync of file and folder, one row appended to a text file and fdatasynced.
* TCP_NODELAY=1 for storescp and Orthanc, except in the rows *as shipped*, which use the stock dcmsend, {stock} objects.

{ratios}

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


def show(rounds: Sequence[Round], console: Console) -> None:
    """Print the table of ratios."""
    table = Table("ratio", "must", "aim", "rows committed", "acknowledged", "holds", title=f"{len(rounds)} runs")
    for line in _ratio_lines(rounds):
        table.add_row(*line)
    console.print(table)


def write(rounds: Sequence[Round], setting: Setting, folder: Path) -> None:
    """Leave ``receiving.md`` and ``receiving.json``."""
    ratios = _markdown(("ratio", "must", "aim", "rows committed", "acknowledged", "holds"), _ratio_lines(rounds))
    rates = _markdown(
        ("run", "rows committed", "acknowledged", "CPU ms per object", "peak memory"), _rate_lines(rounds)
    )
    text = _TEXT.format(
        runs=len(rounds), date=setting.date, machine=setting.machine, sample=setting.sample,
        stock=setting.stock_objects, ratios=ratios, rates=rates,
    )  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "receiving.md").write_text(text, encoding="utf-8")
    told = {"rows": _json_rows(rounds), "machine": setting.machine, "date": setting.date, "runs": len(rounds)}
    (folder / "receiving.json").write_text(json.dumps(told, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def failing(rounds: Sequence[Round]) -> list[str]:
    """Names of the rows that do not hold."""
    return [row.name for row in rows() if row.holds(median(rounds, row, row.judged_by)) is False]


def _json_rows(rounds: Sequence[Round]) -> list[dict[str, Any]]:
    told: list[dict[str, Any]] = []
    for row in rows():
        value = median(rounds, row, row.judged_by)
        must, aim = _limit(row, row.must), _limit(row, row.aim)
        told.append({"name": row.name, "value": round(value, 3), "must": must, "aim": aim, "holds": row.holds(value)})
        if row.is_timed:
            other = acknowledged if row.judged_by is recorded else recorded
            value, name = median(rounds, row, other), f"{row.name}, {UNTIL[other]}"
            told.append({"name": name, "value": round(value, 3), "must": None, "aim": None, "holds": None})
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
    return [
        (
            case.name,
            f"{_rate(rounds, case, last_row=True):.1f}",
            f"{_rate(rounds, case, last_row=False):.1f}",
            ", ".join(f"{role} {_cpu_ms(rounds, case, role):.2f}" for role in sorted(rounds[0][case].cpu_s)),
            ", ".join(f"{role} {_peak(rounds, case, role):.0f}" for role in sorted(rounds[0][case].peaks_mb)),
        )
        for case in rounds[0]
    ]


def _rate(rounds: Sequence[Round], case: Case, *, last_row: bool) -> float:
    time = recorded if last_row else acknowledged
    return statistics.median(one[case].count / time(one[case]) for one in rounds)


def _peak(rounds: Sequence[Round], case: Case, role: str) -> float:
    return statistics.median(one[case].peaks_mb[role] for one in rounds)


def _cpu_ms(rounds: Sequence[Round], case: Case, role: str) -> float:
    return statistics.median(1000 * one[case].cpu_s[role] / one[case].count for one in rounds)


def _limit(row: Row, limit: float | None) -> str | None:
    return None if limit is None else f"{'≤' if row.is_limit else '≥'} {limit:g}"


def _number(value: float) -> str:
    return f"{value:.0f}" if value >= 20 else f"{value:.2f}"


def _markdown(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    ruled = [head, ["---"] * len(head), *lines]
    return "\n".join("| " + " | ".join(line) + " |" for line in ruled)
