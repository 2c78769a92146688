"""The truth of a CT phantom, from the painted model before blur, noise and metal artefacts."""

import numpy as np
from numpy.typing import NDArray

from analyzers.phantoms.anatomy import Anatomy
from analyzers.phantoms.ct_images import image_plane
from analyzers.phantoms.ct_scanner import Exposure, slice_images
from analyzers.phantoms.layers import Painting
from analyzers.phantoms.lesions import measure_lesion
from analyzers.phantoms.request import PhantomRequest
from analyzers.phantoms.shapes import path_length_mm
from analyzers.phantoms.study import Json, TruthMask, TruthMeasurement


def ct_measurements(
    request: PhantomRequest, anatomy: Anatomy, painting: Painting, table: dict[str, tuple[float, ...]], roles: list[str]
) -> tuple[TruthMeasurement, ...]:
    """True numbers, each with what an honest measurement may miss it by."""
    grid = painting.grid
    pixel = grid.steps_zyx_mm[1]
    liver_ml = painting.volumes_ml["liver"]
    aorta = anatomy.vessels.arteries["aorta"]
    celiac_mm = float(aorta[np.abs(aorta[:, 2] - anatomy.vessels.celiac_level_mm).argmin(), 3]) * 2
    bright = max(range(len(roles)), key=lambda channel: table["aorta"][channel])
    result = [
        TruthMeasurement(
            key="liver_volume",
            site="liver",
            value=liver_ml,
            unit="mL",
            tolerance=0.08 * liver_ml,
            tolerance_reason="automatic liver segmentation on CT; vessels and lesions inside count, "
            "gallbladder and vena cava do not",
        ),
        TruthMeasurement(
            key="aorta_diameter",
            site="celiac level",
            value=celiac_mm,
            unit="mm",
            tolerance=max(1.5, 1.5 * pixel),
            tolerance_reason="about one pixel across a lumen that tapers",
        ),
        TruthMeasurement(
            key="aorta_attenuation",
            site=roles[bright],
            value=table["aorta"][bright],
            unit="[hnsf'U]",
            tolerance=12.0,
            tolerance_reason="mean of a region away from the wall; noise and streaks",
        ),
    ]
    result += [
        TruthMeasurement(
            key="liver_attenuation",
            site=role,
            value=table["liver"][channel],
            unit="[hnsf'U]",
            tolerance=8.0,
            tolerance_reason="parenchyma without vessels and lesions; a whole-organ mean differs by these",
        )
        for channel, role in enumerate(roles)
    ]
    return (*result, *_device_measurements(request, anatomy))


def _device_measurements(request: PhantomRequest, anatomy: Anatomy) -> tuple[TruthMeasurement, ...]:
    device = anatomy.device
    if device is None:
        return ()
    length = path_length_mm(device.catheter)
    slice_mm = 2.5 if request.size == "small" else 1.0
    return (
        TruthMeasurement(
            key="pump_diameter",
            value=device.model.diameter_mm,
            unit="mm",
            tolerance=2 + slice_mm,
            tolerance_reason="metal blooms by about a voxel on each side",
        ),
        TruthMeasurement(
            key="pump_thickness",
            value=device.model.thickness_mm,
            unit="mm",
            tolerance=2 + slice_mm,
            tolerance_reason="disc without the dome of the septum; metal blooms",
        ),
        TruthMeasurement(
            key="catheter_length",
            value=length,
            unit="mm",
            tolerance=max(0.1 * length, 15),
            tolerance_reason="from the pump's rim to the tip; its first centimetre hides in the streaks",
        ),
    )


def ct_masks(request: PhantomRequest, painting: Painting, exposure: Exposure) -> dict[str, TruthMask]:
    """Regions on the slices of the last series of the study, half-filled voxels counted in."""
    centres = exposure.centres_z_mm
    position, orientation = image_plane(request, painting.grid, exposure, float(centres[0]))
    flipped = request.has("feet-first")
    pixel = painting.grid.steps_zyx_mm[1]
    affine = np.eye(4)
    affine[:3, 0] = np.asarray(orientation[:3]) * pixel
    affine[:3, 1] = np.asarray(orientation[3:]) * pixel
    affine[:3, 2] = (0, 0, centres[1] - centres[0])
    affine[:3, 3] = position
    masks = {}
    for name in sorted(painting.regions):
        inside = _sliced(painting, name, exposure)
        masks[name] = TruthMask(mask_zyx=inside[:, :, ::-1] if flipped else inside, affine_lps_mm=affine)
    return masks


def _sliced(painting: Painting, name: str, exposure: Exposure) -> NDArray[np.bool_]:
    """Voxels of the slices that a region fills by half; only its columns are computed."""
    grid, region = painting.grid, painting.regions[name]
    z, y, x = region.block
    columns = np.zeros((len(grid.z_mm), len(grid.y_mm), x.stop - x.start), dtype=np.float32)
    columns[z, y] = region.share_zyx
    inside = np.zeros((len(exposure.centres_z_mm), *grid.shape[1:]), dtype=np.bool_)
    inside[:, :, x] = slice_images(columns, grid, exposure, bell=False) > 127
    return inside


def ct_structures(request: PhantomRequest, anatomy: Anatomy, painting: Painting, masks_on: str) -> dict[str, Json]:
    """Centre lines, pump and tip in LPS mm, and true volumes of all masks."""
    structures: dict[str, Json] = {
        "masks_series_instance_uid": request.uid(
            "series", "two phases" if request.has("two-phases-in-one-series") else masks_on
        ),
        "volumes_ml": {name: round(value, 3) for name, value in painting.whole_volumes_ml().items()},
        "arteries": {name: _line(path) for name, path in anatomy.vessels.arteries.items()},
        "gda_origin_lps_mm": _numbers(anatomy.vessels.gda_origin),
        "variant": "right hepatic artery from superior mesenteric" if request.has("variant-artery") else "none",
    }
    device = anatomy.device
    if device is not None:
        structures["pump"] = {
            "model": device.model.name,
            "centre_lps_mm": _numbers(device.centre),
            "normal_lps": _numbers(device.normal),
            "outward_lps": _numbers(device.outward),
            "flipped": request.has("pump-flipped"),
            "height_with_dome_mm": device.model.thickness_mm + device.model.dome_mm,
        }
        structures["catheter"] = {
            "centre_line_lps_mm": [_numbers(point) for point in device.catheter[:, :3]],
            "outer_diameter_mm": 2 * float(device.catheter[0, 3]),
            "tip_lps_mm": _numbers(device.catheter[-1, :3]),
        }
    return structures


def lesion_list(anatomy: Anatomy) -> list[Json]:
    """Each lesion with its true volume and axes."""
    lesions: list[Json] = []
    for lesion in anatomy.lesions:
        truth = measure_lesion(lesion)
        lesions.append(
            {
                "name": lesion.name,
                "centroid_lps_mm": _numbers(truth.centroid),
                "volume_ml": round(truth.volume_ml, 3),
                "long_axis_mm": round(truth.long_axis_mm, 2),
                "short_axis_mm": round(truth.short_axis_mm, 2),
            }
        )
    return lesions


def _line(path: NDArray[np.float64]) -> dict[str, Json]:
    return {
        "centre_line_lps_mm": [_numbers(point) for point in path[:, :3]],
        "radius_mm": _numbers(path[:, 3]),
    }


def _numbers(values: "NDArray[np.float64] | tuple[float, ...]") -> list[Json]:
    return [round(float(value), 3) for value in values]
