"""The trunk in an MR volume: outline, midline, level of subcutaneous fat."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.filters import threshold_otsu

from analyzers.mri.patient_grid import PatientGrid, closed, dilated, eroded, largest_part
from analyzers.mri.thresholds import LiverThresholds

_SKIN_MM = (3.0, 10.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Body:
    """The trunk on a patient grid.

    Attributes
    ----------
    mask_zyx : (z, y, x) bool
        Inside of the skin.
    depth_mm_zyx : (z, y, x) float32
        In-plane distance from the skin, in mm.
    midline_x : (z,) float64
        Index along x of the middle of each section.
    width_mm : float
        Median width of the sections.
    """

    mask_zyx: NDArray[np.bool_]
    depth_mm_zyx: NDArray[np.float32]
    midline_x: NDArray[np.float64]
    width_mm: float

    @property
    def right_zyx(self) -> NDArray[np.bool_]:
        """True to the right of the midline (lower x in LPS)."""
        x = np.arange(self.mask_zyx.shape[2])[None, None, :]
        return np.broadcast_to(x < self.midline_x[:, None, None], self.mask_zyx.shape)


def find_body(values_zyx: NDArray[np.float32], inside_zyx: NDArray[np.bool_], spacing_mm: float) -> Body | None:
    """Find the trunk; ``None`` where nothing stands out from the background.

    Parameters
    ----------
    values_zyx : (z, y, x) float32
        Intensity on a patient grid.
    inside_zyx : (z, y, x) bool
        Where the scan has voxels.
    spacing_mm : float
        Edge of a voxel.
    """
    smooth = ndimage.gaussian_filter(values_zyx, 1.0)
    top = float(np.percentile(smooth[inside_zyx], 99.0)) if inside_zyx.any() else 0.0
    if top <= 0.0:
        return None
    # The logarithm parts dark organs from noise, where a plain histogram would part fat from organs.
    level = np.log(np.clip(smooth / top, 1e-3, 1.0))
    threshold = min(float(threshold_otsu(level[inside_zyx])), float(np.log(0.12)))
    above = (level > threshold) & inside_zyx
    mask = np.zeros_like(above)
    for z, section in enumerate(above):
        part = largest_part(closed(section[None], 9.0 / spacing_mm))[0]
        mask[z] = ndimage.binary_fill_holes(part)
    mask = largest_part(mask)
    if not mask.any():
        return None
    columns = np.asarray(mask.any(axis=1))
    used = np.asarray(columns.any(axis=1))
    first = columns.argmax(axis=1)
    last = columns.shape[1] - 1 - columns[:, ::-1].argmax(axis=1)
    middle = np.where(used, (first + last) / 2.0, np.nan)
    widths = (last - first + 1)[used] * spacing_mm
    midline = np.where(used, middle, float(np.nanmedian(middle)))
    depth = np.stack([ndimage.distance_transform_edt(section) for section in mask]) * spacing_mm
    return Body(
        mask_zyx=mask,
        depth_mm_zyx=depth.astype(np.float32),
        midline_x=ndimage.gaussian_filter1d(midline, 3.0),
        width_mm=float(np.median(widths)),
    )


def fat_level(values_zyx: NDArray[np.float32], body: Body) -> float:
    """Median intensity just below the skin: subcutaneous fat, bright or suppressed."""
    ring = (body.depth_mm_zyx > _SKIN_MM[0]) & (body.depth_mm_zyx <= _SKIN_MM[1])
    return float(np.median(values_zyx[ring])) if ring.any() else 0.0


def fat_and_wall(
    values_zyx: NDArray[np.float32], organ_level: float, body: Body, grid: PatientGrid, settings: LiverThresholds
) -> NDArray[np.bool_]:
    """What is no organ where fat is not suppressed: fat itself, and the abdominal wall inside of subcutaneous fat.

    Parameters
    ----------
    values_zyx : (z, y, x) float32
        Bias-corrected intensity on the patient grid.
    organ_level : float
        Level of the organ.

    Returns
    -------
    (z, y, x) bool
        Nothing where fat is suppressed, because then it cannot be told from vessels and lesions.
    """
    fat = fat_level(values_zyx, body)
    if fat < settings.bright_fat_level * organ_level:
        return np.zeros(body.mask_zyx.shape, bool)
    fatty = body.mask_zyx & (values_zyx > 0.5 * (fat + organ_level))
    # Subcutaneous fat is what hangs together with the ring below the skin after thin bridges are cut.
    ring = (body.depth_mm_zyx > _SKIN_MM[0]) & (body.depth_mm_zyx <= _SKIN_MM[1])
    labels, _ = ndimage.label(eroded(fatty, 1.0))
    touching = np.unique(labels[ring])
    subcutaneous = dilated(np.isin(labels, touching[touching > 0]), 1.5) & fatty
    return fatty | dilated(subcutaneous, grid.voxels(settings.wall_mm))
