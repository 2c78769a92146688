"""What a SPECT reading says in the words of the contract: segments, findings, limitations, and facts."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from analyzers import vocabulary
from analyzers.contract import Code, Finding, Outline, Presence, Region, Segment
from analyzers.scintigraphy.spect import SpectReading
from analyzers.scintigraphy.spect_foci import SpectFocus
from analyzers.scintigraphy.spect_names import (
    CT_LIVER_SEGMENT,
    LIVER_SEGMENT,
    LOBE_SEGMENTS,
    LUNGS_SEGMENT,
)
from analyzers.scintigraphy.spect_perfusion import Lobe
from analyzers.scintigraphy.thresholds import Thresholds
from analyzers.scintigraphy.views import polygons_of
from analyzers.scintigraphy.whereabouts import Origin
from analyzers.volume import Volume

_LIVER_RGB = (0, 158, 115)
_LOBE_RGB = {"right": (86, 180, 233), "left": (0, 114, 178)}
_FOCUS_RGB = (213, 94, 0)
_DEVICE_RGB = (204, 121, 167)
_HOT_RGB = (240, 228, 66)
_GIVEN_RGB = (230, 0, 180)
_RATIOS_IN_A_SENTENCE = 4
_FAINT_SHARE_FRACTION = 0.01
"""Of the liver's counts (derived): what is found falsely on phantoms of both models holds 0.1 to 0.8 %, but for wide
regions of blood and background."""
_FAINT_PEAK_FRACTION = 0.1
"""Of the liver's mean: the least level at which a part of the liver itself counts as perfused."""
_CT_RGB = {CT_LIVER_SEGMENT: (221, 130, 101), LUNGS_SEGMENT: (150, 200, 230)}


def spect_segments(reading: SpectReading) -> tuple[Segment, ...]:
    """Uptake, lobes, hot regions and foci on the grid of the SPECT; liver and lungs on the grid of the CT."""
    volume, perfusion = reading.volume, reading.perfusion
    segments = [_function(LIVER_SEGMENT, "Perfused liver", vocabulary.LIVER, reading.liver_zyx, volume, _LIVER_RGB)]
    lobes = (perfusion.right, perfusion.left) if perfusion is not None else ()
    segments += [_lobe_segment(lobe, volume) for lobe in lobes if not lobe.is_resected]
    segments += [
        _function(ratio.name, ratio.label, vocabulary.LIVER, ratio.mask_zyx, volume, _HOT_RGB)
        for ratio in reading.ratios
        if not ratio.given
    ]
    for focus in (*reading.foci, *reading.physiologic, *reading.device):
        rgb = _DEVICE_RGB if focus.where.origin is Origin.DEVICE else _FOCUS_RGB
        segments.append(_function(focus.name, label_of(focus), focus.site, focus.mask_zyx, volume, rgb))
    return (*segments, *_ct_segments(reading))


def spect_regions(reading: SpectReading) -> tuple[Region, ...]:
    """Lesions that others outlined, each by its outline on the plane of the SPECT where it is largest."""
    return tuple(
        Region(
            name=ratio.name,
            label=ratio.label,
            type=vocabulary.LESION,
            outlines=_largest_outline(ratio.mask_zyx, reading.volume),
            site=vocabulary.LIVER,
            rgb=_GIVEN_RGB,
            segment=ratio.segment,
        )
        for ratio in reading.ratios
        if ratio.given
    )


def _largest_outline(mask_zyx: NDArray[np.bool_], volume: Volume) -> tuple[Outline, ...]:
    """Outline of the largest part on the plane with most of a mask; empty for a mask of single pixels."""
    plane = int(mask_zyx.sum(axis=(1, 2)).argmax())
    polygons = polygons_of(mask_zyx[plane])
    if not polygons:
        return ()
    rows, columns = mask_zyx.shape[1:]
    points = np.clip(max(polygons, key=_area), 0.0, (columns, rows)).round(2)
    return (Outline(frame=volume.planes[plane], points_col_row=tuple((float(c), float(r)) for c, r in points)),)


def _area(polygon: NDArray[np.float64]) -> float:
    x, y = polygon.T
    return abs(float(x @ np.roll(y, 1) - y @ np.roll(x, 1)))


