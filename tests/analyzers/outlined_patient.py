"""A small patient with one tumour in the liver: a SPECT, and what a reader outlined on it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom import dcmread
from scipy import ndimage

from tests.analyzers.real_data import Scan, write_spect
from tests.analyzers.segmentation_samples import LESION_CODES, LIVER_CODES, reference_image, segmentation

SHAPE, STEP_MM, RATIO = (40, 56, 64), 5.0, 5.0
AFFINE = np.diag([STEP_MM, STEP_MM, STEP_MM, 1.0])
LIVER, TUMOUR = ((20, 28, 26), 14.5), ((23, 30, 22), 4.5)


def ball(centre: tuple[int, int, int], radius: float) -> NDArray[np.bool_]:
    places = np.indices(SHAPE) - np.asarray(centre)[:, None, None, None]
    return np.asarray((places**2).sum(axis=0) <= radius**2, np.bool_)


def patient(folder: Path, name: str, patient_id: str = "") -> tuple[Path, Path, str]:
    """A SPECT with one tumour, a reader's segmentation of it, and their study; by default of a patient of its own."""
    expected = np.where(ball(*LIVER), 200.0, 1.0)
    expected[ball(*TUMOUR)] *= RATIO
    counts = np.random.default_rng(5).poisson(ndimage.gaussian_filter(expected, 0.6)).astype(np.float32)
    path = folder / f"{name}.dcm"
    write_spect(Scan(values_zyx=counts, affine_lps=AFFINE, name=name), path, "HAI PUMP PERFUSION MAA SPECT")
    image = dcmread(path)
    image.CorrectedImage = ["ATTN"]
    image.PatientID = patient_id or name
    image.save_as(path)
    on = reference_image(
        study=image.StudyInstanceUID, series=image.SeriesInstanceUID, frame_of_reference=image.FrameOfReferenceUID
    )
    masks = [("Liver", LIVER_CODES, ball(*LIVER)), ("Tumor 1", LESION_CODES, ball(TUMOUR[0], 3.5))]
    outlined = segmentation(masks, AFFINE, on, name=name)
    outlined.PatientID, outlined.PatientName = image.PatientID, image.PatientName
    outlined.save_as(folder / f"{name}-seg.dcm", enforce_file_format=True)
    return path, folder / f"{name}-seg.dcm", str(image.StudyInstanceUID)
