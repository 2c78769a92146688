"""A planar focus in the place of a lobe that the SPECT/CT shows to be nearly without uptake: that lobe, and no organ.

What a lobe without proper perfusion still holds stands beside the bright one as a focus of its own on projections, at
the place of the stomach. Only a SPECT/CT tells: its CT shows liver there, its SPECT how much that lobe holds, and
whether anything outside the liver lies at the place.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

from analyzers.ct_anatomy.liver import Anatomy
from analyzers.scintigraphy.planar import PlanarReading
from analyzers.scintigraphy.spect import SpectReading
from analyzers.scintigraphy.thresholds import Thresholds
from analyzers.scintigraphy.whereabouts import LocatedFocus, Origin

_LEAST_INSIDE_FRACTION = 0.5
_TWO_STUDIES_MM = 20.0
"""How far one place may lie apart in planar views and SPECT: margin of breathing and blur, and a few mm of posture."""


def without_faint_lobe(planar: PlanarReading, spect: SpectReading, thresholds: Thresholds) -> PlanarReading:
    """The planar reading whose foci in the place of a lobe without uptake are set apart, the others numbered anew."""
    in_lobe: list[LocatedFocus] = []
    others: list[LocatedFocus] = []
    for item in planar.foci:
        (in_lobe if _is_of_faint_lobe(item, planar, spect, thresholds) else others).append(item)
    return replace(
        planar,
        foci=tuple(
            replace(item, focus=replace(item.focus, name=f"focus-{number}"))
            for number, item in enumerate(others, start=1)
        ),
        in_faint_lobe=tuple(in_lobe),
    )


def _is_of_faint_lobe(item: LocatedFocus, planar: PlanarReading, spect: SpectReading, thresholds: Thresholds) -> bool:
    """Whether a focus lies on a lobe without uptake, holds no more than it, and no focus of the SPECT/CT is there.

    Parameters
    ----------
    item : LocatedFocus
    planar : PlanarReading
    spect : SpectReading
        Without organs and lobes nothing is explained.
    thresholds : Thresholds
    """
    perfusion, focus = spect.perfusion, item.focus
    if (
        perfusion is None
        or spect.organs is None
        or item.whereabouts.origin not in {Origin.EXTRAHEPATIC, Origin.AMBIGUOUS}
    ):
        return False
    lobe = next((one for one in (perfusion.left, perfusion.right) if one.side == perfusion.missing_lobe), None)
    if lobe is None or focus.peak_fraction > thresholds.absent_lobe_spect_fraction:
        return False
    if focus.share_fraction > lobe.activity_fraction + lobe.activity_error:
        return False
    places = np.argwhere(focus.mask_yx).astype(np.float64)
    at = planar.landmarks
    seen = (places[:, ::-1] - (at.midline_col, at.dome_row)) * at.pixel_mm
    inside = _apart_mm(seen, lobe.mask_zyx, spect, spect.organs.anatomy) <= thresholds.spect_clear_of_liver_mm
    if float(inside.mean()) < _LEAST_INSIDE_FRACTION:
        return False
    outside = (*spect.foci, *spect.physiologic, *spect.device)
    return all(
        float(_apart_mm(seen, one.mask_zyx, spect, spect.organs.anatomy).min()) > _TWO_STUDIES_MM for one in outside
    )


def _apart_mm(
    seen: NDArray[np.float64], mask_zyx: NDArray[np.bool_], spect: SpectReading, anatomy: Anatomy
) -> NDArray[np.float64]:
    """Distances (n,) of places on a projection, (n, 2) as mm left of the midline and below the dome, from a region."""
    points = spect.volume.to_lps_mm(np.argwhere(mask_zyx).astype(np.float64))
    indices = anatomy.grid.to_indices_zyx(points)
    spine_x = np.interp(indices[:, 0], np.arange(len(anatomy.spine.x), dtype=np.float64), anatomy.spine.x)
    dome_mm = float(spect.volume.to_lps_mm(np.argwhere(spect.liver_zyx).astype(np.float64))[:, 2].max())
    projected = np.column_stack([(indices[:, 2] - spine_x) * anatomy.grid.spacing_mm, dome_mm - points[:, 2]])
    return np.asarray(KDTree(projected).query(seen)[0], np.float64)
