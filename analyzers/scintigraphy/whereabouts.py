"""Where a focus probably lies, what else it could be, and why: words for a reader, never a diagnosis.

A projection gives height and side; the ratio of the anterior to the posterior counts gives depth. The guess
uses nothing else, and names the sign that it rests on. Organs that lie before or behind one another at that place are
named together: no projection tells them apart.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np

from analyzers import vocabulary
from analyzers.contract import Code
from analyzers.scintigraphy.foci import PlanarFocus
from analyzers.scintigraphy.landmarks import Landmarks
from analyzers.scintigraphy.pocket import PUMP_IN_FRONT

_IN_FRONT = 1.3
_BEHIND = 0.8
_COMPACT_MM = 34.0
_PUMP_ASIDE_MM = 28.0
_PUMP_MM = (55.0, 170.0)
_NECK_ASIDE_MM = 45.0
_LUNG_LONG_MM = 140.0
_UNDER_THE_SKIN = 8.0
_PUMP_BELOW_DOME_MM = 100.0
_POCKET_BRIGHT_FRACTION = 0.3
_TIP_BELOW_LIVER_MM = 10.0
_TIP_FROM_LIVER_MM = 25.0
# A point through a camera is two widths of its blur wide at most, where it is fainter than a liver too.
_TIP_PEAK_FRACTION = 0.8
_POINT_MM = 28.0
_POINT_PEAK_FRACTION = 0.5
_PORTA_LEFT_MM = 20.0
"""The hepatic artery leaves its trunk before the spine and runs to the right: further left is hardly a tip."""
_PERHAPS_POINT_MM = 45.0
"""A point 10 to 15 cm deep is 15 to 20 mm wide at half its height, and twice that where breathing draws it out."""
KIDNEY_FAINT_FRACTION = 0.2
NECK_ABOVE_DOME_MM = 160.0
"""From here on, in the middle and superficial, lies the thyroid: lungs are 160 to 230 mm high above the dome."""
PUMP_POCKET = "pump pocket"
CATHETER_TIP = "catheter tip"
OR_TIP, _OR_POCKET = ", or a catheter tip", ", or pump pocket"


class Origin(StrEnum):
    """Why there may be activity."""

    EXTRAHEPATIC = "extrahepatic"
    DEVICE = "device"
    PHYSIOLOGIC = "physiologic"
    PERTECHNETATE = "pertechnetate"
    """Free tracer in stomach wall, thyroid, kidneys or bladder, recognised by the pattern."""
    AMBIGUOUS = "ambiguous"
    """Extrahepatic perfusion or something harmless: nothing in the images can tell."""
    BACKGROUND = "background"
    """Wide, and no brighter than noise of a SPECT/CT may be: blood, scatter, no focus."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Whereabouts:
    """A guess of the organ.

    Attributes
    ----------
    origin : Origin
    site : Code
    words : str
        ``stomach or bowel``, ``spleen or left kidney``, ``pump pocket``; plain ASCII.
    reason : str
        What the guess rests on.
    """

    origin: Origin
    site: Code
    words: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LocatedFocus:
    """A focus with the guess where it lies."""

    focus: PlanarFocus
    whereabouts: Whereabouts


