"""Metal artefacts by projection and back-projection on a coarse parallel-beam geometry.

Both models work on the error of the projections, not on the projections: what a scanner's reconstruction assumes
minus what the detector saw is filtered and back-projected, and the result added to the image.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.float32]

_WATER_PER_MM = 0.0195
"""Attenuation of water at about 70 keV, the mean energy of a 120 kV beam."""
_TITANIUM_PER_MM = 0.19


@dataclass(frozen=True, slots=True, kw_only=True)
class Projector:
    """Where each pixel of a square image falls on the detector, for a half turn of angles.

    ``bins`` (angle, pixel) is the lower of the two detector bins, ``weights`` the share of the upper one.
    """

    size: int
    pixel_mm: float
    bins: NDArray[np.int32]
    weights: Image
    detector_bins: int

    @classmethod
    def for_image(cls, size: int, pixel_mm: float, angles: int = 120) -> "Projector":
        """Set up the geometry for a square image of ``size`` pixels."""
        middle = 0.5 * (size - 1)
        y, x = np.mgrid[0:size, 0:size] - middle
        theta = (np.arange(angles) + 0.5) * np.pi / angles
        count = int(np.ceil(size * np.sqrt(2))) + 4
        at = np.cos(theta)[:, None] * x.ravel() + np.sin(theta)[:, None] * y.ravel() + 0.5 * count
        bins = np.floor(at).astype(np.int32)
        return cls(size=size, pixel_mm=pixel_mm, bins=bins, weights=(at - bins).astype(np.float32), detector_bins=count)

    def forward(self, image: Image) -> Image:
        """Line integrals in mm times the image's unit, (angle, bin)."""
        flat = image.ravel()
        kept = np.flatnonzero(flat)
        values = flat[kept]
        result = np.zeros((len(self.bins), self.detector_bins), dtype=np.float32)
        for row, bins, weights in zip(result, self.bins[:, kept], self.weights[:, kept], strict=True):
            row[:] = np.bincount(bins, values * (1 - weights), self.detector_bins)
            row[:] += np.bincount(bins + 1, values * weights, self.detector_bins)
        return result * np.float32(self.pixel_mm)

    def reconstruct(self, projections: Image) -> Image:
        """Filtered back-projection (ramp with a raised-cosine window)."""
        count = self.detector_bins
        frequency = np.fft.rfftfreq(2 * count, self.pixel_mm)
        window = 0.5 + 0.5 * np.cos(np.pi * frequency / frequency[-1])
        spectrum = np.fft.rfft(projections, 2 * count, axis=1) * (2 * frequency * window)
        filtered = np.fft.irfft(spectrum, axis=1)[:, :count].astype(np.float32)
        total = np.zeros(self.size**2, dtype=np.float32)
        for row, bins, weights in zip(filtered, self.bins, self.weights, strict=True):
            lower = row[bins]
            total += lower + weights * (row[bins + 1] - lower)
        scale = np.float32(np.pi / (2 * len(self.bins)))
        return (total * scale).reshape(self.size, self.size)


def hardening_hu(projector: Projector, metal: Image, rng: np.random.Generator) -> Image:
    """Streaks of the metal trace: a hardened beam sees less metal than there is, and sees it noisily.

    Parameters
    ----------
    projector : Projector
    metal : (y, x) float32
        Share of titanium per pixel.
    rng : numpy Generator
        For the noise in the shadow.
    """
    trace = projector.forward(metal) * np.float32(_TITANIUM_PER_MM)
    seen = 2.6 * (1 - np.exp(-trace / 2.6))
    error = 1.5 * (seen - trace)
    shadow = 0.05 * (np.exp(0.5 * np.minimum(trace, 7.0)) - 1)
    error += (shadow * rng.standard_normal(trace.shape)).astype(np.float32)
    return _outside_metal(projector.reconstruct(error.astype(np.float32)) * np.float32(1000 / _WATER_PER_MM), metal)


def starvation_hu(projector: Projector, body_hu: Image, metal: Image, rng: np.random.Generator) -> Image:
    """Streaks of the whole slice: too few photons pass body and metal together.

    Parameters
    ----------
    projector : Projector
    body_hu : (y, x) float32
        The slice, with metal at a moderate value.
    metal : (y, x) float32
        Share of titanium per pixel.
    rng : numpy Generator
        Counts photons.
    """
    relative: Image = (np.maximum(np.where(metal > 0.2, 0, body_hu), -1000) / 1000 + 1).astype(np.float32)
    body = projector.forward(relative) * _WATER_PER_MM
    trace = projector.forward(metal) * np.float32(_TITANIUM_PER_MM)
    seen = 2.2 * (1 - np.exp(-trace / 2.2))
    photons = 1.5e5 * np.exp(-np.minimum(body + seen, 30))
    counted = np.maximum(rng.poisson(photons) + rng.normal(0, 6, photons.shape), 1.5)
    wrong = -np.log(counted / 1.5e5) - body - trace
    error = np.where(trace > 0.02, np.clip(wrong, -6, 6), 0)
    return _outside_metal(
        projector.reconstruct((0.9 * error).astype(np.float32)) * np.float32(1000 / _WATER_PER_MM), metal
    )


def _outside_metal(streaks: Image, metal: Image) -> Image:
    """Metal itself stays saturated; streaks are kept within what scanners show."""
    return np.where(metal > 0.3, 0, np.clip(streaks, -900, 900)).astype(np.float32)
