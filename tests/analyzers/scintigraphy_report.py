"""The table of ``make bench-accuracy``: rows of name, value, must, holds, as a page and as JSON."""

from __future__ import annotations

import datetime as dt
import json
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from analyzers.phantoms.__main__ import make_phantom
from analyzers.phantoms.request import PhantomRequest
from analyzers.scintigraphy.thresholds import DEFAULTS
from tests.analyzers.scintigraphy_cases import SITE_WEIGHTS
from tests.analyzers.scintigraphy_free_response import (
    MATCH_MM,
    THRESHOLDS,
    interval,
    names_seen,
    point_at,
    proportion,
)
from tests.analyzers.scintigraphy_patients import CLEAR_MM

if TYPE_CHECKING:
    from tests.analyzers.scintigraphy_accuracy import Measured, Outcome

SPECT_ROWS = "scintigraphy-spect.json"
_HIGH_SHUNT_FRACTION = 0.15


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the table; ``holds`` is ``None`` where nothing is demanded."""

    name: str
    value: str
    must: str
    holds: bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """What one planar study of 256 by 256 pixels takes, from the command to its result files."""

    seconds: float
    processor_seconds: float
    peak_mib: float


def one_study_costs() -> Costs:
    """Run the bench command on one study in a process of its own, three times; the fastest run counts."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        variants = ("any-strength", "extrahepatic-stomach", "hot-tip")
        request = PhantomRequest(kind="scintigraphy", seed=71, variants=variants, size="full", model="evaluation")
        make_phantom(request, folder / "p")
        command = [sys.executable, "-m", "analyzers", "scintigraphy", str(folder / "p" / "dicom")]
        runs = [_run_costs([*command, str(folder / f"out{number}")]) for number in range(3)]
    return min(runs, key=lambda run: run.seconds)


def _run_costs(command: Sequence[str]) -> Costs:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    begun = time.monotonic()
    subprocess.run(command, check=True, capture_output=True, timeout=300)
    seconds = time.monotonic() - begun
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Costs(seconds=seconds, processor_seconds=used, peak_mib=after.ru_maxrss / 1024.0)


def rows_of(outcomes: Sequence[Outcome], costs: Costs) -> list[Row]:
    """All rows of the planar table."""
    return [
        Row(name="studies", value=str(len(outcomes)), must=">= 500", holds=len(outcomes) >= 500),
        Row(name="not assessed", value=str(sum(bool(one.reasons) for one in outcomes)), must="", holds=None),
        *_shunt_rows(outcomes),
        *_split_rows(outcomes),
        *_lobe_rows(outcomes),
        *_focus_rows(outcomes),
        Row(
            name="one planar study, command to result files, best of 3: seconds (seconds of processor)",
            value=f"{costs.seconds:.1f} ({costs.processor_seconds:.1f})",
            must="<= 3",
            holds=costs.seconds <= 3.0,
        ),
        Row(
            name="one planar study: peak memory",
            value=f"{costs.peak_mib:.0f} MiB",
            must="<= 1024 MiB",
            holds=costs.peak_mib <= 1024.0,
        ),
    ]


def _shunt_rows(outcomes: Sequence[Outcome]) -> list[Row]:
    known = [(one, one.shunt) for one in outcomes if one.shunt is not None]
    usual = [shunt for _, shunt in known if shunt.true <= _HIGH_SHUNT_FRACTION]
    high = [shunt for _, shunt in known if shunt.true > _HIGH_SHUNT_FRACTION]
    rows = []
    for name, group in (("up to 15 %", usual), ("above 15 %", high)):
        errors = _errors(group)
        bias = float(errors.mean()) if errors.size else 0.0
        rows.append(
            Row(
                name=f"LSF corrected, true {name} (n = {len(group)}): bias, percentage points",
                value=f"{bias:+.2f}",
                must="<= 1",
                holds=abs(bias) <= 1.0,
            )
        )
    low_limit, high_limit = _limits(_errors(usual))
    rows.append(
        Row(
            name="LSF corrected, true up to 15 %: 95 % limits, percentage points",
            value=f"{low_limit:+.1f} to {high_limit:+.1f}",
            must="within -3 to +3",
            holds=low_limit >= -3.0 and high_limit <= 3.0,
        )
    )
    low_share, high_share = _limits(100.0 * np.asarray([shunt.error / shunt.true for shunt in high], np.float64))
    rows.append(
        Row(
            name="LSF corrected, true above 15 %: 95 % limits, % of the value",
            value=f"{low_share:+.0f} to {high_share:+.0f}",
            must="within -20 to +20",
            holds=low_share >= -20.0 and high_share <= 20.0,
        )
    )
    rows.append(_interval_row("LSF: stated 95 % interval holds the truth", [shunt for _, shunt in known], must=0.9))
    rows.append(_interval_row("... true LSF above 15 %", high, must=None))
    good = [shunt for one, shunt in known if not one.shunt_limited]
    low_good, high_good = _limits(_errors(good))
    rows.append(
        Row(
            name=f"... LSF graded good (n = {len(good)}): bias and 95 % limits, percentage points",
            value=f"{_mean(good):+.2f} ({low_good:+.1f} to {high_good:+.1f})",
            must="",
            holds=None,
        )
    )
    raw = 100.0 * np.asarray([(one.raw_shunt or 0.0) - shunt.true for one, shunt in known], np.float64)
    low_raw, high_raw = _limits(raw)
    rows.append(
        Row(
            name="LSF uncorrected: bias and 95 % limits, percentage points",
            value=f"{float(raw.mean()) if raw.size else 0.0:+.2f} ({low_raw:+.1f} to {high_raw:+.1f})",
            must="",
            holds=None,
        )
    )
    return rows


