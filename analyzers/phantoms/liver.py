"""The liver: a bulky right lobe, a tapering left one, a caudate lobe, fissure and gallbladder fossa."""

from dataclasses import dataclass

import numpy as np

from analyzers.phantoms.body import Build, Frame
from analyzers.phantoms.request import PhantomRequest
from analyzers.phantoms.shapes import (
    Field,
    Lattice,
    Point,
    cone,
    ellipsoid,
    half_space,
    smooth_cut,
    smooth_union,
)

HILUM: Point = (-30.0, -12.0, 8.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class LiverPlan:
    """What is drawn for one liver: the volume aimed at, mm-sized freedoms, and its scale once fitted."""

    target_ml: float
    left_reach_mm: float
    left_thickness_mm: float
    right_tip_mm: float
    turn_rad: float
    fossa: Point


def draw_liver(request: PhantomRequest) -> LiverPlan:
    """Draw a liver of 1000 to 2200 ml.

    The evaluation model also draws a left lobe that reaches the spleen, and a Riedel's lobe.
    """
    rng = request.rng("liver")
    wide = request.model == "evaluation"
    return LiverPlan(
        target_ml=float(np.clip(rng.normal(1520, 290), 1000, 2200)),
        left_reach_mm=float(rng.uniform(38, 110 if wide else 82)),
        left_thickness_mm=float(rng.uniform(11, 17)),
        right_tip_mm=float(rng.uniform(0, 34 if wide else 18)),
        turn_rad=float(rng.normal(0, 0.10 if wide else 0.06)),
        fossa=(-48 + float(rng.normal(0, 3)), -46 + float(rng.normal(0, 3)), -26 + float(rng.normal(0, 3))),
    )


def model_liver(at: Lattice, plan: LiverPlan, build: Build, frame: Frame) -> Field:
    """Model the liver, scaled about its bare area until its volume is the planned one.

    The cavity and the diaphragm bound it above and at the side, so the scale is found by trial.
    """
    coarse = at.thinned()
    coarse_frame = frame.thinned()
    steps = [float(axis[1] - axis[0]) for axis in coarse.axes_zyx_mm]
    voxel_ml = float(np.prod(steps)) / 1000
    low, high = 0.60, 1.60
    for _ in range(8):
        scale = 0.5 * (low + high)
        field = _shape(coarse, plan, build, coarse_frame, scale)
        volume_ml = float(np.clip(0.5 - field / steps[1], 0, 1).sum()) * voxel_ml
        low, high = (scale, high) if volume_ml < plan.target_ml else (low, scale)
    return _shape(at, plan, build, frame, 0.5 * (low + high))


def _shape(at: Lattice, plan: LiverPlan, build: Build, frame: Frame, scale: float) -> Field:
    """The liver at one scale."""
    s = scale * build.wide_scale

    def near(x: float, y: float, z: float) -> Point:
        return HILUM[0] + s * x, HILUM[1] + s * y, HILUM[2] + scale * build.long_scale * z

    right = ellipsoid(at, near(-42, 8, 4), (64 * s, 78 * s, (96 + plan.right_tip_mm) * s), plan.turn_rad, 0.12)
    right = smooth_cut(right, half_space(at, near(1, 2, -2), (0.72, 0.30, -0.62)), 26)
    left = cone(at, near(-8, -22, 38), near(32 + plan.left_reach_mm, -30, 60), 36 * s, plan.left_thickness_mm * s)
    left = smooth_cut(left, half_space(at, near(10, -14, 22), (-0.05, 0.88, -0.47)), 18)
    caudate = ellipsoid(at, near(16, 22, 26), (15 * s, 13 * s, 27 * s))
    liver = smooth_union(smooth_union(right, left, 30), caudate, 8)
    fissure = np.maximum(np.abs(at.x - near(22, 0, 0)[0] - 0.25 * (at.y + 40)) - 2.6, at.y - near(0, -16, 0)[1])
    fissure = np.maximum(fissure, at.z - near(0, 0, 36)[2] + 0.5 * (at.y + 60))
    liver = smooth_cut(liver, -fissure, 5)
    liver = smooth_cut(liver, -gallbladder(at, plan), 5)
    liver = smooth_cut(liver, -ellipsoid(at, HILUM, (20, 11, 8), 0.3), 8)
    liver = smooth_cut(liver, np.broadcast_to(frame.cavity + 3.0, liver.shape), 14)
    liver = smooth_cut(liver, 3.0 - frame.spine, 8)
    return smooth_cut(liver, frame.diaphragm + 4.0, 14)


def gallbladder(at: Lattice, plan: LiverPlan) -> Field:
    """The pear-shaped gallbladder in its fossa."""
    x, y, z = plan.fossa
    return cone(at, (x, y - 10, z - 20), (x + 9, y + 16, z + 16), 15.0, 6.0)


def right_of_cantlie(at: Lattice, plan: LiverPlan) -> Field:
    """Negative right of the plane through gallbladder fossa and vena cava that parts the two livers."""
    along = np.array([plan.fossa[0] + 22, plan.fossa[1] - 18, 0.0])
    return half_space(at, plan.fossa, (-float(along[1]), float(along[0]), 0.0))
