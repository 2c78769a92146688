"""Small source studies for the tests of the objects: headers as scanners write them, pixels left out or tiny.

The encoder never reads the pixels of a source, so most of these have none.
"""

from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    CTImageStorage,
    EnhancedCTImageStorage,
    ExplicitVRLittleEndian,
    MRImageStorage,
    NuclearMedicineImageStorage,
)

from analyzers.contract import Code, FrameRef, Outline, Segment
from scp_node.domain.study import Identity
from scp_node.objects.order import EncodingOrder

STUDY = "1.2.826.0.1.3680043.8.498.1"
FRAME_OF_REFERENCE = "1.2.826.0.1.3680043.8.498.9"

ANATOMY = Code(value="91723000", scheme="SCT", meaning="Anatomical Structure")
DEVICE = Code(value="260787004", scheme="SCT", meaning="Physical object")
LIVER = Code(value="10200004", scheme="SCT", meaning="Liver")
LUNG = Code(value="39607008", scheme="SCT", meaning="Lung")
RIGHT = Code(value="24028007", scheme="SCT", meaning="Right")
CATHETER = Code(value="19923001", scheme="SCT", meaning="Catheter")
ABNORMALITY = Code(value="49755003", scheme="SCT", meaning="Morphologically Abnormal Structure")
METASTASIS = Code(value="14799000", scheme="SCT", meaning="Neoplasm, Secondary")


def identity(**changes: str) -> Identity:
    values = {
        "patient_id": "PHANTOM-1",
        "issuer_of_patient_id": "HOSPITAL",
        "patient_name": "Phantom^Ann",
        "patient_birth_date": "19600101",
        "patient_sex": "F",
        "accession_number": "ACC1",
        "study_id": "S1",
        "study_date": "20260102",
        "study_time": "101500",
        "study_description": "CT ABDOMEN HAI PUMP",
        "referring_physician": "Doe^Ann",
        "character_set": "ISO_IR 100",
    }
    return Identity(**(values | changes))


def order(study_folder: Path, **changes: object) -> EncodingOrder:
    values: dict[str, object] = {
        "study_instance_uid": STUDY,
        "revision": 1,
        "analyzer_name": "cta",
        "analyzer_version": "0.1.0",
        "analysis_started_at": datetime(2026, 1, 2, 12, 0, 0, tzinfo=UTC),
        "utc_offset_minutes": 60,
        "study_folder": study_folder,
        "out_folder": None if changes.get("failure") else study_folder.parent / "out",
        "failure": None,
        "identity": identity(),
        "input_digest": "1" * 64,
        "settings_digest": "2" * 64,
        "device_serial_number": "17",
        "institution_name": "Hospital",
    }
    return EncodingOrder(**(values | changes))  # type: ignore[arg-type]


def header(modality: str, sop_class: str, series: int, number: int, who: Identity | None = None) -> Dataset:
    who = who or identity()
    image = Dataset()
    if who.character_set:
        parts = who.character_set.split("\\")
        image.SpecificCharacterSet = parts if len(parts) > 1 else parts[0]
    image.SOPClassUID = sop_class
    image.SOPInstanceUID = f"{STUDY}.{series}.{number}"
    image.StudyInstanceUID = STUDY
    image.SeriesInstanceUID = f"{STUDY}.{series}"
    image.Modality = modality
    image.PatientID = who.patient_id
    image.IssuerOfPatientID = who.issuer_of_patient_id
    image.PatientName = who.patient_name
    image.PatientBirthDate = who.patient_birth_date
    image.PatientSex = who.patient_sex
    image.AccessionNumber = who.accession_number
    image.StudyID = who.study_id
    image.StudyDate = who.study_date
    image.StudyTime = who.study_time
    image.StudyDescription = who.study_description
    image.ReferringPhysicianName = who.referring_physician
    image.SeriesNumber = series
    image.SeriesDescription = f"{modality} series {series}"
    image.InstanceNumber = number
    image.Manufacturer = "Maker"
    image.ManufacturerModelName = "Scanner"
    image.PatientAge = "065Y"
    image.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    return image


