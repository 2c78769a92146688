"""Small CT volumes and headers for tests of the CT analyzer: geometry only, no physics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from analyzers.contract import FrameRef, FrameSummary, InstanceSummary, SeriesSummary, StudySummary
from analyzers.segmentations import GivenSegmentation
from analyzers.volume import LoadedSeries, Volume

CT_IMAGE = "1.2.840.10008.5.1.4.1.1.2"
AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
CORONAL = (1.0, 0.0, 0.0, 0.0, 0.0, -1.0)


def headers(
    uid: str = "1.1",
    *,
    description: str = "Liver portal venous",
    heights_mm: Sequence[float] = tuple(range(40)),
    orientation: tuple[float, float, float, float, float, float] = AXIAL,
    thickness_mm: float = 1.0,
    kernel: str = "B30f",
    image_type: tuple[str, ...] = ("ORIGINAL", "PRIMARY", "AXIAL"),
    modality: str = "CT",
    began: str = "",
    pixel_mm: float | None = None,
    rescale_type: str = "",
) -> SeriesSummary:
    """The headers of one series with a plane at each height, all acquired at the time ``began`` (HHMMSS)."""
    return SeriesSummary(
        series_instance_uid=uid,
        modality=modality,
        instances=tuple(
            InstanceSummary(
                study_instance_uid="1",
                series_instance_uid=uid,
                sop_instance_uid=f"{uid}.{number}",
                sop_class_uid=CT_IMAGE,
                transfer_syntax_uid="1.2.840.10008.1.2.1",
                modality=modality,
                rows=64,
                columns=64,
                attributes={
                    "SeriesDescription": (description,),
                    "ConvolutionKernel": (kernel,),
                    "ImageType": image_type,
                    "SeriesNumber": ("7",),
                    "RescaleType": (rescale_type,) if rescale_type else (),
                    "AcquisitionDate": ("20240102",) if began else (),
                    "AcquisitionTime": (began,) if began else (),
                },
                codes={},
                frames=(
                    FrameSummary(
                        frame=None,
                        position_lps_mm=(0.0, 0.0, float(height_mm)),
                        orientation=orientation,
                        slice_thickness_mm=thickness_mm,
                        spacing_row_col_mm=None if pixel_mm is None else (pixel_mm, pixel_mm),
                    ),
                ),
            )
            for number, height_mm in enumerate(heights_mm)
        ),
    )


def study(*series: SeriesSummary) -> StudySummary:
    """A study of these series."""
    return StudySummary(study_instance_uid="1", series=series)


def volume(voxels_zyx: NDArray[np.float32], spacing_zyx_mm: tuple[float, float, float]) -> Volume:
    """An axial volume whose index axes run to the head, the back and the left."""
    affine = np.diag([*spacing_zyx_mm[::-1], 1.0])
    series = headers(heights_mm=[spacing_zyx_mm[0] * z for z in range(len(voxels_zyx))])
    return Volume(
        voxels_zyx=np.asarray(voxels_zyx, np.float32),
        affine_lps=affine,
        planes=tuple(FrameRef(sop_instance_uid=instance.sop_instance_uid) for instance in series.instances),
        series_instance_uid=series.series_instance_uid,
        header=series.first,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumesInMemory:
    """A study of volumes that are already loaded, each a series of its own role."""

    volumes: Sequence[Volume]
    role: str = "portal"
    summary: StudySummary = field(default_factory=lambda: study(headers()))
    segmentations: tuple[GivenSegmentation, ...] = ()

    @property
    def roles(self) -> Mapping[str, str]:
        return {volume.series_instance_uid: self.role for volume in self.volumes}

    def load(self, series_instance_uid: str) -> LoadedSeries:
        found = tuple(volume for volume in self.volumes if volume.series_instance_uid == series_instance_uid)
        if not found:
            raise KeyError(series_instance_uid)
        return LoadedSeries(series=self.summary.series[0], volumes=found)

    def with_role(self, role: str) -> tuple[LoadedSeries, ...]:
        if role != self.role:
            return ()
        return tuple(self.load(uid) for uid in dict.fromkeys(volume.series_instance_uid for volume in self.volumes))


def trunk(
    shape_zyx: tuple[int, int, int] = (60, 140, 180),
    spacing_mm: float = 2.0,
    half_axes_mm: tuple[float, float] = (100.0, 150.0),
) -> NDArray[np.float32]:
    """An elliptic trunk of fat with a wall of muscle and a spine, in HU: nothing else in it."""
    _, y, x = np.indices(shape_zyx, dtype=np.float32)
    y_mm, x_mm = (y - shape_zyx[1] / 2) * spacing_mm, (x - shape_zyx[2] / 2) * spacing_mm
    radius = np.hypot(y_mm / half_axes_mm[0], x_mm / half_axes_mm[1])
    hu = np.full(shape_zyx, -1000.0, np.float32)
    hu[radius < 1.0] = -100.0
    hu[(radius < 0.93) & (radius > 0.83)] = 55.0
    spine = np.hypot(y_mm - 0.6 * half_axes_mm[0], x_mm) < 20.0
    hu[spine] = 250.0
    hu[np.abs(np.hypot(y_mm - 0.6 * half_axes_mm[0], x_mm) - 19.0) < 1.5] = 700.0
    noise = np.random.default_rng(4).normal(0.0, 8.0, shape_zyx).astype(np.float32)
    return hu + noise
