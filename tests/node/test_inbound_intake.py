"""What is read of an object, which digests it gets, and what becomes of its file."""

import warnings
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom import uid
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from scp_node.domain.study import ReceivedInstance, Reception
from scp_node.errors import IntakeError, MismatchedObjectError, SpoolFullError, StoreError, UnreadableObjectError
from scp_node.inbound.contexts import STORAGE_CLASSES, TRANSFER_SYNTAXES
from scp_node.inbound.intake import Intake, Sending, examine
from scp_node.objects.provenance import MANUFACTURER
from scp_node.store.database import Database
from scp_node.store.spool import Spool
from scp_node.store.studies import StudyStore
from tests.node.network import ct_slice, dataset_bytes, part10

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.fixture(autouse=True)
def quiet_library() -> Iterator[None]:
    # The receiver process silences the library; here every warning would be an error.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def sending_of(file: Path, **changes: str | bytes) -> Sending:
    meta = pydicom.filereader.read_file_meta_info(file)
    facts: dict[str, str | bytes] = {
        "sop_class_uid": str(meta.MediaStorageSOPClassUID),
        "sop_instance_uid": str(meta.MediaStorageSOPInstanceUID),
        "transfer_syntax_uid": str(meta.TransferSyntaxUID),
        "content": dataset_bytes(file),
    }
    facts |= changes
    return Sending(called_ae="HAI_NODE", calling_ae="CT_1", address="127.0.0.1", association_id=None, **facts)  # type: ignore[arg-type]


def _attribute(keyword: str, value: object) -> dict[str, Any]:
    return {keyword: value}


def examined(dataset: Dataset, folder: Path, transfer_syntax: str = ExplicitVRLittleEndian) -> ReceivedInstance:
    return examine(sending_of(part10(dataset, folder / f"{generate_uid()}.dcm", transfer_syntax)), NOW)


# --- reading ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("syntax", TRANSFER_SYNTAXES)
def test_header_and_identity_are_read_in_every_transfer_syntax(syntax: str, tmp_path: Path) -> None:
    received = examined(ct_slice(7, PatientName="Grün^Änne", SpecificCharacterSet="ISO_IR 100"), tmp_path, syntax)

    assert received.identity.patient_id == "TEST-1"
    assert received.identity.patient_name == "Grün^Änne"
    assert received.identity.character_set == "ISO_IR 100"
    assert received.summary.rows == 16
    assert received.summary.frames[0].position_lps_mm == (-100.0, -100.0, 17.5)
    assert received.usable_image


def test_geometry_is_the_same_in_every_transfer_syntax(tmp_path: Path) -> None:
    series, sop, study, frame = (generate_uid() for _ in range(4))
    digests = set()
    for syntax in TRANSFER_SYNTAXES:
        same = ct_slice(3, study=study, series=series, SOPInstanceUID=sop, FrameOfReferenceUID=frame)
        digests.add(examined(same, tmp_path, syntax).geometry_digest)

    assert len(digests) == 1


@pytest.mark.parametrize(
    "syntax", [uid.ExplicitVRLittleEndian, uid.DeflatedExplicitVRLittleEndian, uid.JPEG2000Lossless]
)
def test_a_corrected_name_leaves_pixels_and_geometry_what_they_were(syntax: str, tmp_path: Path) -> None:
    first = examined(ct_slice(3), tmp_path, syntax)
    second = examined(ct_slice(3, PatientName="Corrected^Name", StudyDescription="a longer header"), tmp_path, syntax)

    assert first.dataset_digest != second.dataset_digest
    assert (first.pixel_digest, first.geometry_digest) == (second.pixel_digest, second.geometry_digest)


@pytest.mark.parametrize(
    "syntax", [uid.ExplicitVRLittleEndian, uid.DeflatedExplicitVRLittleEndian, uid.JPEG2000Lossless]
)
def test_other_pixels_are_told_apart(syntax: str, tmp_path: Path) -> None:
    first = examined(ct_slice(3), tmp_path, syntax)
    second = examined(ct_slice(3, PixelData=b"\1\2" * 256), tmp_path, syntax)

    assert first.geometry_digest == second.geometry_digest
    assert first.pixel_digest != second.pixel_digest


