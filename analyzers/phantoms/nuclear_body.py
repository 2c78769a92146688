"""A random patient with a hepatic arterial infusion pump, as solids and as an attenuation map.

The atlas is a set of ellipsoids, tubes and level sets in the patient frame (LPS mm) whose origin lies in the
midline, half way through the trunk, at the height of the right dome of the diaphragm. It is scaled to the patient's
stature and girth, the liver is scaled to a drawn volume, and everything is bent by one smooth random displacement,
so that no two seeds have the same outline. Proportions are those of textbooks of surface anatomy for a patient who
lies on the back with the arms raised; they are not taken from any one person.
"""

from dataclasses import dataclass

import numpy as np

from analyzers.phantoms.nuclear_shapes import (
    Box,
    FloatArray,
    Grid,
    Point,
    Points,
    Solid,
    Warp,
    disc_mm,
    ellipsoid_mm,
    occupancy_of,
    random_warp,
    smooth_union_mm,
    tube_mm,
)

# Height above the diaphragm, lateral and antero-posterior half width, in mm, of a person of 1.72 m.
_OUTLINE_MM = (
    (-900, 70, 62), (-700, 80, 76), (-474, 88, 96), (-466, 174, 104), (-380, 176, 108), (-290, 164, 104),
    (-200, 148, 102), (-100, 150, 107), (0, 158, 110), (70, 160, 106), (130, 166, 96), (175, 176, 82),
    (200, 168, 72), (222, 112, 62), (240, 66, 58), (285, 58, 60), (310, 66, 80), (350, 74, 94),
    (400, 72, 92), (435, 52, 66), (452, 12, 16),
)  # fmt: skip

# Linear attenuation at 140 keV in 1/mm, narrow beam (NIST XCOM, mixtures of ICRU 44 tissues).
SOFT_PER_MM = 0.0154
LUNG_PER_MM = 0.0043
BONE_PER_MM = 0.0235
GAS_PER_MM = 0.0002
PUMP_PER_MM = 0.0270  # titanium walls round a reservoir of fluid


@dataclass(frozen=True, slots=True, kw_only=True)
class Stature:
    """What is drawn for one patient.

    Attributes
    ----------
    sex : str
        DICOM Patient's Sex, ``M`` or ``F``.
    height_m, weight_kg : float
    liver_volume_ml : float
    pump_side : int
        +1 for the left lower quadrant, -1 for the right.
    scale, girth : float
        Factors on the atlas along the body, and across it.
    lung_per_mm : float
        Attenuation of inflated lung, which varies with the depth of breathing.
    """

    sex: str
    height_m: float
    weight_kg: float
    liver_volume_ml: float
    pump_side: int
    scale: float
    girth: float
    lung_per_mm: float


@dataclass(frozen=True, slots=True, kw_only=True)
class NuclearBody:
    """One patient on a grid.

    Attributes
    ----------
    grid : Grid
    stature : Stature
    solids : dict of Solid
        By name; they do not overlap, except ``body`` which holds them all, and ``tip`` and ``pocket`` inside it.
    right_lobe_share_zyx : float32 array
        Share of right lobe per voxel of the liver's box (0 = left, 1 = right; the plane of the main fissure).
    catheter_lps_mm : tuple of points
        From the pump to the tip.
    attenuation_per_mm_zyx : float32 array
        At 140 keV.
    """

    grid: Grid
    stature: Stature
    solids: dict[str, Solid]
    right_lobe_share_zyx: FloatArray
    catheter_lps_mm: tuple[Point, ...]
    attenuation_per_mm_zyx: FloatArray

    def front_mm(self) -> float:
        """Position of the foremost skin along y."""
        return self._sagittal_extent_mm()[0]

    def back_mm(self) -> float:
        """Position along y of the skin furthest back."""
        return self._sagittal_extent_mm()[1]

    def _sagittal_extent_mm(self) -> tuple[float, float]:
        filled = np.flatnonzero(self.solids["body"].occupancy_zyx.max(axis=(0, 2)) > 0.5)
        y_mm = self.grid.axis_mm(1)
        return float(y_mm[filled[0]]), float(y_mm[filled[-1]])


