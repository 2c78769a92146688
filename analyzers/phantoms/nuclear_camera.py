"""A gamma camera with a parallel-hole collimator: expected counts of one view of an activity map.

Each depth plane is attenuated along the ray towards the detector, blurred by the collimator's resolution at its
distance, and summed (the rotate-and-sum projector of emission tomography). Photons that scattered on their way out
add a broad component that grows with the depth of tissue. Noise is not made here: counts are expectations.

Two forward models:

``development``
    Gaussian point spread. Scatter: two Gaussians that widen with depth, ratio to the primary 0.36 at 100 mm of water.
``evaluation``
    Another point spread with septal penetration: a Gaussian plus a six-pointed exponential tail with 4 % of the counts.
    Scatter: exponential kernels in the image plane with a build-up that saturates with the attenuation of the path.
"""

from dataclasses import dataclass, replace

import numpy as np
from scipy import fft, ndimage

from analyzers.phantoms.nuclear_shapes import BoolArray, FloatArray
from analyzers.phantoms.request import Model

_WATER_PER_MM = 0.0154
_FWHM_PER_SIGMA = 2.354820045


@dataclass(frozen=True, slots=True, kw_only=True)
class Collimator:
    """A low-energy parallel-hole collimator on a 9.5 mm NaI crystal (figures as data sheets give them).

    Attributes
    ----------
    name : str
    hole_mm, length_mm : float
        Diameter and length of the holes.
    sensitivity_cps_per_mbq : float
        In air, photopeak window, for one head.
    intrinsic_fwhm_mm : float
    """

    name: str
    hole_mm: float
    length_mm: float
    sensitivity_cps_per_mbq: float
    intrinsic_fwhm_mm: float

    def fwhm_mm(self, distance_mm: float) -> float:
        """Full width at half maximum at a distance from the collimator's face (Anger's formula)."""
        effective_mm = self.length_mm - 2.0 / 2.7  # penetration of lead at 140 keV
        geometric = self.hole_mm * (effective_mm + max(distance_mm, 0.0)) / effective_mm
        return float(np.hypot(geometric, self.intrinsic_fwhm_mm))


