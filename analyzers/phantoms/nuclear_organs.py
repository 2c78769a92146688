"""Where the organs lie: one function per region of the body, in atlas mm (see `nuclear_atlas`)."""

import numpy as np

from analyzers.phantoms.nuclear_atlas import OUTLINE_MM, BodyBuilder, diaphragm_mm
from analyzers.phantoms.nuclear_shapes import (
    FloatArray,
    Point,
    Points,
    disc_mm,
    ellipsoid_mm,
    occupancy_of,
    smooth_union_mm,
    tube_mm,
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
    left = ellipsoid_mm(grown, (6, -42, -58), (92, 46, 58), 12.0 + slant_deg)
    bulk = smooth_union_mm(right, left, 26.0)
    viscera = ellipsoid_mm(grown, (56, 38, -164), (92, 92, 92))
    fossa = ellipsoid_mm(grown, (-48, -62, -138), (15, 34, 26))
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
    side = (points[0] + 21.0) - (points[1] - 40.0) * 0.30
    return np.asarray(np.clip(0.5 - side / builder.grid.voxel_mm, 0.0, 1.0), np.float32)


def place_device(builder: BodyBuilder, skin_mm: FloatArray) -> tuple[Point, ...]:
    """Pump disc in a subcutaneous pocket of the lower quadrant, catheter up to the hepatic artery, its tip.

    The disc is 78 mm across and 27 mm high on average over its dome.
    """
    side = builder.stature.pump_side
    belly_mm = float(np.interp(-205.0, [row[0] for row in OUTLINE_MM], [row[2] for row in OUTLINE_MM]))
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
        (centre[0] - side * 34, centre[1] + 14, centre[2] + 20),
        (side * 40.0, -66.0, -235.0),
        (side * 10.0, -52.0, -200.0),
        (-14.0, -26.0, -150.0),
        tip,
    )
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
    path = [
        (62, 22, -50, 34 * k),
        (66, 0, -82, 31 * k),
        (58, -28, -122, 27 * k),
        (26, -44, -146, 20 * k),
        (-14, -34, -138, 13 * k),
    ]
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
    box = builder.box((-120, -95, -360), (120, 50, -160))
    frame = [
        (-104, 0, -330, 20),
        (-108, -10, -225, 20),
        (-60, -66, -196, 18),
        (50, -66, -190, 17),
        (108, 0, -160, 17),
        (112, 14, -300, 16),
    ]
    colon_box = builder.box((-140, -95, -370), (140, 50, -130))
    colon = np.maximum(tube_mm(builder.points(colon_box), frame), skin_mm[colon_box] + 22)
    builder.place("colon", colon_box, np.asarray(colon, np.float32))
    nodes = [
        (float(x), float(rng.uniform(-58, -5)), float(z + rng.uniform(-8, 8)), 13.0)
        for row, z in enumerate(np.linspace(-182, -345, 6))
        for x in (np.linspace(-70, 75, 4) * (1 if row % 2 == 0 else -1) + rng.uniform(-10, 10, 4))
    ]
    loops = np.maximum(tube_mm(builder.points(box), nodes), skin_mm[box] + 24)
    builder.place("small_bowel", box, np.asarray(loops, np.float32))