@pytest.mark.parametrize(
    "change",
    [
        {"ImagePositionPatient": [-100.0, -100.0, 7.6]},
        {"PixelSpacing": [0.8, 0.81]},
        {"ImageOrientationPatient": [0, 1, 0, 1, 0, 0]},
    ],
)
def test_another_place_is_another_geometry_and_other_pixels(change: dict[str, Any], tmp_path: Path) -> None:
    first = examined(ct_slice(3), tmp_path)
    second = examined(ct_slice(3, **change), tmp_path)

    assert first.geometry_digest != second.geometry_digest
    assert first.pixel_digest != second.pixel_digest


def test_another_rescale_gives_other_pixels_but_another_spelling_of_it_does_not(tmp_path: Path) -> None:
    first, spelt, other = (
        examined(ct_slice(3, RescaleIntercept=intercept), tmp_path) for intercept in ("-1024", "-1024.0", "-1000")
    )

    assert first.pixel_digest == spelt.pixel_digest
    assert first.pixel_digest != other.pixel_digest


def test_implicit_and_explicit_little_endian_hold_the_same_pixels(tmp_path: Path) -> None:
    one = examined(ct_slice(3), tmp_path, uid.ImplicitVRLittleEndian)
    other = examined(ct_slice(3), tmp_path, uid.ExplicitVRLittleEndian)

    assert one.pixel_digest == other.pixel_digest


def test_an_offset_table_does_not_make_other_pixels(tmp_path: Path) -> None:
    without = part10(ct_slice(3), tmp_path / "without.dcm", uid.JPEG2000Lossless)
    content = dataset_bytes(without)
    item = b"\xfe\xff\x00\xe0"
    start = content.index(item)
    # pydicom wrote the table with one offset; an archive may leave it empty.
    assert content[start + 4 : start + 8] == (4).to_bytes(4, "little")
    emptied = content[:start] + item + bytes(4) + content[start + 12 :]

    one, other = examine(sending_of(without), NOW), examine(sending_of(without, content=emptied), NOW)

    assert one.dataset_digest != other.dataset_digest
    assert one.pixel_digest == other.pixel_digest


# --- what is an image for us --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sop_class", "modality", "usable"),
    [
        (uid.CTImageStorage, "CT", True),
        (uid.EnhancedMRImageStorage, "MR", True),
        (uid.NuclearMedicineImageStorage, "NM", True),
        (uid.SecondaryCaptureImageStorage, "NM", True),
        (uid.SecondaryCaptureImageStorage, "CT", False),
        (uid.SecondaryCaptureImageStorage, "ES", False),
        (uid.SegmentationStorage, "SEG", False),
        (uid.GrayscaleSoftcopyPresentationStateStorage, "PR", False),
        (uid.ParametricMapStorage, "CT", False),
        (uid.UltrasoundImageStorage, "US", False),
    ],
)
def test_only_what_an_analyzer_could_use_counts_as_an_image(
    sop_class: str, modality: str, usable: bool, tmp_path: Path
) -> None:
    received = examined(ct_slice(SOPClassUID=sop_class, Modality=modality), tmp_path)

    assert received.usable_image is usable


@pytest.mark.parametrize("sop_class", [uid.XRayRadiationDoseSRStorage, uid.Comprehensive3DSRStorage])
def test_reports_are_never_images(sop_class: str, tmp_path: Path) -> None:
    dataset = ct_slice(SOPClassUID=sop_class, Modality="SR")
    del dataset.PixelData

    assert not examined(dataset, tmp_path).usable_image


def test_a_picture_that_this_software_made_is_no_image_though_its_modality_says_so(tmp_path: Path) -> None:
    equipment = Dataset()
    equipment.Manufacturer = MANUFACTURER
    capture = ct_slice(
        SOPClassUID=uid.SecondaryCaptureImageStorage, Modality="NM", ContributingEquipmentSequence=Sequence([equipment])
    )

    assert not examined(capture, tmp_path).usable_image


def test_an_image_whose_pixels_are_empty_still_counts_and_one_without_any_does_not(tmp_path: Path) -> None:
    bare = ct_slice()
    del bare.PixelData

    assert examined(ct_slice(PixelData=b""), tmp_path).usable_image
    assert not examined(bare, tmp_path).usable_image