HIGH_RESOLUTION = Collimator(
    name="LEHR", hole_mm=1.11, length_mm=24.05, sensitivity_cps_per_mbq=91.0, intrinsic_fwhm_mm=3.8
)
GENERAL_PURPOSE = Collimator(
    name="LEGP", hole_mm=1.45, length_mm=24.05, sensitivity_cps_per_mbq=149.0, intrinsic_fwhm_mm=3.8
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Camera:
    """One detector head.

    Attributes
    ----------
    collimator : Collimator
    pixel_mm : float
        Equals the voxel edge of what it looks at.
    gap_mm : float
        Air between the collimator and the nearest skin.
    model : {"development", "evaluation"}
    """

    collimator: Collimator
    pixel_mm: float
    gap_mm: float
    model: Model = "development"

    def with_gap(self, gap_mm: float) -> "Camera":
        """The same head nearer or further."""
        return replace(self, gap_mm=gap_mm)


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """Expected image of one view per unit of activity, rows from head to feet, columns as the detector sees them.

    Attributes
    ----------
    primary, scatter : (rows, columns) float32
        Share of the counts in air that reaches each pixel unscattered, or after scatter, within the photopeak window.
    """

    primary: FloatArray
    scatter: FloatArray

    def photopeak(self) -> FloatArray:
        """All counts in the photopeak window."""
        return self.primary + self.scatter

    def lower_window(self) -> FloatArray:
        """Counts in a narrow window below the peak: mostly scatter, and the tail of the peak itself.

        With 10 % energy resolution about 4 % of the primary falls between 108 and 126 keV, and scattered photons are
        about as many there as in the photopeak.
        """
        return np.asarray(0.04 * self.primary + 0.95 * self.scatter, np.float32)

    def upper_window(self) -> FloatArray:
        """Counts from 154 to 168 keV: the other tail of the peak, and next to no scatter, which only loses energy."""
        return np.asarray(0.03 * self.primary + 0.01 * self.scatter, np.float32)


def turned(volume_zyx: FloatArray, start_angle_deg: float) -> FloatArray:
    """Turn a map so that the detector looks along increasing y from the front of the array.

    Parameters
    ----------
    volume_zyx : (z, y, x) float32
        y and x must have equal length unless the angle is 0 or 180 degrees.
    start_angle_deg : float
        DICOM Start Angle: 0 behind the patient, 90 at the patient's left, 180 in front, 270 at the right.

    Returns
    -------
    (z, y, x) float32
        Increasing x is the detector's image from left to right, as a viewer who faces the patient from there sees it.
    """
    turn = (180.0 - start_angle_deg) % 360.0
    if turn == 0.0:
        return volume_zyx
    if turn == 180.0:
        return volume_zyx[:, ::-1, ::-1]
    if turn % 90.0 == 0.0:
        return np.rot90(volume_zyx, k=int(turn // 90), axes=(1, 2))
    return np.asarray(
        ndimage.rotate(volume_zyx, turn, axes=(2, 1), reshape=False, order=1, mode="constant"), np.float32
    )


def project(activity_zyx: FloatArray, attenuation_per_mm_zyx: FloatArray, camera: Camera) -> View:
    """Expected counts of a detector in front of the array (below y index 0).

    Parameters
    ----------
    activity_zyx : (z, y, x) float32
        Already turned towards the detector.
    attenuation_per_mm_zyx : (z, y, x) float32
        On the same grid.
    camera : Camera

    Returns
    -------
    View
        Rows run from the head (last z) to the feet.
    """
    step_mm = camera.pixel_mm
    path = np.cumsum(attenuation_per_mm_zyx, axis=1, dtype=np.float32) * np.float32(step_mm)
    path -= attenuation_per_mm_zyx * np.float32(step_mm / 2)
    emitted = activity_zyx * np.exp(-path)
    skin = _first_tissue(attenuation_per_mm_zyx)
    planes = np.flatnonzero(emitted.max(axis=(0, 2)) > 0)
    rows, columns = activity_zyx.shape[0], activity_zyx.shape[2]
    primary = np.zeros((rows, columns), np.float32)
    groups: dict[int, FloatArray] = {}
    for plane in planes:
        distance_mm = camera.gap_mm + (plane - skin + 0.5) * step_mm
        sigma = camera.collimator.fwhm_mm(distance_mm) / _FWHM_PER_SIGMA / step_mm
        layer = emitted[:, plane, :]
        primary += ndimage.gaussian_filter(layer, sigma, mode="constant", truncate=3.5)
        depth_group = int((plane - skin) * step_mm // 30)
        weight = scatter_ratio(path[:, plane, :] / np.float32(_WATER_PER_MM), camera.model)
        groups[depth_group] = groups.get(depth_group, np.zeros_like(primary)) + layer * weight
    scatter = np.zeros_like(primary)
    for depth_group, layer in groups.items():
        scatter += _scattered(layer, depth_group * 30.0 + 15.0, camera)
    if camera.model == "evaluation":
        primary = _with_septal_tail(primary, camera)
    return View(primary=primary[::-1].copy(), scatter=np.maximum(scatter[::-1], 0).astype(np.float32))


def scatter_ratio(depth_mm: FloatArray, model: Model) -> FloatArray:
    """Scattered to primary photons in a 20 % window for a source under so much water."""
    if model == "evaluation":
        # Saturating build-up: what scatters is at most what was absorbed on the way.
        return np.asarray(0.62 * (1.0 - np.exp(-depth_mm * 0.0105)), np.float32)
    return np.asarray(0.0036 * depth_mm, np.float32)


def _scattered(layer: FloatArray, depth_mm: float, camera: Camera) -> FloatArray:
    """Spread the scattered photons of a group of depths over the image."""
    if camera.model == "evaluation":
        scale_mm = 14.0 + 0.16 * depth_mm
        return _convolved(layer, np.exp(-_radius_mm(layer.shape, camera.pixel_mm) / np.float32(scale_mm)))
    near = ndimage.gaussian_filter(layer, (18.0 + 0.10 * depth_mm) / camera.pixel_mm, mode="constant", truncate=3.0)
    far = ndimage.gaussian_filter(layer, (42.0 + 0.20 * depth_mm) / camera.pixel_mm, mode="constant", truncate=3.0)
    return np.asarray(0.55 * near + 0.45 * far, np.float32)


def _with_septal_tail(primary: FloatArray, camera: Camera) -> FloatArray:
    """Add the star that photons through thin septa of hexagonal holes leave round a source."""
    radius = _radius_mm(primary.shape, camera.pixel_mm)
    rows, columns = primary.shape
    angle = np.arctan2(np.fft.fftfreq(rows)[:, None] * rows, np.fft.fftfreq(columns)[None, :] * columns)
    star = np.exp(-radius / 30.0) * (0.35 + np.abs(np.cos(3.0 * angle)) ** 6)
    return np.asarray(0.96 * primary + 0.04 * _convolved(primary, star.astype(np.float32)), np.float32)


def _radius_mm(shape: tuple[int, ...], pixel_mm: float) -> FloatArray:
    """Distance from pixel (0, 0) in a periodic plane of twice the size, so that nothing wraps round."""
    rows = np.fft.fftfreq(shape[0]) * shape[0] * pixel_mm
    columns = np.fft.fftfreq(shape[1]) * shape[1] * pixel_mm
    return np.asarray(np.hypot(rows[:, None], columns[None, :]), np.float32)


def _convolved(image: FloatArray, kernel: FloatArray) -> FloatArray:
    """Convolve with a kernel centred on pixel (0, 0) that is scaled to sum 1, on a padded plane."""
    rows, columns = image.shape
    padded = np.zeros((2 * rows, 2 * columns), np.float32)
    padded[:rows, :columns] = image
    wide = np.zeros_like(padded)
    centred = np.fft.fftshift(kernel)
    wide[:rows, :columns] = centred
    wide = np.roll(wide, (-(rows // 2), -(columns // 2)), axis=(0, 1))
    product = fft.rfft2(padded) * fft.rfft2(wide / np.float32(wide.sum(dtype=np.float64)))
    return np.asarray(fft.irfft2(product, s=padded.shape)[:rows, :columns], np.float32)


def _first_tissue(attenuation_per_mm_zyx: FloatArray) -> int:
    """Index of the first plane with tissue."""
    filled = np.flatnonzero(attenuation_per_mm_zyx.max(axis=(0, 2)) > 0.3 * _WATER_PER_MM)
    return int(filled[0]) if filled.size else 0


def field_of_view(shape: tuple[int, int], pixel_mm: float, width_mm: float, height_mm: float) -> BoolArray:
    """Pixels that a rectangular crystal with cut corners, centred on the image, can see."""
    y = np.abs((np.arange(shape[0]) - (shape[0] - 1) / 2) * pixel_mm)[:, None]
    x = np.abs((np.arange(shape[1]) - (shape[1] - 1) / 2) * pixel_mm)[None, :]
    inside = (x <= width_mm / 2) & (y <= height_mm / 2)
    return np.asarray(inside & (x + y <= (width_mm + height_mm) / 2 - 35.0), np.bool_)