def whereabouts_of(focus: PlanarFocus, landmarks: Landmarks, *, colloid_given: bool = False) -> Whereabouts:
    """Guess where a focus lies.

    Parameters
    ----------
    focus : PlanarFocus
    landmarks : Landmarks
    colloid_given : bool
        A colloid scan belongs to the study: what spleen holds may be its residue.
    """
    row, col = (float(place) for place in np.argwhere(focus.mask_yx).mean(axis=0))
    left_mm = landmarks.left_of_midline_mm(col)
    below_dome_mm = landmarks.below_dome_mm(row)
    below_liver_mm = landmarks.below_liver_mm(row)
    depth = _depth_words(focus.front_back_ratio)
    side = f"{abs(left_mm):.0f} mm {'left' if left_mm > 0 else 'right'} of the midline"
    place = f"{side}, {depth}"
    at_height = f"{below_dome_mm:.0f} mm below the dome of the liver, {place}"
    if below_dome_mm < -30.0:
        return _above(focus, below_dome_mm, left_mm, place)
    if _is_under_the_skin(focus) and below_dome_mm > _PUMP_BELOW_DOME_MM:
        return Whereabouts(
            origin=Origin.DEVICE,
            site=vocabulary.ABDOMINAL_WALL,
            words=PUMP_POCKET,
            reason=f"{place}: far brighter, so directly under the skin, where pumps lie",
        )
    if below_liver_mm > 45.0:
        return _low(focus, below_liver_mm, left_mm, place)
    if left_mm > 55.0:
        found = _left_flank(focus, at_height, colloid_given=colloid_given)
    elif left_mm < -35.0:
        found = _right_flank(focus, at_height)
    else:
        found = _central(focus, left_mm, below_liver_mm, at_height)
    if below_dome_mm > _PUMP_BELOW_DOME_MM and is_pump_depth(focus) and _is_pump_wide(focus):
        # The wall of a stomach before the liver's edge is as superficial as a pump that lies high.
        return replace(found, words=f"{found.words}{_OR_POCKET}")
    return found


def _depth_words(front_back_ratio: float) -> str:
    if front_back_ratio > _IN_FRONT:
        return "brighter from in front"
    if front_back_ratio < _BEHIND:
        return "brighter from behind"
    return "alike from both sides"


def _above(focus: PlanarFocus, below_dome_mm: float, left_mm: float, place: str) -> Whereabouts:
    height = f"{-below_dome_mm:.0f} mm above the dome of the liver, {place}"
    if focus.long_axis_mm > _LUNG_LONG_MM:
        return Whereabouts(
            origin=Origin.PHYSIOLOGIC, site=vocabulary.LUNG, words="lung", reason=f"{height}; as long as a lung"
        )
    central = abs(left_mm) < _NECK_ASIDE_MM and focus.front_back_ratio > _IN_FRONT
    if below_dome_mm < -230.0 or (central and below_dome_mm < -NECK_ABOVE_DOME_MM):
        return Whereabouts(
            origin=Origin.PERTECHNETATE,
            site=vocabulary.THYROID,
            words="neck, thyroid or salivary glands",
            reason=f"{height}; free pertechnetate collects there",
        )
    return Whereabouts(
        origin=Origin.EXTRAHEPATIC, site=vocabulary.THORAX, words="thorax, outside the lungs", reason=height
    )


def _low(focus: PlanarFocus, below_liver_mm: float, left_mm: float, place: str) -> Whereabouts:
    height = f"{below_liver_mm:.0f} mm below the liver, {place}"
    if abs(left_mm) > _PUMP_ASIDE_MM and is_pump_depth(focus) and _is_pump_sized(focus):
        return Whereabouts(
            origin=Origin.DEVICE,
            site=vocabulary.ABDOMINAL_WALL,
            words=PUMP_POCKET,
            reason=f"{height}: in the abdominal wall where pumps lie",
        )
    if below_liver_mm > 230.0 and abs(left_mm) < 40.0:
        return Whereabouts(
            origin=Origin.PHYSIOLOGIC, site=vocabulary.URINARY_BLADDER, words="urinary bladder", reason=height
        )
    return Whereabouts(
        origin=Origin.EXTRAHEPATIC, site=vocabulary.SMALL_INTESTINE, words="small or large bowel", reason=height
    )


def _is_pump_sized(focus: PlanarFocus) -> bool:
    """Pumps are 75 to 88 mm wide; tracer spilt round one lies as a ring or a sickle, or fills the pocket."""
    return _is_pump_wide(focus) or focus.front_back_ratio > 3.0


