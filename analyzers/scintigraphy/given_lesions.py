"""Tumour-to-normal ratios on lesions that others outlined: the segmentations that lie with the study.

A segmentation in the frame of reference of the SPECT is used as it lies there; one drawn on the CT of the SPECT/CT is
moved with that CT's liver onto the uptake. One in another frame of reference is used only where it holds the liver
too, and that liver can be brought onto the present one. Normal liver is the segmentation's own liver without all
lesions, else the liver of the CT, else the uptake of the SPECT, and each ratio says which. What is not used is told.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from analyzers.contract import SegmentRef
from analyzers.grid_mask import GridMask
from analyzers.scintigraphy.segment_roles import RoledSegment, SegmentRole, role_of
from analyzers.scintigraphy.tumor_ratio import (
    LEAST_OVERLAP,
    REGISTERED,
    TumorRatio,
    mean_counts,
    normal_level,
    on_spect,
    shift_onto,
)
from analyzers.segmentations import GivenSegmentation, MaskRefusedError
from analyzers.volume import Volume

_LIVER_ML = (300.0, 5000.0)
"""Of what may be called the liver of an adult, a small remnant and a large tumour load included."""
_RESOLUTION_MM = 15.0
"""Assumed FWHM of a Tc-99m SPECT of the liver: the collimator at that depth and the smoothing after reconstruction."""
_LEAST_KEPT = 2.0 / 3.0
_KEPT_GRID_MM = 2.0
_AROUND_LIVER_MM = 15.0
_LEAST_IN_LIVER = 0.7
"""Of an outline; low-dose CT misses the border of a liver by less."""
_SAME_SHARE = 0.8
_MOST_LESIONS = 20
_MOST_REMARKS = 6
_LABEL_CHARACTERS = 48
MOVED_MM = 1.0
"""Below this a CT's liver lies where the uptake lies."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PresentLiver:
    """The liver on the SPECT as the analyzer has it, and how it came by it."""

    mask: GridMask
    words: str
    by_anatomy: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What masks are laid on.

    Attributes
    ----------
    spect : Volume
    liver : PresentLiver
    ct_series_uid : str
        Of the CT whose liver was moved onto the uptake; empty without one.
    shift_up_mm : float
        By how much it was moved towards the head.
    """

    spect: Volume
    liver: PresentLiver
    ct_series_uid: str = ""
    shift_up_mm: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenRatios:
    """The ratios, and sentences about what was not used."""

    ratios: tuple[TumorRatio, ...] = ()
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Lesion:
    mask: GridMask
    segment: SegmentRef | None
    origin: str
    cautions: tuple[str, ...]
    source: str
    """SOP Instance UID of its segmentation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Placement:
    """How a segmentation lies on the SPECT."""

    shift_lps_mm: NDArray[np.float64]
    words: str
    registered: bool = False


@dataclass(slots=True, kw_only=True)
class _Gathered:
    """Lesions and livers of all segmentations, on the SPECT's frame, and what was left out."""

    lesions: list[_Lesion]
    livers: dict[str, GridMask]
    remarks: list[str]


def ratios_on_given(around: Surroundings, segmentations: Sequence[GivenSegmentation]) -> GivenRatios:
    """Ratio of each lesion that others outlined; of outlines of one lesion the newest counts."""
    gathered = _Gathered(lesions=[], livers={}, remarks=[])
    for segmentation in _newest_first(segmentations):
        _gather(segmentation, around, gathered)
    lesions = _each_once(gathered)
    masks = [lesion.mask for lesion in lesions]
    ratios: list[TumorRatio] = []
    for lesion in lesions[:_MOST_LESIONS]:
        measured = _measured(lesion, len(ratios) + 1, around, gathered, masks)
        if isinstance(measured, str):
            gathered.remarks.append(f"{_named(lesion.mask.label)}: {measured}; no tumor-to-normal ratio is given.")
        else:
            ratios.append(measured)
    if len(lesions) > _MOST_LESIONS:
        gathered.remarks.append(f"Only the first {_MOST_LESIONS} of {len(lesions)} outlined lesions were measured.")
    return GivenRatios(ratios=tuple(ratios), remarks=_told(gathered.remarks))


def _newest_first(segmentations: Sequence[GivenSegmentation]) -> list[GivenSegmentation]:
    def made(segmentation: GivenSegmentation) -> str:
        header = segmentation.source.instance
        return header.text("ContentDate") + header.text("ContentTime")

    by_uid = sorted(segmentations, key=lambda segmentation: segmentation.sop_instance_uid)
    return sorted(by_uid, key=made, reverse=True)


def _told(remarks: Sequence[str]) -> tuple[str, ...]:
    # Refusals may quote a decoder, names a stranger.
    unique = list(dict.fromkeys(_plain(remark) for remark in remarks))
    more = len(unique) - _MOST_REMARKS
    return (*unique[:_MOST_REMARKS], *((f"{more} more outlines were not used.",) if more > 0 else ()))


