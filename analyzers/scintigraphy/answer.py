"""From readings to the answer in clinical words: whether the pump perfuses the whole liver, and nothing else."""

from __future__ import annotations

from scipy import ndimage

from analyzers import vocabulary
from analyzers.contract import Finding, Presence
from analyzers.scintigraphy import gates
from analyzers.scintigraphy.lobes import LobeUptake
from analyzers.scintigraphy.planar import PlanarReading
from analyzers.scintigraphy.shunt import LungShunt
from analyzers.scintigraphy.spect import SpectReading
from analyzers.scintigraphy.spect_answer import certain_places, possible_places
from analyzers.scintigraphy.thresholds import Thresholds
from analyzers.scintigraphy.verdict import Facts, Pattern, extrahepatic_presence, extrahepatic_sentence
from analyzers.scintigraphy.whereabouts import LocatedFocus, Origin

_TIP_OUTSHINES_FRACTION = 0.5
_LIVER_CUT = "whether the whole liver is perfused is not judged: the field cuts it"
_VIEWS_SHIFTED = "whether the whole liver is perfused is not judged: both views are shifted against each other"
_RESIDUE = (
    "whether the whole liver is perfused is not judged: colloid that could not be subtracted lies under the views, and "
    "would show a lobe that is not perfused"
)
_TWO_SCANS = (
    "whether the whole liver is perfused is not judged: two scans of the liver lie in the study and no header names "
    "the tracer; if one shows a colloid, it would show a lobe that is not perfused"
)
_WRONG_SIDE = (
    "most of the liver's counts lie on the left side: names of the views exchanged, a picture mirrored, or another "
    "organ that outshines the liver?"
)
_LEFT_LOBE_OR_EXCHANGED = (
    "most of the liver's counts lie on the left side: the left lobe alone has uptake (the right one not perfused or "
    "resected), another organ outshines the liver, or the names of the views are exchanged?"
)
_LEFT_LOBE_FRONT = 1.6
_INSEPARABLE = "; may be liver or a tumor in it"
_NO_PLANAR = "whether both lobes are perfused is not judged without planar views or a CT"


def facts_of(planar: PlanarReading | None, spect: SpectReading | None) -> Facts:
    """What the readings say, reduced to what the category depends on."""
    tip = _hot_tip(planar)
    foci = planar.foci if planar is not None else ()
    certain = [item for item in foci if is_extrahepatic(item) and presence_of(item) is Presence.PRESENT]
    possible = [item for item in foci if is_extrahepatic(item) and presence_of(item) is Presence.INDETERMINATE]
    side_doubt = _side_doubt(planar)
    if side_doubt:
        # Where sides are in doubt, what seems to lie outside the liver may be a lobe of it.
        certain, possible = [], [*certain, *possible]
    free = any(item.whereabouts.origin is Origin.PERTECHNETATE for item in foci)
    missing, compared = _missing_lobe(planar), planar.colloid if planar is not None else None
    shown = bool(missing) and compared is not None and compared.parenchyma is LobeUptake.BOTH
    absent = (
        bool(missing) and compared is not None and planar is not None and compared.parenchyma is planar.split.uptake
    )
    perfusion = spect.perfusion if spect is not None else None
    return Facts(
        spilt_in_pocket=(planar is not None and not planar.passed(gates.POCKET))
        or (spect is not None and spect.spilt_in_pocket),
        pocket_share_fraction=planar.pocket_share_fraction if planar is not None else 0.0,
        hot_tip_share_fraction=tip.focus.share_fraction if tip is not None else _hot_tip_on_spect(spect),
        extrahepatic=(*(_place(item) for item in certain), *certain_places(spect)),
        possible=(
            *(_place(item) for item in possible),
            *(_place(item) for item in foci if is_unexplained(item)),
            *possible_places(spect, pertechnetate=free),
        ),
        # Parenchyma on a CT tells more than the outline of uptake on projections.
        missing_lobe=perfusion.missing_lobe if perfusion is not None else "" if absent else missing,
        liver_shown_there_by="the CT" if perfusion is not None else "the colloid scan" if shown else "",
        absent_lobe=perfusion.resected_lobe if perfusion is not None else missing if absent else "",
        not_judged="" if perfusion is not None else _not_judged(planar),
        seen_on=" and ".join(
            name
            for name, reading in (("planar views", planar), (spect.seen_on if spect else "", spect))
            if reading is not None
        ),
        pertechnetate=free,
        side_doubt=side_doubt,
    )


def is_extrahepatic(located: LocatedFocus) -> bool:
    """Whether a focus bears on the question of extrahepatic perfusion at all."""
    return located.whereabouts.origin in {Origin.EXTRAHEPATIC, Origin.AMBIGUOUS}


def is_unexplained(located: LocatedFocus) -> bool:
    """Whether a focus looks like an organ that macroaggregates through a pump do not reach (lungs they do)."""
    return located.whereabouts.origin is Origin.PHYSIOLOGIC and located.whereabouts.site != vocabulary.LUNG


