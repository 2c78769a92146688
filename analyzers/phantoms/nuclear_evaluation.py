"""Another generator of anatomy, for measuring what was developed on the first one.

Skeleton, device and hollow organs are shared. Differently made are what the measurements depend upon: the liver is the
level set of a sum of random Gaussian blobs (right lobe, dome, left lobe, caudate) instead of blended ellipsoids; the
lungs fill the rib cage between diaphragm, mediastinum and a slanted apex instead of being ellipsoids; and the body is
bent at two scales instead of one.
"""

import numpy as np

from analyzers.phantoms.nuclear_atlas import BodyBuilder, diaphragm_mm
from analyzers.phantoms.nuclear_shapes import (
    FloatArray,
    Grid,
    Points,
    Warp,
    ellipsoid_mm,
    occupancy_of,
    random_warp,
    tube_mm,
)

# Centre, radius (mm) and weight of the blobs of a liver; each is moved at random.
_BLOBS = (
    (-88.0, 22.0, -82.0, 52.0, 1.0),
    (-90.0, -16.0, -100.0, 46.0, 0.9),
    (-70.0, -8.0, -52.0, 50.0, 1.0),
    (-94.0, 8.0, -122.0, 34.0, 0.6),
    (-24.0, -24.0, -58.0, 44.0, 0.95),
    (20.0, -42.0, -60.0, 40.0, 0.95),
    (54.0, -46.0, -46.0, 26.0, 0.75),
    (-18.0, 26.0, -62.0, 24.0, 0.6),
)


def evaluation_warp(grid: Grid, rng: np.random.Generator) -> Warp:
    """Displacement at two scales: 6 mm over 115 mm, and 2.5 mm over 38 mm."""
    wide, narrow = random_warp(grid, 6.0, 115.0, rng), random_warp(grid, 2.5, 38.0, rng)
    return Warp(grid=grid, shift_mm=wide.shift_mm + narrow.shift_mm)


def place_evaluation_chest(builder: BodyBuilder, skin_mm: FloatArray) -> None:
    """Heart and lungs; the lungs are what the rib cage leaves."""
    box = builder.box((-60, -100, -40), (110, 40, 150))
    points = builder.points(box)
    heart = tube_mm(points, [(8.0, -20.0, 96.0, 26.0), (14.0, -34.0, 40.0, 40.0), (58.0, -52.0, 6.0, 24.0)])
    builder.place("heart", box, np.maximum(heart, -diaphragm_mm(points)))
    for name, sign in (("lung_right", -1), ("lung_left", 1)):
        box = builder.box((-160 if sign < 0 else 5, -110, -110), (-5 if sign < 0 else 160, 110, 215))
        points = builder.points(box)
        mediastinum = tube_mm(points, [(0.0, 10.0, -60.0, 34.0), (0.0, 10.0, 80.0, 30.0), (0.0, 0.0, 230.0, 40.0)])
        apex = ellipsoid_mm(points, (sign * 66, 8, 60), (92, 130, 142))
        cage = np.maximum.reduce([skin_mm[box] + 26.0, 6.0 - diaphragm_mm(points), -mediastinum, apex])
        builder.place(name, box, np.asarray(np.maximum(cage, 8.0 - sign * points[0]), np.float32))


def place_evaluation_liver(builder: BodyBuilder, skin_mm: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Place the liver at the drawn volume; return the share of right lobe per voxel of its box."""
    box = builder.box((-160, -115, -230), (150, 110, 10))
    points = builder.points(box)
    field = _blob_field(points, rng)
    fence = np.maximum(diaphragm_mm(points), skin_mm[box] + 24.0)
    voxel_mm = builder.grid.voxel_mm
    low, high = 0.02, 2.5
    for _ in range(13):
        level = float(np.sqrt(low * high))
        # The logarithm of a Gaussian is quadratic; times the radius it has the scale of a distance.
        distance = np.maximum(np.log(level / np.maximum(field, 1e-6)) * 24.0, fence).astype(np.float32)
        volume_ml = float(occupancy_of(distance, voxel_mm).sum(dtype=np.float64)) * voxel_mm**3 / 1000.0
        low, high = (low, level) if volume_ml < builder.stature.liver_volume_ml else (level, high)
    builder.place("liver", box, distance)
    side = (points[0] + 24.0) - (points[1] - 30.0) * 0.22
    return np.asarray(np.clip(0.5 - side / voxel_mm, 0.0, 1.0), np.float32)


def _blob_field(points: Points, rng: np.random.Generator) -> FloatArray:
    """Sum of Gaussian blobs at randomly moved centres."""
    field = np.zeros_like(points[0])
    for x, y, z, radius, weight in _BLOBS:
        move = rng.normal(0.0, 6.0, 3)
        size = radius * float(np.exp(rng.normal(0.0, 0.08)))
        square = (points[0] - x - move[0]) ** 2 + (points[1] - y - move[1]) ** 2 + (points[2] - z - move[2]) ** 2
        field = field + weight * np.exp(-square / size**2)
    return np.asarray(field, np.float32)
