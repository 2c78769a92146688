"""The low-dose CT that a SPECT/CT scanner takes for attenuation correction, in the frame of the SPECT."""

from collections.abc import Iterator

import numpy as np
from pydicom.dataset import Dataset
from pydicom.uid import CTImageStorage
from scipy import ndimage

from analyzers.phantoms.nuclear_headers import NuclearSeries, study_text
from analyzers.phantoms.nuclear_scene import Scene, squared
from analyzers.phantoms.nuclear_tissues import hounsfield
from analyzers.phantoms.nuclear_tomography import tomography_grid
from analyzers.phantoms.request import PhantomRequest
from analyzers.phantoms.study import PhantomInstance, study_header

_REFINED = 2


def ct_instances(scene: Scene, series: NuclearSeries) -> Iterator[PhantomInstance]:
    """One CT image per SPECT slice, with pixels half the size.

    Parameters
    ----------
    scene : Scene
    series : NuclearSeries
        Gives number and time.
    """
    grid, rows = tomography_grid(scene)
    # Padding adds air on both sides of the patient.
    values = squared(hounsfield(scene.body, scene.request)[rows] + np.float32(1000.0)) - np.float32(1000.0)
    rng = scene.request.rng("ct noise")
    x, y, z = grid.first_centre_lps_mm
    pixel_mm = grid.voxel_mm / _REFINED
    shift_mm = (grid.voxel_mm - pixel_mm) / 2
    for number, plane in enumerate(values):
        fine = ndimage.zoom(plane, _REFINED, order=1, grid_mode=True, mode="nearest")
        grain = ndimage.gaussian_filter(rng.standard_normal(fine.shape), 0.8)
        fine = np.clip(fine + 28.0 * grain / grain.std(), -1024, 3071)
        ds = _ct_header(scene.request, series, number)
        ds.PixelSpacing = [f"{pixel_mm:.4f}"] * 2
        ds.SliceThickness = f"{grid.voxel_mm:.4f}"
        position = (x - shift_mm, y - shift_mm, z + number * grid.voxel_mm)
        ds.ImagePositionPatient = [f"{value:.3f}" for value in position]
        ds.SliceLocation = f"{position[2]:.3f}"
        ds.Rows, ds.Columns = fine.shape
        ds.PixelData = np.rint(fine + 1024).astype("<u2").tobytes()
        ds["PixelData"].VR = "OW"
        yield PhantomInstance(folder=f"series{series.number}", stem=f"image{number + 1:03d}", dataset=ds)


def _ct_header(request: PhantomRequest, series: NuclearSeries, number: int) -> Dataset:
    """Everything of one image but its place and its pixels."""
    ds = study_header(request, study_text(request))
    ds.SOPClassUID = CTImageStorage
    ds.SOPInstanceUID = request.uid("instance", series.number, number)
    ds.SeriesInstanceUID = request.uid("series", series.number)
    ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    ds.Modality = "CT"
    ds.SeriesNumber = series.number
    ds.InstanceNumber = number + 1
    ds.AcquisitionNumber = 1
    ds.SeriesDescription = series.description
    for name in ("Series", "Acquisition", "Content"):
        setattr(ds, f"{name}Date", series.begun_at.strftime("%Y%m%d"))
        setattr(ds, f"{name}Time", series.begun_at.strftime("%H%M%S"))
    ds.Manufacturer = "Phantom Medical"
    ds.ManufacturerModelName = "Dual Head Camera"
    ds.DeviceSerialNumber = "NM-0001"
    ds.SoftwareVersions = "1.0"
    ds.StationName = "NM1"
    ds.BodyPartExamined = "ABDOMEN"
    if not request.has("no-frame-of-reference"):
        ds.FrameOfReferenceUID = request.uid("frame of reference")
        ds.PositionReferenceIndicator = ""
    ds.PatientPosition = "FFS" if request.has("feet-first") else "HFS"
    ds.ImageOrientationPatient = ["1", "0", "0", "0", "1", "0"]
    ds.KVP = "130"
    ds.XRayTubeCurrent = 30
    ds.ConvolutionKernel = "B08s"
    ds.SamplesPerPixel = 1
    ds.PhotometricInterpretation = "MONOCHROME2"
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 12, 11, 0
    ds.RescaleIntercept, ds.RescaleSlope, ds.RescaleType = "-1024", "1", "HU"
    ds.WindowCenter, ds.WindowWidth = "40", "400"
    return ds
