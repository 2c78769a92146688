"""Masks as NIfTI-1, for viewers.

NIfTI's frame is RAS, DICOM's is LPS: x and y change sign. Its qform holds a rotation and three spacings, no shear, and
several readers use nothing else; so a grid that a tilted gantry has sheared is not written at all rather than
written wrongly. The qform's quaternion is in single precision, which may turn a grid by up to 0.05 degree.
"""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

LARGEST_SHEAR = 1e-3
"""Cosine between two grid axes up to which a viewer shows them as perpendicular (0.06 degree)."""

_HEADER_BYTES = 348
_DATA_OFFSET = 352
_UINT8 = 2
_MM_AND_SECONDS = 2 | 8
_ALIGNED = 2
_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


def is_expressible(affine_lps: NDArray[np.float64]) -> bool:
    """Tell whether NIfTI can hold a grid: its three axes perpendicular."""
    axes = affine_lps[:3, :3] / np.linalg.norm(affine_lps[:3, :3], axis=0)
    cosines = np.abs(axes.T @ axes - np.eye(3))
    return float(cosines.max()) <= LARGEST_SHEAR


def write_mask(path: Path, mask_zyx: NDArray[np.bool_], affine_lps: NDArray[np.float64]) -> None:
    """Write a mask as ``.nii.gz``, the same bytes for the same mask.

    Parameters
    ----------
    path : Path
        File to write.
    mask_zyx : (z, y, x) bool
        Written as 0 and 1.
    affine_lps : (4, 4) float64
        Takes (x, y, z, 1) to LPS mm; see :func:`is_expressible`.

    Raises
    ------
    ValueError
        If the grid is sheared.
    """
    if not is_expressible(affine_lps):
        raise ValueError("NIfTI cannot express a sheared grid")
    header = _header(mask_zyx.shape, _LPS_TO_RAS @ affine_lps)
    with path.open("wb") as file, gzip.GzipFile("", "wb", compresslevel=6, fileobj=file, mtime=0) as packed:
        packed.write(header)
        packed.write(np.ascontiguousarray(mask_zyx).view(np.uint8).tobytes())


def _header(shape_zyx: tuple[int, ...], affine_ras: NDArray[np.float64]) -> bytes:
    """NIfTI-1 header, 352 bytes, with sform and qform both set."""
    depth, rows, columns = shape_zyx
    spacing_mm = np.linalg.norm(affine_ras[:3, :3], axis=0)
    rotation = affine_ras[:3, :3] / spacing_mm
    handedness = 1.0 if np.linalg.det(rotation) > 0.0 else -1.0
    quaternion = _quaternion(rotation * np.array([1.0, 1.0, handedness]))
    header = bytearray(_DATA_OFFSET)
    struct.pack_into("<i", header, 0, _HEADER_BYTES)
    struct.pack_into("<8h", header, 40, 3, columns, rows, depth, 1, 1, 1, 1)
    struct.pack_into("<2h", header, 70, _UINT8, 8)
    struct.pack_into("<8f", header, 76, handedness, *spacing_mm, 1.0, 1.0, 1.0, 1.0)
    struct.pack_into("<3f", header, 108, _DATA_OFFSET, 1.0, 0.0)
    struct.pack_into("<B", header, 123, _MM_AND_SECONDS)
    struct.pack_into("<2h", header, 252, _ALIGNED, _ALIGNED)
    struct.pack_into("<6f", header, 256, *quaternion, *affine_ras[:3, 3])
    for row in range(3):
        struct.pack_into("<4f", header, 280 + 16 * row, *affine_ras[row])
    struct.pack_into("<4s", header, 344, b"n+1\0")
    return bytes(header)


def _quaternion(rotation: NDArray[np.float64]) -> tuple[float, float, float]:
    """b, c, d of the unit quaternion (a >= 0) of a proper rotation matrix (3, 3).

    From the eigenvector of the symmetric 4 × 4 matrix of Bar-Itzhack (J. Guid. Control Dyn. 2000;23:1085), which has no
    special cases.
    """
    m = rotation
    symmetric = np.array(
        [
            [m[0, 0] - m[1, 1] - m[2, 2], m[1, 0] + m[0, 1], m[2, 0] + m[0, 2], m[2, 1] - m[1, 2]],
            [m[1, 0] + m[0, 1], m[1, 1] - m[0, 0] - m[2, 2], m[2, 1] + m[1, 2], m[0, 2] - m[2, 0]],
            [m[2, 0] + m[0, 2], m[2, 1] + m[1, 2], m[2, 2] - m[0, 0] - m[1, 1], m[1, 0] - m[0, 1]],
            [m[2, 1] - m[1, 2], m[0, 2] - m[2, 0], m[1, 0] - m[0, 1], m[0, 0] + m[1, 1] + m[2, 2]],
        ]
    )
    _, vectors = np.linalg.eigh(symmetric)
    b, c, d, a = vectors[:, -1]
    sign = 1.0 if a >= 0.0 else -1.0
    return float(sign * b), float(sign * c), float(sign * d)
