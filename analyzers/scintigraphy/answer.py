"""From readings to the answer in clinical words: whether the pump perfuses the whole liver, and nothing else."""

from __future__ import annotations

from scipy import ndimage

from analyzers import vocabulary
from analyzers.contract import Finding, Presence
from analyzers.scintigraphy import gates
from analyzers.scintigraphy.foci import PlanarFocus
from analyzers.scintigraphy.lobes import LobeUptake
from analyzers.scintigraphy.patterns import SECOND_SPOT
from analyzers.scintigraphy.planar import PlanarReading
from analyzers.scintigraphy.spect import SpectReading
from analyzers.scintigraphy.spect_answer import certain_places, faint_places, pocket_share_of, possible_places
from analyzers.scintigraphy.spect_perfusion import Perfusion
from analyzers.scintigraphy.verdict import Facts, Pattern, extrahepatic_presence, extrahepatic_sentence
from analyzers.scintigraphy.whereabouts import CATHETER_TIP, LocatedFocus, Origin

_TIP_OUTSHINES_FRACTION = 0.5
_LIVER_CUT = "whether the whole liver is perfused is not judged: the field of view cuts it"
_VIEWS_SHIFTED = (
    "whether the whole liver is perfused is not judged: the patient moved between the anterior and the posterior view"
)
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
_NO_PLANAR = "whether both lobes are perfused is not judged: neither planar views nor a CT could be used"
_NOT_CORRECTED = "whether both lobes are perfused is not judged: the SPECT is not known to be corrected for attenuation"
_WITHOUT_CT, _CT_REFUSED = "without a CT,", "the CT could not be used, so"


