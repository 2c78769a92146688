"""Spleen, stomach, kidneys, pancreas and gut."""

from collections.abc import Iterator

import numpy as np

from analyzers.phantoms.body import Build, Frame
from analyzers.phantoms.layers import Layer, field_layer
from analyzers.phantoms.request import PhantomRequest
from analyzers.phantoms.shapes import (
    Field,
    Lattice,
    Point,
    chain,
    ellipsoid,
    half_space,
    smooth_cut,
)

_INSIDE = frozenset({"body"})


def viscera_layers(request: PhantomRequest, at: Lattice, build: Build, frame: Frame, liver: Field) -> Iterator[Layer]:
    """All organs but the liver, deepest first; nothing grows into the liver or through the wall."""
    rng = request.rng("viscera")
    room = np.maximum(np.maximum(frame.cavity + 2, frame.diaphragm + 3), 1.5 - liver)
    room = np.maximum(room, 2.0 - frame.spine)
    spleen = _spleen(rng, at, build, room)
    yield field_layer(spleen, at, Layer(tissue="spleen", mask="spleen", within=_INSIDE))
    room = np.maximum(room, 1.5 - spleen)
    yield from _small_bowel(rng, at, build, room)
    yield from _kidneys(rng, at, build, room)
    yield from _colon(rng, at, build, room)
    yield from _stomach(rng, at, build, room)
    yield from _pancreas_and_duodenum(rng, at, build, room)


def _jitter(rng: np.random.Generator, point: Point, spread_mm: float) -> Point:
    x, y, z = np.asarray(point) + rng.normal(0, spread_mm, 3)
    return float(x), float(y), float(z)


def _spleen(rng: np.random.Generator, at: Lattice, build: Build, room: Field) -> Field:
    s = build.wide_scale
    size = float(rng.uniform(0.85, 1.15))
    centre = _jitter(rng, (92 * s, 32, 44), 3)
    spleen = ellipsoid(at, centre, (35 * size, 52 * size, 57 * size), -0.30, 0.25)
    hollow = ellipsoid(at, (centre[0] - 50 * s, centre[1] - 30, centre[2] - 6), (30, 40, 46))
    return np.maximum(smooth_cut(spleen, -hollow, 10), room)


def _kidneys(rng: np.random.Generator, at: Lattice, build: Build, room: Field) -> Iterator[Layer]:
    s = build.wide_scale
    for side, height in ((-1.0, -48.0), (1.0, -34.0)):
        size = float(rng.uniform(0.92, 1.08))
        centre = _jitter(rng, (side * 60 * s, 40, height), 2.5)
        kidney = ellipsoid(at, centre, (27 * size, 25 * size, 54 * size), side * 0.5, 0.18)
        hilum = (centre[0] - side * 20, centre[1] - 14, centre[2])
        sinus = ellipsoid(at, hilum, (17, 15, 27), side * 0.5)
        kidney = np.maximum(smooth_cut(kidney, -sinus, 8), room)
        yield field_layer(kidney, at, Layer(tissue="kidney_cortex", mask="kidneys", within=_INSIDE))
        # Columns of cortex between the pyramids, hinted by a wave along the kidney.
        wave = 2.5 * np.sin(at.z * np.float32(2 * np.pi / 17) + at.y * np.float32(0.2))
        inside = frozenset({"body", "kidneys"})
        yield field_layer(kidney + 7 + wave, at, Layer(tissue="kidney_medulla", within=inside))


def _stomach(rng: np.random.Generator, at: Lattice, build: Build, room: Field) -> Iterator[Layer]:
    s = build.wide_scale
    fill = float(rng.uniform(0.75, 1.1))
    path: list[Point] = [
        _jitter(rng, (46 * s, -8, 62), 3),
        _jitter(rng, (50 * s, -32, 28), 3),
        _jitter(rng, (52 * s, -50, -8), 3),
        _jitter(rng, (18, -58, -32), 3),
        (-16.0, -50.0, -26.0),
    ]
    stomach = chain(at, path, [31 * fill, 28 * fill, 24 * fill, 18 * fill, 10])
    stomach = np.maximum(stomach, room)
    inside = frozenset({"body", "stomach"})
    yield field_layer(stomach, at, Layer(tissue="stomach_wall", mask="stomach", within=_INSIDE))
    lumen = stomach + float(rng.uniform(4.0, 6.0))
    yield field_layer(lumen, at, Layer(tissue="stomach_content", within=inside))
    level = half_space(at, (0.0, float(rng.uniform(-50, -36)), 0.0), (0.0, 1.0, 0.0))
    yield field_layer(np.maximum(lumen, level), at, Layer(tissue="gas", within=inside))


