"""The lung shunt in words: the value for the headline, and what keeps it from being good."""

from __future__ import annotations

from analyzers.scintigraphy import gates
from analyzers.scintigraphy.lobes import LobeUptake
from analyzers.scintigraphy.motion import STILL
from analyzers.scintigraphy.planar import PlanarReading
from analyzers.scintigraphy.shunt import LungShunt
from analyzers.scintigraphy.spect import SpectReading
from analyzers.scintigraphy.thresholds import DEFAULTS, Thresholds

_CUT = "at least: the field cuts the lungs"


def planar_shunt_sentence(planar: PlanarReading | None, thresholds: Thresholds, *, beside_spect: bool = False) -> str:
    """The lung shunt of planar views in one sentence; empty when it was not measured.

    Parameters
    ----------
    planar : PlanarReading or None
    thresholds : Thresholds
    beside_spect : bool
        A SPECT/CT measured it as well, and its value was said before.
    """
    if planar is None or not isinstance(planar.shunt, LungShunt):
        return ""
    shunt = planar.shunt
    plain = "uncorrected" if planar.pair.scatter_yx is None else "corrected for scatter by windows alone"
    interval = _interval(shunt.corrected_low, shunt.corrected_high, at_least=shunt.at_least)
    sentence = (
        f"Lung shunt {'on planar views ' if beside_spect else ''}{'at least ' if shunt.at_least else ''}"
        f"{100 * shunt.corrected:.1f} % ({interval}; {plain} {100 * shunt.raw:.1f} %)"
    )
    if set(shunt_limits(planar, shunt, thresholds)) - {_CUT}:
        sentence += ", of limited reliability"
    return f"{sentence}{_height(shunt.corrected, thresholds)}."


def spect_shunt_sentence(spect: SpectReading | None, thresholds: Thresholds) -> str:
    """The lung shunt of a SPECT/CT in one sentence; empty when it was not measured."""
    if spect is None or spect.perfusion is None or spect.perfusion.shunt is None:
        return ""
    shunt = spect.perfusion.shunt
    interval = _interval(max(0.0, shunt.fraction - shunt.error), shunt.fraction + shunt.error, at_least=shunt.at_least)
    return (
        f"Lung shunt by SPECT/CT {'at least ' if shunt.at_least else ''}{100 * shunt.fraction:.1f} % ({interval})"
        f"{_height(shunt.fraction, thresholds)}."
    )


def shunt_limits(reading: PlanarReading, shunt: LungShunt, thresholds: Thresholds = DEFAULTS) -> tuple[str, ...]:
    """What keeps the lung shunt of planar views from being good, in words."""
    limits = []
    if shunt.at_least:
        limits.append(_CUT)
    if not shunt.lungs_seen:
        limits.append("no lung stands out; the place where lungs must lie was measured")
    if reading.pair.is_derived:
        limits.append("views computed from others, not as received")
    if reading.split.uptake is not LobeUptake.BOTH:
        limits.append("a lobe without uptake: what it still holds lies over lung and background, so perhaps too high")
    if reading.colloid_given and reading.colloid_supposed:
        limits.append("another scan of a tracer that no header names may have left residue")
    elif reading.colloid_given:
        limits.append("residue of colloid in the liver is not subtracted, so perhaps too low")
    if shunt.corrected >= thresholds.implausible_shunt_fraction:
        limits.append("higher than any pump patient's: part of the liver may have been taken for lung")
    for name, words in (
        (gates.LIVER_SIDE, "sides in doubt"),
        (gates.ALIGNMENT, "views shifted against each other"),
        (STILL, "the patient moved"),
        (gates.LIVER_IN_FIELD, "liver cut by the field, so the fraction is too high"),
        (gates.POCKET, "tracer spilt round the pump"),
    ):
        if not reading.passed(name):
            limits.append(words)
    return tuple(limits)


def _interval(low: float, high: float, *, at_least: bool) -> str:
    """The interval in percent; lungs that the field cuts hold more than was seen, so that it has no upper end."""
    if at_least:
        return f"95 % interval from {100 * low:.1f} %, the field cuts the lungs"
    return f"95 % interval {100 * low:.1f} to {100 * high:.1f} %"


def _height(fraction: float, thresholds: Thresholds) -> str:
    if fraction >= thresholds.high_shunt_fraction:
        return f": high ({100 * thresholds.high_shunt_fraction:.0f} % and more)"
    if fraction >= thresholds.advisory_shunt_fraction:
        return ": above the usual 0 to 10 % of pump patients"
    return ""