def spect_ratio_sentence(spect: SpectReading | None) -> str:
    """The ratios on given masks in one sentence; empty without any."""
    given = [ratio for ratio in spect.ratios if ratio.given] if spect is not None else []
    if not given:
        return ""
    told = ", ".join(
        f"{ratio.ratio:.1f} ({ratio.label}{', limited' if ratio.cautions else ''})"
        for ratio in given[:_RATIOS_IN_A_SENTENCE]
    )
    more = len(given) - _RATIOS_IN_A_SENTENCE
    return f"Tumor-to-normal ratio on outlined lesions: {told}{f' and {more} more' if more > 0 else ''}."


def _function(
    name: str, label: str, site: Code, mask_zyx: NDArray[np.bool_], volume: Volume, rgb: tuple[int, int, int]
) -> Segment:
    return Segment(
        name=name,
        label=label,
        category=vocabulary.FUNCTION,
        type=vocabulary.PERFUSION,
        site=site,
        mask_planes=mask_zyx,
        planes=volume.planes,
        series_instance_uid=volume.series_instance_uid,
        rgb=rgb,
    )


def _lobe_segment(lobe: Lobe, volume: Volume) -> Segment:
    return Segment(
        name=LOBE_SEGMENTS[lobe.side],
        label=f"{lobe.side.capitalize()} lobe of the liver, by rule",
        category=vocabulary.ANATOMICAL_STRUCTURE,
        type=vocabulary.LIVER,
        laterality=vocabulary.RIGHT if lobe.side == "right" else vocabulary.LEFT,
        mask_planes=lobe.mask_zyx,
        planes=volume.planes,
        series_instance_uid=volume.series_instance_uid,
        rgb=_LOBE_RGB[lobe.side],
    )


def _ct_segments(reading: SpectReading) -> tuple[Segment, ...]:
    organs = reading.organs
    if organs is None:
        return ()
    found = (
        (CT_LIVER_SEGMENT, "Liver on the CT", vocabulary.LIVER, organs.liver_on_ct_zyx),
        (LUNGS_SEGMENT, "Lungs on the CT", vocabulary.LUNG, organs.lungs_on_ct_zyx),
    )
    return tuple(
        Segment(
            name=name,
            label=label,
            category=vocabulary.ANATOMICAL_STRUCTURE,
            type=code,
            mask_planes=mask,
            planes=organs.ct.planes,
            series_instance_uid=organs.ct.series_instance_uid,
            rgb=_CT_RGB[name],
        )
        for name, label, code, mask in found
        if mask.any()
    )


def label_of(focus: SpectFocus) -> str:
    """``SPECT focus 1``, as segment, finding and picture name it."""
    kind = {
        Origin.PHYSIOLOGIC: "kidney-like uptake" if focus.site == vocabulary.KIDNEY else "uptake above the liver",
        Origin.DEVICE: "device activity",
    }.get(focus.where.origin, "focus")
    return f"SPECT {kind} {focus.name.rsplit('-', maxsplit=1)[1]}"


def spect_findings(reading: SpectReading) -> tuple[Finding, ...]:
    """One finding for each focus outside the liver."""
    return tuple(_finding(focus, reading) for focus in (*reading.foci, *reading.physiologic, *reading.device))


def _finding(focus: SpectFocus, reading: SpectReading) -> Finding:
    key, concept = {
        Origin.PHYSIOLOGIC: ("physiologic_uptake", vocabulary.PHYSIOLOGIC_UPTAKE),
        Origin.DEVICE: ("device_activity", vocabulary.DEVICE_ACTIVITY),
    }.get(focus.where.origin, ("extrahepatic_focus", vocabulary.EXTRAHEPATIC_PERFUSION))
    return Finding(
        key=key,
        concept=concept,
        presence=Presence.PRESENT if focus.certain else Presence.INDETERMINATE,
        sentence=(
            f"{label_of(focus)}: {_guess(focus)}; {slice_words(focus, reading)}, {focus.volume_ml:.0f} ml, "
            f"{_share_words(focus)}, peak {100 * focus.peak_fraction:.0f} % of the liver's mean.{_doubt(focus)}"
        ),
        subject=focus.name,
        site=focus.site,
        evidence=("extrahepatic_share", "extrahepatic_peak"),
    )


