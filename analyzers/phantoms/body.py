"""The frame of the body: size, outline, wall, skeleton, lungs and the great muscles.

The origin of the patient frame is the middle of the trunk at the level of the celiac trunk (disc T12/L1). Sizes are
those of an adult of 1.70 m, scaled by height and body mass index; proportions from common anatomical knowledge.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from analyzers.phantoms.layers import Layer, TubeLayer, field_layer
from analyzers.phantoms.request import PhantomRequest
from analyzers.phantoms.shapes import (
    Field,
    Lattice,
    chain,
    cone,
    ellipsoid,
    level_set_distance,
    oval_column,
    smooth_path,
    smooth_union,
)
from analyzers.phantoms.study import draw_patient

SPINE_Y_MM = 45.0
_VERTEBRA_STEP_MM = 30.0
_DISC_HALF_MM = 4.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Build:
    """Sizes of one body.

    Attributes
    ----------
    long_scale, wide_scale : float
        Against an adult of 1.70 m, along z and across.
    fat_mm, wall_mm : float
        Thickness of subcutaneous fat and of the abdominal wall's muscle.
    cavity_half_x_mm, cavity_half_y_mm : float
        Half axes of the inner surface of the trunk's wall, about `cavity_centre_y_mm`.
    """

    long_scale: float
    wide_scale: float
    fat_mm: float
    wall_mm: float
    cavity_half_x_mm: float
    cavity_half_y_mm: float
    cavity_centre_y_mm: float = -12.0

    @property
    def half_width_mm(self) -> float:
        """Half of the body's width."""
        return self.cavity_half_x_mm + self.wall_mm + self.fat_mm


