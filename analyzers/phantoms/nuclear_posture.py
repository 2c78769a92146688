"""How the patient lies during an exposure: still, slipped half way, or elsewhere than in the view or scan before."""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from analyzers.phantoms.nuclear_shapes import FloatArray
from analyzers.phantoms.request import PhantomRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class Posture:
    """Displacement from the posture of the atlas.

    Attributes
    ----------
    down_mm, left_mm : float
        Towards the patient's feet and left side.
    turn_deg : float
        Turned in the frontal plane, from the head towards the patient's left.
    """

    down_mm: float = 0.0
    left_mm: float = 0.0
    turn_deg: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Stay:
    """A share of the exposure spent in one posture."""

    share: float
    posture: Posture


STILL = (Stay(share=1.0, posture=Posture()),)


def stays(request: PhantomRequest, view: str) -> tuple[Stay, ...]:
    """Where the patient lies during a view: ``motion`` slips once, ``motion-between-views`` moves before the posterior.

    A slip is 18 to 32 mm, a new posture 25 to 45 mm away: less cannot be told from the difference between the views.
    """
    if request.has("motion"):
        early, slipped = slip(request)
        return Stay(share=early, posture=Posture()), Stay(share=1.0 - early, posture=slipped)
    if request.has("motion-between-views") and view == "posterior":
        rng = request.rng("motion between views")
        down_mm = float(rng.uniform(25, 45)) * (1.0 if rng.random() < 0.5 else -1.0)
        return (Stay(share=1.0, posture=Posture(down_mm=down_mm, left_mm=float(rng.uniform(-16, 16)))),)
    return STILL


def slip(request: PhantomRequest) -> tuple[float, Posture]:
    """When the patient slips (share of the exposure) and where to."""
    rng = request.rng("motion")
    early = float(rng.uniform(0.35, 0.65))
    return early, Posture(down_mm=float(rng.uniform(18, 32)), left_mm=float(rng.uniform(-16, 16)))


def colloid_stays(request: PhantomRequest) -> tuple[Stay, ...]:
    """Where the patient lay during the colloid scan: with ``colloid-moved`` up to 25 mm and 4 degrees elsewhere."""
    if not request.has("colloid-moved"):
        return STILL
    rng = request.rng("colloid posture")
    down_mm, left_mm, turn_deg = (float(rng.uniform(-reach, reach)) for reach in (25.0, 20.0, 4.0))
    return (Stay(share=1.0, posture=Posture(down_mm=down_mm, left_mm=left_mm, turn_deg=turn_deg)),)


def exposed_in(image: FloatArray, spent: tuple[Stay, ...], pixel_mm: float, mirror: float) -> FloatArray:
    """What the exposure collects of an image (rows to the feet, columns to the left, or to the right: mirror -1)."""
    collected = np.zeros_like(image)
    for stay in spent:
        collected += np.float32(stay.share) * _displaced(image, stay.posture, pixel_mm, mirror)
    return collected


def _displaced(image: FloatArray, posture: Posture, pixel_mm: float, mirror: float) -> FloatArray:
    shown = image
    if posture.turn_deg:
        shown = ndimage.rotate(shown, posture.turn_deg * mirror, reshape=False, order=1, mode="constant")
    if posture.down_mm or posture.left_mm:
        by = (posture.down_mm / pixel_mm, posture.left_mm * mirror / pixel_mm)
        shown = ndimage.shift(shown, by, order=1, mode="constant")
    return np.asarray(shown, np.float32)
