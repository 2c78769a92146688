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
    return tuple(_finding(focus) for focus in (*reading.foci, *reading.physiologic, *reading.device))


def _finding(focus: SpectFocus) -> Finding:
    key, concept = {
        Origin.PHYSIOLOGIC: ("physiologic_uptake", vocabulary.PHYSIOLOGIC_UPTAKE),
        Origin.DEVICE: ("device_activity", vocabulary.DEVICE_ACTIVITY),
    }.get(focus.where.origin, ("extrahepatic_focus", vocabulary.EXTRAHEPATIC_PERFUSION))
    return Finding(
        key=key,
        concept=concept,
        presence=Presence.PRESENT if focus.certain else Presence.INDETERMINATE,
        sentence=(
            f"{label_of(focus)}: {focus.words}; {focus.volume_ml:.0f} ml, "
            f"{_share_words(focus)}, peak {focus.peak_fraction:.2f} of the "
            f"liver's mean.{_doubt(focus)}"
        ),
        subject=focus.name,
        site=focus.site,
        evidence=("extrahepatic_share", "extrahepatic_peak"),
    )


def _doubt(focus: SpectFocus) -> str:
    """What a peak that is not surely a focus of its own may be; empty where that is not in question."""
    if focus.stands_out or focus.where.origin is Origin.DEVICE:
        return ""
    return " It does not stand out clearly: it may be a part of the liver that the CT's outline misses, or noise."


def certain_places(spect: SpectReading | None) -> tuple[str, ...]:
    """Foci of a SPECT/CT that stand apart and have no other explanation, in words."""
    return tuple(_place(focus, spect) for focus in spect.foci if focus.certain) if spect is not None else ()


def possible_places(spect: SpectReading | None, *, pertechnetate: bool) -> tuple[str, ...]:
    """Other foci of a SPECT, in words; kidneys are explained by the pattern of free pertechnetate alone."""
    if spect is None:
        return ()
    foci = [focus for focus in spect.foci if not focus.certain]
    foci += [] if pertechnetate else spect.physiologic
    return tuple(_place(focus, spect) for focus in foci)


def _place(focus: SpectFocus, spect: SpectReading) -> str:
    words = focus.words.split(" (", maxsplit=1)[0] if spect.organs is not None else focus.words
    return f"{spect.seen_on} {words} ({_share_words(focus)})"


def _share_words(focus: SpectFocus) -> str:
    """Share of the liver's counts; one that rounds to nothing is said to be small, not to be none."""
    if focus.share_fraction < 0.0005:
        return "below 0.1 % of the liver's counts"
    return f"{100 * focus.share_fraction:.1f} % of the liver's counts"


def spect_device_sentence(spect: SpectReading | None) -> str:
    """Activity that a SPECT/CT shows at pump or tip, in one sentence; empty without any."""
    if spect is None or not spect.device:
        return ""
    places = "; ".join(
        f"{focus.words.split(' (', maxsplit=1)[0]} ({100 * focus.share_fraction:.1f} %)" for focus in spect.device
    )
    return f"SPECT/CT shows activity at the device: {places}."


def spect_shunt_sentence(spect: SpectReading | None, thresholds: Thresholds) -> str:
    """The lung shunt of a SPECT/CT in one sentence; empty when it was not measured."""
    if spect is None or spect.perfusion is None or spect.perfusion.shunt is None:
        return ""
    shunt = spect.perfusion.shunt
    low, high = max(0.0, shunt.fraction - shunt.error), shunt.fraction + shunt.error
    sentence = (
        f"Lung shunt by SPECT/CT {'at least ' if shunt.at_least else ''}{100 * shunt.fraction:.1f} % (95 % interval "
        f"{100 * low:.1f} to {100 * high:.1f} %)"
    )
    return f"{sentence}: high." if shunt.fraction >= thresholds.high_shunt_fraction else f"{sentence}."


def spect_limitations(reading: SpectReading, thresholds: Thresholds) -> tuple[str, ...]:
    """What a reader of the SPECT result must know."""
    limitations = [f"SPECT: {remark}." for remark in reading.remarks]
    if reading.organs is None:
        because = f" because {reading.ct_reason}" if reading.ct_reason else ""
        limitations.append(
            "SPECT regions rest on activity alone: no CT was used to tell the liver from its neighbours"
            f"{because}, and activity within {thresholds.spect_clear_of_liver_mm:.0f} mm of the liver is not searched."
        )
    else:
        limitations += _ct_limitations(reading, thresholds)
    if not reading.attenuation_corrected:
        limitations.append(
            "The SPECT is not known to be corrected for attenuation: lung shunt, lobar split and coverage are not "
            "measured, shares of foci are approximate. Without that correction deep parts of the liver look colder "
            "than they are, and a lung shunt would come out too high, for the lungs attenuate less than the liver."
        )
    kidneys = [focus for focus in reading.physiologic if focus.site == vocabulary.KIDNEY]
    if kidneys:
        places = "; ".join(focus.words for focus in kidneys)
        limitations.append(f"SPECT uptake that looks like kidney, which macroaggregates do not reach: {places}.")
    if any(not ratio.given for ratio in reading.ratios):
        limitations.append("Hot regions of the liver are outlined by their own uptake; they are not confirmed tumors.")
    limitations += reading.mask_remarks
    return tuple(limitations)


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