def _doubt(focus: SpectFocus) -> str:
    """What a peak that is not surely a focus of its own may be; empty where that is not in question."""
    if focus.stands_out or focus.where.origin is Origin.DEVICE:
        return ""
    others = ", tracer in blood, or noise" if _is_faint(focus) else ""
    return f" It does not stand out clearly: it may be a part of the liver that the CT's outline misses{others}."


def certain_places(spect: SpectReading | None) -> tuple[str, ...]:
    """Foci of a SPECT/CT that stand apart and have no other explanation, in words."""
    if spect is None:
        return ()
    return tuple(_place(focus, spect) for focus in spect.foci if focus.certain)


def possible_places(spect: SpectReading | None, *, pertechnetate: bool) -> tuple[str, ...]:
    """Other foci of a SPECT, in words; kidneys are explained by the pattern of free pertechnetate alone."""
    if spect is None:
        return ()
    foci = [focus for focus in spect.foci if not focus.certain and not _is_faint(focus)]
    foci += [] if pertechnetate else [focus for focus in spect.physiologic if not _is_faint(focus)]
    return tuple(_place(focus, spect) for focus in foci)


def faint_places(spect: SpectReading | None, *, pertechnetate: bool) -> tuple[str, ...]:
    """Spots of a SPECT/CT that do not stand out clearly and hold little, in words; kidneys as above."""
    if spect is None:
        return ()
    spots = (*spect.foci, *(() if pertechnetate else spect.physiologic))
    return tuple(_place(focus, spect) for focus in spots if _is_faint(focus))


def _is_faint(focus: SpectFocus) -> bool:
    """As likely nothing; a hundredth of the liver's counts at a tenth of its level is more than noise or blood."""
    is_little = focus.share_fraction < _FAINT_SHARE_FRACTION or focus.peak_fraction < _FAINT_PEAK_FRACTION
    return is_little and not focus.stands_out and focus.where.origin is not Origin.DEVICE


def _place(focus: SpectFocus, spect: SpectReading) -> str:
    """The guess of the place, marked as one, the share, and the slice on which to look."""
    guess = focus.words.split(" (", maxsplit=1)[0].rstrip("?")
    like = "uptake like a " if focus.site == vocabulary.KIDNEY else ""
    return f"{spect.seen_on} {like}{guess}? ({_share_words(focus)}, {slice_words(focus, spect)})"


def _guess(focus: SpectFocus) -> str:
    """Organ and place, the organ marked as the guess that it is."""
    organ, bracket, place = focus.words.partition(" (")
    return f"{organ.rstrip('?')}?{bracket}{place}"


def slice_words(focus: SpectFocus, spect: SpectReading) -> str:
    """``slice 43 of 80``, the one that holds most of a focus: the frame of one object, else counted from the feet."""
    middle = int(np.argmax(focus.mask_zyx.sum(axis=(1, 2))))
    planes = spect.volume.planes
    if len({plane.sop_instance_uid for plane in planes}) == 1:
        return f"slice {planes[middle].frame} of {len(planes)}"
    upwards = spect.volume.affine_lps[2, 2] > 0
    return f"slice {middle + 1 if upwards else len(planes) - middle} of {len(planes)} from the feet"


def _share_words(focus: SpectFocus) -> str:
    """Share of the liver's counts; one that rounds to nothing is said to be small, not to be none."""
    if focus.share_fraction < 0.0005:
        return "below 0.1 % of the liver's counts"
    share = f"{100 * focus.share_fraction:.1f} % of the liver's counts"
    return f"at least {share}, cut by the edge of the field" if _is_cut(focus) else share


def _is_cut(focus: SpectFocus) -> bool:
    """Whether a focus reaches the first or the last plane, so that it holds more than was counted."""
    return bool(focus.mask_zyx[0].any() or focus.mask_zyx[-1].any())


