"""The truth of an MR phantom, from the modelled shapes."""

import numpy as np
from numpy.typing import NDArray

from analyzers.phantoms.anatomy import Anatomy
from analyzers.phantoms.ct_scanner import slice_weights
from analyzers.phantoms.ct_truth import lesion_list
from analyzers.phantoms.layers import Painting
from analyzers.phantoms.lesions import measure_lesion
from analyzers.phantoms.request import PhantomRequest
from analyzers.phantoms.study import Json, TruthMask, TruthMeasurement

__all__ = ["lesion_list", "mr_masks", "mr_measurements", "mr_structures"]


def mr_measurements(
    anatomy: Anatomy, painting: Painting, pixel_mm: float, slice_mm: float
) -> tuple[TruthMeasurement, ...]:
    """Liver volume, and axes and volume of every lesion."""
    liver_ml = painting.volumes_ml["liver"]
    result = [
        TruthMeasurement(
            key="liver_volume",
            site="liver",
            value=liver_ml,
            unit="mL",
            tolerance=0.10 * liver_ml,
            tolerance_reason="automatic liver segmentation on MR; vessels and lesions inside count",
        )
    ]
    for lesion in anatomy.lesions:
        truth = measure_lesion(lesion)
        axis_reason = "a voxel at either end, and 10 % between readers"
        for key, value in (("lesion_long_axis", truth.long_axis_mm), ("lesion_short_axis", truth.short_axis_mm)):
            result.append(
                TruthMeasurement(
                    key=key,
                    site=lesion.name,
                    value=value,
                    unit="mm",
                    tolerance=2 * pixel_mm + 0.1 * value,
                    tolerance_reason=axis_reason,
                )
            )
        shell_ml = 4 * np.pi * (truth.volume_ml * 1000 * 3 / (4 * np.pi)) ** (2 / 3) * slice_mm / 2 / 1000
        result.append(
            TruthMeasurement(
                key="lesion_volume",
                site=lesion.name,
                value=truth.volume_ml,
                unit="mL",
                tolerance=max(0.25 * truth.volume_ml, float(shell_ml)),
                tolerance_reason="half a slice all over the surface",
            )
        )
    return tuple(result)


def mr_masks(
    request: PhantomRequest, painting: Painting, centres_z_mm: NDArray[np.float64], thickness_mm: float
) -> dict[str, TruthMask]:
    """Regions on the slices of the last phase, which is the reference breath-hold."""
    grid = painting.grid
    weights = slice_weights(grid.z_mm, centres_z_mm, thickness_mm, bell=False)
    flipped = request.has("feet-first")
    affine = np.diag([-1.0 if flipped else 1.0, 1.0, 1.0, 1.0])
    affine[:3, :3] *= np.array([grid.steps_zyx_mm[2], grid.steps_zyx_mm[1], centres_z_mm[1] - centres_z_mm[0]])
    affine[:3, 3] = (grid.x_mm[-1] if flipped else grid.x_mm[0], grid.y_mm[0], centres_z_mm[0])
    masks = {}
    for name in sorted(painting.regions):
        share = np.tensordot(weights, painting.mask(name).astype(np.float32), axes=(1, 0))
        inside: NDArray[np.bool_] = share > 127
        masks[name] = TruthMask(mask_zyx=inside[:, :, ::-1] if flipped else inside, affine_lps_mm=affine)
    return masks


def mr_structures(request: PhantomRequest, anatomy: Anatomy, painting: Painting, masks_on: str) -> dict[str, Json]:
    """Which series the masks lie on, and the pump if there is one."""
    role = "dynamic" if request.has("two-phases-in-one-series") else masks_on
    structures: dict[str, Json] = {
        "masks_series_instance_uid": request.uid("series", role),
        "volumes_ml": {name: round(value, 3) for name, value in painting.whole_volumes_ml().items()},
    }
    if anatomy.device is not None:
        structures["pump"] = {
            "model": anatomy.device.model.name,
            "centre_lps_mm": [round(value, 3) for value in anatomy.device.centre],
            "in_field_of_view": bool(anatomy.device.centre[2] + 45 > painting.grid.z_mm[0]),
        }
    return structures
