"""The MR scanner: from tissue signals to magnitude images.

Development model: Gaussian point spread, smooth coil sensitivity, Rician noise equal everywhere. Evaluation model:
k-space cut off sharply (ringing at edges), noise that grows in the middle as parallel imaging makes it, a
stronger and steeper coil sensitivity. Both: signal void and pile-up round the pump, fat shifted along the
frequency axis where bandwidth is low, geometric distortion of echo planar images.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from analyzers.phantoms.ct_scanner import slice_weights
from analyzers.phantoms.device import Device
from analyzers.phantoms.layers import Grid

Images = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Void:
    """Where an implant destroys the signal.

    ``distance_zyx`` is the distance from the implant's surface in mm on the painted grid.
    """

    distance_zyx: Images


@dataclass(frozen=True, slots=True, kw_only=True)
class Readout:
    """How one series is read out.

    Attributes
    ----------
    thickness_mm, spacing_mm : float
    noise : float
        Standard deviation of each of the two noise channels, in units of the table of signals.
    blur_mm : float
        Point spread besides the voxel itself, standard deviation.
    void_mm : float
        How far the implant's void reaches.
    fat_shift_mm : float
        Chemical shift along x.
    ghosts : float
        Strength of motion ghosts along y, 0 for none.
    breath_mm : float
        How much higher the diaphragm stood than in the reference breath-hold.
    planar : bool
        Echo planar: distorted along y.
    """

    thickness_mm: float
    spacing_mm: float
    noise: float
    blur_mm: float = 0.8
    void_mm: float = 22.0
    fat_shift_mm: float = 0.0
    ghosts: float = 0.0
    breath_mm: float = 0.0
    planar: bool = False


def implant_void(grid: Grid, device: Device | None) -> Void | None:
    """Distance from the pump on a grid, or None if the pump is far below it."""
    if device is None or device.centre[2] + 90 < grid.z_mm[0]:
        return None
    x, y, z = (
        axis.astype(np.float32) - np.float32(middle)
        for axis, middle in zip((grid.x_mm, grid.y_mm, grid.z_mm), device.centre, strict=True)
    )
    x, y, z = x[None, None, :], y[None, :, None], z[:, None, None]
    nx, ny, nz = device.normal
    along = x * np.float32(nx) + y * np.float32(ny) + z * np.float32(nz)
    across = np.sqrt(np.maximum(x * x + y * y + z * z - along * along, 0))
    out = np.maximum(across - 0.5 * device.model.diameter_mm, 0)
    over = np.maximum(np.abs(along) - 0.5 * device.model.thickness_mm, 0)
    # The field is perturbed farther along the main field (z) than across it.
    stretch = 1 - 0.25 * np.abs(z) / (np.sqrt(x * x + y * y + z * z) + 1)
    return Void(distance_zyx=np.asarray(np.hypot(out, over) * stretch, dtype=np.float32))


def coil_sensitivity(grid: Grid, rng: np.random.Generator, *, evaluation: bool) -> Images:
    """Smooth receive field of a surface coil array, (z, y, x), about one on average."""
    z, y, x = (
        np.linspace(-1, 1, count, dtype=np.float32).reshape(shape)
        for count, shape in zip(grid.shape, ((-1, 1, 1), (1, -1, 1), (1, 1, -1)), strict=True)
    )
    strength = 0.30 if evaluation else 0.18
    a = rng.normal(0, strength, 6).astype(np.float32)
    surface = np.float32(0.45 if evaluation else 0.25) * (x * x + y * y)
    log_field = a[0] * x + a[1] * y + a[2] * z + a[3] * x * y + a[4] * y * z + a[5] * x * z + surface - 0.15
    return np.asarray(np.exp(log_field), dtype=np.float32)


def acquire(
    channels: tuple[Images, ...],
    grid: Grid,
    centres_mm: NDArray[np.float64],
    readout: Readout,
    void: Void | None,
    *,
    axis: int = 0,
) -> list[Images]:
    """Slice and blur the signals of one series: everything but coil and noise.

    Parameters
    ----------
    channels : tuple of (z, y, x) float32
        Water, or water and fat; fat is shifted if the readout says so.
    grid : Grid
        Of the painted body.
    centres_mm : (n,) float
        Slice positions along the slicing axis.
    readout : Readout
    void : Void or None
    axis : int
        0 for axial, 1 for coronal slices.

    Returns
    -------
    list of (n, rows, columns) float32
        As many as channels.
    """
    positions = (grid.z_mm, grid.y_mm)[axis]
    offset = readout.breath_mm if axis == 0 else 0.0
    weights = slice_weights(positions, centres_mm - offset, readout.thickness_mm, bell=False)
    results = []
    for number, channel in enumerate(channels):
        source = channel if void is None else channel * _void_gain(void, readout)
        images = np.tensordot(weights, source, axes=(1, axis)).astype(np.float32)
        if number == 1 and readout.fat_shift_mm:
            images = np.roll(images, round(readout.fat_shift_mm / grid.steps_zyx_mm[2]), axis=2)
        results.append(images)
    return results


def _void_gain(void: Void, readout: Readout) -> Images:
    """Nothing near the implant, a bright edge beyond."""
    past = (void.distance_zyx - readout.void_mm) / 4
    gain = 1 / (1 + np.exp(-np.clip(2 * past, -20, 20)))
    return np.asarray(gain * (1 + 0.7 * np.exp(-((past - 1.2) ** 2))), dtype=np.float32)


def finish(
    images: Images, pixel_mm: float, readout: Readout, coil: Images, rng: np.random.Generator, *, evaluation: bool
) -> Images:
    """Add point spread, distortion, ghosts, coil and noise to noiseless images; returns magnitudes (n, y, x)."""
    result = _point_spread(images, pixel_mm, readout.blur_mm, evaluation=evaluation)
    if readout.planar:
        result = _distort(result, pixel_mm)
    result = result * coil
    if readout.ghosts:
        result = _ghost(result, readout.ghosts, rng)
    noise = np.float32(readout.noise)
    if evaluation:
        y, x = np.mgrid[-1 : 1 : result.shape[1] * 1j, -1 : 1 : result.shape[2] * 1j]
        noise = (readout.noise * (0.7 + 0.9 * np.exp(-2.5 * (x * x + y * y)))).astype(np.float32)
    real = result + noise * rng.standard_normal(result.shape, dtype=np.float32)
    imaginary = noise * rng.standard_normal(result.shape, dtype=np.float32)
    return np.asarray(np.hypot(real, imaginary), dtype=np.float32)


def _point_spread(images: Images, pixel_mm: float, blur_mm: float, *, evaluation: bool) -> Images:
    if not evaluation:
        sigma = blur_mm / pixel_mm
        return np.asarray(ndimage.gaussian_filter(images, (0, sigma, sigma), truncate=3.0), dtype=np.float32)
    kept = min(1.0, 1.1 / (1 + blur_mm / pixel_mm))
    fy = np.abs(np.fft.fftfreq(images.shape[1])[:, None]) < 0.5 * kept
    fx = np.abs(np.fft.rfftfreq(images.shape[2])[None, :]) < 0.5 * kept
    spectrum = np.fft.rfft2(images) * (fy & fx)
    return np.asarray(np.abs(np.fft.irfft2(spectrum, s=images.shape[1:])), dtype=np.float32)


def _distort(images: Images, pixel_mm: float) -> Images:
    """Echo planar: rows move by a few mm, smoothly."""
    count, rows, columns = images.shape
    y, x = np.mgrid[0:rows, 0:columns].astype(np.float32)
    shift = 2.5 / pixel_mm * np.sin(np.pi * x / columns) * np.cos(2 * np.pi * y / rows)
    return np.stack(
        [ndimage.map_coordinates(image, (y + shift, x), order=1, mode="nearest") for image in images[:count]]
    ).astype(np.float32)


def _ghost(images: Images, strength: float, rng: np.random.Generator) -> Images:
    """Breathing: blurred copies displaced along the phase axis."""
    quarter = images.shape[1] // 4 + int(rng.integers(-3, 4))
    soft = ndimage.gaussian_filter(images, (0, 1.5, 0.5))
    ghosts = np.roll(soft, quarter, axis=1) + np.roll(soft, -quarter, axis=1)
    return np.asarray((1 - strength) * images + strength * soft + 0.5 * strength * ghosts, dtype=np.float32)