def test_label_maps_and_retired_nuclear_medicine_are_among_the_classes() -> None:
    assert {"1.2.840.10008.5.1.4.1.1.66.7", uid.ParametricMapStorage, "1.2.840.10008.5.1.4.1.1.5"} <= set(
        STORAGE_CLASSES
    )


# --- refusals -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("keyword", ["SOPInstanceUID", "SOPClassUID"])
def test_another_object_than_announced_is_a_mismatch(keyword: str, tmp_path: Path) -> None:
    field = {"SOPInstanceUID": "sop_instance_uid", "SOPClassUID": "sop_class_uid"}[keyword]
    file = part10(ct_slice(), tmp_path / "a.dcm")

    with pytest.raises(MismatchedObjectError, match=keyword) as refusal:
        examine(sending_of(file, **{field: "1.2.3"}), NOW)
    assert refusal.value.status == 0xA900


@pytest.mark.parametrize("keyword", ["StudyInstanceUID", "SeriesInstanceUID"])
@pytest.mark.parametrize("value", ["", "../../etc/passwd", "1.2." + "3" * 64])
def test_an_object_without_proper_uids_is_not_understood(keyword: str, value: str, tmp_path: Path) -> None:
    file = part10(ct_slice(**_attribute(keyword, value)), tmp_path / "a.dcm")

    with pytest.raises(UnreadableObjectError, match=keyword) as refusal:
        examine(sending_of(file), NOW)
    assert 0xC000 <= refusal.value.status <= 0xCFFF


@pytest.mark.parametrize(
    "syntax", [uid.ExplicitVRLittleEndian, uid.DeflatedExplicitVRLittleEndian, uid.JPEG2000Lossless]
)
@pytest.mark.parametrize("kept_fraction", [0.0, 0.3, 0.9])
def test_a_data_set_that_breaks_off_is_not_understood(syntax: str, kept_fraction: float, tmp_path: Path) -> None:
    file = part10(ct_slice(), tmp_path / "a.dcm", syntax)
    content = dataset_bytes(file)

    with pytest.raises(IntakeError):
        examine(sending_of(file, content=content[: int(len(content) * kept_fraction)]), NOW)


def test_bytes_that_are_no_data_set_are_not_understood(tmp_path: Path) -> None:
    file = part10(ct_slice(), tmp_path / "a.dcm")

    for content in (b"", b"\0" * 4096, b"GET / HTTP/1.1\r\n\r\n" * 10, bytes(range(256)) * 16):
        with pytest.raises(IntakeError):
            examine(sending_of(file, content=content), NOW)


def test_a_small_file_that_inflates_without_end_takes_no_memory(tmp_path: Path) -> None:
    huge = ct_slice()
    huge.PixelData = bytes(64 << 20)
    file = part10(huge, tmp_path / "bomb.dcm", uid.DeflatedExplicitVRLittleEndian)

    assert file.stat().st_size < 100_000
    assert examine(sending_of(file), NOW).usable_image


def test_an_undecodable_name_does_not_lose_the_study(tmp_path: Path) -> None:
    file = part10(ct_slice(SpecificCharacterSet="ISO_IR 192", PatientName="Gruen^Aenne"), tmp_path / "a.dcm")
    broken = dataset_bytes(file).replace(b"Gruen^Aenne", b"Gr\xfcn^\xc4nne  ")

    received = examine(sending_of(file, content=broken), NOW)

    assert received.identity.patient_name.startswith("Gr")
    assert received.usable_image


def test_every_malformed_file_is_taken_or_refused_with_a_reason(real_data_dir: Path) -> None:
    taken, reasons = 0, []
    for file in sorted((real_data_dir / "malformed").rglob("*.dcm")):
        content = file.read_bytes()
        sending = Sending(
            called_ae="HAI_NODE",
            calling_ae="CT_1",
            address="127.0.0.1",
            association_id=None,
            sop_class_uid=uid.CTImageStorage,
            sop_instance_uid="1.2.3",
            transfer_syntax_uid=ExplicitVRLittleEndian,
            content=content[132:] if content[128:132] == b"DICM" else content,
        )
        try:
            examine(sending, NOW)
            taken += 1
        except IntakeError as fault:
            reasons.append(fault.reason)

    assert len(reasons) > 100
    assert all(reasons)


