"""What is sent: three sets of synthetic objects, made once into a cache folder outside the repository."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom
from pydicom.dataset import Dataset
from pydicom.uid import NuclearMedicineImageStorage

from tests.node.network import ct_slice, part10

CACHE = Path(os.environ.get("HAI_BENCH_DATA", Path(tempfile.gettempdir()) / "hai-bench-data"))
_FORM = "2"
"""Changes when the sets change, so that an old cache is not taken for a new one."""
_ROOT = "2.25.314159"
_CT_HEADER = {
    "SpecificCharacterSet": "ISO_IR 192", "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"],
    "SeriesDate": "20260102", "AcquisitionDate": "20260102", "ContentDate": "20260102",
    "SeriesTime": "101512", "AcquisitionTime": "101512", "ContentTime": "101512",
    "Manufacturer": "Synthetic", "ManufacturerModelName": "Bench", "SoftwareVersions": "1",
    "InstitutionName": "Nowhere", "ReferringPhysicianName": "Referrer^A", "StudyDescription": "CT ABDOMEN",
    "SeriesDescription": "ABDOMEN 1.0 B30", "BodyPartExamined": "ABDOMEN", "ProtocolName": "ABDOMEN",
    "KVP": 120, "DataCollectionDiameter": 500, "ReconstructionDiameter": 400, "GantryDetectorTilt": 0,
    "TableHeight": 100, "ExposureTime": 500, "XRayTubeCurrent": 200, "Exposure": 100, "ConvolutionKernel": "B30f",
    "PatientPosition": "HFS", "AcquisitionNumber": 1, "SpacingBetweenSlices": 2.5, "WindowCenter": 40,
    "WindowWidth": 400, "RescaleType": "HU", "PositionReferenceIndicator": "",
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageSet:
    """Files to send."""

    name: str
    files: tuple[Path, ...]

    @property
    def byte_count(self) -> int:
        """All files together."""
        return sum(file.stat().st_size for file in self.files)

    def first(self, count: int) -> ImageSet:
        """A smaller set of the first files."""
        return ImageSet(name=self.name, files=self.files[:count])


def image_sets() -> dict[str, ImageSet]:
    """``ct``: 600 slices of 525 kB of one study; ``small``: 3,000 of 9.5 kB of ten; ``large``: one of 210 MB.

    ``warm-up``: 40 slices like those of ``ct`` of a study of their own.
    """
    makers = {"ct": _ct_slices, "small": _small_slices, "large": _multi_frame, "warm-up": _warm_up_slices}
    return {name: _cached(name, maker()) for name, maker in makers.items()}


def _cached(name: str, datasets: Iterator[Dataset]) -> ImageSet:
    folder = CACHE / f"{name}-{_FORM}"
    whole = folder / "whole"
    if not whole.exists():
        folder.mkdir(parents=True, exist_ok=True)
        for number, dataset in enumerate(datasets):
            part10(dataset, folder / f"{number:04d}.dcm")
        whole.touch()
    return ImageSet(name=name, files=tuple(sorted(folder.glob("*.dcm"))))


def _warm_up_slices() -> Iterator[Dataset]:
    return _ct_slices(study="4", count=40)


def _ct_slices(study: str = "1", count: int = 600) -> Iterator[Dataset]:
    noise = np.random.default_rng(int(study))
    row, column = np.mgrid[0:512, 0:512]
    body = np.where((row - 256) ** 2 + (column - 256) ** 2 < 200**2, 1064, 24)
    for number in range(count):
        pixels = (body + noise.normal(0, 25, body.shape)).clip(0).astype(np.int16)
        yield _slice(study, number, pixels)


def _small_slices() -> Iterator[Dataset]:
    noise = np.random.default_rng(2)
    for number in range(3000):
        study, place = divmod(number, 300)
        yield _slice(f"2.{study}", place, noise.integers(0, 2000, (64, 64)).astype(np.int16))


def _multi_frame() -> Iterator[Dataset]:
    pixels = np.random.default_rng(3).integers(0, 4000, (400, 512, 512)).astype(np.int16)
    dataset = _slice("3", 0, pixels[0])
    dataset.SOPClassUID, dataset.Modality = NuclearMedicineImageStorage, "NM"
    dataset.NumberOfFrames, dataset.ImageType = len(pixels), ["ORIGINAL", "PRIMARY", "TOMO", "EMISSION"]
    dataset.PixelData = pixels.tobytes()
    yield dataset


def _slice(study: str, number: int, pixels: np.ndarray[tuple[int, ...], np.dtype[np.int16]]) -> Dataset:
    uid = f"{_ROOT}.{study}"
    dataset = ct_slice(
        number + 1, study=uid, series=f"{uid}.1", rows=len(pixels),
        SOPInstanceUID=f"{uid}.1.{number + 1}", FrameOfReferenceUID=f"{uid}.9", PixelData=pixels.tobytes(),
        PatientID=f"BENCH-{study}", SliceLocation=2.5 * number, **_CT_HEADER,
    )  # fmt: skip
    dataset["PixelData"].VR = "OW"
    return dataset


def sop_instance_uid(file: Path) -> str:
    """As its file meta information says."""
    return str(pydicom.filereader.read_file_meta_info(file).MediaStorageSOPInstanceUID)
