"""How probable it is that a peak beside the liver of a SPECT/CT is a focus of its own.

A logistic regression on signs that a reader uses as well: how far the peak rises out of noise and out of what the liver
spills over its outline, whether a valley lies between it and the liver, and whether the CT shows tissue like liver
beside the liver, as a tip of the left lobe is that the outline missed, or fat, which takes up nothing.

The coefficients were fitted on peaks of development phantoms by ``python -m
tests.analyzers.scintigraphy_spect_calibration``, which prints them with their operating points. Nothing was fitted on
evaluation phantoms or on patients.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_LIKE_LIVER_HU = 30.0
"""Noise of a low-dose CT and the difference between organs without contrast. Practice."""
_FAT_HU = (-160.0, -60.0)
_FAR_FROM_LIVER_MM = 25.0
"""What lies so far from the liver of the CT is no rim of it: breathing and blur reach two centimetres."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpectEvidence:
    """What a peak looks like.

    Attributes
    ----------
    over_noise : float
        Height over what must be exceeded for noise and for the lungs' rim; 1 is just as high.
    over_spill : float
        Height over the error of the modelled spill of liver and lungs; 1 is just as high.
    valley_fraction : float
        Lowest counts on the straight way to the nearest liver relative to the peak: near 1 where it goes uphill.
    from_liver_mm : float
        Distance from the liver on the CT.
    hu, liver_hu : float
        Attenuation at the peak and of the liver.
    """

    over_noise: float
    over_spill: float
    valley_fraction: float
    from_liver_mm: float
    hu: float
    liver_hu: float


COEFFICIENTS: dict[str, float] = {
    "constant": -3.43,
    "out of noise": 1.76,
    "out of the spill": 1.22,
    "valley": 1.02,
    "like liver beside it": -2.28,
    "fat beside it": -1.99,
}
"""Weight of each sign, in the order of :func:`signs`."""


def signs(evidence: SpectEvidence) -> NDArray[np.float64]:
    """The signs as numbers, shape (6,)."""
    beside = float(np.clip(1.0 - evidence.from_liver_mm / _FAR_FROM_LIVER_MM, 0.0, 1.0))
    like = float(np.exp(-0.5 * ((evidence.hu - evidence.liver_hu) / _LIKE_LIVER_HU) ** 2))
    return np.asarray(
        [
            1.0,
            float(np.clip(np.log(max(evidence.over_noise, 1e-3)), -1.0, 1.5)),
            float(np.clip(np.log(max(evidence.over_spill, 1e-3)), -1.0, 3.0)),
            1.0 - float(np.clip(evidence.valley_fraction, 0.0, 1.0)),
            beside * like,
            beside * float(_FAT_HU[0] < evidence.hu < _FAT_HU[1]),
        ],
        np.float64,
    )


def focus_probability(evidence: SpectEvidence) -> float:
    """Probability from 0 to 1."""
    score = float(signs(evidence) @ np.asarray(list(COEFFICIENTS.values()), np.float64))
    return float(1.0 / (1.0 + np.exp(-score)))
