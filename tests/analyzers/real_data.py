"""Wrap the NIfTI and NRRD volumes of the real data folder into DICOM, stating each invented header.

Pixels and geometry are real: they are those of the file, permuted and flipped (never resampled) so that rows run to
the patient's left and columns to the back, as scanners have them; the order of planes stays. Everything else
that DICOM wants and NIfTI does not hold is invented, as this table says:

==========================  ==================================================================================
invented                    value
==========================  ==================================================================================
SOP class                   CT Image, MR Image (one object per plane) or Nuclear Medicine (one object)
UIDs                        derived from the file's name, under 2.25
PatientName, PatientID      ``REAL^DATA``, ``REAL-DATA``; birth date and sex empty
StudyDate, StudyTime        20200101, 120000; AcquisitionTime one second per plane later
StudyDescription            given by the caller, e.g. ``CT ABDOMEN HAI PUMP``
SeriesDescription           the file's name
FrameOfReferenceUID         one per file
PatientPosition             HFS
ImageType                   ORIGINAL\\PRIMARY\\AXIAL (CT), ORIGINAL\\PRIMARY\\M (MR), as below (NM)
SliceThickness              the distance between planes
KVP, ConvolutionKernel      120, ``UNKNOWN`` (CT)
ScanningSequence ...        GR, SP, 3D, RepetitionTime 4, EchoTime 2, FlipAngle 10 (MR: sequence unknown)
NM                          ORIGINAL\\PRIMARY\\RECON TOMO\\EMISSION; one detector that carries the plane of the first
                            slice; window 126 to 154 keV; radiopharmaceutical Tc-99m MAA, intra-arterial route
Rescale                     CT stored as HU + 1024; MR and NM scaled to 16 bits by a Rescale Slope; what lies
                            below -1024 HU, or below 0, is clipped
==========================  ==================================================================================
"""

from __future__ import annotations

import datetime as dt
import hashlib
from dataclasses import dataclass
from pathlib import Path

import nibabel
import nrrd
import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian

CT_IMAGE = "1.2.840.10008.5.1.4.1.1.2"
MR_IMAGE = "1.2.840.10008.5.1.4.1.1.4"
NM_IMAGE = "1.2.840.10008.5.1.4.1.1.20"

_LPS_FROM_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
_FIRST_PLANE_AT = dt.datetime(2020, 1, 1, 12, 0, tzinfo=dt.UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scan:
    """A volume of a research format: values (z, y, x), affine (x, y, z, 1) → LPS mm, and the file's name."""

    values_zyx: NDArray[np.float32]
    affine_lps: NDArray[np.float64]
    name: str


def read_nifti(path: Path) -> Scan:
    """Read a NIfTI volume, axes permuted to lie nearest to left, back, head."""
    image = nibabel.nifti1.Nifti1Image.from_filename(path)
    affine_lps = _LPS_FROM_RAS @ np.asarray(image.affine, np.float64)
    return _permuted(np.asarray(image.dataobj, np.float32), affine_lps, path.name.split(".")[0])


def read_nrrd(path: Path) -> Scan:
    """Read a NRRD volume in LPS, axes permuted likewise."""
    values, header = nrrd.read(str(path))
    affine_lps = np.eye(4)
    affine_lps[:3, :3] = np.asarray(header["space directions"], np.float64)[-3:].T
    affine_lps[:3, 3] = np.asarray(header["space origin"], np.float64)
    return _permuted(values.astype(np.float32), affine_lps, path.name.split(".")[0])


def _permuted(values_xyz: NDArray[np.float32], affine_lps: NDArray[np.float64], name: str) -> Scan:
    order = [int(np.argmax(np.abs(affine_lps[axis, :3]))) for axis in range(3)]
    if sorted(order) != [0, 1, 2]:
        raise ValueError(f"{name}: axes too oblique to be named")
    affine = affine_lps.copy()
    affine[:3, :3] = affine_lps[:3, order]
    values_zyx = values_xyz.transpose(order[::-1])
    for axis in range(2):
        if affine[axis, axis] < 0.0:
            length = values_zyx.shape[2 - axis]
            values_zyx = np.flip(values_zyx, 2 - axis)
            affine[:3, 3] += (length - 1) * affine[:3, axis]
            affine[:3, axis] *= -1.0
    return Scan(values_zyx=np.ascontiguousarray(values_zyx), affine_lps=affine, name=name)


def uid(*words: str) -> str:
    """Derive a UID from words."""
    return f"2.25.{int.from_bytes(hashlib.sha256('|'.join(words).encode()).digest()[:15], 'big')}"


def write_slices(scan: Scan, folder: Path, modality: str, study_description: str) -> int:
    """Write a CT or MR scan as one object per plane; returns their number."""
    folder.mkdir(parents=True, exist_ok=True)
    slope, intercept = (1.0, -1024.0) if modality == "CT" else (_slope(scan), 0.0)
    stored = np.clip(np.rint((scan.values_zyx - intercept) / slope), 0, 65535).astype("<u2")
    for index, plane in enumerate(stored):
        dataset = _common(scan, modality, CT_IMAGE if modality == "CT" else MR_IMAGE, study_description)
        dataset.SOPInstanceUID = uid(scan.name, "image", str(index))
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        dataset.InstanceNumber = index + 1
        dataset.AcquisitionTime = (_FIRST_PLANE_AT + dt.timedelta(seconds=index)).strftime("%H%M%S")
        dataset.ImagePositionPatient = _decimals(scan.affine_lps[:3] @ [0.0, 0.0, index, 1.0])
        dataset.ImageOrientationPatient = _decimals(_orientation(scan))
        dataset.RescaleSlope, dataset.RescaleIntercept = f"{slope:.8g}", f"{intercept:g}"
        _add_modality_words(dataset, modality)
        _set_pixels(dataset, plane)
        dataset.save_as(folder / f"{index:05d}.dcm", enforce_file_format=True)
    return len(stored)


def write_spect(scan: Scan, path: Path, study_description: str) -> None:
    """Write a reconstructed SPECT as one nuclear medicine object."""
    path.parent.mkdir(parents=True, exist_ok=True)
    slope = _slope(scan)
    stored = np.clip(np.rint(scan.values_zyx / slope), 0, 65535).astype("<u2")
    dataset = _common(scan, "NM", NM_IMAGE, study_description)
    dataset.SOPInstanceUID = uid(scan.name, "image")
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.InstanceNumber = 1
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "RECON TOMO", "EMISSION"]
    dataset.NumberOfFrames = dataset.NumberOfSlices = len(stored)
    dataset.FrameIncrementPointer = 0x00540080
    dataset.SliceVector = list(range(1, len(stored) + 1))
    dataset.NumberOfDetectors = dataset.NumberOfEnergyWindows = 1
    normal = np.cross(_orientation(scan)[:3], _orientation(scan)[3:])
    dataset.SpacingBetweenSlices = f"{float(scan.affine_lps[:3, 2] @ normal):.6g}"
    detector = Dataset()
    detector.CollimatorType = "PARA"
    detector.ImagePositionPatient = _decimals(scan.affine_lps[:3, 3])
    detector.ImageOrientationPatient = _decimals(_orientation(scan))
    dataset.DetectorInformationSequence = Sequence([detector])
    dataset.EnergyWindowInformationSequence = Sequence([_window()])
    dataset.RadiopharmaceuticalInformationSequence = Sequence([_maa()])
    dataset.RescaleSlope, dataset.RescaleIntercept = f"{slope:.8g}", "0"
    _set_pixels(dataset, stored)
    dataset.save_as(path, enforce_file_format=True)


