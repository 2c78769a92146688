"""The ratio k of the attenuation factors of liver and lung, drawn per patient.

Planar work-up corrects a lung shunt by one k for everybody, published between 0.35 and 0.50. What the atlas and narrow
beams give by themselves is higher and varies little (0.53 with a standard deviation of 0.04 in 12 patients), so that an
analyzer could learn it. So k is drawn, uniform over the published range, and planar views show the lungs brighter by
what is missing. (Attenuation itself is not scaled to reach k: that would need 1.3 times that of water, and opposite
views of a stomach would differ as those of no patient do.) Tomography and CT keep the atlas.
"""

import numpy as np

from analyzers.phantoms.nuclear_body import NuclearBody
from analyzers.phantoms.nuclear_shapes import FloatArray
from analyzers.phantoms.request import PhantomRequest

PUBLISHED_RANGE = (0.35, 0.50)
_LUNGS = ("lung_right", "lung_left")


def drawn_factor(request: PhantomRequest) -> float:
    """The k of a patient."""
    return float(request.rng("attenuation factor").uniform(*PUBLISHED_RANGE))


def lung_gain(body: NuclearBody, wanted_factor: float) -> float:
    """Factor on what the lungs send into planar views with which the patient has a given k."""
    return factor_of(body) / wanted_factor


def with_lungs_times(body: NuclearBody, activity_zyx: FloatArray, gain: float) -> FloatArray:
    """An activity map whose lungs are brighter by a gain."""
    return np.asarray(activity_zyx * (1.0 + (gain - 1.0) * _occupancy(body, _LUNGS)), np.float32)


def factor_of(body: NuclearBody) -> float:
    """Give k by narrow beams: transmission (geometric mean, front and back) of an evenly filled liver over lungs."""
    attenuation_per_mm_zyx, voxel_mm = body.attenuation_per_mm_zyx, body.grid.voxel_mm
    path = np.cumsum(attenuation_per_mm_zyx, axis=1, dtype=np.float32) * np.float32(voxel_mm)
    half = attenuation_per_mm_zyx * np.float32(voxel_mm / 2)
    front, back = np.exp(half - path), np.exp(path - path[:, -1:] - half)
    means = []
    for names in (("liver",), _LUNGS):
        filled = _occupancy(body, names)
        total = float(filled.sum(dtype=np.float64))
        sums = [float((filled * seen).sum(dtype=np.float64)) / total for seen in (front, back)]
        means.append(float(np.sqrt(sums[0] * sums[1])))
    return means[0] / means[1]


def _occupancy(body: NuclearBody, names: tuple[str, ...]) -> FloatArray:
    filled = np.zeros(body.grid.shape_zyx, np.float32)
    for name in names:
        solid = body.solids[name]
        filled[solid.box] += solid.occupancy_zyx
    return filled