def _is_pump_wide(focus: PlanarFocus) -> bool:
    return _PUMP_MM[0] <= focus.long_axis_mm <= _PUMP_MM[1]


def _is_under_the_skin(focus: PlanarFocus) -> bool:
    """Eight times the counts from in front: 18 cm of tissue behind and next to none before (0.12 per cm)."""
    return focus.front_back_ratio > _UNDER_THE_SKIN and focus.peak_fraction > _POCKET_BRIGHT_FRACTION


def is_pump_depth(focus: PlanarFocus) -> bool:
    """Pockets lie before the muscles of the abdominal wall: far brighter from in front."""
    return focus.front_back_ratio > PUMP_IN_FRONT


def _left_flank(focus: PlanarFocus, place: str, *, colloid_given: bool) -> Whereabouts:
    if focus.front_back_ratio < _BEHIND and colloid_given:
        return Whereabouts(
            origin=Origin.AMBIGUOUS,
            site=vocabulary.SPLEEN,
            words="spleen, perfused or residue of the colloid",
            reason=f"{place}; colloid was given before and stays in spleen and marrow",
        )
    if focus.front_back_ratio < _BEHIND:
        return Whereabouts(
            origin=Origin.EXTRAHEPATIC, site=vocabulary.SPLEEN, words="spleen or left kidney", reason=place
        )
    return Whereabouts(origin=Origin.EXTRAHEPATIC, site=vocabulary.STOMACH, words="stomach or bowel", reason=place)


def _right_flank(focus: PlanarFocus, place: str) -> Whereabouts:
    if focus.front_back_ratio < _BEHIND and focus.peak_fraction < KIDNEY_FAINT_FRACTION:
        return Whereabouts(origin=Origin.PHYSIOLOGIC, site=vocabulary.KIDNEY, words="right kidney", reason=place)
    if focus.front_back_ratio < _BEHIND:
        return Whereabouts(
            origin=Origin.EXTRAHEPATIC,
            site=vocabulary.DUODENUM,
            words="duodenum or right kidney",
            reason=f"{place}; brighter than what kidneys usually hold",
        )
    return Whereabouts(
        origin=Origin.EXTRAHEPATIC,
        site=vocabulary.DUODENUM,
        words="duodenum, gallbladder or right colic flexure",
        reason=place,
    )


def _central(focus: PlanarFocus, left_mm: float, below_liver_mm: float, place: str) -> Whereabouts:
    near = below_liver_mm < _TIP_BELOW_LIVER_MM and focus.from_liver_mm < _TIP_FROM_LIVER_MM
    compact = focus.long_axis_mm < _COMPACT_MM and focus.peak_fraction > _TIP_PEAK_FRACTION
    point = focus.long_axis_mm < _POINT_MM and focus.peak_fraction > _POINT_PEAK_FRACTION
    if near and (compact or point):
        return Whereabouts(
            origin=Origin.DEVICE,
            site=vocabulary.CATHETER,
            words=CATHETER_TIP,
            reason=f"{place}; compact and hot, near the porta of the liver (a small hot tumor looks alike)",
        )
    perhaps_tip = near and left_mm < _PORTA_LEFT_MM and focus.long_axis_mm < _PERHAPS_POINT_MM
    or_tip = OR_TIP if perhaps_tip else ""
    if perhaps_tip:
        place = f"{place}; near the porta of the liver, small as a tip, yet wider or fainter than they are"
    if left_mm > 12.0 and focus.front_back_ratio > _IN_FRONT:
        return Whereabouts(
            origin=Origin.EXTRAHEPATIC, site=vocabulary.STOMACH, words=f"stomach or bowel{or_tip}", reason=place
        )
    return Whereabouts(
        origin=Origin.EXTRAHEPATIC,
        site=vocabulary.DUODENUM,
        words=f"duodenum or head of the pancreas{or_tip}",
        reason=place,
    )
