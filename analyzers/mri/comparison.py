"""What an earlier result of the same patient says beside this one: for now, the change of the liver's volume."""

from __future__ import annotations

from collections.abc import Sequence

from analyzers.contract import Assessed, Measurement
from analyzers.mri.findings import Reading
from analyzers.priors import Prior


def change_of_liver(reading: Reading, priors: Sequence[Prior]) -> str:
    """One sentence for the conclusion, against the latest earlier MR result."""
    earlier = [prior for prior in priors if prior.analyzer_name == "mri" and isinstance(prior.result, Assessed)]
    if not earlier:
        return ""
    latest = max(earlier, key=lambda prior: (prior.study_date, prior.revision))
    when = latest.study_date or "unknown date"
    before = _liver_volume(latest)
    if before is None or before.value <= 0.0:
        return f"Earlier MR result of {when} without a liver volume."
    change = 100.0 * (reading.liver_ml / before.value - 1.0)
    return f"Against the MR result of {when} the liver volume changed by {change:+.0f} % (then {before.value:.0f} mL)."


def _liver_volume(prior: Prior) -> Measurement | None:
    if not isinstance(prior.result, Assessed):
        return None
    return next((one for one in prior.result.measurements if one.key == "liver_volume"), None)