def draw_stature(sex: str, height_m: float, weight_kg: float, rng: np.random.Generator) -> Stature:
    """Draw what a stature leaves open: liver volume (1000 to 2200 mL), the side of the pump, the density of lung."""
    bsa_m2 = 0.2024 * height_m**0.725 * weight_kg**0.425  # Du Bois
    # Vauthey's standard liver volume for adults, with the scatter between persons.
    liver_volume_ml = float(np.clip(1267.28 * bsa_m2 - 794.41 + rng.normal(0, 250), 1000, 2200))
    return Stature(
        sex=sex,
        height_m=height_m,
        weight_kg=weight_kg,
        liver_volume_ml=liver_volume_ml,
        pump_side=1 if rng.random() < 0.6 else -1,
        scale=height_m / 1.72,
        girth=float((weight_kg / height_m**2 / 25.0) ** 0.45 * (height_m / 1.72) ** 0.5),
        lung_per_mm=float(np.clip(rng.normal(LUNG_PER_MM, 0.0006), 0.0030, 0.0058)),
    )


class BodyBuilder:
    """Places solids one after the other; a voxel goes to whoever claims it first."""

    def __init__(self, grid: Grid, stature: Stature, warp: Warp) -> None:
        self.grid = grid
        self.stature = stature
        self.warp = warp
        self.solids: dict[str, Solid] = {}
        self._claimed_zyx: FloatArray = np.zeros(grid.shape_zyx, np.float32)

    def box(self, low: Point, high: Point) -> Box:
        """Index box round two corners in atlas mm, with room for the displacement."""
        corner_low, corner_high = (
            (x * self.stature.girth, y * self.stature.girth, z * self.stature.scale) for x, y, z in (low, high)
        )
        room = 26.0
        return self.grid.box_around(
            (corner_low[0] - room, corner_low[1] - room, corner_low[2] - room),
            (corner_high[0] + room, corner_high[1] + room, corner_high[2] + room),
        )

    def points(self, box: Box) -> Points:
        """Atlas coordinates (mm) of the voxels in a box."""
        x, y, z = self.warp.points(box)
        return x / self.stature.girth, y / self.stature.girth, z / self.stature.scale

    def patient_point(self, atlas: Point) -> Point:
        """An atlas point in patient LPS mm (first order: the displacement is slowly varying)."""
        plain = (
            atlas[0] * self.stature.girth,
            atlas[1] * self.stature.girth,
            atlas[2] * self.stature.scale,
        )
        index = [round(i) for i in self.grid.index_of(plain)]
        z, y, x = (min(max(i, 0), n - 1) for i, n in zip(index, self.grid.shape_zyx, strict=True))
        shift = self.warp.shift_mm[:, z, y, x]
        return plain[0] - float(shift[0]), plain[1] - float(shift[1]), plain[2] - float(shift[2])

    def place(self, name: str, box: Box, distance_mm: FloatArray) -> Solid:
        """Claim what is still free inside a surface, and keep it under a name."""
        occupancy = np.minimum(occupancy_of(distance_mm, self.grid.voxel_mm), 1.0 - self._claimed_zyx[box])
        self._claimed_zyx[box] += occupancy
        solid = Solid(box=box, occupancy_zyx=occupancy)
        self.solids[name] = solid
        return solid

    def lay_over(self, name: str, box: Box, distance_mm: FloatArray) -> Solid:
        """Keep a solid that may overlap others."""
        solid = Solid(box=box, occupancy_zyx=occupancy_of(distance_mm, self.grid.voxel_mm))
        self.solids[name] = solid
        return solid


def trunk_mm(points: Points) -> FloatArray:
    """Signed distance (atlas mm) to the skin: trunk, neck and head, and two thighs below the crotch."""
    x, y, z = points
    heights = np.array([row[0] for row in _OUTLINE_MM], np.float32)
    lateral = np.interp(z, heights, [row[1] for row in _OUTLINE_MM]).astype(np.float32)
    sagittal = np.interp(z, heights, [row[2] for row in _OUTLINE_MM]).astype(np.float32)
    legs = z < -470
    above = z - 455.0
    across = np.where(legs, np.abs(x) - 90, x)
    # A super-ellipse of order 2.4: flatter in front and behind than an ellipse, as a supine trunk is.
    radius = (np.abs(across / lateral) ** 2.4 + np.abs(y / sagittal) ** 2.4) ** (1 / 2.4)
    return np.asarray(np.maximum((radius - 1.0) * np.minimum(lateral, sagittal), above), np.float32)


def diaphragm_mm(points: Points) -> FloatArray:
    """Height (atlas mm) above the diaphragm; negative in the abdomen."""
    x, y, z = points
    right = 2 - 62 * ((x + 78) / 92) ** 2 - 70 * ((y + 8) / 100) ** 2
    left = -14 - 66 * ((x - 80) / 90) ** 2 - 70 * ((y + 6) / 100) ** 2
    centre = -24 - 40 * (x / 80) ** 2 - 60 * ((y + 20) / 100) ** 2
    return np.asarray(z - np.maximum(np.maximum(right, left), centre), np.float32)