def _pancreas_and_duodenum(rng: np.random.Generator, at: Lattice, build: Build, room: Field) -> Iterator[Layer]:
    s = build.wide_scale
    gland: list[Point] = [
        (-22.0, -18.0, -44.0),
        (-20.0, -20.0, -26.0),
        (2.0, -27.0, -15.0),
        _jitter(rng, (40.0, -10.0, 2.0), 2),
        _jitter(rng, (80.0 * s, 22.0, 20.0), 2),
    ]
    size = float(rng.uniform(0.85, 1.15))
    pancreas = chain(at, gland, [11 * size, 13 * size, 8.5 * size, 9 * size, 7 * size])
    lobules = 1.2 * np.sin(at.x * 0.7) * np.sin(at.y * 0.8 + 1) * np.sin(at.z * 0.75)
    pancreas = np.maximum(pancreas + lobules.astype(np.float32), room)
    yield field_layer(pancreas, at, Layer(tissue="pancreas", mask="pancreas", within=_INSIDE))
    loop: list[Point] = [
        (-17.0, -48.0, -26.0),
        (-34.0, -34.0, -22.0),
        (-44.0, -16.0, -34.0),
        (-44.0, -10.0, -66.0),
        (-22.0, -8.0, -80.0),
        (10.0, -12.0, -80.0),
        (30.0, -16.0, -62.0),
    ]
    duodenum = np.maximum(chain(at, loop, [11, 12, 12, 12, 11, 9, 10]), room)
    yield from _gut(at, duodenum, "duodenum", 2.6, gas_above_y_mm=-40.0, content="gut_fluid")


def _colon(rng: np.random.Generator, at: Lattice, build: Build, room: Field) -> Iterator[Layer]:
    s = build.wide_scale
    points: list[Point] = [
        (-92 * s, 0.0, -175.0),
        (-98 * s, 6.0, -125.0),
        (-94 * s, 0.0, -78.0),
        (-66 * s, -40.0, -84.0),
        (-20.0, -58.0, -98.0),
        (35.0, -56.0, -90.0),
        (80 * s, -26.0, -34.0),
        (104 * s, 6.0, 4.0),
        (104 * s, 20.0, -48.0),
        (102 * s, 20.0, -115.0),
        (92 * s, 6.0, -175.0),
    ]
    radii = [24.0, 24, 23, 20, 18, 18, 17, 18, 15, 15, 15]
    haustra = 3.0 * np.sin(at.z * 0.15 + at.y * 0.05) * np.sin(at.x * 0.12 - at.y * 0.10)
    colon = np.maximum(chain(at, [_jitter(rng, p, 4) for p in points], radii) + haustra.astype(np.float32), room)
    yield from _gut(at, colon, "", 2.4, gas_above_y_mm=float(rng.uniform(-45, -30)), content="stool")


def _small_bowel(rng: np.random.Generator, at: Lattice, build: Build, room: Field) -> Iterator[Layer]:
    """Loops that wander through the middle and lower abdomen; some hold gas."""
    for number in range(4):
        points: list[Point] = []
        place = np.array([(-55.0, 5.0, 45.0, 70.0)[number], -35.0, -75.0 - 22 * number])
        for _ in range(9):
            place = place + rng.normal(0, 24, 3) * (1.3, 0.7, 1.0)
            place = np.clip(place, (-78 * build.wide_scale, -62, -185), (80 * build.wide_scale, 0, -58))
            points.append((float(place[0]), float(place[1]), float(place[2])))
        loop = np.maximum(chain(at, points, [float(rng.uniform(9, 12))] * 9), room)
        gas_level = float(rng.uniform(-80, -38)) if number % 2 else -200.0
        yield from _gut(at, loop, "", 2.0, gas_above_y_mm=gas_level, content="gut_fluid")


def _gut(
    at: Lattice, tube: Field, mask: str, wall_mm: float, *, gas_above_y_mm: float, content: str
) -> Iterator[Layer]:
    """Wall, content, and gas in front of a level: the patient lies on the back."""
    inside = frozenset({"body", mask}) if mask else _INSIDE
    yield field_layer(tube, at, Layer(tissue="gut_wall", mask=mask, within=_INSIDE))
    yield field_layer(tube + wall_mm, at, Layer(tissue=content, within=inside))
    if gas_above_y_mm > -100:
        above = half_space(at, (0.0, gas_above_y_mm, 0.0), (0.0, 1.0, 0.0))
        yield field_layer(np.maximum(tube + wall_mm, above), at, Layer(tissue="gas", within=inside))