def _gather(segmentation: GivenSegmentation, around: Surroundings, gathered: _Gathered) -> None:
    """Add what a segmentation holds, or say why it holds nothing to use."""
    name = _name(segmentation)
    roled = [role_of(segment) for segment in segmentation.segments]
    wanted = [one for one in roled if one.role is SegmentRole.LESION]
    if segmentation.refusal:
        gathered.remarks.append(f"{name} was not used: {segmentation.refusal}.")
        return
    livers = [one for one in roled if one.role is SegmentRole.LIVER]
    if not wanted and not livers:
        labels = ", ".join(_named(one.segment.label) for one in roled[:4])
        gathered.remarks.append(f"{name} was not used: none of its segments ({labels}) is a lesion or the liver.")
        return
    masks = dict(_read(segmentation, [*livers, *wanted], name, gathered))
    liver = next((mask for one in livers if (mask := masks.get(one.segment.number)) and _is_liver(mask)), None)
    placement = _placement(segmentation, liver, around)
    if isinstance(placement, str):
        gathered.remarks.append(f"{name} was not used: {placement}.")
        return
    if liver is not None:
        gathered.livers[segmentation.sop_instance_uid] = liver.moved(placement.shift_lps_mm)
    for one in wanted:
        if one.segment.number in masks:
            gathered.lesions.append(_lesion(segmentation, one, masks[one.segment.number], placement))


def _read(
    segmentation: GivenSegmentation, wanted: Sequence[RoledSegment], name: str, gathered: _Gathered
) -> Iterator[tuple[int, GridMask]]:
    for one in wanted:
        try:
            yield one.segment.number, segmentation.mask(one.segment)
        except MaskRefusedError as error:
            gathered.remarks.append(f"{name}: {_named(one.segment.label)} was not used: {error}.")


def _is_liver(mask: GridMask) -> bool:
    return _LIVER_ML[0] <= mask.volume_ml <= _LIVER_ML[1]


def _placement(segmentation: GivenSegmentation, liver: GridMask | None, around: Surroundings) -> _Placement | str:
    """How a segmentation lies on the SPECT; or why that is not known."""
    own, drawn_on = segmentation.frame_of_reference_uid, segmentation.source_series
    on_the_spect = around.spect.series_instance_uid in drawn_on
    if on_the_spect or (own is not None and own == around.spect.frame_of_reference_uid):
        moved = around.ct_series_uid in drawn_on and not on_the_spect and abs(around.shift_up_mm) >= MOVED_MM
        if not moved:
            return _Placement(shift_lps_mm=np.zeros(3), words="in the frame of reference of the SPECT")
        return _Placement(
            shift_lps_mm=np.asarray([0.0, 0.0, around.shift_up_mm]),
            words=f"drawn on the CT and moved with its liver by {around.shift_up_mm:+.0f} mm",
        )
    if liver is None:
        return "it lies in another frame of reference than the SPECT and holds no liver by which to register it"
    shift, overlap = shift_onto(liver, around.liver.mask)
    if overlap < LEAST_OVERLAP:
        return (
            "it lies in another frame of reference than the SPECT, and its liver overlaps the present one by "
            f"{100 * overlap:.0f} % only"
        )
    words = f"registered from another frame of reference by the liver (overlap {100 * overlap:.0f} %)"
    return _Placement(shift_lps_mm=shift, words=words, registered=True)


def _lesion(segmentation: GivenSegmentation, one: RoledSegment, mask: GridMask, placement: _Placement) -> _Lesion:
    drawn_on = next(iter(segmentation.source_series), "")
    return _Lesion(
        mask=mask.moved(placement.shift_lps_mm),
        segment=SegmentRef(
            sop_instance_uid=segmentation.sop_instance_uid, number=one.segment.number, source_series_uid=drawn_on
        )
        if drawn_on and one.segment.number > 0
        else None,
        origin=f"outlined in {_name(segmentation, within=True)}, a lesion by {one.because}, {placement.words}",
        cautions=(REGISTERED,) if placement.registered else (),
        source=segmentation.sop_instance_uid,
    )


def _each_once(gathered: _Gathered) -> list[_Lesion]:
    """Lesions without older outlines of the same; their segmentations come newest first."""
    kept: list[_Lesion] = []
    for lesion in gathered.lesions:
        newer = [one for one in kept if one.source != lesion.source]
        if any(_is_same(lesion.mask, one.mask) for one in newer):
            gathered.remarks.append(f"{_named(lesion.mask.label)}: an older outline of the same lesion was not used.")
        else:
            kept.append(lesion)
    return kept


def _is_same(one: GridMask, other: GridMask) -> bool:
    shares = (other.holds(one.points_lps_mm()).mean(), one.holds(other.points_lps_mm()).mean())
    return bool(min(shares) >= _SAME_SHARE)


