"""Rigid registration of two pairs of views of one patient: a shift and a turn in the frontal plane.

Two tracers have different levels everywhere and, where a lobe is not perfused, different shapes; what they share are
edges: of the body, of the dome, of every part of the liver that both show. So the gradients of the logarithm of the
counts are correlated, first over a grid of shifts, then by a simplex search over both shifts and the turn.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, optimize

from analyzers.scintigraphy.views import PlanarPair

_BLUR_MM = 9.0
_FLOOR_FRACTION = 0.02
_REACH_MM = 60.0
_STEP_DEG = 3.0
# A field that cuts the lower edge of the liver leaves a turn and a shift to be exchanged for each other; patients on a
# table turn by a few degrees at most.
_TURN_PRICE = 1e-3
_STILL_MARGIN = 0.006


@dataclass(frozen=True, slots=True, kw_only=True)
class Rigid:
    """How a picture is moved onto another one.

    Attributes
    ----------
    down_mm, left_mm : float
        Towards the patient's feet and left side.
    turn_deg : float
        About the centre of the picture, as `scipy.ndimage.rotate` turns.
    agreement : float
        Correlation of the edges, 0 to 1.
    """

    down_mm: float
    left_mm: float
    turn_deg: float
    agreement: float

    @property
    def words(self) -> str:
        """For a report."""
        return f"{np.hypot(self.down_mm, self.left_mm):.0f} mm and {abs(self.turn_deg):.1f} degrees"

    def applied(self, image_yx: NDArray[np.float64], pixel_mm: float) -> NDArray[np.float64]:
        """The picture, moved; what comes from beyond its edge is 0."""
        return _moved(image_yx, (self.down_mm, self.left_mm, self.turn_deg), pixel_mm)


def registered(moving: PlanarPair, fixed: PlanarPair) -> Rigid:
    """Find the motion that lays one pair onto the other; both have one matrix and pixel size."""
    own, other = _edges(moving), _edges(fixed)
    start = _coarse(own, other, moving.pixel_mm)
    found = optimize.minimize(
        lambda motion: _TURN_PRICE * motion[2] ** 2 - _agreement(_moved(own, motion, moving.pixel_mm), other),
        np.asarray([*start, 0.0]),
        method="Nelder-Mead",
        options={
            "initial_simplex": _simplex(start, moving.pixel_mm), "maxiter": 120, "xatol": 0.2, "fatol": 1e-5,
        },
    )  # fmt: skip
    down_mm, left_mm, turn_deg = (float(value) for value in found.x)
    agreement = _agreement(_moved(own, found.x, moving.pixel_mm), other)
    still = _agreement(own, other)
    if still >= agreement - _STILL_MARGIN:
        # What lies on it as well without being moved was not moved: edges of two tracers differ a little by themselves.
        return Rigid(down_mm=0.0, left_mm=0.0, turn_deg=0.0, agreement=still)
    return Rigid(down_mm=down_mm, left_mm=left_mm, turn_deg=turn_deg, agreement=agreement)


def moved_pair(pair: PlanarPair, motion: Rigid) -> PlanarPair:
    """Both views of a pair, moved alike; the field of view is that of what was moved."""
    front, back = (motion.applied(view, pair.pixel_mm) for view in pair.counts_yx)
    seen = motion.applied(pair.field_yx.astype(np.float64), pair.pixel_mm) > 0.99
    return replace(pair, anterior_yx=front, posterior_yx=back, field_yx=seen, scatter_yx=None)


def _edges(pair: PlanarPair) -> NDArray[np.float64]:
    """Gradient magnitude of the logarithm of the geometric mean, inside the field."""
    smooth = pair.smoothed(_BLUR_MM)
    logarithm = np.log(smooth + _FLOOR_FRACTION * float(np.percentile(smooth, 99)))
    down, across = np.gradient(logarithm)
    inside = ndimage.binary_erosion(pair.field_yx, iterations=max(1, round(2.0 * _BLUR_MM / pair.pixel_mm)))
    return np.asarray(np.hypot(down, across) * inside, np.float64)


def _coarse(own: NDArray[np.float64], other: NDArray[np.float64], pixel_mm: float) -> tuple[float, float]:
    """Whole-pixel shift of greatest correlation within reach."""
    product = np.fft.irfft2(np.conj(np.fft.rfft2(own)) * np.fft.rfft2(other), s=own.shape)
    reach = round(_REACH_MM / pixel_mm)
    rows, columns = (np.fft.fftfreq(length) * length for length in own.shape)
    near = (np.abs(rows)[:, None] <= reach) & (np.abs(columns)[None, :] <= reach)
    row, column = np.unravel_index(int(np.argmax(np.where(near, product, -np.inf))), own.shape)
    return float(rows[row]) * pixel_mm, float(columns[column]) * pixel_mm


def _simplex(start: tuple[float, float], pixel_mm: float) -> NDArray[np.float64]:
    """Four corners of the search: the start, a pixel along each axis, and a turn."""
    first = np.asarray([*start, 0.0])
    return np.stack([first, *(first + np.diag([pixel_mm, pixel_mm, _STEP_DEG]))])


def _moved(
    image_yx: NDArray[np.float64], motion: tuple[float, float, float] | NDArray[np.float64], pixel_mm: float
) -> NDArray[np.float64]:
    down_mm, left_mm, turn_deg = (float(value) for value in motion)
    angle = np.radians(turn_deg)
    turn = np.asarray([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    centre = (np.asarray(image_yx.shape) - 1.0) / 2.0
    offset = centre - turn @ (centre + np.asarray([down_mm, left_mm]) / pixel_mm)
    return np.asarray(ndimage.affine_transform(image_yx, turn, offset, order=1, mode="constant"), np.float64)


def _agreement(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    return float((first * second).sum() / np.sqrt((first**2).sum() * (second**2).sum() + 1e-12))
