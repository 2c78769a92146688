"""Tiny DICOM series for tests of loading: each image is a data set that a test may change before it is written."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence as DicomSequence
from pydicom.uid import UID, ExplicitVRLittleEndian

CT_IMAGE = "1.2.840.10008.5.1.4.1.1.2"
MR_IMAGE = "1.2.840.10008.5.1.4.1.1.4"
ENHANCED_MR_IMAGE = "1.2.840.10008.5.1.4.1.1.4.1"
NM_IMAGE = "1.2.840.10008.5.1.4.1.1.20"
SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"

AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
ROWS, COLUMNS = 6, 8


def uid(*words: object) -> str:
    """Derive a UID from words."""
    digest = hashlib.sha256("|".join(map(str, words)).encode()).digest()
    return f"2.25.{int.from_bytes(digest[:15], 'big')}"


def image(name: object, *, sop_class_uid: str = CT_IMAGE, modality: str = "CT", series: str = "a") -> Dataset:
    """One image without geometry or pixels; ``name`` makes its SOP Instance UID."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID = UID(sop_class_uid)
    dataset.SOPInstanceUID = UID(uid("image", series, name))
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.StudyInstanceUID = uid("study")
    dataset.SeriesInstanceUID = uid("series", series)
    dataset.FrameOfReferenceUID = uid("frame of reference")
    dataset.Modality = modality
    dataset.StudyDate = "20200102"
    dataset.SeriesNumber = 1
    dataset.PatientName, dataset.PatientID = "PHANTOM^ONE", "P1"
    dataset.PatientPosition = "HFS"
    return dataset


def ct_slice(
    z_mm: float, *, name: object = None, hu: NDArray[np.int_] | int | None = None, series: str = "a"
) -> Dataset:
    """An axial CT slice at z; by default each pixel holds its own place: HU = 10 z + column + 100 row."""
    dataset = image(z_mm if name is None else name, series=series)
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    set_geometry(dataset, (-10.0, -20.0, z_mm))
    dataset.SliceThickness = "2.5"
    dataset.RescaleSlope, dataset.RescaleIntercept = "1", "-1024"
    set_pixels(dataset, (place_code(z_mm) if hu is None else np.full((ROWS, COLUMNS), hu)) + 1024)
    return dataset


def mr_slice(z_mm: float, *, name: object = None, series: str = "a", signal: int = 100) -> Dataset:
    """An axial MR slice at z with one signal everywhere."""
    dataset = image(z_mm if name is None else name, sop_class_uid=MR_IMAGE, modality="MR", series=series)
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "M"]
    set_geometry(dataset, (-10.0, -20.0, z_mm))
    dataset.SliceThickness = "3"
    set_pixels(dataset, np.full((ROWS, COLUMNS), signal))
    return dataset


def place_code(z_mm: float) -> NDArray[np.int_]:
    """Values that tell where a pixel is: 10 z + column + 100 row."""
    return np.rint(10.0 * z_mm + np.arange(COLUMNS)[None, :] + 100.0 * np.arange(ROWS)[:, None]).astype(int)


def set_geometry(dataset: Dataset, position_lps_mm: Sequence[float], orientation: Sequence[float] = AXIAL) -> None:
    """Set plane and spacing: 2 mm between rows, 1.5 mm between columns."""
    dataset.ImagePositionPatient = [f"{value:.6f}" for value in position_lps_mm]
    dataset.ImageOrientationPatient = [f"{value:.9f}" for value in orientation]
    dataset.PixelSpacing = ["2.0", "1.5"]


def set_pixels(dataset: Dataset, stored: NDArray[np.int_], *, signed: bool = False, bits: int = 16) -> None:
    """Set pixel data of one frame (rows, columns) or several (frames, rows, columns)."""
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.Rows, dataset.Columns = stored.shape[-2:]
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, bits, bits - 1
    dataset.PixelRepresentation = int(signed)
    dataset.PixelData = stored.astype("<i2" if signed else "<u2").tobytes()


