"""CT numbers of the tissues of a scintigraphy phantom, without contrast medium, and what breathing moves between scans.

A low-dose CT is taken in one breath hold or in a moment of free breathing, the SPECT over twenty minutes: organs under
the diaphragm lie elsewhere. The offset is drawn per patient, and is large with ``dome-mismatch``.
"""

from itertools import pairwise

import numpy as np
from scipy import ndimage

from analyzers.phantoms.nuclear_atlas import trunk_mm
from analyzers.phantoms.nuclear_body import NuclearBody
from analyzers.phantoms.nuclear_shapes import FloatArray, Grid
from analyzers.phantoms.request import PhantomRequest

# Mean and spread between patients of unenhanced tissues at 120 to 130 kV (HU); liver 58.8 +- 10.8 is published (n =
# 3357), cut at steatosis that hides the organ; the others are usual textbook ranges.
_TISSUE_HU = {
    "liver": (58.0, 6.0),
    "spleen": (48.0, 3.0),
    "heart": (42.0, 3.0),
    "stomach_wall": (38.0, 3.0),
    "stomach_lumen": (12.0, 8.0),
    "kidney_right": (30.0, 2.0),
    "kidney_left": (30.0, 2.0),
    "pancreas": (36.0, 5.0),
    "duodenum": (26.0, 5.0),
    "small_bowel": (22.0, 6.0),
    "colon": (-40.0, 60.0),
    "bladder": (6.0, 3.0),
    "spine": (430.0, 50.0),
    "ribs": (420.0, 60.0),
}
_STILL = frozenset({"spine", "ribs", "bladder", "pump"})
_FAT_HU, _MUSCLE_HU, _SKIN_HU, _MEDIASTINUM_HU, _GAS_HU = -100.0, 54.0, 20.0, 38.0, -950.0
_SKIN_MM, _FAT_TO_MM, _MUSCLE_TO_MM = 2.5, 13.0, 24.0
_WATER_PER_MM = 0.0154
_METAL_HU, _MARROW_HU = 2800.0, 150.0
_CATHETER_HU, _CATHETER_MM2 = 2400.0, 4.2
"""Made to be seen on X-rays; 2.3 mm across."""


def breathing_offset_mm(request: PhantomRequest) -> float:
    """Height of the abdominal organs in the CT above that in the SPECT, in mm; negative after a breath in."""
    rng = request.rng("breathing between scans")
    usual, deep = float(np.clip(rng.normal(0.0, 3.0), -7.0, 7.0)), float(rng.uniform(17.0, 26.0))
    return -deep if request.has("dome-mismatch") else usual


def hounsfield(body: NuclearBody, request: PhantomRequest) -> FloatArray:
    """CT numbers on the grid of a body, (z, y, x); titanium saturates the scale.

    Between the organs lies fat, round them a ring of fat and a ring of muscle; the mediastinum is soft tissue.
    """
    rng = request.rng("ct tissues")
    grid, offset_mm = body.grid, breathing_offset_mm(request)
    result = _between_organs(body)
    lungs = np.zeros(grid.shape_zyx, np.float32)
    for name in ("lung_right", "lung_left"):
        solid = body.solids[name].full_zyx(grid)
        # What the diaphragm leaves free is lung; what it rises into is not.
        lungs = np.maximum(lungs, np.maximum(solid, _moved(solid, offset_mm, grid)))
    lung_hu = 1000.0 * (body.stature.lung_per_mm / _WATER_PER_MM - 1.0)
    result += lungs * (np.float32(lung_hu) - result)
    for name, (mean_hu, spread_hu) in _TISSUE_HU.items():
        value_hu = float(np.clip(rng.normal(mean_hu, spread_hu), mean_hu - 2 * spread_hu, mean_hu + 2 * spread_hu))
        if name not in body.solids:
            continue
        occupancy = body.solids[name].full_zyx(grid)
        if name not in _STILL:
            occupancy = _moved(occupancy, offset_mm, grid)
        result += occupancy * (np.float32(value_hu) - result)
        if name == "spine":
            marrow = ndimage.grey_erosion(occupancy, size=(1, 3, 3))
            result += marrow * (np.float32(_MARROW_HU) - result)
        if name == "stomach_lumen":
            result += _gas(body, occupancy) * (np.float32(_GAS_HU) - result)
    if "pump" in body.solids:
        result += body.solids["pump"].full_zyx(grid) * (np.float32(_METAL_HU) - result)
    result += _catheter(body, offset_mm)
    air = 1.0 - body.solids["body"].full_zyx(grid)
    result += air * (np.float32(-1000.0) - result)
    return np.asarray(np.clip(result, -1000.0, 3071.0), np.float32)