def presence_of(located: LocatedFocus) -> Presence:
    """How sure it is that a focus is what its origin says.

    Device and physiologic uptake only look alike something; what no view shows apart from the liver may be a tumour.
    """
    origin = located.whereabouts.origin
    if origin is Origin.DEVICE:
        return Presence.PRESENT if located.focus.clear_of_liver else Presence.INDETERMINATE
    if origin is Origin.PERTECHNETATE:
        return Presence.PRESENT
    if origin is Origin.EXTRAHEPATIC and located.focus.stands_apart:
        return Presence.PRESENT
    return Presence.INDETERMINATE


def pattern_findings(
    pattern: Pattern, facts: Facts, planar: PlanarReading | None, spect: SpectReading | None
) -> tuple[Finding, ...]:
    """The category, and whether extrahepatic perfusion was detected."""
    evidence = []
    if planar is not None:
        evidence += ["extrahepatic_focus_count", "left_to_right_level"]
    if spect is not None:
        evidence.append("extrahepatic_focus_count_spect")
        if spect.perfusion is not None and not spect.perfusion.resected_lobe:
            evidence.append("lobe_activity_share")
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
            presence=extrahepatic_presence(facts),
            sentence=extrahepatic_sentence(facts),
            evidence=tuple(key for key in evidence if key.startswith("extrahepatic")),
        ),
    )


def shunt_sentence(planar: PlanarReading | None, thresholds: Thresholds) -> str:
    """The lung shunt in one sentence; empty when it was not measured."""
    if planar is None or not isinstance(planar.shunt, LungShunt):
        return ""
    shunt = planar.shunt
    least = "at least " if shunt.at_least else ""
    plain = "uncorrected" if planar.pair.scatter_yx is None else "corrected for scatter by windows alone"
    sentence = (
        f"Lung shunt {least}{100 * shunt.corrected:.1f} % (95 % interval {100 * shunt.corrected_low:.1f} to "
        f"{100 * shunt.corrected_high:.1f} %; {plain} {100 * shunt.raw:.1f} %)"
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


def pertechnetate_sentence(planar: PlanarReading | None) -> str:
    """The pattern of free pertechnetate in one sentence; empty without it."""
    found = planar.of_origin(Origin.PERTECHNETATE) if planar is not None else ()
    if not found:
        return ""
    places = dict.fromkeys(item.whereabouts.words for item in found)
    return f"Free pertechnetate: {', '.join(places)}; not perfusion."


def _hot_tip(planar: PlanarReading | None) -> LocatedFocus | None:
    if planar is None:
        return None
    tips = [item for item in planar.of_origin(Origin.DEVICE) if item.whereabouts.words == "catheter tip"]
    return next((item for item in tips if item.focus.share_fraction >= _TIP_OUTSHINES_FRACTION), None)


def _hot_tip_on_spect(spect: SpectReading | None) -> float | None:
    """Share of the catheter's tip on a SPECT/CT, where it rivals the liver."""
    tips = [focus for focus in spect.device if focus.site == vocabulary.HEPATIC_ARTERY] if spect is not None else []
    return next((focus.share_fraction for focus in tips if focus.share_fraction >= _TIP_OUTSHINES_FRACTION), None)


def _missing_lobe(planar: PlanarReading | None) -> str:
    if planar is None or planar.split.uptake is LobeUptake.BOTH:
        return ""
    return "left" if planar.split.uptake is LobeUptake.NO_LEFT else "right"


def _not_judged(planar: PlanarReading | None) -> str:
    if planar is None:
        return _NO_PLANAR
    if not planar.passed(gates.ALIGNMENT):
        return _VIEWS_SHIFTED
    if not planar.passed(gates.LIVER_IN_FIELD):
        return _LIVER_CUT
    if not planar.colloid_given:
        return ""
    return _TWO_SCANS if planar.colloid_supposed else _RESIDUE


def _side_doubt(planar: PlanarReading | None) -> str:
    """Both readings of a liver on the left side, unless it is far brighter from in front, as a left lobe alone is."""
    if planar is None or planar.passed(gates.LIVER_SIDE):
        return ""
    if planar.split.uptake is not LobeUptake.NO_RIGHT:
        return _WRONG_SIDE
    front, back = (float(ndimage.gaussian_filter(view, 2.0).max()) for view in planar.pair.counts_yx)
    return "" if front > _LEFT_LOBE_FRONT * back * planar.pair.posterior_scale else _LEFT_LOBE_OR_EXCHANGED


def _place(located: LocatedFocus) -> str:
    focus = located.focus
    if located.whereabouts.origin is Origin.PHYSIOLOGIC:
        return f"uptake like that of the {located.whereabouts.words} ({100 * focus.share_fraction:.1f} %)"
    doubt = "" if focus.stands_apart or located.whereabouts.origin is Origin.AMBIGUOUS else _INSEPARABLE
    return f"{located.whereabouts.words} ({100 * focus.share_fraction:.1f} % of the liver's counts{doubt})"