def _common(scan: Scan, modality: str, sop_class_uid: str, study_description: str) -> Dataset:
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID = sop_class_uid
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.StudyInstanceUID = uid(scan.name, "study")
    dataset.SeriesInstanceUID = uid(scan.name, "series")
    dataset.FrameOfReferenceUID = uid(scan.name, "frame of reference")
    dataset.PatientName, dataset.PatientID = "REAL^DATA", "REAL-DATA"
    dataset.PatientBirthDate = dataset.PatientSex = dataset.AccessionNumber = dataset.StudyID = ""
    dataset.StudyDate = dataset.SeriesDate = dataset.AcquisitionDate = "20200101"
    dataset.StudyTime = "120000"
    dataset.Modality, dataset.SeriesNumber = modality, 1
    dataset.StudyDescription, dataset.SeriesDescription = study_description, scan.name
    dataset.Manufacturer, dataset.PatientPosition = "UNKNOWN", "HFS"
    dataset.ReferringPhysicianName = dataset.PositionReferenceIndicator = ""
    depth_mm, row_mm, column_mm = (float(np.linalg.norm(scan.affine_lps[:3, axis])) for axis in (2, 1, 0))
    dataset.PixelSpacing = _decimals(np.array([row_mm, column_mm]))
    dataset.SliceThickness = f"{depth_mm:.6g}"
    return dataset


def _add_modality_words(dataset: Dataset, modality: str) -> None:
    if modality == "CT":
        dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
        dataset.KVP, dataset.ConvolutionKernel, dataset.RescaleType = "120", "UNKNOWN", "HU"
        return
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "M"]
    dataset.ScanningSequence, dataset.SequenceVariant, dataset.ScanOptions = "GR", "SP", ""
    dataset.MRAcquisitionType, dataset.RepetitionTime, dataset.EchoTime, dataset.FlipAngle = "3D", "4", "2", "10"
    dataset.EchoTrainLength = ""


def _set_pixels(dataset: Dataset, stored: NDArray[np.uint16]) -> None:
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.Rows, dataset.Columns = stored.shape[-2:]
    dataset.BitsAllocated = dataset.BitsStored = 16
    dataset.HighBit, dataset.PixelRepresentation = 15, 0
    dataset.PixelData = stored.tobytes()


def _window() -> Dataset:
    limits = Dataset()
    limits.EnergyWindowLowerLimit, limits.EnergyWindowUpperLimit = "126", "154"
    window = Dataset()
    window.EnergyWindowName, window.EnergyWindowRangeSequence = "Tc-99m", Sequence([limits])
    return window


def _maa() -> Dataset:
    agent = Dataset()
    agent.Radiopharmaceutical = "Tc-99m MAA"
    agent.RadionuclideCodeSequence = Sequence([_code("72454006", "^99m^Technetium")])
    agent.RadiopharmaceuticalCodeSequence = Sequence([_code("85693008", "Technetium Tc^99m^ aggregated albumin")])
    agent.AdministrationRouteCodeSequence = Sequence([_code("58100008", "Intra-arterial route")])
    return agent


def _code(value: str, meaning: str) -> Dataset:
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = value, "SCT", meaning
    return code


def _orientation(scan: Scan) -> NDArray[np.float64]:
    row, column = scan.affine_lps[:3, 0], scan.affine_lps[:3, 1]
    return np.concatenate([row / np.linalg.norm(row), column / np.linalg.norm(column)])


def _decimals(values: NDArray[np.float64]) -> list[str]:
    return [f"{value:.8g}" for value in values]


def _slope(scan: Scan) -> float:
    highest = float(scan.values_zyx.max())
    return highest / 60000.0 if highest > 60000.0 or highest < 600.0 else 1.0
