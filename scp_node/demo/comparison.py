"""Measured against known truth: each measurement of a synthetic study within its stated tolerance, or not."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

KEY_MEASUREMENTS: Mapping[str, tuple[str, ...]] = {
    "cta": ("liver_volume", "aorta_diameter", "aorta_attenuation", "pump_diameter", "pump_thickness"),
    "mri": ("liver_volume",),
    "scintigraphy": ("lung_shunt_fraction_corrected", "extrahepatic_focus_count"),
}
"""What the demonstration must get right, by kind of study; everything else that has a truth is shown beside it."""
_MEASURED_TOLERANCES: Mapping[str, tuple[float, str]] = {
    "lung_shunt_fraction_corrected": (
        0.02,
        "95 % limits up to a true shunt of 15 %: less than 2 percentage points either way "
        "(docs/benchmarks/scintigraphy.md), so one seed in twenty may miss it.",
    )
}
"""Tighter than a synthetic study's own, where a benchmark says how near the measurement comes: value, reason.

The study's own covers every anatomy that may be drawn; beside a shunt of a few percent it would let anything pass.
"""
_MOST_SHOWN_FRACTION = 1.5
_WRITTEN_UNITS: Mapping[str, str] = {"1": "", "[hnsf'U]": "HU"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """One measurement beside its truth."""

    key: str
    measured: float | None
    """``None`` when the analyzer did not measure it."""
    truth: float
    unit: str
    tolerance: float
    """In the same unit."""
    tolerance_reason: str
    """Why it is not smaller; the synthetic study says so, not the analyzer."""
    required: bool

    @property
    def within(self) -> bool:
        """True when it was measured, and near enough."""
        return self.measured is not None and abs(self.measured - self.truth) <= self.tolerance

    @property
    def name(self) -> str:
        """The quantity in words."""
        return self.key.replace("_", " ")

    @property
    def unit_shown(self) -> str:
        """The unit as a reader writes it: UCUM's ``1`` of ratios and counts is not shown."""
        return _WRITTEN_UNITS.get(self.unit, self.unit)

    @property
    def deviation_fraction(self) -> float:
        """Measured minus truth as a fraction of the tolerance, within -1.5 to 1.5; 0 when it was not measured."""
        if self.measured is None or self.measured == self.truth:
            return 0.0
        deviation = self.measured - self.truth
        share = deviation / self.tolerance if self.tolerance > 0 else math.copysign(math.inf, deviation)
        return max(-_MOST_SHOWN_FRACTION, min(_MOST_SHOWN_FRACTION, share))


def compare(kind: str, result: Mapping[str, Any], truth: Mapping[str, Any]) -> list[Compared]:
    """Each quantity that has one truth beside what was measured; those with several (lesions, phases) are left out."""
    times = Counter(entry["key"] for entry in truth["measurements"])
    measured = {entry["key"]: float(entry["value"]) for entry in reversed(result["result"].get("measurements", ()))}
    required = KEY_MEASUREMENTS[kind]
    return [
        Compared(
            key=entry["key"],
            measured=measured.get(entry["key"]),
            truth=float(entry["value"]),
            unit=entry["unit"],
            tolerance=tolerance_of(entry),
            tolerance_reason=entry["tolerance_reason"],
            required=entry["key"] in required,
        )
        for entry in map(_as_measured, truth["measurements"])
        if times[entry["key"]] == 1 and (entry["key"] in required or entry["key"] in measured)
    ]


def passed(compared: Sequence[Compared], kind: str) -> bool:
    """True when every key measurement of the kind is there, and all that is required is within its tolerance."""
    good = {entry.key for entry in compared if entry.within}
    return set(KEY_MEASUREMENTS[kind]) <= good and all(entry.within for entry in compared if entry.required)


def _as_measured(entry: Mapping[str, Any]) -> Mapping[str, Any]:
    """An entry of the truth with the tolerance that a benchmark supports."""
    if entry["key"] not in _MEASURED_TOLERANCES:
        return entry
    tolerance, reason = _MEASURED_TOLERANCES[entry["key"]]
    return {**entry, "tolerance": tolerance, "tolerance_unit": entry["unit"], "tolerance_reason": reason}


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file."""
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


def tolerance_of(entry: Mapping[str, Any]) -> float:
    """Tolerance of an entry of the truth in the unit of its value."""
    tolerance, unit = float(entry["tolerance"]), entry["tolerance_unit"]
    if unit == "%":
        return abs(float(entry["value"])) * tolerance / 100.0
    return tolerance