def _split_rows(outcomes: Sequence[Outcome]) -> list[Row]:
    both = [one.left_share for one in outcomes if one.left_share is not None and not one.missing_lobe]
    low, high = _limits(_errors(both))
    return [
        Row(
            name=f"right/left split, both lobes perfused (n = {len(both)}): bias, percentage points",
            value=f"{_mean(both):+.2f}",
            must="",
            holds=None,
        ),
        Row(
            name="right/left split: 95 % limits, percentage points",
            value=f"{low:+.1f} to {high:+.1f}",
            must="within -3 to +3",
            holds=low >= -3.0 and high <= 3.0,
        ),
        _interval_row("right/left split: stated 95 % interval holds the truth", both, must=0.9),
    ]


def _lobe_rows(outcomes: Sequence[Outcome]) -> list[Row]:
    absent = [one for one in outcomes if one.missing_lobe and not one.reasons]
    present = [one for one in outcomes if not one.missing_lobe and not one.reasons]
    found = sum(one.said_missing == one.missing_lobe for one in absent)
    spared = sum(not one.said_missing for one in present)
    return [
        Row(
            name="lobe without uptake: sensitivity",
            value=proportion(found, len(absent)),
            must=">= 95 %",
            holds=found >= 0.95 * len(absent),
        ),
        Row(
            name="lobe without uptake: specificity",
            value=proportion(spared, len(present)),
            must=">= 95 %",
            holds=spared >= 0.95 * len(present),
        ),
    ]


def _focus_rows(outcomes: Sequence[Outcome]) -> list[Row]:
    reads = [one.free_response for one in outcomes]
    at = point_at(reads, DEFAULTS.focus_probability)
    rows = [
        Row(
            name="foci >= 1 % of the liver's activity, clear of the liver: found",
            value=proportion(at.found, at.targets),
            must=">= 90 %",
            holds=at.found >= 0.9 * at.targets,
        ),
        Row(
            name="false foci per study",
            value=f"{at.false_per_study:.3f}",
            must="<= 0.5",
            holds=at.false_per_study <= 0.5,
        ),
        Row(
            name="fainter or hidden foci: found",
            value=proportion(at.found_hidden, at.hidden),
            must="reported",
            holds=None,
        ),
        Row(
            name="device or pertechnetate called extrahepatic, per study",
            value=f"{at.misnamed_per_study:.3f}",
            must="reported",
            holds=None,
        ),
    ]
    for site in SITE_WEIGHTS:
        targets = [(read, true) for read in reads for true in read.foci if true.is_target and true.name == site]
        found = sum(true.name in names_seen(read, DEFAULTS.focus_probability) for read, true in targets)
        rows.append(Row(name=f"... {site}", value=proportion(found, len(targets)), must="reported", holds=None))
    return rows


def _interval_row(name: str, measured: Sequence[Measured], *, must: float | None) -> Row:
    held = sum(one.held for one in measured)
    return Row(
        name=name,
        value=proportion(held, len(measured)),
        must="" if must is None else f">= {100 * must:.0f} %",
        holds=None if must is None else held >= must * len(measured),
    )


