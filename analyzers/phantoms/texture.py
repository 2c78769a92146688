"""Parenchyma is not uniform: smooth random fields for perfusion and fat."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from analyzers.phantoms.layers import Grid, Painting

_COARSE_MM = 4.0


def smooth_field(grid: Grid, rng: np.random.Generator, scale_mm: float) -> NDArray[np.float32]:
    """Gaussian random field of unit standard deviation with structures of about ``scale_mm``, (z, y, x)."""
    counts = [
        int(np.ceil(count * step / _COARSE_MM)) + 2 for count, step in zip(grid.shape, grid.steps_zyx_mm, strict=True)
    ]
    field = ndimage.gaussian_filter(rng.standard_normal(counts, dtype=np.float32), scale_mm / _COARSE_MM)
    field /= field.std()
    factors = [count / coarse for count, coarse in zip(grid.shape, counts, strict=True)]
    return np.asarray(ndimage.zoom(field, factors, order=1), dtype=np.float32)


def mottle(painting: Painting, region: str, amounts: tuple[float, ...], rng: np.random.Generator) -> None:
    """Vary a region of a painting in place.

    Parameters
    ----------
    painting : Painting
        Its values change.
    region : str
        Name of a mask; partly filled voxels vary partly.
    amounts : tuple of float
        Standard deviation per channel, in the channel's unit.
    rng : numpy Generator
    """
    share, block = painting.regions[region].share_zyx, painting.regions[region].block
    z, y, x = block
    field = smooth_field(painting.grid.part(block), rng, 5.0)
    field *= share * np.float32(1 / 255)
    for values, amount in zip(painting.values_czyx, amounts, strict=True):
        values[z, y, x] += field * np.float32(amount)