def save(images: Iterable[Dataset], folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for index, image in enumerate(images):
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID = image.SOPClassUID
        meta.MediaStorageSOPInstanceUID = image.SOPInstanceUID
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        image.file_meta = meta
        image.save_as(folder / f"{index:05d}", enforce_file_format=True)
    return folder


def slices(
    count: int,
    *,
    modality: str = "CT",
    series: int = 1,
    size: tuple[int, int] = (24, 32),
    tilt_mm: float = 0.0,
    step_mm: float = 2.5,
    who: Identity | None = None,
) -> list[Dataset]:
    """Single-frame CT or MR slices; ``tilt_mm`` shifts each plane along y as a tilted gantry does."""
    sop_class = CTImageStorage if modality == "CT" else MRImageStorage
    images = []
    for index in range(count):
        image = header(modality, sop_class, series, index + 1, who)
        image.FrameOfReferenceUID = FRAME_OF_REFERENCE
        image.PositionReferenceIndicator = ""
        image.Rows, image.Columns = size
        image.PixelSpacing = [0.8, 0.8]
        image.SliceThickness = 3.0
        image.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        image.ImagePositionPatient = [-10.0, -20.0 + tilt_mm * index, 100.0 + step_mm * index]
        images.append(image)
    return images


def enhanced_ct(frames: int, size: tuple[int, int] = (24, 32)) -> Dataset:
    image = header("CT", EnhancedCTImageStorage, 5, 1)
    image.FrameOfReferenceUID = FRAME_OF_REFERENCE
    image.Rows, image.Columns = size
    image.NumberOfFrames = frames
    measures, direction = Dataset(), Dataset()
    measures.PixelSpacing = [0.8, 0.8]
    measures.SliceThickness = 3.0
    direction.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    shared = Dataset()
    shared.PixelMeasuresSequence = [measures]
    shared.PlaneOrientationSequence = [direction]
    image.SharedFunctionalGroupsSequence = [shared]
    groups = []
    for index in range(frames):
        position = Dataset()
        position.ImagePositionPatient = [0.0, 0.0, 3.0 * index]
        group = Dataset()
        group.PlanePositionSequence = [position]
        groups.append(group)
    image.PerFrameFunctionalGroupsSequence = groups
    return image


def planar_nm(size: tuple[int, int] = (64, 48)) -> Dataset:
    """Anterior and posterior view in one object, without a frame of reference."""
    image = header("NM", NuclearMedicineImageStorage, 7, 1)
    image.ImageType = ["ORIGINAL", "PRIMARY", "STATIC", "EMISSION"]
    image.Rows, image.Columns = size
    image.PixelSpacing = [4.8, 4.8]
    image.NumberOfFrames = 2
    image.DetectorVector = [1, 2]
    image.DetectorInformationSequence = [Dataset(), Dataset()]
    return image


def recon_tomo(frames: int = 12, size: tuple[int, int] = (20, 20), step_mm: float = -4.0) -> Dataset:
    image = header("NM", NuclearMedicineImageStorage, 8, 1)
    image.ImageType = ["ORIGINAL", "PRIMARY", "RECON TOMO", "EMISSION"]
    image.FrameOfReferenceUID = FRAME_OF_REFERENCE
    image.Rows, image.Columns = size
    image.PixelSpacing = [4.0, 4.0]
    image.SliceThickness = 4.0
    image.SpacingBetweenSlices = step_mm
    image.NumberOfFrames = frames
    image.SliceVector = list(range(1, frames + 1))
    detector = Dataset()
    detector.ImagePositionPatient = [-40.0, -40.0, 200.0]
    detector.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    image.DetectorInformationSequence = [detector]
    return image


def planes_of(images: Iterable[Dataset]) -> tuple[FrameRef, ...]:
    """Every plane of some images, in the order of their frames."""
    planes: list[FrameRef] = []
    for image in images:
        count = int(image.get("NumberOfFrames", 0))
        if count:
            planes.extend(FrameRef(sop_instance_uid=image.SOPInstanceUID, frame=each + 1) for each in range(count))
        else:
            planes.append(FrameRef(sop_instance_uid=image.SOPInstanceUID))
    return tuple(planes)


def ball(shape_zyx: tuple[int, int, int], centre_zyx: tuple[float, float, float], radius: float) -> NDArray[np.bool_]:
    z, y, x = np.ogrid[: shape_zyx[0], : shape_zyx[1], : shape_zyx[2]]
    cz, cy, cx = centre_zyx
    inside: NDArray[np.bool_] = (z - cz) ** 2 + (y - cy) ** 2 + (x - cx) ** 2 <= radius**2
    return inside


def segment(
    name: str, mask_planes: NDArray[np.bool_], images: list[Dataset], *, type_: Code = LIVER, category: Code = ANATOMY
) -> Segment:
    return Segment(
        name=name,
        label=name.replace("-", " ").capitalize(),
        category=category,
        type=type_,
        mask_planes=mask_planes,
        planes=planes_of(images),
        series_instance_uid=images[0].SeriesInstanceUID,
    )


def circle(frame: FrameRef, centre: tuple[float, float], radius: float) -> Outline:
    angles = np.linspace(0.0, 2.0 * np.pi, 24, endpoint=False)
    points = tuple(
        (float(centre[0] + radius * np.cos(angle)), float(centre[1] + radius * np.sin(angle))) for angle in angles
    )
    return Outline(frame=frame, points_col_row=points)