# --- durable, then recorded -----------------------------------------------------------------------------------


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = Database.open(tmp_path, migrate=True)
    yield opened
    opened.close()


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path / "spool", quota_gib=1.0, keep_free_gib=0.0)


def files_in(folder: Path) -> list[Path]:
    return sorted((folder / "spool").rglob("*.dcm"))


def test_the_stored_file_is_a_part_10_file_with_the_bytes_that_came(
    database: Database, spool: Spool, tmp_path: Path
) -> None:
    file = part10(ct_slice(), tmp_path / "a.dcm", uid.JPEGLSLossless)
    studies = StudyStore(database)

    assert Intake(spool, studies).take(sending_of(file), NOW) is Reception.NEW

    (stored,) = files_in(tmp_path)
    meta = pydicom.dcmread(stored).file_meta
    assert dataset_bytes(stored) == dataset_bytes(file)
    assert meta.TransferSyntaxUID == uid.JPEGLSLossless
    assert meta.SourceApplicationEntityTitle == "CT_1"
    (row,) = studies.instances(pydicom.dcmread(file).StudyInstanceUID)
    assert row.spool_key is not None
    assert spool.path(row.spool_key) == stored


def test_the_same_object_again_leaves_one_file(database: Database, spool: Spool, tmp_path: Path) -> None:
    intake, file = Intake(spool, StudyStore(database)), part10(ct_slice(), tmp_path / "a.dcm")

    assert [intake.take(sending_of(file), NOW) for _ in range(2)] == [Reception.NEW, Reception.SAME]
    assert len(files_in(tmp_path)) == 1


def test_the_same_image_compressed_by_an_archive_is_a_correction(
    database: Database, spool: Spool, tmp_path: Path
) -> None:
    dataset = ct_slice()
    plain = part10(dataset, tmp_path / "plain.dcm")
    intake = Intake(spool, StudyStore(database))
    intake.take(sending_of(plain), NOW)
    compressed = part10(dataset, tmp_path / "compressed.dcm", uid.JPEG2000Lossless)

    assert intake.take(sending_of(compressed), NOW) is Reception.CORRECTION


def test_other_pixels_under_one_uid_are_kept_aside(database: Database, spool: Spool, tmp_path: Path) -> None:
    dataset = ct_slice()
    intake, studies = Intake(spool, StudyStore(database)), StudyStore(database)
    intake.take(sending_of(part10(dataset, tmp_path / "a.dcm")), NOW)
    dataset.PixelData = b"\7\7" * 256

    assert intake.take(sending_of(part10(dataset, tmp_path / "b.dcm")), NOW) is Reception.CONFLICT
    assert len(files_in(tmp_path)) == 2
    assert studies.get(dataset.StudyInstanceUID).conflict


def test_a_full_spool_takes_nothing_and_leaves_nothing(database: Database, tmp_path: Path) -> None:
    full = Spool(tmp_path / "spool", quota_gib=1e-9, keep_free_gib=0.0)

    with pytest.raises(SpoolFullError) as refusal:
        Intake(full, StudyStore(database)).take(sending_of(part10(ct_slice(), tmp_path / "a.dcm")), NOW)
    assert refusal.value.status == 0xA700
    assert files_in(tmp_path) == []


class BrokenRecord:
    """A store whose every record fails."""

    def __init__(self, *, committed: bool) -> None:
        self._committed = committed

    def record(self, instance: ReceivedInstance, now: datetime, *, association_id: int | None = None) -> Reception:
        message = "the database refused"
        raise StoreError(message)

    def knows_spool_key(self, spool_key: str) -> bool:
        return self._committed


@pytest.mark.parametrize(("committed", "left"), [(False, 0), (True, 1)])
def test_a_file_whose_record_failed_goes_unless_the_record_is_there_after_all(
    committed: bool, left: int, spool: Spool, tmp_path: Path
) -> None:
    intake = Intake(spool, BrokenRecord(committed=committed))

    with pytest.raises(StoreError):
        intake.take(sending_of(part10(ct_slice(), tmp_path / "a.dcm")), NOW)
    assert len(files_in(tmp_path)) == left