def facts_of(planar: PlanarReading | None, spect: SpectReading | None) -> Facts:
    """What the readings say, reduced to what the category depends on."""
    tip = _hot_tip(planar)
    foci = planar.foci if planar is not None else ()
    certain = [item for item in foci if is_extrahepatic(item) and presence_of(item) is Presence.PRESENT]
    possible = [item for item in foci if is_extrahepatic(item) and presence_of(item) is Presence.INDETERMINATE]
    perfusion = spect.perfusion if spect is not None else None
    side_doubt = _side_doubt(planar, perfusion)
    if side_doubt:
        # Where sides are in doubt, what seems to lie outside the liver may be a lobe of it.
        certain, possible = [], [*certain, *possible]
    free = any(item.whereabouts.origin is Origin.PERTECHNETATE for item in foci)
    missing, compared = _missing_lobe(planar), planar.colloid if planar is not None else None
    shown = bool(missing) and compared is not None and compared.parenchyma is LobeUptake.BOTH
    absent = (
        bool(missing) and compared is not None and planar is not None and compared.parenchyma is planar.split.uptake
    )
    planar_foci = (*certain, *possible, *(item for item in foci if is_unexplained(item)))
    on_spect, perhaps = certain_places(spect), possible_places(spect, pertechnetate=free)
    return Facts(
        spilt_in_pocket=(planar is not None and not planar.passed(gates.POCKET))
        or (spect is not None and spect.spilt_in_pocket),
        pocket_share_fraction=max(
            planar.pocket_share_fraction if planar is not None else 0.0,
            pocket_share_of(spect) if spect is not None and spect.spilt_in_pocket else 0.0,
        ),
        hot_tip_share_fraction=tip.focus.share_fraction if tip is not None else _hot_tip_on_spect(spect),
        extrahepatic=(*(_place(item) for item in certain), *on_spect),
        possible=(
            *(_place(item) for item in possible),
            *(_place(item) for item in foci if is_unexplained(item)),
            *perhaps,
        ),
        faint=faint_places(spect, pertechnetate=free),
        perhaps_same=bool(planar_foci) and bool(on_spect or perhaps),
        # Parenchyma on a CT tells more than the outline of uptake on projections.
        missing_lobe=perfusion.missing_lobe if perfusion is not None else "" if absent else missing,
        liver_shown_there_by="the CT" if perfusion is not None else "the colloid scan" if shown else "",
        absent_lobe=perfusion.resected_lobe if perfusion is not None else missing if absent else "",
        not_judged="" if perfusion is not None else _not_judged(planar, spect),
        seen_on=" and ".join(
            name
            for name, reading in (("planar views", planar), (spect.seen_on if spect else "", spect))
            if reading is not None
        ),
        near_liver="" if spect is None or spect.organs else _CT_REFUSED if spect.ct_reason else _WITHOUT_CT,
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
            undecided=pattern.presence is Presence.INDETERMINATE,
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


def device_sentence(planar: PlanarReading | None) -> str:
    """Activity at the catheter tip in one sentence; empty without any, or where it decides the category itself."""
    if planar is None or _hot_tip(planar) is not None:
        return ""
    spots = planar.of_origin(Origin.DEVICE)
    tip = next((item for item in spots if item.whereabouts.words == CATHETER_TIP), None)
    if tip is None:
        return ""
    others = [100 * item.focus.share_fraction for item in spots if item.whereabouts.words == SECOND_SPOT]
    another = "".join(f"; another, {share:.1f} %, is likelier a tumor" for share in others)
    return (
        f"Hot spot at the porta, {100 * tip.focus.share_fraction:.1f} % of the liver's counts: catheter tip (usually "
        f"harmless) or small tumor{another}."
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
    tips = [item for item in planar.of_origin(Origin.DEVICE) if item.whereabouts.words == CATHETER_TIP]
    return next((item for item in tips if item.focus.share_fraction >= _TIP_OUTSHINES_FRACTION), None)


def _hot_tip_on_spect(spect: SpectReading | None) -> float | None:
    """Share of the catheter's tip on a SPECT/CT, where it rivals the liver."""
    tips = [focus for focus in spect.device if focus.site == vocabulary.HEPATIC_ARTERY] if spect is not None else []
    return next((focus.share_fraction for focus in tips if focus.share_fraction >= _TIP_OUTSHINES_FRACTION), None)


def _missing_lobe(planar: PlanarReading | None) -> str:
    if planar is None or planar.split.uptake is LobeUptake.BOTH:
        return ""
    return "left" if planar.split.uptake is LobeUptake.NO_LEFT else "right"


def _not_judged(planar: PlanarReading | None, spect: SpectReading | None) -> str:
    if planar is None:
        return _NO_PLANAR if spect is None or spect.organs is None else _NOT_CORRECTED
    if not planar.passed(gates.ALIGNMENT):
        return _VIEWS_SHIFTED
    if not planar.passed(gates.LIVER_IN_FIELD):
        return _LIVER_CUT
    if not planar.colloid_given:
        return ""
    return _TWO_SCANS if planar.colloid_supposed else _RESIDUE


def _side_doubt(planar: PlanarReading | None, perfusion: Perfusion | None) -> str:
    """Both readings of a liver on the left side, unless it is far brighter from in front, as a left lobe alone is.

    A SPECT/CT knows its sides: where it shows no uptake on the right, planar views that show the same are right.
    """
    if planar is None or planar.passed(gates.LIVER_SIDE):
        return ""
    if perfusion is not None and "right" in {perfusion.missing_lobe, perfusion.resected_lobe}:
        return ""
    if planar.split.uptake is not LobeUptake.NO_RIGHT:
        return _WRONG_SIDE
    front, back = (float(ndimage.gaussian_filter(view, 2.0).max()) for view in planar.pair.counts_yx)
    return "" if front > _LEFT_LOBE_FRONT * back * planar.pair.posterior_scale else _LEFT_LOBE_OR_EXCHANGED


def _place(located: LocatedFocus) -> str:
    """The guess of the place, marked as one, and the share."""
    focus = located.focus
    if located.whereabouts.origin is Origin.PHYSIOLOGIC:
        return f"uptake like that of the {located.whereabouts.words} ({planar_share_words(focus)})"
    doubt = "" if focus.stands_apart or located.whereabouts.origin is Origin.AMBIGUOUS else _INSEPARABLE
    return f"{located.whereabouts.words}? ({planar_share_words(focus)}{doubt})"


def planar_share_words(focus: PlanarFocus) -> str:
    """A share of the liver's counts; above all of them it is none, and no number is printed."""
    if focus.share_fraction > 1.0:
        return "more counts than the liver"
    share = f"{100 * focus.share_fraction:.1f} % of the liver's counts"
    return f"at least {share}, cut by the edge of the field" if focus.cut_by_field else share
