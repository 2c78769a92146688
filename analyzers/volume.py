"""Images as an analyzer sees them: volumes, planar views, and the study that holds them.

A *volume* is a stack of parallel planes of equal size and even distance, sorted along the slice normal. Rows and
columns stay exactly as received: nothing is flipped, resampled or sheared, so a mask made on a volume lies pixel
for pixel on its source planes. The affine says where a voxel is, also when a tilted gantry has sheared the grid.

Index order is z, y, x (plane, row, column); the affine takes (x, y, z, 1) to the patient frame LPS in mm.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from analyzers.contract import FrameRef, InstanceSummary, SeriesSummary, StudySummary
from analyzers.segmentations import GivenSegmentation


class GridMismatchError(ValueError):
    """Two grids that must be the same are not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Volume:
    """A stack of planes with its place in the patient.

    Attributes
    ----------
    voxels_zyx : (z, y, x) float32
        CT in HU, MR in stored intensity with rescale applied, NM in counts.
    affine_lps : (4, 4) float64
        Takes (x, y, z, 1) voxel-centre indices to LPS mm. The third column is the step from plane to plane and need
        not be perpendicular to the first two.
    planes : one FrameRef per z
        Where each plane was received.
    padding_zyx : (z, y, x) bool or None
        Voxels outside the scanned circle (pixel padding); ``None`` when there are none.
    label : str
        What tells this volume from others of its series: ``""``, ``b=800``, ``echo 2``, ``phase 2``.
    header : InstanceSummary
        The header of the first plane's instance.
    """

    voxels_zyx: NDArray[np.float32]
    affine_lps: NDArray[np.float64]
    planes: tuple[FrameRef, ...]
    series_instance_uid: str
    header: InstanceSummary
    frame_of_reference_uid: str | None = None
    padding_zyx: NDArray[np.bool_] | None = None
    label: str = ""
    attributes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Values shared by all planes that vary within the series (``DiffusionBValue``, ``EchoTime``)."""
    remarks: tuple[str, ...] = ()
    """What loading had to do or to leave out (``2 duplicate planes dropped``); reports repeat it."""

    @property
    def spacing_zyx_mm(self) -> tuple[float, float, float]:
        """Length of one step along z, y and x, in mm; along z it is measured along the (possibly tilted) step."""
        z, y, x = (float(np.linalg.norm(self.affine_lps[:3, axis])) for axis in (2, 1, 0))
        return z, y, x

    @property
    def voxel_ml(self) -> float:
        """Volume of one voxel in millilitres; right also for a sheared grid (determinant, not product)."""
        return abs(float(np.linalg.det(self.affine_lps[:3, :3]))) / 1000.0

    @property
    def tilt_deg(self) -> float:
        """Angle between the step from plane to plane and the slice normal, in degrees."""
        step = self.affine_lps[:3, 2]
        normal = np.cross(self.affine_lps[:3, 0], self.affine_lps[:3, 1])
        cosine = abs(float(step @ normal)) / float(np.linalg.norm(step) * np.linalg.norm(normal))
        return float(np.degrees(np.arccos(min(1.0, cosine))))

    def to_lps_mm(self, indices_zyx: NDArray[np.float64]) -> NDArray[np.float64]:
        """Positions of (fractional) voxel indices, shape (n, 3) z, y, x → (n, 3) LPS mm."""
        xyz = np.atleast_2d(indices_zyx)[:, ::-1]
        return xyz @ self.affine_lps[:3, :3].T + self.affine_lps[:3, 3]

    def to_indices_zyx(self, points_lps_mm: NDArray[np.float64]) -> NDArray[np.float64]:
        """Fractional voxel indices of positions, shape (n, 3) LPS mm → (n, 3) z, y, x."""
        inverse = np.linalg.inv(self.affine_lps[:3, :3])
        return ((np.atleast_2d(points_lps_mm) - self.affine_lps[:3, 3]) @ inverse.T)[:, ::-1]


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanarView:
    """One projection of planar scintigraphy.

    ``counts`` has shape (rows, columns), float32, as received (a posterior view is *not* mirrored).
    ``direction`` is ``anterior``, ``posterior``, ``left-lateral``, ``right-lateral``, ``oblique`` or empty when
    unknown, and ``direction_from`` says what told so (``view code``, ``start angle``, ``text``).
    """

    counts: NDArray[np.float32]
    frame: FrameRef
    series_instance_uid: str
    header: InstanceSummary
    direction: str
    direction_from: str
    spacing_row_col_mm: tuple[float, float] | None
    duration_s: float | None
    energy_window: int | None
    """Number of the energy window, from 1; ``None`` when the object names none."""
    window_kev: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedSeries:
    """What one series turned out to be once its pixels were read.

    ``refusals`` names, in words for the report, what could not be used and why (``slice missing between z=-112.5 and
    z=-107.5 mm``); a series may be refused in part (one b-value) or altogether (``volumes`` empty).
    """

    series: SeriesSummary
    volumes: tuple[Volume, ...] = ()
    views: tuple[PlanarView, ...] = ()
    refusals: tuple[str, ...] = ()


class StudyImages(Protocol):
    """The study as ``analyze`` and ``illustrate`` see it: headers at once, pixels when asked for."""

    @property
    def summary(self) -> StudySummary:
        """The headers."""

    @property
    def roles(self) -> Mapping[str, str]:
        """Series Instance UID → role, as ``accepts`` gave them."""

    @property
    def segmentations(self) -> tuple[GivenSegmentation, ...]:
        """What others outlined on the study (DICOM SEG); no series of it, and unread until asked for."""

    def load(self, series_instance_uid: str) -> LoadedSeries:
        """Read one series; the newest few stay in memory, so asking twice is cheap.

        Raises
        ------
        KeyError
            If the study has no such series.
        """

    def with_role(self, role: str) -> tuple[LoadedSeries, ...]:
        """Load every series that has the role, in the order of Series Number."""
