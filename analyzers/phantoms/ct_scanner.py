"""The CT scanner: from tissue to HU images.

Development model: Gaussian in-plane point spread, trapezoid slice profile, noise with a ramp-like power spectrum that
grows towards the middle of the body, beam hardening of the metal trace with a noisy trace.

Evaluation model: a point spread with a tail and a slight edge enhancement, a bell-shaped slice profile, coarser
noise with horizontal streaks, and metal by projecting the whole slice with photon starvation (`ct_metal`).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from analyzers.phantoms.ct_metal import Projector, hardening_hu, starvation_hu
from analyzers.phantoms.layers import Grid

FloatImages = NDArray[np.float32]
LOWEST_HU, HIGHEST_HU = -1024, 3071


@dataclass(frozen=True, slots=True, kw_only=True)
class Exposure:
    """How one series is acquired and reconstructed.

    Attributes
    ----------
    centres_z_mm : (n,) float
        Where slices lie (their middle, if the gantry is tilted), ascending.
    thickness_mm : float
    noise_hu : float
        Standard deviation in the middle of the body.
    tilt_rad : float
        Gantry tilt about x.
    """

    centres_z_mm: NDArray[np.float64]
    thickness_mm: float
    noise_hu: float
    tilt_rad: float = 0.0


def scan(
    values_zyx: FloatImages,
    grid: Grid,
    exposure: Exposure,
    table_yx: FloatImages,
    rng: np.random.Generator,
    *,
    evaluation: bool,
) -> NDArray[np.int16]:
    """Make the images of one series.

    Parameters
    ----------
    values_zyx : (z, y, x) float32
        HU of the painted body, metal not clipped.
    grid : Grid
        Its grid; rows and columns become the image's.
    exposure : Exposure
    table_yx : (y, x) float32
        HU of the couch, -1000 where there is none.
    rng : numpy Generator
        For this series' noise.
    evaluation : bool
        Which forward model.

    Returns
    -------
    (n, y, x) int16
        HU clipped to what 12 bits hold, -1024 to 3071.
    """
    slices = slice_images(values_zyx, grid, exposure, bell=evaluation)
    np.maximum(slices, table_yx, out=slices, where=slices < -950)
    images = _blur(slices, grid.steps_zyx_mm[1], evaluation=evaluation)
    _add_metal(images, slices, grid, rng, evaluation=evaluation)
    _add_noise(images, grid.steps_zyx_mm[1], exposure.noise_hu, rng, evaluation=evaluation)
    return np.clip(np.rint(images), LOWEST_HU, HIGHEST_HU).astype(np.int16)


def slice_images(values_zyx: FloatImages, grid: Grid, exposure: Exposure, *, bell: bool) -> FloatImages:
    """Average the body over each slice's sensitivity profile; a tilted slice takes each row at its own height."""
    if exposure.tilt_rad == 0.0:
        weights = slice_weights(grid.z_mm, exposure.centres_z_mm, exposure.thickness_mm, bell=bell)
        return _apply(weights, values_zyx)
    result = np.empty((len(exposure.centres_z_mm), *values_zyx.shape[1:]), dtype=np.float32)
    rows = grid.y_mm - grid.y_mm.mean()
    along_y = np.interp(grid.y_mm.mean() + rows * np.cos(exposure.tilt_rad), grid.y_mm, np.arange(len(rows)))
    for row in range(len(rows)):
        low = min(int(along_y[row]), len(rows) - 2)
        if not values_zyx[:, low : low + 2].any():
            result[:, row] = 0
            continue
        centres = exposure.centres_z_mm + rows[row] * np.sin(exposure.tilt_rad)
        weights = slice_weights(grid.z_mm, centres, exposure.thickness_mm, bell=bell)
        part = np.float32(along_y[row] - low)
        line = values_zyx[:, low] * (1 - part) + values_zyx[:, low + 1] * part
        result[:, row] = weights @ line
    return result


