"""Tracer spilt round the pump: cut out of the liver's outline where it touches it, and weighed as a whole.

A pump lies under the skin of the lower abdomen: from in front it is seen through next to no tissue, from behind through
all of the body. Of a liver only the left lobe is so lopsided, and that lies high; this was seen on phantoms, not yet on
patients.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from analyzers.scintigraphy.views import PlanarPair

PUMP_IN_FRONT = 2.5
"""Counts from in front over counts from behind. Development phantoms: pockets 3.7 to 6.3, left lobes up to 3.1."""
_BLUR_MM = 9.0
_BELOW_DOME_MM = 145.0
"""Of its centre. Lopsided parts of a left lobe lay 49 to 102 mm below the dome (14 development phantoms), pockets that
touched the liver 202 to 242 mm."""
_LEAST_MM2 = 2000.0
"""Half of the disc of the smallest pump, 75 mm wide."""
_CLOSING_MM = 22.0
_MARGIN_MM = 12.0


def pocket_in(pair: PlanarPair, liver_yx: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The part of an outline that is the pocket of the pump, (rows, columns); nothing where there is none.

    Parameters
    ----------
    pair : PlanarPair
    liver_yx : (rows, columns) bool
        What was outlined as liver, its dome uppermost.
    """
    labels, count = ndimage.label(liver_yx & _is_lopsided(pair))
    dome = int(np.flatnonzero(liver_yx.any(axis=1))[0])
    pocket = np.zeros(liver_yx.shape, np.bool_)
    for number in range(1, count + 1):
        part = labels == number
        below_mm = (float(np.argwhere(part)[:, 0].mean()) - dome) * pair.pixel_mm
        if part.sum() * pair.pixel_mm**2 >= _LEAST_MM2 and below_mm >= _BELOW_DOME_MM:
            pocket |= part
    return _whole(pocket, pair.pixel_mm) & liver_yx if pocket.any() else pocket


def pocket_share_fraction(
    pair: PlanarPair,
    patches_yx: NDArray[np.bool_],
    hot_yx: NDArray[np.bool_],
    liver_yx: NDArray[np.bool_],
    backgrounds_yx: tuple[NDArray[np.float64], NDArray[np.float64]],
) -> float:
    """Counts in the pocket of the pump as a share of those in liver and pocket, from 0 to 1.

    A spill is a ring or a sickle with one bright patch; counted is all that is hot and lopsided round the patches.

    Parameters
    ----------
    pair : PlanarPair
    patches_yx : (rows, columns) bool
        What was recognised as tracer in the pocket.
    hot_yx, liver_yx : (rows, columns) bool
        Everything as bright as the liver's edge, and where the liver's counts are summed.
    backgrounds_yx : pair of (rows, columns) float64
        Counts per pixel from elsewhere, anterior and posterior.
    """
    if not patches_yx.any():
        return 0.0
    free = (hot_yx & ~liver_yx & _is_lopsided(pair)) | patches_yx
    labels, _ = ndimage.label(free)
    pocket = _whole(np.isin(labels, np.unique(labels[patches_yx])), pair.pixel_mm) & ~liver_yx
    held = _geometric_mean(pair, pocket, backgrounds_yx)
    return held / max(held + _geometric_mean(pair, liver_yx & ~patches_yx, backgrounds_yx), 1.0)


def _is_lopsided(pair: PlanarPair) -> NDArray[np.bool_]:
    sigma = _BLUR_MM / pair.pixel_mm
    front, back = (ndimage.gaussian_filter(np.asarray(view, np.float64), sigma) for view in pair.counts_yx)
    return np.asarray(front > PUMP_IN_FRONT * pair.posterior_scale * back, np.bool_)


def _geometric_mean(
    pair: PlanarPair, region_yx: NDArray[np.bool_], backgrounds_yx: tuple[NDArray[np.float64], NDArray[np.float64]]
) -> float:
    sums = [
        max(float((view - background)[region_yx].sum()), 0.0)
        for view, background in zip(pair.counts_yx, backgrounds_yx, strict=True)
    ]
    return float(np.sqrt(sums[0] * sums[1]))


def _whole(pocket_yx: NDArray[np.bool_], pixel_mm: float) -> NDArray[np.bool_]:
    """The disc of a ring or a sickle, with what blur carries over its edge."""
    apart_mm = ndimage.distance_transform_edt(np.pad(~pocket_yx, 20, constant_values=True)) * pixel_mm
    grown = apart_mm <= _CLOSING_MM + _MARGIN_MM
    shrunk = ndimage.distance_transform_edt(grown) * pixel_mm > _CLOSING_MM
    return np.asarray(ndimage.binary_fill_holes(shrunk)[20:-20, 20:-20], np.bool_)
