"""How probable it is that a peak is a focus of its own and no part of the liver.

A logistic regression on signs that a reader uses as well: a valley between peak and liver in one view or both, a place
where no liver is, what hangs below it, what is compact and hot as only a catheter's tip is, what is bright from behind
in the left flank, as spleen is and a left lobe is not.

The coefficients were fitted on the peaks of 360 development phantoms (seeds 20001 to 20360 of the free-response draw)
by ``python -m tests.analyzers.scintigraphy_calibration``, which prints them, their calibration by four-fold
cross-validation, and the operating points. Nothing was fitted on evaluation phantoms or on patients.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class PeakEvidence:
    """What a peak looks like.

    Attributes
    ----------
    valley_fraction, opposite_valley_fraction : float
        Height of the highest pass to the liver's core relative to the peak, in its own view and at the same place of
        the opposite one: near 1 inside the liver, near 0 apart from it.
    outside_liver_mm : float
        Distance from the liver's outline, negative inside.
    left_of_midline_mm, below_liver_mm : float
        Place; the first is 0 where the liver itself lies on the left, the other counts from its lower edge.
    hangs_below : bool
        On something narrow that hangs from the lower edge of the liver.
    compact : bool
        Hot and as small as a point is through a camera.
    brighter_from_behind : bool
        A peak of the posterior view that is at least a third brighter there than in the anterior one.
    """

    valley_fraction: float
    opposite_valley_fraction: float
    outside_liver_mm: float
    left_of_midline_mm: float
    below_liver_mm: float
    hangs_below: bool
    compact: bool
    brighter_from_behind: bool


COEFFICIENTS: dict[str, float] = {
    "constant": -2.86,
    "valley": 3.56,
    "opposite valley": 3.42,
    "outside the liver": 0.51,
    "hangs below": 3.26,
    "left flank": 2.67,
    "left flank, brighter from behind": 2.04,
    "low": 1.99,
    "compact": 3.26,
}
"""Weight of each sign, in the order of :func:`signs`."""


def signs(evidence: PeakEvidence) -> NDArray[np.float64]:
    """The signs as numbers, shape (9,): each about 0 where it speaks for liver and about 1 where it speaks against."""
    left = float(np.clip((evidence.left_of_midline_mm - 40.0) / 40.0, 0.0, 1.5))
    return np.asarray(
        [
            1.0,
            1.0 - float(np.clip(evidence.valley_fraction, 0.0, 1.0)),
            1.0 - float(np.clip(evidence.opposite_valley_fraction, 0.0, 1.0)),
            float(np.clip(evidence.outside_liver_mm / 30.0, -1.0, 1.0)),
            float(evidence.hangs_below),
            left,
            left * float(evidence.brighter_from_behind),
            float(np.clip((evidence.below_liver_mm + 40.0) / 60.0, 0.0, 1.5)),
            float(evidence.compact),
        ],
        np.float64,
    )


def focus_probability(evidence: PeakEvidence) -> float:
    """Probability from 0 to 1."""
    score = float(signs(evidence) @ np.asarray(list(COEFFICIENTS.values()), np.float64))
    return float(1.0 / (1.0 + np.exp(-score)))
