"""What several foci mean together: one pump pocket, or free pertechnetate.

Tc-99m that is no longer bound to albumin collects in the stomach wall, thyroid, salivary glands, kidneys and bladder
(in 38 % of mapping studies). Stomach alone cannot be told from a perfused stomach; stomach with thyroid or salivary
glands, or with both kidneys and bladder, can. Where the neck is not in the field the question stays open for uptake
that is as wide or as faint as the wall of the whole stomach.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from analyzers import vocabulary
from analyzers.contract import Code
from analyzers.scintigraphy.landmarks import Landmarks
from analyzers.scintigraphy.thresholds import Thresholds
from analyzers.scintigraphy.whereabouts import (
    CATHETER_TIP,
    KIDNEY_FAINT_FRACTION,
    OR_TIP,
    PUMP_POCKET,
    LocatedFocus,
    Origin,
    is_pump_depth,
)

_POCKET_REACH_MM = 100.0
_NECK_SEEN_ABOVE_DOME_MM = 250.0
_STOMACH_WIDE_MM = 85.0
_STOMACH_FAINT_FRACTION = 0.3
_FLANK_FAINT_FRACTION = 0.12
SECOND_SPOT = "small hot tumor or catheter tip"
_URINARY: frozenset[Code] = frozenset({vocabulary.KIDNEY, vocabulary.URINARY_BLADDER})


def explained_together(
    foci: Sequence[LocatedFocus], landmarks: Landmarks, field_top_row: int
) -> tuple[LocatedFocus, ...]:
    """Give foci their meaning in company.

    Parameters
    ----------
    foci : sequence of LocatedFocus
        Each located by itself.
    landmarks : Landmarks
    field_top_row : int
        Uppermost row that the crystal sees, on the working grid.
    """
    return _with_pertechnetate(_with_one_tip(_with_one_pocket(foci, landmarks)), landmarks, field_top_row)


def _with_one_tip(foci: Sequence[LocatedFocus]) -> tuple[LocatedFocus, ...]:
    """A pump has one catheter: of several hot spots near the porta the hottest is likeliest its tip."""
    tips = [item for item in foci if item.whereabouts.words == CATHETER_TIP]
    if not tips:
        return tuple(foci)
    hottest = max(tips, key=lambda item: item.focus.peak_fraction)
    return tuple(item if item is hottest else _beside_the_tip(item) for item in foci)


def _beside_the_tip(item: LocatedFocus) -> LocatedFocus:
    where = item.whereabouts
    if where.words != CATHETER_TIP:
        return replace(item, whereabouts=replace(where, words=where.words.removesuffix(OR_TIP)))
    reason = f"{where.reason}; another spot near the porta is hotter and likelier the tip"
    return replace(item, whereabouts=replace(where, words=SECOND_SPOT, reason=reason))


def doubted_after_subtraction(item: LocatedFocus, thresholds: Thresholds) -> LocatedFocus:
    """A weak spleen, once residue of colloid was subtracted there, is perhaps only what registration left of it."""
    where = item.whereabouts
    small = item.focus.share_fraction < thresholds.residue_doubt_share_fraction
    if where.site != vocabulary.SPLEEN or not small:
        return item
    found = replace(
        where,
        origin=Origin.AMBIGUOUS,
        words="spleen, perfused or residue of the colloid",
        reason=f"{where.reason}; weak, where residue of colloid was subtracted",
    )
    return replace(item, whereabouts=found)


def _with_one_pocket(foci: Sequence[LocatedFocus], landmarks: Landmarks) -> tuple[LocatedFocus, ...]:
    """A spill round a pump is a ring, a sickle or patches of both: what lies near one patch is another of them."""
    pocket = next((item for item in foci if item.whereabouts.words == PUMP_POCKET), None)
    if pocket is None:
        return tuple(foci)
    centre = np.argwhere(pocket.focus.mask_yx).mean(axis=0)
    explained = []
    for item in foci:
        apart_mm = float(np.hypot(*(np.argwhere(item.focus.mask_yx).mean(axis=0) - centre))) * landmarks.pixel_mm
        same = (
            apart_mm < _POCKET_REACH_MM and is_pump_depth(item.focus) and item.whereabouts.origin is not Origin.DEVICE
        )
        reason = f"{apart_mm:.0f} mm from another patch of the pump pocket, as superficial as that"
        where = replace(pocket.whereabouts, reason=reason) if same else item.whereabouts
        explained.append(replace(item, whereabouts=where))
    return tuple(explained)


def _with_pertechnetate(
    foci: Sequence[LocatedFocus], landmarks: Landmarks, field_top_row: int
) -> tuple[LocatedFocus, ...]:
    sites = [item.whereabouts.site for item in foci]
    neck = vocabulary.THYROID in sites
    urinary = set(sites) >= _URINARY
    if neck or urinary:
        with_words = "with thyroid or salivary glands" if neck else "with kidney and bladder"
        return tuple(_named_pertechnetate(item, with_words) for item in foci)
    if landmarks.below_dome_mm(field_top_row) < -_NECK_SEEN_ABOVE_DOME_MM:
        # The neck was looked at and holds nothing: the stomach has no excuse.
        return tuple(foci)
    kidney = vocabulary.KIDNEY in sites
    wide_stomach = any(item.whereabouts.site == vocabulary.STOMACH and _is_like_a_whole_stomach(item) for item in foci)
    unseen = "as free pertechnetate would be, and the neck is not in the field"
    foci = [
        _perhaps_left_kidney(item, unseen) if kidney or wide_stomach or _is_a_faint_flank(item) else item
        for item in foci
    ]
    return tuple(_perhaps_pertechnetate(item, wide_stomach=wide_stomach) for item in foci)


def _perhaps_left_kidney(
    item: LocatedFocus, beside: str, faint_fraction: float = KIDNEY_FAINT_FRACTION
) -> LocatedFocus:
    """What looks like a spleen but is faint may, beside what free pertechnetate marks, be the left kidney."""
    where = item.whereabouts
    if (
        where.site != vocabulary.SPLEEN
        or where.origin is not Origin.EXTRAHEPATIC
        or item.focus.peak_fraction >= faint_fraction
    ):
        return item
    found = replace(
        where,
        origin=Origin.AMBIGUOUS,
        words="spleen, or left kidney with free pertechnetate",
        reason=f"{where.reason}; faint, {beside}",
    )
    return replace(item, whereabouts=found)


def _named_pertechnetate(item: LocatedFocus, with_words: str) -> LocatedFocus:
    # The pattern is there: up to the brightness of a marked stomach wall a kidney is as likely as a spleen.
    item = _perhaps_left_kidney(item, with_words, _STOMACH_FAINT_FRACTION)
    where = item.whereabouts
    if where.site == vocabulary.THYROID or where.site in _URINARY:
        return replace(item, whereabouts=replace(where, origin=Origin.PERTECHNETATE))
    if where.site != vocabulary.STOMACH:
        return item
    if _is_like_a_whole_stomach(item):
        found = replace(
            where,
            origin=Origin.PERTECHNETATE,
            words="stomach wall",
            reason=f"{where.reason}; wide or faint, {with_words}: the pattern of free pertechnetate",
        )
        return replace(item, whereabouts=found)
    found = replace(
        where,
        origin=Origin.AMBIGUOUS,
        words="stomach, perfused or free pertechnetate",
        reason=f"{where.reason}; {with_words}, yet brighter and smaller than free pertechnetate in a stomach wall",
    )
    return replace(item, whereabouts=found)


def _is_a_faint_flank(item: LocatedFocus) -> bool:
    """Long and hardly brighter than what surrounds it; a perfused spleen is short or bright."""
    return item.focus.long_axis_mm > _STOMACH_WIDE_MM and item.focus.peak_fraction < _FLANK_FAINT_FRACTION


def _perhaps_pertechnetate(item: LocatedFocus, *, wide_stomach: bool) -> LocatedFocus:
    """What is like a whole stomach may be free pertechnetate, and so may other parts of that stomach."""
    where = item.whereabouts
    if (
        where.site != vocabulary.STOMACH
        or where.origin is not Origin.EXTRAHEPATIC
        or not (wide_stomach or _is_like_a_whole_stomach(item))
    ):
        return item
    like = (
        "wide or faint as free pertechnetate is" if _is_like_a_whole_stomach(item) else "beside a marked stomach wall"
    )
    found = replace(
        where,
        origin=Origin.AMBIGUOUS,
        words="stomach, perfused or free pertechnetate",
        reason=f"{where.reason}; {like}, and the neck is not in the field",
    )
    return replace(item, whereabouts=found)


def _is_like_a_whole_stomach(item: LocatedFocus) -> bool:
    """Free pertechnetate marks the whole wall, so it is wide; and it is faint beside the liver."""
    focus = item.focus
    return focus.long_axis_mm > _STOMACH_WIDE_MM or focus.peak_fraction < _STOMACH_FAINT_FRACTION
