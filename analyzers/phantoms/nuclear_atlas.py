"""The frame on which a body of the scintigraphy phantom is built: stature, skin, diaphragm, and a builder.

Atlas coordinates are mm of a person of 1.72 m and average girth; the builder scales and bends them to the patient. The
origin lies in the midline, half way through the trunk, at the height of the right dome of the diaphragm (LPS).
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
    occupancy_of,
)

# Height above the diaphragm, lateral and antero-posterior half width, in mm, of a person of 1.72 m.
OUTLINE_MM = (
    (-900, 70, 62),
    (-700, 80, 76),
    (-474, 88, 96),
    (-466, 174, 104),
    (-380, 176, 108),
    (-290, 164, 104),
    (-200, 148, 102),
    (-100, 150, 107),
    (0, 158, 110),
    (70, 160, 106),
    (130, 166, 96),
    (175, 176, 82),
    (200, 168, 72),
    (222, 112, 62),
    (240, 66, 58),
    (285, 58, 60),
    (310, 66, 80),
    (350, 74, 94),
    (400, 72, 92),
    (435, 52, 66),
    (452, 12, 16),
)  # fmt: skip

# Attenuation of inflated lung at 140 keV in 1/mm, mean over persons and depths of breathing.
LUNG_PER_MM = 0.0043


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
    heights = np.array([row[0] for row in OUTLINE_MM], np.float32)
    lateral = np.interp(z, heights, [row[1] for row in OUTLINE_MM]).astype(np.float32)
    sagittal = np.interp(z, heights, [row[2] for row in OUTLINE_MM]).astype(np.float32)
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