def _measured(
    lesion: _Lesion, number: int, around: Surroundings, gathered: _Gathered, masks: Sequence[GridMask]
) -> TumorRatio | str:
    """The ratio of one lesion; or why there is none."""
    given = gathered.livers.get(lesion.source) or next(iter(gathered.livers.values()), None)
    reference = around.liver
    if given is not None and normal_level(around.spect, given, masks) is not None:
        reference = PresentLiver(mask=given, words="the outlined liver", by_anatomy=True)
    level = normal_level(around.spect, reference.mask, masks)
    if level is None:
        return "normal liver beside the lesions holds no counts or leaves the field of the SPECT"
    points = lesion.mask.points_lps_mm()
    if not _is_near(points, (reference.mask, around.liver.mask)):
        return "the outline lies outside the liver"
    mean = mean_counts(around.spect, points)
    if mean is None:
        return "the outline leaves the field of the SPECT"
    cautions = list(lesion.cautions)
    kept = kept_by_blur(lesion.mask)
    if kept < _LEAST_KEPT:
        cautions.append(f"blur leaves about {100 * kept:.0f} % of its counts inside: the ratio is drawn towards 1")
    if not reference.by_anatomy:
        cautions.append("normal liver is known by its uptake alone")
    share = float(around.liver.mask.holds(points).mean())
    if around.liver.by_anatomy and share < _LEAST_IN_LIVER:
        cautions.append(f"only {100 * share:.0f} % of the outline lies in {around.liver.words}")
    return TumorRatio(
        name=f"given-lesion-{number}",
        label=_named(lesion.mask.label) if lesion.mask.label.strip() else f"Lesion {number}",
        ratio=mean / level,
        volume_ml=lesion.mask.volume_ml,
        given=True,
        origin=_plain(f"{lesion.origin}; normal liver: {reference.words} without lesions"),
        mask_zyx=on_spect(lesion.mask, around.spect),
        segment=lesion.segment,
        cautions=tuple(cautions),
    )


def kept_by_blur(mask: GridMask) -> float:
    """Share of a uniform lesion's counts that the camera's blur leaves inside its outline, by the outline alone."""
    steps_mm = [float(np.linalg.norm(mask.affine_lps[:3, axis])) for axis in (2, 1, 0)]
    thinned = tuple(slice(None, None, max(1, int(_KEPT_GRID_MM // step))) for step in steps_mm)
    inside = mask.mask_zyx[thinned]
    if not inside.any():
        return 0.0
    spread = [_RESOLUTION_MM / 2.355 / (step * (part.step or 1)) for step, part in zip(steps_mm, thinned, strict=True)]
    rooms = [(round(3.0 * sigma),) * 2 for sigma in spread]
    padded = np.pad(inside.astype(np.float32), rooms)
    soft = ndimage.gaussian_filter(padded, spread)
    return float(soft[padded > 0].mean(dtype=np.float64))


def _is_near(points: NDArray[np.float64], livers: Sequence[GridMask]) -> bool:
    """Whether the centre of a lesion lies in the box around a liver, or near it."""
    corners = np.concatenate([liver.points_lps_mm() for liver in livers])
    centre = points.mean(axis=0)
    low, high = corners.min(axis=0) - _AROUND_LIVER_MM, corners.max(axis=0) + _AROUND_LIVER_MM
    return bool(((centre >= low) & (centre <= high)).all())


def _name(segmentation: GivenSegmentation, *, within: bool = False) -> str:
    header = segmentation.source.instance
    number = header.text("SeriesNumber")
    title = _named(header.text("SeriesDescription"))
    words = f"segmentation series {number}" if number else "a segmentation"
    words += f" ({title})" if title else ""
    return words if within else words[:1].upper() + words[1:]


def _named(text: str) -> str:
    """A stranger's words, short enough for a label and without the signs that part a remark."""
    return " ".join(_plain(text).replace(",", " ").replace(";", " ").split())[:_LABEL_CHARACTERS].strip()


def _plain(text: str) -> str:
    """One line of plain ASCII: accents dropped, what is left over a question mark."""
    folded = unicodedata.normalize("NFKD", text.replace("ß", "ss"))
    kept = "".join(sign for sign in folded if not unicodedata.combining(sign))
    return "".join(sign if sign.isascii() and sign.isprintable() else "?" for sign in kept)


def without_measuring(segmentations: Sequence[GivenSegmentation], why: str) -> GivenRatios:
    """What is said of lesions that were outlined where there is no SPECT to measure them on."""
    lesions = [
        segment for one in segmentations for segment in one.segments if role_of(segment).role is SegmentRole.LESION
    ]
    said = f"Lesions were outlined on this study; {why}, so no tumor-to-normal ratio is given."
    return GivenRatios(remarks=(said,) if lesions else ())
