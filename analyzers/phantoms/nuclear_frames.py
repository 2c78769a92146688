"""Detectors, frames and pixels of Nuclear Medicine objects: static, whole body, dynamic, raw and reconstructed.

Start Angle counts from the patient's back (0 = posterior view, 180 = anterior view), as the NM Detector module has it.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from analyzers.phantoms.nuclear_headers import NuclearSeries
from analyzers.phantoms.nuclear_shapes import Point
from analyzers.phantoms.request import PhantomRequest
from analyzers.phantoms.study import code_item

_VIEW_CODES = {
    "anterior": ("399321004", "SCT", "Anterior projection"),
    "posterior": ("399001007", "SCT", "Posterior projection"),
    "left lateral": ("399118008", "SCT", "Left lateral projection"),
    "right lateral": ("399297009", "SCT", "Right lateral projection"),
}
START_ANGLE_DEG = {"posterior": 0.0, "left lateral": 90.0, "anterior": 180.0, "right lateral": 270.0}
_ROW_DIRECTION = {"anterior": "L", "posterior": "R", "left lateral": "P", "right lateral": "A"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Orbit:
    """How a head went round the patient: views at equal steps from the start angle."""

    views: int
    start_angle_deg: float
    step_deg: float
    radius_mm: float
    view_s: float


def detector_item(request: PhantomRequest, series: NuclearSeries, view: str | None) -> Dataset:
    """One item of the Detector Information Sequence.

    Parameters
    ----------
    request : PhantomRequest
        Its variants decide whether the view is said by code, by angle, or not at all.
    series : NuclearSeries
    view : str or None
        ``anterior`` and so on; None for tomography.
    """
    item = Dataset()
    item.CollimatorGridName = series.collimator.name
    item.CollimatorType = "PARA"
    item.FieldOfViewShape = "RECTANGLE"
    item.FieldOfViewDimensions = ["540", "400"]
    item.FocalDistance = "0"
    item.XFocusCenter = None
    item.YFocusCenter = None
    item.ZoomCenter = None
    item.ZoomFactor = ["1", "1"]
    item.CenterOfRotationOffset = "0"
    item.GantryDetectorTilt = "0"
    item.ImageOrientationPatient = None
    item.ImagePositionPatient = None
    if view is not None and not request.has("views-by-text"):
        item.StartAngle = f"{START_ANGLE_DEG[view]:g}"
        if not request.has("views-by-startangle"):
            code = code_item(*_VIEW_CODES[view])
            code.ViewModifierCodeSequence = Sequence([])
            item.ViewCodeSequence = Sequence([code])
    return item


def add_views(
    ds: Dataset, request: PhantomRequest, series: NuclearSeries, views: tuple[str, ...], counts: NDArray[np.uint16]
) -> None:
    """Complete a STATIC or WHOLE BODY object.

    Parameters
    ----------
    ds : Dataset
        From `nuclear_object`.
    request : PhantomRequest
    series : NuclearSeries
    views : tuple of str
        One detector each.
    counts : (windows * views, rows, columns) uint16
        Windows vary slowest.
    """
    windows, detectors = len(series.windows), len(views)
    ds.DetectorInformationSequence = Sequence([detector_item(request, series, view) for view in views])
    ds.NumberOfDetectors = detectors
    ds.FrameIncrementPointer = [0x00540010, 0x00540020]
    ds.EnergyWindowVector = [window + 1 for window in range(windows) for _ in range(detectors)]
    ds.DetectorVector = [detector + 1 for _ in range(windows) for detector in range(detectors)]
    # Two opposite views share no row direction; the standard allows no value then.
    ds.PatientOrientation = [_ROW_DIRECTION[views[0]], "F"] if detectors == 1 else None
    ds.ActualFrameDuration = str(round(series.frame_s * 1000))
    ds.AcquisitionTerminationCondition = "TIME"
    if series.image_kind == "WHOLE BODY":
        length_mm = counts.shape[1] * series.pixel_mm
        ds.WholeBodyTechnique = "1PS"
        ds.ScanLength = str(round(length_mm))
        ds.ScanVelocity = f"{length_mm / series.frame_s:.2f}"
        ds.TableHeight = "100"
        ds.TableTraverse = "0"
    add_pixels(ds, series, counts)


def add_pixels(ds: Dataset, series: NuclearSeries, counts: NDArray[np.uint16]) -> None:
    """Image Pixel and NM Image Pixel modules, and the counts."""
    ds.NumberOfFrames = counts.shape[0]
    ds.Rows, ds.Columns = counts.shape[1:]
    ds.SamplesPerPixel = 1
    ds.PhotometricInterpretation = "MONOCHROME2"
    ds.BitsAllocated = ds.BitsStored = 16
    ds.HighBit = 15
    ds.PixelRepresentation = 0
    ds.PixelSpacing = [f"{series.pixel_mm:.4f}"] * 2
    ds.CountsAccumulated = str(min(int(counts.sum(dtype=np.int64)), 2**31 - 1))
    ds.LossyImageCompression = "00"
    ds.SmallestImagePixelValue = int(counts.min())
    ds.LargestImagePixelValue = int(counts.max())
    ds.WindowCenter = f"{counts.max() / 2:.0f}"
    ds.WindowWidth = f"{max(int(counts.max()), 1)}"
    ds.PixelData = np.ascontiguousarray(counts, dtype="<u2").tobytes()
    ds["PixelData"].VR = "OW"


def add_dynamic(
    ds: Dataset, request: PhantomRequest, series: NuclearSeries, views: tuple[str, ...], counts: NDArray[np.uint16]
) -> None:
    """Complete a DYNAMIC object.

    Parameters
    ----------
    ds, request, series, views
        As for `add_views`; frame_s of the series is the length of one time slice.
    counts : (views * time slices, rows, columns) uint16
        Detectors vary slowest.
    """
    slices = counts.shape[0] // len(views)
    ds.DetectorInformationSequence = Sequence([detector_item(request, series, view) for view in views])
    ds.NumberOfDetectors = len(views)
    ds.FrameIncrementPointer = [0x00540010, 0x00540020, 0x00540030, 0x00540100]
    ds.EnergyWindowVector = [1] * counts.shape[0]
    ds.DetectorVector = [detector + 1 for detector in range(len(views)) for _ in range(slices)]
    ds.PhaseVector = [1] * counts.shape[0]
    ds.TimeSliceVector = [time + 1 for _ in views for time in range(slices)]
    phase = Dataset()
    phase.PhaseDelay = "0"
    phase.ActualFrameDuration = str(round(series.frame_s * 1000))
    phase.PauseBetweenFrames = "0"
    phase.NumberOfFramesInPhase = slices
    ds.PhaseInformationSequence = Sequence([phase])
    ds.NumberOfPhases = 1
    ds.PatientOrientation = None
    add_pixels(ds, series, counts)


def add_projections(
    ds: Dataset, request: PhantomRequest, series: NuclearSeries, orbit: Orbit, counts: NDArray[np.uint16]
) -> None:
    """Complete a TOMO object: one head, one rotation, counts (angular views, rows, columns)."""
    ds.DetectorInformationSequence = Sequence([detector_item(request, series, None)])
    ds.NumberOfDetectors = 1
    ds.FrameIncrementPointer = [0x00540010, 0x00540020, 0x00540050, 0x00540090]
    ds.EnergyWindowVector = [1] * orbit.views
    ds.DetectorVector = [1] * orbit.views
    ds.RotationVector = [1] * orbit.views
    ds.AngularViewVector = list(range(1, orbit.views + 1))
    _add_rotation(ds, orbit)
    ds.PatientOrientation = None
    add_pixels(ds, series, counts)


def add_volume(
    ds: Dataset,
    series: NuclearSeries,
    orbit: Orbit,
    first_centre_lps_mm: Point,
    spacing_mm: float,
    counts: NDArray[np.uint16],
) -> None:
    """Complete a RECON TOMO object.

    Parameters
    ----------
    ds, series, orbit
        As above.
    first_centre_lps_mm : tuple of float
        Centre of the first voxel of the first frame.
    spacing_mm : float
        From frame to frame along row x column (towards the head); negative when frames run to the feet.
    counts : (slices, rows, columns) uint16
    """
    item = Dataset()
    item.CollimatorGridName = series.collimator.name
    item.CollimatorType = "PARA"
    item.FocalDistance = "0"
    item.XFocusCenter = None
    item.YFocusCenter = None
    item.ZoomCenter = None
    item.ZoomFactor = ["1", "1"]
    item.ImageOrientationPatient = ["1", "0", "0", "0", "1", "0"]
    item.ImagePositionPatient = [f"{value:.3f}" for value in first_centre_lps_mm]
    ds.DetectorInformationSequence = Sequence([item])
    ds.NumberOfDetectors = 1
    ds.FrameIncrementPointer = [0x00540080]
    ds.SliceVector = list(range(1, counts.shape[0] + 1))
    ds.NumberOfSlices = counts.shape[0]
    ds.SpacingBetweenSlices = f"{spacing_mm:.4f}"
    ds.SliceThickness = f"{abs(spacing_mm):.4f}"
    ds.ConvolutionKernel = "Gauss 9.0"
    ds.PatientOrientation = None
    _add_rotation(ds, orbit)
    add_pixels(ds, series, counts)


def _add_rotation(ds: Dataset, orbit: Orbit) -> None:
    """NM TOMO Acquisition module."""
    rotation = Dataset()
    rotation.StartAngle = f"{orbit.start_angle_deg:g}"
    rotation.AngularStep = f"{orbit.step_deg:g}"
    rotation.RotationDirection = "CC"
    rotation.ScanArc = f"{orbit.step_deg * orbit.views:g}"
    rotation.ActualFrameDuration = str(round(orbit.view_s * 1000))
    rotation.RadialPosition = [f"{orbit.radius_mm:.1f}"] * orbit.views
    rotation.NumberOfFramesInRotation = orbit.views
    ds.RotationInformationSequence = Sequence([rotation])
    ds.NumberOfRotations = 1
