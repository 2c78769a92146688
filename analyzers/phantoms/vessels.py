"""Arteries and veins as named centre lines with radii.

Calibres: aorta 22, celiac 7.2, common hepatic 4.3, proper hepatic 2.9, right and left hepatic 2.9 and 2.5 mm on
average (MDCT of 500 patients, Bilir, Int J Morphol); gastroduodenal 3 to 4 mm. Courses from common anatomical
knowledge.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analyzers.phantoms.body import SPINE_Y_MM, Build
from analyzers.phantoms.layers import Layer, TubeLayer
from analyzers.phantoms.liver import HILUM
from analyzers.phantoms.request import PhantomRequest
from analyzers.phantoms.shapes import Point, smooth_path

Knots = Sequence[tuple[float, float, float, float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Vessels:
    """Named centre lines: (n, 4) arrays of x, y, z and radius in LPS mm, from origin to end."""

    arteries: Mapping[str, NDArray[np.float64]]
    portal: Mapping[str, NDArray[np.float64]]
    hepatic_veins: Mapping[str, NDArray[np.float64]]
    mesenteric: tuple[tuple[str, NDArray[np.float64]], ...]
    """Tissue and course of small vessels."""
    cava: NDArray[np.float64]
    gda_origin: Point
    celiac_level_mm: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plan:
    """What is drawn for one patient: where things are, and a factor for all calibres."""

    aorta_x: float
    aorta_y: float
    aorta_radius: float
    front_y: float
    celiac_end: NDArray[np.float64]
    gda_origin: NDArray[np.float64]
    bifurcation: NDArray[np.float64]
    calibre: float


def draw_vessels(request: PhantomRequest, build: Build) -> Vessels:
    """Draw the vessels of one patient; variant ``variant-artery`` replaces the right hepatic artery."""
    rng = request.rng("vessels")
    radius = float(np.clip(rng.normal(10.6, 1.1), 8.0, 13.5))
    aorta_y = SPINE_Y_MM - 17 * build.wide_scale - radius - 3
    front = aorta_y - radius
    celiac_end = np.array([5.0, front - 21, 1.0]) + rng.normal(0, 1.5, 3)
    plan = _Plan(
        aorta_x=float(rng.normal(9, 2)),
        aorta_y=aorta_y,
        aorta_radius=radius,
        front_y=front,
        celiac_end=celiac_end,
        gda_origin=np.array([-20.0, front - 31, -3.0]) + rng.normal(0, 2.0, 3),
        bifurcation=np.array([HILUM[0] + 1, front - 25, HILUM[2] + 6]) + rng.normal(0, 1.2, 3),
        calibre=float(rng.uniform(0.88, 1.15)),
    )
    arteries = _trunk(rng, plan, build) | _hepatic(rng, plan, replaced_right=request.has("variant-artery"))
    gda = plan.gda_origin
    return Vessels(
        arteries={name: smooth_path(np.asarray(knots, dtype=np.float64)) for name, knots in arteries.items()},
        portal={name: smooth_path(np.asarray(knots)) for name, knots in _portal(rng, plan).items()},
        hepatic_veins={name: smooth_path(np.asarray(knots)) for name, knots in _hepatic_veins(rng).items()},
        mesenteric=tuple((tissue, smooth_path(np.asarray(knots), 4.0)) for tissue, knots in _mesentery(rng)),
        cava=smooth_path(np.asarray(_cava())),
        gda_origin=(float(gda[0]), float(gda[1]), float(gda[2])),
        celiac_level_mm=0.0,
    )


def _at(point: NDArray[np.float64], radius: float) -> tuple[float, float, float, float]:
    return float(point[0]), float(point[1]), float(point[2]), radius


def _trunk(rng: np.random.Generator, plan: _Plan, build: Build) -> dict[str, Knots]:
    """Aorta and its branches other than the hepatic ones."""
    x, y, r, front, k = plan.aorta_x, plan.aorta_y, plan.aorta_radius, plan.front_y, plan.calibre
    low = -112 * build.long_scale
    end = plan.celiac_end
    arteries: dict[str, Knots] = {
        "aorta": [
            (x + 3, y + 4, 175, r * 1.08),
            (x + 1, y + 2, 80, r * 1.04),
            (x, y, 0, r),
            (x - 1, y - 3, -60, r * 0.86),
            (x - 3, y - 6, low, r * 0.80),
        ],
        "celiac": [(x, front + 5, 1, 3.9 * k), (x - 1, front - 6, 0, 3.6 * k), _at(end, 3.3 * k)],
        "splenic": [
            _at(end, 2.9 * k),
            (22, front - 20, 8 + rng.normal(0, 3), 2.8 * k),
            (45, front - 6, 3 + rng.normal(0, 4), 2.7 * k),
            (64, front + 8, 20 + rng.normal(0, 4), 2.6 * k),
            (84 * build.wide_scale, front + 22, 28, 2.2 * k),
        ],
        "left_gastric": [
            _at(0.5 * end + 0.5 * np.array([x, front, 1]), 1.5 * k),
            (10, front - 20, 18, 1.4 * k),
            (22, front - 22, 42, 1.2 * k),
        ],
        "superior_mesenteric": [
            (x, front + 5, -15, 4.0 * k),
            (x - 1, front - 8, -19, 3.8 * k),
            (x - 4, front - 17, -40, 3.6 * k),
            (x - 6, front - 24, -80, 3.1 * k),
            (x - 18, front - 22, -130, 2.3 * k),
        ],
    }
    for name, side in (("right_renal", -1.0), ("left_renal", 1.0)):
        arteries[name] = [
            (x + side * (r - 4), y, -30, 2.9 * k),
            (x + side * 20, y + 4, -36, 2.7 * k),
            (side * 46, 34, -42, 2.4 * k),
        ]
    for name, side in (("right_iliac", -1.0), ("left_iliac", 1.0)):
        arteries[name] = [
            (x - 3, y - 6, low + 5, 5.5),
            (x + side * 18, y - 2, low - 30, 5.0),
            (side * 46, 22, low - 85, 4.6),
        ]
    return arteries


def _hepatic(rng: np.random.Generator, plan: _Plan, *, replaced_right: bool) -> dict[str, Knots]:
    """Common and proper hepatic, gastroduodenal, right and left hepatic arteries with their branches."""
    end, gda, fork, k = plan.celiac_end, plan.gda_origin, plan.bifurcation, plan.calibre
    middle = 0.5 * (end + gda) + np.array([0, -2.0, -5.0]) + rng.normal(0, 1.0, 3)
    way = 0.5 * (gda + fork) + rng.normal(0, 1.0, 3)
    left = np.array([-8.0, -34.0, 32.0]) + rng.normal(0, 2, 3)
    left_end = np.array([16.0, -40.0, 54.0])
    right = np.array([-52.0, -12.0, 18.0]) + rng.normal(0, 2, 3)
    arteries: dict[str, Knots] = {
        "common_hepatic": [_at(end, 2.35 * k), _at(middle, 2.25 * k), _at(gda, 2.15 * k)],
        "gastroduodenal": [
            _at(gda, 1.85 * k),
            _at(gda + np.array([-2, -3, -12]), 1.8 * k),
            _at(gda + np.array([-3, -4, -26]), 1.7 * k),
            _at(gda + np.array([0, -5, -40]), 1.5 * k),
        ],
        "proper_hepatic": [_at(gda, 1.75 * k), _at(way, 1.6 * k), _at(fork, 1.5 * k)],
        "left_hepatic": [_at(fork, 1.3 * k), _at(left, 1.25 * k), _at(left_end, 1.0 * k)],
        "left_lateral": [_at(left_end, 0.95 * k), (36, -40, 62, 0.8 * k), (52, -38, 64, 0.6 * k)],
    }
    source: list[tuple[float, float, float, float]] = [_at(fork, 1.5 * k)]
    if replaced_right:
        x, front = plan.aorta_x, plan.front_y
        source = [(x - 2, front - 12, -26, 1.7 * k), (x - 18, front - 6, -22, 1.65 * k), (-28, 0, -6, 1.6 * k)]
        right = np.array([-50.0, -4.0, 14.0])
    arteries["right_hepatic"] = [*source, _at(right, 1.35 * k)]
    arteries["right_anterior"] = [_at(right, 1.2 * k), (-72, -28, 28, 1.0 * k), (-88, -42, 40, 0.7 * k)]
    arteries["right_posterior"] = [_at(right, 1.2 * k), (-78, 8, 10, 1.0 * k), (-96, 24, -8, 0.7 * k)]
    return arteries


def _portal(rng: np.random.Generator, plan: _Plan) -> dict[str, Knots]:
    """Portal vein with its roots and branches, behind the arteries."""
    root = np.array([-6.0, plan.front_y - 14, -18.0])
    hilum = np.array([HILUM[0] - 4, HILUM[1] + 3, HILUM[2] + 5])
    middle = 0.5 * (root + hilum) + np.array([2.0, 5.0, 0.0])
    right = np.array([-58.0, -6.0, 20.0]) + rng.normal(0, 2, 3)
    left = np.array([-8.0, -28.0, 36.0]) + rng.normal(0, 2, 3)
    r = float(rng.uniform(5.6, 7.2))
    return {
        "superior_mesenteric_vein": [
            (-14, plan.front_y - 24, -130, 3.6),
            (-10, plan.front_y - 20, -60, 5.0),
            _at(root, 5.6),
        ],
        "splenic_vein": [(84, 18, 24, 3.5), (45, -4, 3, 4.2), (16, plan.front_y - 10, -12, 4.6), _at(root, 5.0)],
        "portal_main": [_at(root, r), _at(middle, r), _at(hilum, r * 0.95)],
        "portal_right": [_at(hilum, r * 0.8), _at(right, r * 0.72)],
        "portal_right_anterior": [_at(right, 3.9), (-78, -30, 36, 3.0), (-88, -46, 56, 1.8), (-92, -52, 70, 1.0)],
        "portal_right_anterior_low": [(-78, -30, 36, 2.6), (-86, -46, 14, 1.9), (-92, -52, -8, 1.0)],
        "portal_right_posterior": [_at(right, 3.9), (-82, 18, 6, 3.0), (-100, 32, -22, 1.8), (-106, 36, -44, 1.0)],
        "portal_right_posterior_up": [(-82, 18, 6, 2.6), (-98, 34, 30, 1.9), (-104, 36, 54, 1.0)],
        "portal_left": [_at(hilum, r * 0.7), _at(left, 4.2), (4, -44, 46, 3.4)],
        "portal_left_lateral": [(4, -44, 46, 2.8), (28, -42, 58, 2.0), (48, -40, 64, 1.1)],
        "portal_left_medial": [(4, -44, 46, 2.4), (-14, -62, 44, 1.8), (-26, -72, 38, 1.0)],
    }


def _hepatic_veins(rng: np.random.Generator) -> dict[str, Knots]:
    """Three hepatic veins that meet the cava below the diaphragm."""
    top = (-20.0, 10.0, 80.0)
    return {
        "right_hepatic_vein": [
            (*top, 5.0),
            (-48, 10, 72, 4.6),
            (-78, 6, 50, 3.6),
            (-98 + rng.normal(0, 3), 0, 14, 2.4),
            (-106, -4, -16, 1.2),
        ],
        "middle_hepatic_vein": [
            (*top, 4.8),
            (-34, -16, 70, 4.2),
            (-44 + rng.normal(0, 3), -40, 48, 3.2),
            (-56, -56, 20, 2.0),
            (-62, -60, 4, 1.0),
        ],
        "left_hepatic_vein": [
            (*top, 4.4),
            (-6, -10, 76, 3.9),
            (14 + rng.normal(0, 3), -26, 72, 2.8),
            (38, -34, 68, 1.6),
            (50, -36, 67, 1.0),
        ],
    }


def _cava() -> Knots:
    return [
        (-20, 24, -205, 8.5),
        (-21, 18, -120, 9.5),
        (-22, 16, -40, 10.5),
        (-23, 16, 10, 11.0),
        (-21, 14, 60, 11.5),
        (-18, 4, 98, 12.0),
        (-14, -4, 130, 12.5),
    ]


def _mesentery(rng: np.random.Generator) -> Iterator[tuple[str, Knots]]:
    """Small arteries and veins that fan out to the gut."""
    for number in range(14):
        spread = np.array([rng.uniform(-70, 75), rng.uniform(-50, -15), rng.uniform(-165, -70)])
        root = np.array([-8.0, -14.0, rng.uniform(-85, -55)])
        middle = 0.5 * (root + spread) + rng.normal(0, 8, 3)
        radius = float(rng.uniform(0.8, 1.6))
        tissue = "artery" if number % 2 else "portal_vein"
        yield tissue, [_at(root, radius), _at(middle, radius * 0.85), _at(spread, radius * 0.6)]


def vessel_layers(vessels: Vessels, *, ligated_gda_mm: float | None) -> Iterator[Layer]:
    """Veins first, then arteries; vessels in the liver belong to it, the cava does not.

    Parameters
    ----------
    vessels : Vessels
        What to paint.
    ligated_gda_mm : float or None
        Length of the stump that the operation left of the gastroduodenal artery; None leaves it whole.
    """
    inside = frozenset({"body", "liver"})
    yield TubeLayer(tissue="cava", mask="cava", within=frozenset({"body"}), path=vessels.cava)
    for tissue, path in vessels.mesenteric:
        yield TubeLayer(tissue=tissue, within=inside, path=path)
    for path in vessels.hepatic_veins.values():
        yield TubeLayer(tissue="hepatic_vein", mask="hepatic_veins", within=inside, path=path)
    for path in vessels.portal.values():
        yield TubeLayer(tissue="portal_vein", mask="portal_vein", within=inside, path=path)
    for name, path in vessels.arteries.items():
        kept = path
        if name == "gastroduodenal" and ligated_gda_mm is not None:
            kept = path[: max(3, int(ligated_gda_mm / 2.0) + 1)]
        tissue, mask = ("aorta", "aorta") if name == "aorta" else ("artery", "hepatic_arteries")
        if name in {"splenic", "superior_mesenteric", "right_renal", "left_renal", "right_iliac", "left_iliac"}:
            mask = "other_arteries"
        yield TubeLayer(tissue=tissue, mask=mask, within=inside, path=kept)