def slice_weights(
    z_mm: NDArray[np.float64], centres_z_mm: NDArray[np.float64], thickness_mm: float, *, bell: bool
) -> FloatImages:
    """Sensitivity of each slice at each height, (slice, z), summing to one."""
    away = np.abs(z_mm[None, :] - centres_z_mm[:, None])
    step = float(z_mm[1] - z_mm[0])
    if bell:
        weights = np.exp(-4 * np.log(2) * (away / max(thickness_mm, step)) ** 2)
    else:
        edge = max(0.3 * thickness_mm, step)
        weights = np.clip((0.5 * thickness_mm - away) / edge + 0.5, 0, 1)
    weights /= np.maximum(weights.sum(axis=1, keepdims=True), 1e-9)
    return np.asarray(weights, dtype=np.float32)


def _apply(weights: FloatImages, values_zyx: FloatImages) -> FloatImages:
    """Weighted sums along z, touching only the heights that count."""
    result = np.zeros((len(weights), *values_zyx.shape[1:]), dtype=np.float32)
    for image, row in zip(result, weights, strict=True):
        for k in np.flatnonzero(row > 1e-4):
            np.add(image, row[k] * values_zyx[k], out=image)
    return result


def _blur(slices: FloatImages, pixel_mm: float, *, evaluation: bool) -> FloatImages:
    """In-plane point spread of the reconstruction kernel."""

    def gauss(sigma_mm: float) -> FloatImages:
        sigma = sigma_mm / pixel_mm
        return np.asarray(ndimage.gaussian_filter(slices, (0, sigma, sigma), truncate=3.0), dtype=np.float32)

    if not evaluation:
        return gauss(0.60)
    return np.asarray(1.12 * gauss(0.60) - 0.22 * gauss(1.3) + 0.10 * gauss(2.0), dtype=np.float32)


def _add_metal(
    images: FloatImages, slices: FloatImages, grid: Grid, rng: np.random.Generator, *, evaluation: bool
) -> None:
    """Streaks from whatever is as dense as metal."""
    stride = max(1, round((2.4 if evaluation else 2.8) / grid.steps_zyx_mm[1]))
    projector = Projector.for_image(images.shape[1] // stride, stride * grid.steps_zyx_mm[1])
    for image, sharp in zip(images, slices, strict=True):
        metal = np.clip((sharp - 2200) / 6000, 0, 1)
        if metal.sum() * grid.steps_zyx_mm[1] ** 2 < 4.0:
            continue
        coarse_metal = _shrink(metal, stride)
        if evaluation:
            streaks = starvation_hu(projector, _shrink(np.minimum(sharp, 3000), stride), coarse_metal, rng)
        else:
            streaks = hardening_hu(projector, coarse_metal, rng)
        grown = ndimage.zoom(streaks, stride, order=1, grid_mode=True, mode="nearest")
        image[: grown.shape[0], : grown.shape[1]] += grown


def _shrink(image: FloatImages, stride: int) -> FloatImages:
    """Mean over square blocks."""
    count = image.shape[0] // stride
    cut = image[: count * stride, : count * stride]
    return np.asarray(cut.reshape(count, stride, count, stride).mean(axis=(1, 3)), dtype=np.float32)


def _add_noise(
    images: FloatImages, pixel_mm: float, noise_hu: float, rng: np.random.Generator, *, evaluation: bool
) -> None:
    """Correlated noise, stronger deep in the body."""
    size = images.shape[1:]
    fy = np.fft.fftfreq(size[0], pixel_mm)[:, None]
    fx = np.fft.rfftfreq(size[1], pixel_mm)[None, :]
    f = np.hypot(fy, fx)
    shape = np.sqrt(f) * np.exp(-((f / 0.36) ** 2)) if not evaluation else f**0.35 * np.exp(-((f / 0.24) ** 1.4))
    shape = np.asarray(shape, dtype=np.float32)
    for image in images:
        white = rng.standard_normal(size, dtype=np.float32)
        noise = np.fft.irfft2(np.fft.rfft2(white) * shape, s=size).astype(np.float32)
        noise /= noise.std()
        if evaluation:
            rows = ndimage.gaussian_filter1d(rng.standard_normal(size[0], dtype=np.float32), 0.8)
            noise += 0.25 * rows[:, None]
        inside = ndimage.gaussian_filter(
            (image[::4, ::4] > -400).astype(np.float32), 45 / (4 * pixel_mm), mode="constant"
        )
        depth = ndimage.zoom(inside, 4, order=1, grid_mode=True, mode="nearest")[: size[0], : size[1]]
        np.add(image, noise * np.float32(noise_hu) * (np.float32(0.35) + np.float32(0.75) * depth), out=image)