def build_body(grid: Grid, stature: Stature, rng: np.random.Generator) -> NuclearBody:
    """Place all structures of one patient on a grid and make the attenuation map.

    Parameters
    ----------
    grid : Grid
        Must reach beyond the skin at the front and the back.
    stature : Stature
    rng : numpy.random.Generator
        Source of shape.
    """
    builder = BodyBuilder(grid, stature, random_warp(grid, 5.0, 75.0, rng))
    # Draws come in a fixed order, so that a grid of another extent shows the same patient.
    liver_slant, stomach_size, bladder_mm, kidney_drop_mm = (
        float(rng.normal(0, 5)), float(rng.uniform(0.85, 1.2)), float(rng.uniform(30, 42)), float(rng.uniform(0, 15)),
    )  # fmt: skip
    bowel_rng = np.random.default_rng(rng.integers(2**63))
    everything = (slice(None), slice(None), slice(None))
    skin_mm = trunk_mm(builder.points(everything))
    builder.lay_over("body", everything, skin_mm)
    place_skeleton(builder, skin_mm)
    place_chest(builder, skin_mm)
    share = place_liver(builder, skin_mm, liver_slant)
    catheter = place_device(builder, skin_mm)
    place_abdomen(builder, skin_mm, stomach_size, bladder_mm, kidney_drop_mm)
    place_bowel(builder, skin_mm, bowel_rng)
    return NuclearBody(
        grid=grid,
        stature=stature,
        solids=builder.solids,
        right_lobe_share_zyx=share,
        catheter_lps_mm=catheter,
        attenuation_per_mm_zyx=attenuation_map(builder),
    )


def place_skeleton(builder: BodyBuilder, skin_mm: FloatArray) -> None:
    """Vertebral column with marrow, and ribs that slope forwards and down."""
    box = builder.box((-34, 40, -420), (34, 110, 300))
    points = builder.points(box)
    column = [(0.0, 62.0, -420.0, 24.0), (0.0, 54.0, -150.0, 22.0), (0.0, 58.0, 60.0, 18.0), (0.0, 26.0, 290.0, 12.0)]
    builder.place("spine", box, tube_mm(points, column))
    box = builder.box((-170, -115, -120), (170, 115, 200))
    x, y, z = builder.points(box)
    depth = skin_mm[box]
    wall = np.abs(depth + 19.0) - 4.0
    pitch_mm = 27.0
    phase = np.mod(z - 0.42 * y, pitch_mm) - pitch_mm / 2
    arch = np.where((z > -95 - 0.35 * np.abs(x)) & (z < 195), 0.0, 30.0)
    ribs = np.maximum(np.maximum(wall, np.abs(phase) - 5.5), arch)
    builder.place("ribs", box, np.asarray(np.where((np.abs(x) < 26) & (y < 0), 20.0, ribs), np.float32))


def place_chest(builder: BodyBuilder, skin_mm: FloatArray) -> None:
    """Heart and both lungs above the diaphragm."""
    box = builder.box((-60, -100, -40), (110, 40, 140))
    points = builder.points(box)
    heart = ellipsoid_mm(points, (28, -34, 34), (60, 46, 46), -28.0)
    builder.place("heart", box, np.maximum(heart, -diaphragm_mm(points)))
    for name, sign, radii in (("lung_right", -1, (66, 86, 190)), ("lung_left", 1, (60, 84, 184))):
        box = builder.box((-160 if sign < 0 else 5, -110, -110), (-5 if sign < 0 else 160, 110, 215))
        points = builder.points(box)
        x, _, z = points
        lung = ellipsoid_mm(points, (sign * 78, 4, 16), radii)
        # Tapers to the apex beside the trachea; the mediastinum keeps the lungs apart.
        lean = np.clip(z - 90, 0, None) * 0.30
        medial = (24 + np.clip(40 - z, 0, None) * 0.08) - sign * x
        outer = sign * x - (142 - lean)
        lung = np.maximum.reduce([lung, medial, outer, skin_mm[box] + 24, 5.0 - diaphragm_mm(points)])
        builder.place(name, box, lung)