def draw_build(request: PhantomRequest) -> Build:
    """Draw the build that belongs to the patient's height, weight and sex."""
    patient = draw_patient(request)
    rng = request.rng("build")
    body_mass_index = patient.weight_kg / patient.height_m**2
    long_scale = float(np.clip(patient.height_m / 1.70, 0.92, 1.12))
    wide_scale = long_scale**0.5 * (1.03 if patient.sex == "M" else 0.97) * float(rng.uniform(0.97, 1.03))
    visceral = 1 + 0.010 * (body_mass_index - 25)
    return Build(
        long_scale=long_scale,
        wide_scale=wide_scale,
        fat_mm=float(np.clip(4 + 1.6 * (body_mass_index - 18) + rng.normal(0, 2), 5, 32)),
        wall_mm=float(rng.uniform(10, 14)),
        cavity_half_x_mm=126 * wide_scale * visceral,
        cavity_half_y_mm=79 * wide_scale * visceral,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """Distance fields of the body's frame, which organs are fitted into."""

    outline: Field
    muscle: Field
    cavity: Field
    diaphragm: Field
    """Negative below the diaphragm."""
    spine: Field
    """Vertebral column and the aorta before it: no organ grows in there."""

    def thinned(self) -> "Frame":
        """Return every other point along each axis."""
        cut = (slice(None, None, 2),) * 3
        return Frame(
            outline=self.outline[cut],
            muscle=self.muscle[cut],
            cavity=self.cavity[cut],
            diaphragm=self.diaphragm[cut],
            spine=self.spine[cut],
        )


def model_frame(at: Lattice, build: Build, bulge: Field | None) -> Frame:
    """Model outline, wall and diaphragm; ``bulge`` pushes the skin out over an implant."""
    centre = (0.0, build.cavity_centre_y_mm)
    narrowing = 1 - 0.06 * np.clip(-at.z / 150, 0, 1) + 0.0002 * np.clip(at.z, 0, 150)
    half_x = np.asarray(build.cavity_half_x_mm * narrowing, dtype=np.float32)
    half_y = np.asarray(build.cavity_half_y_mm * narrowing, dtype=np.float32)
    cavity = oval_column(at, centre, half_x, half_y, 2.3)
    wall_x = half_x + np.float32(build.wall_mm)
    back = np.float32(build.wall_mm + 14)  # the extensor muscles make the back thicker than the front
    muscle_centre = (0.0, build.cavity_centre_y_mm + 10)
    muscle = oval_column(at, muscle_centre, wall_x, half_y + back, 2.4)
    fat = np.float32(build.fat_mm)
    outline = oval_column(at, muscle_centre, wall_x + fat, half_y + back + fat * np.float32(0.8), 2.4)
    if bulge is not None:
        outline = smooth_union(np.broadcast_to(outline, bulge.shape), bulge, 28.0)
    column = ellipsoid(at, (0, SPINE_Y_MM + 4, -20), (28 * build.wide_scale, 24 * build.wide_scale, 4000))
    spine = smooth_union(column, cone(at, (10, 14, 200), (8, 14, -120), 13.0, 13.0), 10)
    spine = np.broadcast_to(spine, cavity.shape)
    return Frame(outline=outline, muscle=muscle, cavity=cavity, diaphragm=_diaphragm(at, build, cavity), spine=spine)


def _diaphragm(at: Lattice, build: Build, cavity: Field) -> Field:
    """Two domes that fall towards the wall, deepest behind."""
    s = build.long_scale
    sideways = np.clip(at.x / build.cavity_half_x_mm, -1, 1)
    top = s * (92 - 9 * np.tanh(2.2 * sideways) + 8 * np.minimum(np.abs(sideways) / 0.4, 1) ** 2)
    from_wall = np.clip(-cavity / build.cavity_half_y_mm, 0, 1)
    backwards = np.clip((at.y - build.cavity_centre_y_mm) / build.cavity_half_y_mm, -1, 1)
    fall = s * (85 + 35 * backwards) * np.clip(1 - 1.35 * from_wall, 0, 1) ** 2.5
    height = np.asarray(at.z - (top - fall), dtype=np.float32)
    step = float(at.axes_zyx_mm[0][1] - at.axes_zyx_mm[0][0])
    return level_set_distance(np.ascontiguousarray(height), step)


def frame_layers(at: Lattice, frame: Frame, build: Build) -> Iterator[Layer]:
    """Skin, fat, wall, body cavity, lungs, heart and muscles along the spine, deepest first."""
    yield field_layer(frame.outline, at, Layer(tissue="skin", mask="body", within=frozenset()))
    inside = frozenset({"body"})
    yield field_layer(frame.outline + 1.8, at, Layer(tissue="fat", within=inside))
    yield field_layer(frame.muscle, at, Layer(tissue="muscle", within=inside))
    yield field_layer(frame.cavity, at, Layer(tissue="visceral_fat", within=inside))
    yield field_layer(_back_muscles(at, build), at, Layer(tissue="muscle", within=inside))
    yield field_layer(_psoas(at, build), at, Layer(tissue="muscle", within=inside))
    chest = np.maximum(frame.cavity + 1.5, -frame.diaphragm)
    spine_room = ellipsoid(at, (0, SPINE_Y_MM + 18, 120), (30, 42, 300))
    middle = oval_column(at, (2, -14), 27.0, 60.0, 2.0)
    chest = np.maximum(chest, -np.minimum(spine_room, middle))
    yield field_layer(chest, at, Layer(tissue="lung", mask="lungs", within=inside))
    heart = ellipsoid(at, (22, -28, 128 * build.long_scale), (56, 44, 42), 0.5, 0.2)
    heart = np.maximum(heart, -frame.diaphragm + 1)
    yield field_layer(np.maximum(heart - 4, frame.cavity + 2), at, Layer(tissue="visceral_fat", within=inside))
    yield field_layer(heart, at, Layer(tissue="heart_muscle", within=inside))
    yield field_layer(heart + 9, at, Layer(tissue="heart_blood", within=inside))


def _back_muscles(at: Lattice, build: Build) -> Field:
    """Extensors on both sides of the spinous processes."""
    width, depth = 34 * build.wide_scale, 24 * build.wide_scale
    left = ellipsoid(at, (31, SPINE_Y_MM + 36, -20), (width, depth, 900))
    right = ellipsoid(at, (-31, SPINE_Y_MM + 36, -20), (width, depth, 900))
    return smooth_union(left, right, 10)


def _psoas(at: Lattice, build: Build) -> Field:
    """Psoas on both sides, thicker downwards."""
    sides = []
    for side in (-1.0, 1.0):
        path = [(side * 26.0, SPINE_Y_MM - 2, -8.0), (side * 36.0, SPINE_Y_MM - 4, -90.0), (side * 52.0, 32.0, -200.0)]
        sides.append(chain(at, path, [7.0, 15.0 * build.wide_scale, 22.0 * build.wide_scale]))
    return np.minimum(sides[0], sides[1])


def skeleton_layers(at: Lattice, build: Build) -> Iterator[Layer]:
    """Vertebrae, canal, iliac wings and ribs."""
    inside = frozenset({"body"})
    s = build.wide_scale
    step = _VERTEBRA_STEP_MM * build.long_scale
    phase = np.mod(at.z - 0.5 * step, step) - 0.5 * step  # 0 in the middle of T12/L1 discs and so on
    waist = 1 - 0.10 * np.cos(np.pi * phase / step) ** 2
    column = oval_column(at, (0, SPINE_Y_MM), np.float32(23 * s) * waist, np.float32(17 * s) * waist, 2.2)
    disc = np.abs(np.mod(at.z + 0.5 * step, step) - 0.5 * step) - _DISC_HALF_MM
    posterior = SPINE_Y_MM + 17 * s
    arch = np.minimum(
        ellipsoid(at, (0, posterior + 9, 0), (17 * s, 12 * s, 4000)),
        np.maximum(ellipsoid(at, (0, posterior + 22, 0), (3.5, 14, 4000)), 11 - np.abs(phase + 4)),
    )
    arch = np.maximum(arch, np.abs(phase) - 12)
    transverse = np.maximum(ellipsoid(at, (0, posterior + 5, 0), (42 * s, 4.5, 4000)), np.abs(phase) - 5)
    yield field_layer(np.minimum(arch, transverse), at, Layer(tissue="cortical_bone", within=inside))
    yield field_layer(column, at, Layer(tissue="cortical_bone", mask="vertebrae", within=inside))
    yield field_layer(
        np.maximum(column + 1.6, 2.0 - np.abs(disc)),
        at,
        Layer(tissue="trabecular_bone", within=frozenset({"body", "vertebrae"})),
    )
    yield field_layer(np.maximum(column - 0.5, disc), at, Layer(tissue="disc", within=frozenset({"body", "vertebrae"})))
    canal = ellipsoid(at, (0, posterior + 8, 0), (11 * s, 8.5 * s, 4000))
    yield field_layer(canal, at, Layer(tissue="spinal_canal", within=inside))
    wing = _iliac_wings(at, build)
    yield field_layer(wing, at, Layer(tissue="cortical_bone", within=inside))
    yield field_layer(wing + 2.0, at, Layer(tissue="trabecular_bone", within=inside))
    yield from _ribs(build)


def _iliac_wings(at: Lattice, build: Build) -> Field:
    """Two shells that rise to the level of L4 at the sides."""
    s = build.wide_scale
    wings = []
    for side in (-1.0, 1.0):
        outer = ellipsoid(at, (side * 78 * s, 30, -235), (52 * s, 78 * s, 118), turn_z_rad=side * 0.5)
        shell = np.abs(outer + 5) - 5
        # Only the half that looks outwards and backwards is bone; the pelvis is open in front and inside.
        open_side = 8 - (side * at.x - 78 * s) * 0.75 - (at.y - 30) * 0.66
        wings.append(np.maximum(shell, open_side))
    return np.asarray(np.minimum(wings[0], wings[1]), dtype=np.float32)


def _ribs(build: Build) -> Iterator[Layer]:
    """Ribs 5 to 12 as slanting hoops in the wall; the front part of the upper ones is cartilage."""
    step = _VERTEBRA_STEP_MM * build.long_scale
    reach = {12: 0.34, 11: 0.50}
    inside = frozenset({"body"})
    for number in range(5, 13):
        vertebra_z = (12.5 - number) * step
        end = reach.get(number, 0.78)
        for side in (-1.0, 1.0):
            turn = np.linspace(0.14, end, 26) * np.pi
            x = side * (build.cavity_half_x_mm + 5) * np.sin(turn) ** 0.87
            y = build.cavity_centre_y_mm + 3 + (build.cavity_half_y_mm + 6) * np.cos(turn)
            z = vertebra_z + 10 - 125 * build.long_scale * (turn / np.pi) ** 1.15
            bony = turn < 0.66 * np.pi
            for part, tissues in ((bony, ("cortical_bone", "marrow")), (~bony, ("cartilage",))):
                if part.sum() < 3:
                    continue
                for tissue, radius in zip(tissues, (5.2, 3.4), strict=False):
                    column = np.full(int(part.sum()), radius if tissue != "cartilage" else 4.6)
                    path = np.stack([x[part], y[part], z[part], column], axis=1)
                    yield TubeLayer(tissue=tissue, within=inside, path=smooth_path(path, 6.0))
