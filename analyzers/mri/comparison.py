"""What an earlier result of the same patient says beside this one: for now, the change of the liver's volume."""

from __future__ import annotations

from collections.abc import Sequence

from analyzers.contract import Assessed, Measurement
from analyzers.mri.findings import AT_LEAST, OUTLINED_BY, Reading
from analyzers.mri.stacks import NAMES
from analyzers.priors import Prior


def change_of_liver(reading: Reading, priors: Sequence[Prior]) -> str:
    """One sentence for the conclusion, against the latest earlier MR result; no change between lower limits."""
    earlier = [prior for prior in priors if prior.analyzer_name == "mri" and isinstance(prior.result, Assessed)]
    if not earlier:
        return ""
    latest = max(earlier, key=lambda prior: (prior.study_date, prior.revision))
    when = latest.study_date or "unknown date"
    before = _liver_volume(latest)
    if before is None or before.value <= 0.0:
        return f"Earlier MR result of {when} without a liver volume."
    cut = _when_cut(latest, reading)
    if cut:
        bound = "" if _whole(latest) else "at least "
        return (
            f"The liver volume cannot be compared with the MR result of {when} ({bound}{before.value:.0f} mL): "
            f"the liver was not wholly in the scan {cut}."
        )
    change = 100.0 * (reading.liver_ml / before.value - 1.0)
    now = OUTLINED_BY.format(NAMES[reading.reference.role])
    sequence = "" if before.method == now else f", {_decapitalised(before.method)}; now {_decapitalised(now)}"
    return (
        f"Against the MR result of {when} the liver volume changed by {change:+.0f} % "
        f"(then {before.value:.0f} mL{sequence})."
    )


def _when_cut(prior: Prior, reading: Reading) -> str:
    """Of which of both volumes no more than a lower limit is known; empty when of neither."""
    then, now = not _whole(prior), not reading.whole
    return "then and now" if then and now else "then" if then else "now" if now else ""


def _whole(prior: Prior) -> bool:
    volume = _liver_volume(prior)
    gates = prior.result.gates if isinstance(prior.result, Assessed) else ()
    return all(gate.passed for gate in gates) and volume is not None and AT_LEAST not in volume.remark


def _decapitalised(text: str) -> str:
    return text[:1].lower() + text[1:]


def _liver_volume(prior: Prior) -> Measurement | None:
    if not isinstance(prior.result, Assessed):
        return None
    return next((one for one in prior.result.measurements if one.key == "liver_volume"), None)