def pocket_share_of(spect: SpectReading) -> float:
    """Counts round the pump as a share of those of liver and pocket, from 0 to 1."""
    held = sum(focus.share_fraction for focus in spect.device if focus.site == vocabulary.ABDOMINAL_WALL)
    return held / (1.0 + held)


def spect_device_sentence(spect: SpectReading | None) -> str:
    """Activity that a SPECT/CT shows at pump or tip, in one sentence; empty without any."""
    if spect is None or not spect.device:
        return ""
    places = "; ".join(f"{focus.words.split(' (', maxsplit=1)[0]} ({_share_words(focus)})" for focus in spect.device)
    return f"SPECT/CT shows activity at the device: {places}."


def spect_limitations(reading: SpectReading, thresholds: Thresholds) -> tuple[str, ...]:
    """What a reader of the SPECT result must know."""
    limitations = [f"SPECT: {remark}." for remark in reading.remarks]
    if reading.organs is None:
        limitations.append(
            f"SPECT regions rest on activity alone: {reading.ct_reason or 'no CT was used'}. Activity that touches the "
            "liver cannot be "
            f"told from it, foci within {thresholds.spect_clear_of_liver_mm:.0f} mm of it are not searched for, and "
            "neither lung shunt, lobar split nor coverage is measured on the SPECT."
        )
    else:
        limitations += _ct_limitations(reading, thresholds)
    if not reading.attenuation_corrected:
        limitations.append(
            "The SPECT is not known to be corrected for attenuation: lung shunt, lobar split and coverage are not "
            "measured on it, and shares of foci are approximate. Without that correction deep parts of the liver look "
            "colder than they are, and a lung shunt would come out too high: lungs attenuate less than the liver."
        )
    kidneys = [focus for focus in reading.physiologic if focus.site == vocabulary.KIDNEY]
    if kidneys:
        places = "; ".join(focus.words for focus in kidneys)
        limitations.append(f"SPECT uptake that looks like kidney, which macroaggregates do not reach: {places}.")
    limitations += [_background_words(region, reading) for region in reading.background]
    if any(not ratio.given for ratio in reading.ratios):
        outside = (
            "" if reading.organs is not None else " Without a CT they may also lie outside the liver, touching it."
        )
        limitations.append(
            f"Hot regions of the liver are outlined by their own uptake; they are not confirmed tumors.{outside}"
        )
    limitations += reading.mask_remarks
    return tuple(limitations)


def _background_words(region: SpectFocus, reading: SpectReading) -> str:
    """What was taken for background, told so that it can be looked at."""
    return (
        f"SPECT/CT: a wide faint region ({region.volume_ml:.0f} ml, {slice_words(region, reading)}, "
        f"{_share_words(region)}, nowhere above {max(1.0, 100 * region.peak_fraction):.0f} % of the liver's mean) is "
        "no brighter than blood, scatter and noise may be; it is taken for background and not outlined."
    )


def _ct_limitations(reading: SpectReading, thresholds: Thresholds) -> list[str]:
    organs, perfusion = reading.organs, reading.perfusion
    said = []
    if organs is not None and abs(organs.shift_up_mm) >= thresholds.mismatch_mm:
        above = organs.shift_up_mm > 0
        volume = f" ({perfusion.above_dome_ml:.0f} ml of uptake lie above its dome)" if above and perfusion else ""
        said.append(
            f"Respiratory mismatch: the liver's uptake lies {abs(organs.shift_up_mm):.0f} mm "
            f"{'above' if above else 'below'} the liver of the CT{volume}; the CT's liver was moved onto it, and "
            "attenuation correction near the dome is doubtful."
        )
    if perfusion is not None and perfusion.shunt is None:
        said.append(
            "Lung shunt not measured on the SPECT/CT: too little of the lungs lies clear of the liver and of foci."
        )
    if perfusion is not None and perfusion.resected_lobe:
        said.append(
            f"The CT shows next to no liver in the place of the {perfusion.resected_lobe} lobe (resected?); no split "
            "is given."
        )
    elif perfusion is not None:
        said.append(
            "Right and left lobe are divided by a plane through the caval foramen at 75 degrees to the frontal plane, "
            "moved to where the uptake steps, not by vessels; it is wrong after resection or growth of a lobe."
        )
    return said