def _liver_mm(points: Points, skin_mm: FloatArray, growth: float, slant_deg: float) -> FloatArray:
    """Signed distance to a liver grown by a factor about the bare area under the right dome."""
    anchor: Point = (-50.0, 10.0, -12.0)
    x, y, z = ((axis - a) / growth + a for axis, a in zip(points, anchor, strict=True))
    grown = (x, y, z)
    right = ellipsoid_mm(grown, (-76, 6, -76), (78, 88, 98))
    left = ellipsoid_mm(grown, (4, -42, -57), (90, 44, 55), 13.0 + slant_deg)
    bulk = smooth_union_mm(right, left, 26.0)
    viscera = ellipsoid_mm(grown, (56, 38, -164), (92, 92, 92))
    fossa = ellipsoid_mm(grown, (-42, -62, -138), (15, 34, 26))
    notch = tube_mm(grown, [(2.0, -95.0, -112.0, 5.0), (-6.0, -30.0, -92.0, 6.0)])
    bulk = np.maximum.reduce([bulk, -viscera, -fossa, -notch])
    return np.asarray(np.maximum.reduce([bulk * growth, diaphragm_mm(points), skin_mm + 25.0]), np.float32)


def place_liver(builder: BodyBuilder, skin_mm: FloatArray, slant_deg: float) -> FloatArray:
    """Place the liver at the drawn volume; return the share of right lobe per voxel of its box."""
    box = builder.box((-160, -115, -230), (150, 110, 10))
    points = builder.points(box)
    target_ml = builder.stature.liver_volume_ml
    voxel_ml = builder.grid.voxel_mm**3 / 1000.0
    low, high = 0.70, 1.45
    for _ in range(11):
        growth = (low + high) / 2
        distance = _liver_mm(points, skin_mm[box], growth, slant_deg)
        if float(occupancy_of(distance, builder.grid.voxel_mm).sum(dtype=np.float64)) * voxel_ml < target_ml:
            low = growth
        else:
            high = growth
    builder.place("liver", box, distance)
    # Main fissure: from the fossa of the gallbladder in front to the vena cava behind.
    side = (points[0] - -14.0) - (points[1] - 40.0) * 0.30
    return np.asarray(np.clip(0.5 - side / builder.grid.voxel_mm, 0.0, 1.0), np.float32)


def place_device(builder: BodyBuilder, skin_mm: FloatArray) -> tuple[Point, ...]:
    """Pump disc in a subcutaneous pocket of the lower quadrant, catheter up to the hepatic artery, its tip.

    The disc is 78 mm across and 27 mm high on average over its dome.
    """
    side = builder.stature.pump_side
    belly_mm = float(np.interp(-205.0, [row[0] for row in _OUTLINE_MM], [row[2] for row in _OUTLINE_MM]))
    centre: Point = (side * 74.0, -belly_mm * 0.90 + 18.0, -205.0)
    tilt = np.radians(22.0 * side)
    normal: Point = (float(np.sin(tilt)), float(-np.cos(tilt)), 0.0)
    box = builder.box(
        (centre[0] - 60, centre[1] - 40, centre[2] - 60), (centre[0] + 60, centre[1] + 40, centre[2] + 60)
    )
    points = builder.points(box)
    size = builder.stature.girth
    disc = disc_mm(points, centre, normal, 39.0 / size, 27.0 / size)
    builder.place("pump", box, disc)
    shell = np.maximum(np.maximum(disc - 9.0, -disc), skin_mm[box] + 6.0)
    builder.lay_over("pocket", box, shell)
    tip: Point = (-12.0, -8.0, -112.0)
    course = (
        (centre[0] - side * 34, centre[1] + 14, centre[2] + 20), (side * 40.0, -66.0, -235.0),
        (side * 10.0, -52.0, -200.0), (-14.0, -26.0, -150.0), tip,
    )  # fmt: skip
    near = builder.box((tip[0] - 10, tip[1] - 10, tip[2] - 10), (tip[0] + 10, tip[1] + 10, tip[2] + 10))
    builder.lay_over("tip", near, ellipsoid_mm(builder.points(near), tip, (5, 5, 7)))
    return tuple(builder.patient_point(point) for point in course)