def _errors(measured: Sequence[Measured]) -> NDArray[np.float64]:
    """Errors in percentage points."""
    return 100.0 * np.asarray([one.error for one in measured], np.float64)


def _mean(measured: Sequence[Measured]) -> float:
    return float(_errors(measured).mean()) if measured else 0.0


def _limits(errors: NDArray[np.float64]) -> tuple[float, float]:
    """95 % limits of agreement: mean and 1.96 standard deviations; wide open for fewer than two."""
    if errors.size < 2:
        return -float("inf"), float("inf")
    mean, half = float(errors.mean()), 1.96 * float(errors.std(ddof=1))
    return mean - half, mean + half


def curve_of(outcomes: Sequence[Outcome]) -> list[str]:
    """Operating points of the focus detector as lines of a table."""
    reads = [one.free_response for one in outcomes]
    lines = [
        "| probability at least | sensitivity | false foci per study | misnamed per study |",
        "|---|---|---|---|",
    ]
    for threshold in THRESHOLDS:
        point = point_at(reads, threshold)
        mark = " (chosen)" if threshold == DEFAULTS.focus_probability else ""
        lines.append(
            f"| {threshold:.2f}{mark} | {proportion(point.found, point.targets)} | {point.false_per_study:.3f} |"
            f" {point.misnamed_per_study:.3f} |"
        )
    return lines


def spect_rows(folder: Path) -> list[Row]:
    """Rows that a SPECT benchmark left in the folder; none where there is no such file."""
    path = folder / SPECT_ROWS
    if not path.is_file():
        return []
    return [
        Row(name=row["name"], value=str(row["value"]), must=str(row["must"]), holds=row["holds"])
        for row in json.loads(path.read_text(encoding="utf-8"))["rows"]
    ]


def write_report(outcomes: Sequence[Outcome], model: str, costs: Costs, out: Path | None) -> None:
    """Print the table and, where a folder is given, leave the page and the JSON there."""
    rows = rows_of(outcomes, costs)
    tomography = spect_rows(out) if out is not None else []
    day, machine = dt.datetime.now(tz=dt.UTC).date().isoformat(), _machine()
    page = _page(rows, tomography, curve_of(outcomes), f"{model} model, {_seeds(outcomes)}; {machine}; {day}")
    print(page)
    if out is None:
        return
    (out / "scintigraphy.md").write_text(page, encoding="utf-8")
    content = {
        "rows": [asdict(row) for row in (*rows, *tomography)],
        "machine": machine,
        "date": day,
        "studies": len(outcomes),
    }
    (out / "scintigraphy.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def _seeds(outcomes: Sequence[Outcome]) -> str:
    return f"seeds {outcomes[0].seed} to {outcomes[-1].seed}"


def _machine() -> str:
    cores = len(_processors())
    return f"{cores} CPUs ({platform.machine()}), Python {platform.python_version()}"


def _processors() -> list[str]:
    path = Path("/proc/cpuinfo")
    if not path.is_file():
        return [platform.processor()]
    return [line for line in path.read_text(encoding="utf-8").splitlines() if line.startswith("processor")]


def _lines(rows: Sequence[Row]) -> list[str]:
    holds = {True: "yes", False: "**no**", None: ""}
    return [
        "| quantity | value | must | holds |",
        "|---|---|---|---|",
        *(f"| {row.name} | {row.value} | {row.must} | {holds[row.holds]} |" for row in rows),
    ]


def _page(rows: Sequence[Row], tomography: Sequence[Row], curve: Sequence[str], made: str) -> str:
    spect = ["", "## SPECT", "", *_lines(tomography)] if tomography else []
    return "\n".join(
        [
            "# Scintigraphy: accuracy on synthetic patients",
            "",
            f"Written by `make bench-accuracy` ({made}).",
            "How it was measured and what fails: [scintigraphy-notes.md](scintigraphy-notes.md).",
            f"A focus is clear of the liver where half of its brighter half lies {CLEAR_MM:.0f} mm or more from the",
            "liver in one of the study's views, and found where a focus called extrahepatic, certain or possible,",
            f"comes within {MATCH_MM:.0f} mm. Shares have their 95 % intervals (Wilson).",
            "",
            "## Planar views",
            "",
            *_lines(rows),
            "",
            "### Operating points of the focus detector",
            "",
            *curve,
            *spect,
            "",
        ]
    )


__all__ = ["Costs", "Row", "interval", "one_study_costs", "rows_of", "spect_rows", "write_report"]