def _between_organs(body: NuclearBody) -> FloatArray:
    """Skin, subcutaneous fat and muscle by depth; inside fat below, soft tissue above and muscle beside the spine."""
    grid, stature = body.grid, body.stature
    z = grid.axis_mm(0)[:, None, None] / np.float32(stature.scale)
    y = grid.axis_mm(1)[None, :, None] / np.float32(stature.girth)
    x = grid.axis_mm(2)[None, None, :] / np.float32(stature.girth)
    zero = np.zeros(grid.shape_zyx, np.float32)
    depth_mm = -trunk_mm((x + zero, y + zero, z + zero)) * np.float32(stature.girth)
    chest = (z > 20.0) & (depth_mm > _MUSCLE_TO_MM)
    # The long muscles of the back lie outside the ribs; below these the quadratus lumborum takes their place.
    back = (y > 58.0) & (np.abs(x) < 75.0) & (depth_mm > _FAT_TO_MM) & (z < -115.0)
    psoas = ((np.abs(x) - 38.0) ** 2 + (y - 48.0) ** 2 < 18.0**2) & (z < -110.0)
    result = np.full(grid.shape_zyx, _FAT_HU, np.float32)
    result[depth_mm < _SKIN_MM] = _SKIN_HU
    result[(depth_mm > _FAT_TO_MM) & (depth_mm < _MUSCLE_TO_MM) | back | psoas] = _MUSCLE_HU
    result[chest] = _MEDIASTINUM_HU
    return result


def _catheter(body: NuclearBody, offset_mm: float) -> FloatArray:
    """What the radiopaque catheter adds in HU: 2.3 mm wide, so its voxels hold little of it; it moves with the organs.

    The course is a line from point to point, laid down in steps of a millimetre.
    """
    grid = body.grid
    added = np.zeros(grid.shape_zyx, np.float32)
    first = np.asarray(grid.first_centre_lps_mm) - np.asarray((0.0, 0.0, offset_mm))
    share = np.float32(_CATHETER_MM2 / grid.voxel_mm**3)
    for start, end in pairwise(np.asarray(body.catheter_lps_mm, np.float64).reshape(-1, 3)):
        length_mm = float(np.linalg.norm(end - start))
        points = start + np.linspace(0.0, 1.0, round(length_mm) + 1)[:, None] * (end - start)
        x, y, z = np.rint((points - first) / grid.voxel_mm).astype(np.intp).T
        inside = (z >= 0) & (z < added.shape[0])
        np.add.at(added, (z[inside], y[inside], x[inside]), share * np.float32(_CATHETER_HU))
    return added


def _gas(body: NuclearBody, lumen: FloatArray) -> FloatArray:
    """Gas rises to the front of the stomach of a patient who lies on the back."""
    y_mm = body.grid.axis_mm(1)[None, :, None]
    front_mm = body.solids["stomach_lumen"].centroid_lps_mm(body.grid)[1] - 4.0
    return np.asarray(lumen * (y_mm < front_mm), np.float32)


def _moved(occupancy: FloatArray, offset_mm: float, grid: Grid) -> FloatArray:
    shifted = ndimage.shift(occupancy, (offset_mm / grid.voxel_mm, 0.0, 0.0), order=1, mode="constant")
    return np.asarray(shifted, np.float32)