def place_abdomen(
    builder: BodyBuilder, skin_mm: FloatArray, stomach_size: float, bladder_mm: float, kidney_drop_mm: float
) -> None:
    """Spleen, stomach (wall and lumen), kidneys, pancreas, duodenum, bladder, thyroid and salivary glands."""
    box = builder.box((50, -30, -170), (160, 110, -5))
    points = builder.points(box)
    spleen = ellipsoid_mm(points, (100, 52, -66), (28, 40, 58), -18.0)
    builder.place("spleen", box, np.maximum.reduce([spleen, diaphragm_mm(points), skin_mm[box] + 25]))
    box = builder.box((-60, -100, -220), (130, 70, -10))
    points = builder.points(box)
    k = stomach_size
    path = [(62, 22, -50, 34 * k), (66, 0, -82, 31 * k), (58, -28, -122, 27 * k), (26, -44, -146, 20 * k),
            (-14, -34, -138, 13 * k)]  # fmt: skip
    stomach = np.maximum.reduce([tube_mm(points, path), diaphragm_mm(points), skin_mm[box] + 25])
    builder.place("stomach_lumen", box, np.asarray(stomach + 7.0, np.float32))
    builder.place("stomach_wall", box, stomach)
    for name, x in (("kidney_right", -60.0), ("kidney_left", 62.0)):
        z = -158.0 - (kidney_drop_mm if x < 0 else 0.0)
        box = builder.box((x - 40, 10, z - 70), (x + 40, 100, z + 70))
        builder.place(name, box, ellipsoid_mm(builder.points(box), (x, 52, z), (27, 24, 54), -12.0 if x > 0 else 12.0))
    box = builder.box((-70, -60, -230), (50, 40, -110))
    c_loop = [(-20, -28, -140, 12), (-44, -8, -148, 13), (-50, 4, -190, 13), (-20, 12, -208, 12), (24, 8, -180, 12)]
    builder.place("duodenum", box, tube_mm(builder.points(box), c_loop))
    box = builder.box((-50, -50, -210), (110, 60, -70))
    gland = [(-30, -4, -176, 15), (-18, -8, -158, 14), (20, -10, -140, 10), (80, 26, -100, 11)]
    builder.place("pancreas", box, tube_mm(builder.points(box), gland))
    box = builder.box((-60, -90, -470), (60, 30, -370))
    builder.place("bladder", box, ellipsoid_mm(builder.points(box), (0, -34, -418), (bladder_mm, 30, bladder_mm * 0.8)))
    box = builder.box((-40, -70, 215), (40, 0, 290))
    points = builder.points(box)
    lobes = [ellipsoid_mm(points, (x, -30, 250), (9, 10, 22)) for x in (-17.0, 17.0)]
    builder.place("thyroid", box, np.minimum(lobes[0], lobes[1]))
    box = builder.box((-70, -60, 280), (70, 30, 350))
    points = builder.points(box)
    glands = [ellipsoid_mm(points, (x, -10, 318), (11, 16, 20)) for x in (-50.0, 50.0)]
    builder.place("salivary_glands", box, np.minimum(glands[0], glands[1]))


def place_bowel(builder: BodyBuilder, skin_mm: FloatArray, rng: np.random.Generator) -> None:
    """Loops of small bowel, and a colon that carries gas."""
    box = builder.box((-120, -95, -360), (120, 50, -180))
    frame = [(-104, 0, -330, 20), (-108, -10, -225, 20), (-60, -66, -196, 18), (50, -66, -190, 17), (108, 0, -160, 17),
             (112, 14, -300, 16)]  # fmt: skip
    colon_box = builder.box((-140, -95, -370), (140, 50, -130))
    colon = np.maximum(tube_mm(builder.points(colon_box), frame), skin_mm[colon_box] + 22)
    builder.place("colon", colon_box, np.asarray(colon, np.float32))
    nodes = [
        (float(x), float(rng.uniform(-58, -5)), float(z + rng.uniform(-8, 8)), 13.0)
        for row, z in enumerate(np.linspace(-205, -345, 5))
        for x in (np.linspace(-70, 75, 4) * (1 if row % 2 == 0 else -1) + rng.uniform(-10, 10, 4))
    ]
    loops = np.maximum(tube_mm(builder.points(box), nodes), skin_mm[box] + 24)
    builder.place("small_bowel", box, np.asarray(loops, np.float32))


def attenuation_map(builder: BodyBuilder) -> FloatArray:
    """Attenuation at 140 keV in 1/mm on the whole grid, air outside."""
    result = builder.solids["body"].occupancy_zyx * np.float32(SOFT_PER_MM)
    materials = {
        "spine": BONE_PER_MM,
        "ribs": BONE_PER_MM,
        "lung_right": builder.stature.lung_per_mm,
        "lung_left": builder.stature.lung_per_mm,
        "pump": PUMP_PER_MM,
        "stomach_lumen": 0.6 * SOFT_PER_MM + 0.4 * GAS_PER_MM,
        "colon": 0.7 * SOFT_PER_MM + 0.3 * GAS_PER_MM,
    }
    for name, per_mm in materials.items():
        solid = builder.solids[name]
        result[solid.box] += solid.occupancy_zyx * np.float32(per_mm - SOFT_PER_MM)
    return np.asarray(np.maximum(result, 0.0), np.float32)