def planar(
    counts: NDArray[np.int_], *, detectors: Sequence[int], name: object = "planar", series: str = "nm"
) -> Dataset:
    """A static planar object (frames, rows, columns), one frame per entry of ``detectors``, in one energy window."""
    dataset = image(name, sop_class_uid=NM_IMAGE, modality="NM", series=series)
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "STATIC", "EMISSION"]
    dataset.NumberOfFrames = len(detectors)
    dataset.FrameIncrementPointer = [0x00540010, 0x00540020]
    dataset.EnergyWindowVector = [1] * len(detectors)
    dataset.DetectorVector = list(detectors)
    dataset.PixelSpacing = ["4.8", "4.8"]
    dataset.ActualFrameDuration = "300000"
    dataset.EnergyWindowInformationSequence = DicomSequence([energy_window(126.0, 154.0)])
    dataset.DetectorInformationSequence = DicomSequence([Dataset() for _ in set(detectors)])
    set_pixels(dataset, counts)
    return dataset


def energy_window(low_kev: float, high_kev: float) -> Dataset:
    """One item of the energy window information."""
    limits, window = Dataset(), Dataset()
    limits.EnergyWindowLowerLimit, limits.EnergyWindowUpperLimit = f"{low_kev}", f"{high_kev}"
    window.EnergyWindowRangeSequence = DicomSequence([limits])
    return window


def code(value: str, scheme: str = "SCT", meaning: str = "meaning") -> DicomSequence:
    """A code sequence of one item."""
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return DicomSequence([item])


def spect(counts: NDArray[np.int_], *, first_z_mm: float, step_mm: float) -> Dataset:
    """A reconstructed volume (slices, rows, columns) whose detector item carries the first slice's plane."""
    dataset = image("spect", sop_class_uid=NM_IMAGE, modality="NM", series="spect")
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "RECON TOMO", "EMISSION"]
    dataset.NumberOfFrames = len(counts)
    dataset.FrameIncrementPointer = 0x00540080
    dataset.SliceVector = list(range(1, len(counts) + 1))
    dataset.SpacingBetweenSlices = f"{step_mm}"
    dataset.SliceThickness = f"{abs(step_mm)}"
    detector = Dataset()
    set_geometry(detector, (-10.0, -20.0, first_z_mm))
    del detector.PixelSpacing
    dataset.PixelSpacing = ["4.8", "4.8"]
    dataset.DetectorInformationSequence = DicomSequence([detector])
    set_pixels(dataset, counts)
    return dataset


def enhanced_mr(z_values_mm: Sequence[float], b_values: Sequence[float]) -> Dataset:
    """An enhanced multi-frame MR: for each b-value a stack, frames of all stacks interleaved by place."""
    dataset = image("enhanced", sop_class_uid=ENHANCED_MR_IMAGE, modality="MR", series="enhanced")
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "DIFFUSION", "NONE"]
    measures, direction, shared = Dataset(), Dataset(), Dataset()
    measures.PixelSpacing, measures.SliceThickness = ["2.0", "1.5"], "3"
    direction.ImageOrientationPatient = [f"{value}" for value in AXIAL]
    timing = Dataset()
    timing.RepetitionTime = "4000"
    shared.PixelMeasuresSequence = DicomSequence([measures])
    shared.PlaneOrientationSequence = DicomSequence([direction])
    shared.MRTimingAndRelatedParametersSequence = DicomSequence([timing])
    dataset.SharedFunctionalGroupsSequence = DicomSequence([shared])
    groups, pixels = [], []
    for z_mm in z_values_mm:
        for b_value in b_values:
            position, diffusion, group = Dataset(), Dataset(), Dataset()
            position.ImagePositionPatient = ["-10", "-20", f"{z_mm}"]
            diffusion.DiffusionBValue = b_value
            group.PlanePositionSequence = DicomSequence([position])
            group.MRDiffusionSequence = DicomSequence([diffusion])
            groups.append(group)
            pixels.append(np.full((ROWS, COLUMNS), round(b_value + 10 * z_mm)))
    dataset.PerFrameFunctionalGroupsSequence = DicomSequence(groups)
    dataset.NumberOfFrames = len(groups)
    set_pixels(dataset, np.stack(pixels))
    return dataset


def write(datasets: Iterable[Dataset], folder: Path) -> Path:
    """Write images under names that say nothing about their order; returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, dataset in enumerate(datasets):
        name = hashlib.sha256(f"{number}".encode()).hexdigest()[:12]
        dataset.save_as(folder / name, enforce_file_format=True)
    return folder
