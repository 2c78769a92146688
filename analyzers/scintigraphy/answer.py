"""The answer in clinical words: whether the pump perfuses the whole liver, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from analyzers import vocabulary
from analyzers.contract import Code, Finding, Presence
from analyzers.scintigraphy import gates
from analyzers.scintigraphy.lobes import LobeUptake
from analyzers.scintigraphy.planar import LocatedFocus, PlanarReading
from analyzers.scintigraphy.shunt import LungShunt
from analyzers.scintigraphy.spect import SpectReading
from analyzers.scintigraphy.thresholds import Thresholds
from analyzers.scintigraphy.whereabouts import Origin

_TIP_OUTSHINES_FRACTION = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Pattern:
    """The category of the whole examination and the sentence that says it."""

    category: Code
    sentence: str
    presence: Presence


def perfusion_pattern(planar: PlanarReading | None, spect: SpectReading | None) -> Pattern:
    """Choose the category. What forbids a judgement comes first, then what forbids treatment, then what is missing."""
    if planar is not None and not planar.passed(gates.POCKET):
        return Pattern(
            category=vocabulary.PERFUSION_NON_DIAGNOSTIC,
            sentence=(
                "Non-diagnostic: a large part of the tracer lies in the pump pocket and did not enter the catheter."
            ),
            presence=Presence.INDETERMINATE,
        )
    tip = _hot_tip(planar)
    if tip is not None:
        return Pattern(
            category=vocabulary.PERFUSION_LOW_HOT_TIP,
            sentence=(
                f"Activity at the catheter tip holds {100 * tip.focus.share_fraction:.0f} % of the liver's counts: "
                "low hepatic uptake with a hot tip, thrombosis?"
            ),
            presence=Presence.PRESENT,
        )
    organs = _extrahepatic_organs(planar, spect)
    if organs:
        return Pattern(
            category=vocabulary.PERFUSION_EXTRAHEPATIC,
            sentence=f"Extrahepatic activity suspected: {'; '.join(organs)}.",
            presence=Presence.PRESENT,
        )
    missing = _missing_lobe(planar)
    if missing:
        return Pattern(
            category=vocabulary.PERFUSION_INCOMPLETE,
            sentence=f"Incomplete perfusion: no uptake in the place of the {missing} lobe: not perfused or resected.",
            presence=Presence.PRESENT,
        )
    if planar is None:
        return Pattern(
            category=vocabulary.PERFUSION_NON_DIAGNOSTIC,
            sentence=(
                "SPECT alone: no extrahepatic activity detected; whether both lobes are perfused is not judged without "
                "planar views or a CT."
            ),
            presence=Presence.INDETERMINATE,
        )
    by = "on planar views and SPECT" if spect is not None else "on planar views"
    return Pattern(
        category=vocabulary.PERFUSION_COMPLETE,
        sentence=f"Uptake in both lobes of the liver; no extrahepatic activity detected {by}.",
        presence=Presence.PRESENT,
    )


def pattern_findings(pattern: Pattern, planar: PlanarReading | None, spect: SpectReading | None) -> tuple[Finding, ...]:
    """The category, and whether extrahepatic perfusion was detected."""
    evidence = []
    if planar is not None:
        evidence += ["extrahepatic_focus_count", "left_to_right_level"]
    if spect is not None:
        evidence.append("extrahepatic_focus_count_spect")
    return (
        Finding(
            key="perfusion_pattern",
            concept=vocabulary.PERFUSION_PATTERN,
            presence=pattern.presence,
            sentence=pattern.sentence,
            value=pattern.category,
            evidence=tuple(evidence),
        ),
        Finding(
            key="extrahepatic_perfusion",
            concept=vocabulary.EXTRAHEPATIC_PERFUSION,
            presence=_extrahepatic_presence(planar, spect),
            sentence=_extrahepatic_sentence(planar, spect),
            evidence=tuple(key for key in evidence if key.startswith("extrahepatic")),
        ),
    )


def shunt_sentence(planar: PlanarReading | None, thresholds: Thresholds) -> str:
    """The lung shunt in one sentence; empty when it was not measured."""
    if planar is None or not isinstance(planar.shunt, LungShunt):
        return ""
    shunt = planar.shunt
    least = "at least " if shunt.at_least else ""
    sentence = (
        f"Lung shunt {least}{100 * shunt.corrected:.1f} % (95 % interval {100 * shunt.corrected_low:.1f} to "
        f"{100 * shunt.corrected_high:.1f} %; uncorrected {100 * shunt.raw:.1f} %)"
    )
    if shunt.corrected >= thresholds.high_shunt_fraction:
        return f"{sentence}: high."
    if shunt.corrected >= thresholds.advisory_shunt_fraction:
        return f"{sentence}: above the usual 0 to 10 % of pump patients."
    return f"{sentence}."


def device_sentence(planar: PlanarReading | None) -> str:
    """Activity at the catheter tip in one sentence; empty without any, or where it decides the category itself."""
    if planar is None or _hot_tip(planar) is not None:
        return ""
    tips = [item for item in planar.of_origin(Origin.DEVICE) if item.whereabouts.words == "catheter tip"]
    if not tips:
        return ""
    share = 100 * sum(item.focus.share_fraction for item in tips)
    return (
        f"Hot spot at the porta, {share:.1f} % of the liver's counts: catheter tip (usually harmless) or small tumor."
    )


def _hot_tip(planar: PlanarReading | None) -> LocatedFocus | None:
    if planar is None:
        return None
    tips = [item for item in planar.of_origin(Origin.DEVICE) if item.whereabouts.words == "catheter tip"]
    return next((item for item in tips if item.focus.share_fraction >= _TIP_OUTSHINES_FRACTION), None)


def _missing_lobe(planar: PlanarReading | None) -> str:
    if planar is None or planar.split.uptake is LobeUptake.BOTH:
        return ""
    return "left" if planar.split.uptake is LobeUptake.NO_LEFT else "right"


def _extrahepatic_organs(planar: PlanarReading | None, spect: SpectReading | None) -> list[str]:
    """Words for each focus; physiologic and device activity left out."""
    words = [
        f"{item.whereabouts.words} ({100 * item.focus.share_fraction:.1f} % of the liver's counts)"
        for item in (planar.of_origin(Origin.EXTRAHEPATIC) if planar is not None else ())
    ]
    if spect is not None:
        words += [f"SPECT {focus.words} ({100 * focus.share_fraction:.1f} %)" for focus in spect.foci]
    return words


def _extrahepatic_presence(planar: PlanarReading | None, spect: SpectReading | None) -> Presence:
    foci: Sequence[LocatedFocus] = planar.of_origin(Origin.EXTRAHEPATIC) if planar is not None else ()
    if any(item.focus.clear_of_liver for item in foci):
        return Presence.PRESENT
    if foci or (spect is not None and spect.foci):
        return Presence.INDETERMINATE
    if planar is not None and (not planar.passed(gates.POCKET) or _colloid_in_spleen(planar)):
        return Presence.INDETERMINATE
    return Presence.ABSENT


def _colloid_in_spleen(planar: PlanarReading) -> bool:
    return planar.colloid_given and any(
        item.whereabouts.site == vocabulary.SPLEEN for item in planar.of_origin(Origin.PHYSIOLOGIC)
    )


def _extrahepatic_sentence(planar: PlanarReading | None, spect: SpectReading | None) -> str:
    organs = _extrahepatic_organs(planar, spect)
    if organs:
        return f"Activity outside the liver: {'; '.join(organs)}."
    if planar is not None and _colloid_in_spleen(planar):
        return "Uptake of the spleen may be residue of the colloid; no other activity outside the liver detected."
    if planar is not None and spect is None:
        return "No activity outside the liver detected; planar views find about 30 % of it."
    return "No activity outside the liver detected."
