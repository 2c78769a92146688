"""True numbers and regions of a scintigraphy phantom.

The lung shunt fraction in truth is that of activity. Anterior and posterior counts are not activity: lung attenuates
less than liver does, so the plain geometric mean overestimates. The expected geometric mean, from noise-free images
and true projected regions, is stated beside it, and the tolerance of the plain measurement contains that known bias.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from analyzers.phantoms.nuclear_camera import turned
from analyzers.phantoms.nuclear_frames import START_ANGLE_DEG
from analyzers.phantoms.nuclear_scene import Scene, exposed, squared
from analyzers.phantoms.nuclear_shapes import BoolArray, FloatArray, Solid
from analyzers.phantoms.nuclear_tomography import tomography_grid
from analyzers.phantoms.study import Json, TruthMask, TruthMeasurement

# A projected organ counts as a region where the ray crosses this much of it.
_REGION_CROSSING_MM = 12.0
# A focus that adds less than this to what overlies it is not distinct from texture of the same size.
_VISIBLE_CONTRAST_FRACTION = 0.2
_REGIONS = ("liver", "lung_right", "lung_left", "spleen", "stomach_wall", "pump")


def region_yx(scene: Scene, solid: Solid, view: str) -> BoolArray:
    """Pixels of a view behind which lies the organ, rows from head to feet."""
    return np.asarray(_projected(scene, solid, view) * scene.body.grid.voxel_mm > _REGION_CROSSING_MM, np.bool_)


def focus_region_yx(scene: Scene, solid: Solid, view: str) -> BoolArray:
    """Pixels with at least half of the highest projected uptake of a focus."""
    projected = _projected(scene, solid, view)
    return np.asarray(projected >= 0.5 * projected.max(), np.bool_)


def _projected(scene: Scene, solid: Solid, view: str) -> FloatArray:
    """Voxels along each ray of a view, rows from head to feet."""
    volume = solid.full_zyx(scene.body.grid)
    angle_deg = START_ANGLE_DEG[view]
    if angle_deg not in {0.0, 180.0}:
        volume = squared(volume)
    return np.asarray(turned(volume, angle_deg).sum(axis=1)[::-1], np.float32)


def planar_masks(scene: Scene, views: tuple[str, ...]) -> dict[str, TruthMask]:
    """Projected regions, one plane per view, in the grid of the images."""
    pixel_mm = scene.body.grid.voxel_mm
    affine = np.diag([pixel_mm, pixel_mm, 1.0, 1.0])
    regions = {
        name: [region_yx(scene, scene.body.solids[name], view) for view in views]
        for name in _REGIONS
        if name in scene.body.solids and scene.body.solids[name].occupancy_zyx.size
    }
    for focus in scene.uptake.foci:
        key = f"focus_{focus.name}".replace(" ", "_")
        regions[key] = [focus_region_yx(scene, focus.solid, view) for view in views]
    liver = regions["liver"]
    regions["lungs"] = [
        (right | left) & ~above
        for right, left, above in zip(regions["lung_right"], regions["lung_left"], liver, strict=True)
    ]
    return {
        name: TruthMask(mask_zyx=np.stack(planes), affine_lps_mm=affine)
        for name, planes in regions.items()
        if any(plane.any() for plane in planes)
    }


def volume_masks(scene: Scene) -> dict[str, TruthMask]:
    """Organs and foci on the grid of the reconstructed volumes, in the order of their frames."""
    grid, rows = tomography_grid(scene)
    affine = np.diag([grid.voxel_mm, grid.voxel_mm, grid.voxel_mm, 1.0])
    affine[:3, 3] = grid.first_centre_lps_mm
    descending = scene.request.has("descending")
    if descending:
        affine[2, 3] += (grid.shape_zyx[0] - 1) * grid.voxel_mm
        affine[2, 2] = -grid.voxel_mm
    solids = {name: scene.body.solids[name] for name in _REGIONS if name in scene.body.solids}
    solids |= {f"focus_{focus.name}".replace(" ", "_"): focus.solid for focus in scene.uptake.foci}
    masks = {}
    for name, solid in solids.items():
        volume = squared(solid.full_zyx(scene.body.grid)[rows])
        mask = volume >= 0.5 * min(float(volume.max()), 1.0)
        if volume.max() > 0:
            masks[f"volume_{name}"] = TruthMask(mask_zyx=mask[::-1] if descending else mask, affine_lps_mm=affine)
    return masks


def expected_geometric_mean_fraction(scene: Scene, expected: Mapping[str, FloatArray]) -> float | None:
    """Lung / (lung + liver) of geometric means in the true regions of noise-free images, or None without both views."""
    if not {"anterior", "posterior"} <= set(expected):
        return None
    means = {}
    masks = planar_masks(scene, ("anterior", "posterior"))
    for name in ("liver", "lungs"):
        front, back = masks[name].mask_zyx
        anterior = float(expected["anterior"][front > 0].sum(dtype=np.float64))
        posterior = float(expected["posterior"][back > 0].sum(dtype=np.float64))
        means[name] = float(np.sqrt(anterior * posterior))
    return means["lungs"] / (means["lungs"] + means["liver"])


def truth_measurements(
    scene: Scene, expected_fraction: float | None, alone: Mapping[str, FloatArray], anterior: FloatArray
) -> tuple[TruthMeasurement, ...]:
    """What an analyzer is asked to measure, with how near it can be expected to come.

    Parameters
    ----------
    scene : Scene
    expected_fraction : float or None
        From `expected_geometric_mean_fraction`.
    alone, anterior
        As for `truth_foci`.
    """
    truth = scene.uptake.lung_shunt_fraction
    bias = abs(expected_fraction - truth) if expected_fraction is not None else 0.1
    extrahepatic = [focus.name for focus in scene.uptake.foci if focus.origin == "extrahepatic"]
    hidden = sum(contrast_fraction(alone[name], anterior) < _VISIBLE_CONTRAST_FRACTION for name in extrahepatic)
    return (
        TruthMeasurement(
            key="lung_shunt_fraction",
            value=truth,
            unit="1",
            tolerance=bias + 0.02 + 0.15 * truth,
            tolerance_reason=(
                "Planar geometric means without attenuation correction overestimate: the expected bias in the true "
                "regions, plus region placement."
            ),
        ),
        TruthMeasurement(
            key="lung_shunt_fraction_corrected",
            value=truth,
            unit="1",
            tolerance=0.025 + 0.25 * truth + (1.0 - lung_share_in_field(scene)) * truth,
            tolerance_reason="One factor serves all patients, but lung and liver attenuate differently in each.",
        ),
        TruthMeasurement(
            key="extrahepatic_focus_count",
            value=float(len(extrahepatic)),
            unit="1",
            tolerance=float(hidden),
            tolerance_reason="A count; foci that do not stand out of the anterior view by a fifth may be missed.",
        ),
    )


def truth_foci(scene: Scene, alone: Mapping[str, FloatArray], anterior: FloatArray) -> list[Json]:
    """Foci with position, organ, share, and how far they stand out of the anterior view.

    Parameters
    ----------
    scene : Scene
    alone : mapping of name to (rows, columns) float32
        Expected anterior counts of each focus by itself.
    anterior : (rows, columns) float32
        Expected counts of everything.
    """
    return [
        {
            "name": focus.name,
            "organ": focus.organ,
            "origin": focus.origin,
            "liver_share_fraction": round(focus.liver_share_fraction, 5),
            "centroid_lps_mm": [round(value, 1) for value in focus.solid.centroid_lps_mm(scene.body.grid)],
            **_visibility(alone[focus.name], anterior),
        }
        for focus in scene.uptake.foci
    ]


def contrast_fraction(alone: FloatArray, anterior: FloatArray) -> float:
    """Counts of a focus over those of what lies before and behind it; 0 outside the field."""
    if alone.max() <= 0:
        return 0.0
    region = alone >= 0.5 * alone.max()
    signal = float(alone[region].sum(dtype=np.float64))
    return signal / max(float(anterior[region].sum(dtype=np.float64)) - signal, 1.0)


def _visibility(alone: FloatArray, anterior: FloatArray) -> dict[str, Json]:
    """Counts of a focus against what lies before and behind it, where the focus is at least half its maximum."""
    if alone.max() <= 0:
        return {"in_anterior_field": False, "anterior_contrast_fraction": None, "anterior_contrast_to_noise": None}
    region = alone >= 0.5 * alone.max()
    signal = float(alone[region].sum(dtype=np.float64))
    total = float(anterior[region].sum(dtype=np.float64))
    background = max(total - signal, 1.0)
    return {
        "in_anterior_field": True,
        "anterior_contrast_fraction": round(contrast_fraction(alone, anterior), 3),
        "anterior_contrast_to_noise": round(signal / float(np.sqrt(background)), 1),
    }


def truth_structures(scene: Scene, expected_fraction: float | None, counts: Mapping[str, int]) -> dict[str, Json]:
    """Further facts of a scene: volumes, positions, lobes, lesions, what a perfect planar reader would find."""
    body, grid = scene.body, scene.body.grid
    pump = body.solids.get("pump")
    liver = body.solids["liver"]
    right_ml = liver.times(body.right_lobe_share_zyx).volume_ml(grid)
    planar = None if expected_fraction is None else round(expected_fraction, 5)
    return {
        "lung_shunt_fraction_geometric_mean_expected": planar,
        "attenuation_factor_liver_to_lung": round(scene.attenuation_factor, 4),
        "left_lobe_share_of_liver_activity": round(scene.uptake.left_share_fraction, 5),
        "right_lobe_volume_ml": round(right_ml, 1),
        "organ_volumes_ml": {
            name: round(solid.volume_ml(grid), 1) for name, solid in body.solids.items() if solid.occupancy_zyx.any()
        },
        "catheter_lps_mm": [[round(value, 1) for value in point] for point in body.catheter_lps_mm],
        "pump_centre_lps_mm": None if pump is None else [round(value, 1) for value in pump.centroid_lps_mm(grid)],
        "lung_share_in_field_fraction": round(lung_share_in_field(scene), 4),
        "photopeak_counts": dict(counts),
        "liver_lesions": [
            {
                "name": lesion.name,
                "centre_lps_mm": [round(value, 1) for value in lesion.centre_lps_mm],
                "radius_mm": round(lesion.radius_mm, 1),
                "uptake_ratio": round(lesion.uptake_ratio, 2),
            }
            for lesion in scene.uptake.lesions
        ],
    }


def lung_share_in_field(scene: Scene) -> float:
    """Share of the volume of both lungs that lies before the crystal."""
    lungs = sum(
        (scene.body.solids[name].full_zyx(scene.body.grid) for name in ("lung_right", "lung_left")),
        np.zeros(scene.body.grid.shape_zyx, np.float32),
    )
    image: NDArray[np.float32] = turned(lungs, START_ANGLE_DEG["anterior"]).sum(axis=1)[::-1]
    seen = exposed(image, scene.body.grid.voxel_mm, scene.request.has("whole-body"))
    return float(seen.sum(dtype=np.float64)) / max(float(image.sum(dtype=np.float64)), 1e-9)
