"""Which organ a focus of a SPECT lies in: by landmarks of the CT, else by direction from the centre of the uptake."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from analyzers import vocabulary
from analyzers.contract import Code
from analyzers.scintigraphy.spect_organs import CtOrgans
from analyzers.scintigraphy.whereabouts import Origin
from analyzers.volume import Volume

_MIDLINE_MM = 45.0
# The centre of a liver lies some 6 cm right of the spine, kidneys 4 to 8 cm beside it.
_SPINE_LEFT_OF_LIVER_MM = 60.0
_KIDNEY_BESIDE_SPINE_MM = (30.0, 110.0)
_KIDNEY_BEHIND_MM = -10.0
# A pump lies under the skin of the abdomen, beside the midline and at the height of the liver's lower edge or below.
_PUMP_IN_FRONT_MM, _PUMP_BELOW_MM = -40.0, -70.0
# Vertebrae are some 45 mm wide; what lies within them or behind is fed by no branch of the hepatic artery.
_SPINE_HALF_MM, _IN_SPINE_MM = 25.0, -5.0
# Duodenum, pancreas and gallbladder lie within 8 cm of the middle; further right are the liver and the colon.
_FAR_RIGHT_MM = -85.0
# The dome lies at the tenth thoracic vertebra, the pylorus at the first lumbar one, some 10 cm lower.
_TOO_HIGH_FOR_DUODENUM_MM = 50.0
_METAL_ABOVE_HU = 1000.0
_POCKET_MM, _POCKET_DEPTH_MM = 20.0, 40.0
_BESIDE_PUMP_MM = 35.0
_TIP_PEAK_FRACTION = 0.5
_CATHETER_ABOVE_HU, _CATHETER_REACH_MM, _UNENHANCED_LIVER_HU = 130.0, 8.0, 75.0
"""No tissue but bone and chalk is so dense without contrast; the place is known to the breath between both scans.
Derived. An unenhanced liver has 59 +- 11 HU (Boyce et al., AJR)."""
_WALL_MM = 20.0
_COMPACT_ML = 9.0
"""A point blurred to 20 mm has 4 ml above half its peak, and to 25 mm 8 ml: below, a focus is as small as a tip."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """Where a focus lies, what it is for the question of extrahepatic perfusion, and why."""

    words: str
    site: Code
    origin: Origin


@dataclass(frozen=True, slots=True, kw_only=True)
class Landmarks3d:
    """A focus against the landmarks of the CT, in mm.

    ``left`` of the spine, ``before`` the front of the vertebral bodies, ``below`` the dome of the liver,
    ``below_liver`` its lowest point, ``deep`` below the skin, ``from_liver`` and ``from_metal`` nearest distances;
    ``shows_catheter`` says that something denser than any tissue without contrast lies at it.
    """

    left: float
    before: float
    below: float
    below_liver: float
    deep: float
    from_liver: float
    from_metal: float
    volume_ml: float
    peak_fraction: float
    shows_catheter: bool = False

    @property
    def words(self) -> str:
        """The place in words."""
        return (
            f"{abs(self.left):.0f} mm {'left' if self.left > 0 else 'right'} of and {abs(self.before):.0f} mm "
            f"{'before' if self.before > 0 else 'behind'} the front of the spine, {abs(self.below):.0f} mm "
            f"{'below' if self.below > 0 else 'above'} the dome, {self.from_liver:.0f} mm from the liver on the CT"
        )


def landmarks_of(
    mask_zyx: NDArray[np.bool_],
    volume: Volume,
    organs: CtOrgans,
    from_liver_mm_zyx: NDArray[np.float64],
    peak_fraction: float,
) -> Landmarks3d:
    """Measure one focus against the CT."""
    grid, spine, body = organs.anatomy.grid, organs.anatomy.spine, organs.anatomy.body
    centre = volume.to_lps_mm(np.argwhere(mask_zyx).mean(axis=0, keepdims=True))[0]
    z, y, x = grid.to_indices_zyx(centre[None])[0]
    planes = np.arange(len(spine.x), dtype=np.float64)
    spine_x, front_y = (float(np.interp(z, planes, values)) for values in (spine.x, spine.front_y))
    inside = tuple(
        min(max(round(float(index)), 0), size - 1) for index, size in zip((z, y, x), body.mask_zyx.shape, strict=True)
    )
    heights = volume.to_lps_mm(np.argwhere(organs.liver_zyx).astype(np.float64))[:, 2]
    metal = organs.hu_zyx > _METAL_ABOVE_HU
    beside_bone = metal & (ndimage.binary_opening(metal, iterations=1))
    from_metal = (
        float(ndimage.distance_transform_edt(~beside_bone, sampling=volume.spacing_zyx_mm)[mask_zyx].min())
        if beside_bone.any()
        else float("inf")
    )
    return Landmarks3d(
        left=(x - spine_x) * grid.spacing_mm,
        before=(front_y - y) * grid.spacing_mm,
        below=float(heights.max()) - float(centre[2]),
        below_liver=float(heights.min()) - float(centre[2]),
        deep=float(body.depth_mm_zyx[inside]),
        from_liver=float(from_liver_mm_zyx[mask_zyx].min()),
        from_metal=from_metal,
        volume_ml=float(mask_zyx.sum()) * volume.voxel_ml,
        peak_fraction=peak_fraction,
        shows_catheter=_dense_beside(mask_zyx, volume, organs),
    )


def _dense_beside(mask_zyx: NDArray[np.bool_], volume: Volume, organs: CtOrgans) -> bool:
    """Whether the CT shows a catheter or clip at a focus; with contrast medium every vessel is as dense."""
    if float(np.median(organs.hu_zyx[organs.liver_zyx])) > _UNENHANCED_LIVER_HU:
        return False
    # On the CT's own voxels: averaged to those of the SPECT, a thread of 2 mm in fat is no denser than muscle.
    ct = organs.ct
    indices = ct.to_indices_zyx(volume.to_lps_mm(np.argwhere(mask_zyx).astype(np.float64)))
    reach = _CATHETER_REACH_MM / np.asarray(ct.spacing_zyx_mm)
    first = np.maximum(np.floor(indices.min(axis=0) - reach), 0).astype(np.intp)
    last = np.ceil(indices.max(axis=0) + reach).astype(np.intp) + 1
    part = ct.voxels_zyx[tuple(slice(int(low), max(int(high), 0)) for low, high in zip(first, last, strict=True))]
    return bool(part.size) and float(part.max()) > _CATHETER_ABOVE_HU


def _is_like_a_tip(at: Landmarks3d) -> bool:
    """Hot, as small as a point through a camera, and where the hepatic artery begins."""
    return (
        at.volume_ml <= _COMPACT_ML
        and at.peak_fraction >= _TIP_PEAK_FRACTION
        and at.from_liver < 30.0
        and -50.0 < at.left < 30.0
        and 5.0 < at.before < 80.0
    )


_Rule = tuple[str, Code, Origin, Callable[[Landmarks3d], bool]]
_RULES: tuple[_Rule, ...] = (
    (
        "pump pocket",
        vocabulary.ABDOMINAL_WALL,
        Origin.DEVICE,
        lambda at: at.from_metal < _POCKET_MM and at.deep < _POCKET_DEPTH_MM,
    ),
    (
        "pump pocket, or bowel behind it",
        vocabulary.ABDOMINAL_WALL,
        Origin.AMBIGUOUS,
        lambda at: at.from_metal < _BESIDE_PUMP_MM and at.deep < 2 * _POCKET_DEPTH_MM,
    ),
    (
        "abdominal wall: falciform artery, or contamination of the skin?",
        vocabulary.ABDOMINAL_WALL,
        Origin.AMBIGUOUS,
        lambda at: at.deep < _WALL_MM and at.before > 0,
    ),
    ("body wall?", vocabulary.ABDOMINAL_WALL, Origin.AMBIGUOUS, lambda at: at.deep < _WALL_MM),
    (
        "above the dome on the CT: heart, great vessels, or the liver's dome in another breath",
        vocabulary.THORAX,
        Origin.PHYSIOLOGIC,
        # No organ that the hepatic artery could feed; stomach and spleen reach the left dome behind, beside the spine.
        lambda at: at.below < 0.0 and at.before > 20.0,
    ),
    (
        "catheter tip (the CT shows something dense there)",
        vocabulary.HEPATIC_ARTERY,
        Origin.DEVICE,
        lambda at: at.shows_catheter and _is_like_a_tip(at),
    ),
    (
        "catheter tip, or a small focus of duodenum or pancreas: the CT shows no catheter there",
        vocabulary.HEPATIC_ARTERY,
        Origin.AMBIGUOUS,
        _is_like_a_tip,
    ),
    (
        "spine or beside it",
        vocabulary.ABDOMEN,
        Origin.AMBIGUOUS,
        lambda at: at.before < _IN_SPINE_MM and abs(at.left) < _SPINE_HALF_MM,
    ),
    (
        "kidney?",
        vocabulary.KIDNEY,
        Origin.PHYSIOLOGIC,
        lambda at: at.before < 5.0 and 25.0 < abs(at.left) < 75.0 and at.below > 70.0,
    ),
    (
        "spleen",
        vocabulary.SPLEEN,
        Origin.EXTRAHEPATIC,
        lambda at: at.left > 55.0 and at.before < 20.0 and -20.0 < at.below < 180.0,
    ),
    ("bowel", vocabulary.SMALL_INTESTINE, Origin.EXTRAHEPATIC, lambda at: at.below_liver > 15.0),
    ("stomach", vocabulary.STOMACH, Origin.EXTRAHEPATIC, lambda at: at.left > 5.0 and at.below < 165.0),
    (
        "gallbladder or duodenum",
        vocabulary.GALLBLADDER,
        Origin.AMBIGUOUS,
        lambda at: _FAR_RIGHT_MM < at.left < -30.0 and at.before > 45.0 and at.from_liver < 12.0,
    ),
    (
        "the liver's edge, or the right colic flexure",
        vocabulary.ABDOMEN,
        Origin.AMBIGUOUS,
        lambda at: at.left <= _FAR_RIGHT_MM,
    ),
    (
        "near the dome: vena cava, diaphragm or the liver itself",
        vocabulary.ABDOMEN,
        Origin.AMBIGUOUS,
        lambda at: at.below < _TOO_HIGH_FOR_DUODENUM_MM,
    ),
    ("duodenum or pancreas", vocabulary.DUODENUM, Origin.EXTRAHEPATIC, lambda _: True),
)
"""From the surface of the body to its depth; the first rule that fits decides, and the last always does."""


def site_by_ct(at: Landmarks3d) -> Site:
    """Name the organ from the landmarks."""
    words, code, origin, _ = next(rule for rule in _RULES if rule[3](at))
    return Site(words=f"{words} ({at.words})", site=code, origin=origin)


def site_by_direction(centroid: NDArray[np.float64], liver_centroid: NDArray[np.float64]) -> Site:
    """Organ by the direction from the centre of the liver's uptake (LPS mm), where no CT tells more."""
    left, back, up = (float(value) for value in centroid - liver_centroid)
    where = (
        f"{abs(left):.0f} mm {'left' if left > 0 else 'right'}, {abs(back):.0f} mm "
        f"{'behind' if back > 0 else 'in front'}, {abs(up):.0f} mm {'above' if up > 0 else 'below'} the liver's centre"
    )
    beside_spine_mm = left - _SPINE_LEFT_OF_LIVER_MM
    nearest_mm, farthest_mm = _KIDNEY_BESIDE_SPINE_MM
    if back > 25.0 and up < -30.0 and nearest_mm <= abs(beside_spine_mm) <= farthest_mm:
        return Site(words=f"kidney? ({where})", site=vocabulary.KIDNEY, origin=Origin.PHYSIOLOGIC)
    if left > 110.0 and back > 0.0:
        words = "spleen or left kidney" if up < -30.0 else "spleen"
        return Site(words=f"{words}? ({where})", site=vocabulary.SPLEEN, origin=Origin.AMBIGUOUS)
    if left > _MIDLINE_MM and up > -90.0:
        words = "stomach or spleen" if left > 110.0 else "stomach"
        return Site(words=f"{words}? ({where})", site=vocabulary.STOMACH, origin=Origin.AMBIGUOUS)
    # How far behind the centre a kidney lies depends on the lobe that has the uptake; it is not in front of it.
    kidney = back > _KIDNEY_BEHIND_MM and up < -30.0 and -farthest_mm <= beside_spine_mm <= -nearest_mm
    if back < _PUMP_IN_FRONT_MM and up < _PUMP_BELOW_MM and abs(beside_spine_mm) > _MIDLINE_MM:
        return Site(words=f"bowel or pump pocket? ({where})", site=vocabulary.SMALL_INTESTINE, origin=Origin.AMBIGUOUS)
    if up < -110.0:
        words = "bowel or right kidney" if kidney else "bowel"
        return Site(words=f"{words}? ({where})", site=vocabulary.SMALL_INTESTINE, origin=Origin.AMBIGUOUS)
    words = "duodenum, pancreas or right kidney" if kidney else "duodenum or pancreas"
    return Site(words=f"{words}? ({where})", site=vocabulary.DUODENUM, origin=Origin.AMBIGUOUS)


def doubted_beside_kidneys(site: Site, kidneys_marked: bool) -> Site:
    """A stomach beside marked kidneys may hold free pertechnetate: perfused or not cannot be told from it."""
    if not kidneys_marked or site.site != vocabulary.STOMACH or site.origin is not Origin.EXTRAHEPATIC:
        return site
    doubted = site.words.replace(
        "stomach", "stomach, perfused or with the free pertechnetate that marks the kidneys", 1
    )
    return replace(site, origin=Origin.AMBIGUOUS, words=doubted)
