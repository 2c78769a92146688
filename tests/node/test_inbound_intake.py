"""What is read of an object, which digests it gets, and what becomes of its file."""

import atexit
import copy
import dataclasses
import hashlib
import itertools
import os
import shutil
import struct
import tempfile
import threading
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import uid
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from scp_node.domain.digest import DigestForm, form_of
from scp_node.domain.study import ReceivedInstance
from scp_node.errors import IntakeError, MismatchedObjectError, SpoolFullError, UnreadableObjectError
from scp_node.inbound import digests
from scp_node.inbound.announcement import Announcement, announcement_of
from scp_node.inbound.contexts import STORAGE_CLASSES, TRANSFER_SYNTAXES
from scp_node.inbound.examination import examine as examine_file
from scp_node.inbound.flat_header import scan_header
from scp_node.inbound.header import read_header
from scp_node.inbound.incoming import IncomingObject
from scp_node.inbound.notices import Ended, Notice, NoticeReader, NoticeWriter, Refused, Stored
from scp_node.inbound.recorder import Recorder
from scp_node.inbound.siblings import Siblings
from scp_node.objects.provenance import MANUFACTURER
from scp_node.store.database import Database
from scp_node.store.file_image import BLOCK_BYTES, LEAST_DIRECT_BYTES
from scp_node.store.quarantine import Quarantine
from scp_node.store.refusals import Refusals
from scp_node.store.seal import BLANK
from scp_node.store.spool import Spool
from scp_node.store.studies import StudyStore
from tests.node.network import ct_slice, dataset_bytes, eventually, part10

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.fixture(autouse=True)
def quiet_library() -> Iterator[None]:
    # The receiver process silences the library; here every warning would be an error.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@dataclass(frozen=True, slots=True, kw_only=True)
class Sending:
    """One object as a peer sends it."""

    announced: Announcement
    content: bytes


def sending_of(file: Path, *, content: bytes | None = None, **changes: str) -> Sending:
    meta = pydicom.filereader.read_file_meta_info(file)
    announced = Announcement(
        called_ae="HAI_NODE",
        calling_ae="CT_1",
        address="127.0.0.1",
        sop_class_uid=str(meta.MediaStorageSOPClassUID),
        sop_instance_uid=str(meta.MediaStorageSOPInstanceUID),
        transfer_syntax_uid=str(meta.TransferSyntaxUID),
    )
    return Sending(
        announced=dataclasses.replace(announced, **changes),
        content=dataset_bytes(file) if content is None else content,
    )


def stored(spool: Spool, sending: Sending, *, spilt_at: int | None = None) -> str:
    """Bring an object into the spool, in one piece or with a first one that had to be written out; its key."""
    incoming = IncomingObject(sending.announced, spool)
    rest = sending.content
    if spilt_at is not None:
        incoming.spill([rest[:spilt_at]])
        rest = rest[spilt_at:]
    return incoming.finish([rest], NOW)


def examine(sending: Sending, *, spilt_at: int | None = None) -> ReceivedInstance:
    """What the recorder makes of an object that was received."""
    spool = _scratch_spool()
    try:
        key = stored(spool, sending, spilt_at=spilt_at)
    except IntakeError:
        assert list(spool.keys()) == [], "a refused object leaves nothing behind"
        raise
    try:
        assert spool.seal_of(key) is not None
        assert announcement_of(spool.path(key)) == sending.announced
        return examine_file(spool.path(key), key, sending.announced, Siblings())
    finally:
        spool.remove(key)


@cache
def _scratch_spool() -> Spool:
    """One for all: a new spool makes 256 folders."""
    folder = tempfile.mkdtemp()
    atexit.register(shutil.rmtree, folder)
    return Spool(Path(folder) / "spool", quota_gib=1.0, keep_free_gib=0.0)


def _attribute(keyword: str, value: object) -> dict[str, Any]:
    return {keyword: value}


def examined(dataset: Dataset, folder: Path, transfer_syntax: str = ExplicitVRLittleEndian) -> ReceivedInstance:
    return examine(sending_of(part10(dataset, folder / f"{generate_uid()}.dcm", transfer_syntax)))


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

    one, other = examine(sending_of(without)), examine(sending_of(without, content=emptied))

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
    file = part10(ct_slice(), tmp_path / "a.dcm")
    wrong = {
        "SOPInstanceUID": sending_of(file, sop_instance_uid="1.2.3"),
        "SOPClassUID": sending_of(file, sop_class_uid="1.2.3"),
    }

    with pytest.raises(MismatchedObjectError, match=keyword) as refusal:
        examine(wrong[keyword])
    assert refusal.value.status == 0xA900


@pytest.mark.parametrize("keyword", ["StudyInstanceUID", "SeriesInstanceUID"])
@pytest.mark.parametrize("value", ["", "../../etc/passwd", "1.2." + "3" * 64])
def test_an_object_without_proper_uids_is_not_understood(keyword: str, value: str, tmp_path: Path) -> None:
    file = part10(ct_slice(**_attribute(keyword, value)), tmp_path / "a.dcm")

    with pytest.raises(UnreadableObjectError, match=keyword) as refusal:
        examine(sending_of(file))
    assert 0xC000 <= refusal.value.status <= 0xCFFF


@pytest.mark.parametrize(
    "syntax", [uid.ExplicitVRLittleEndian, uid.DeflatedExplicitVRLittleEndian, uid.JPEG2000Lossless]
)
@pytest.mark.parametrize("kept_fraction", [0.0, 0.3, 0.9])
def test_a_data_set_that_breaks_off_is_not_understood(syntax: str, kept_fraction: float, tmp_path: Path) -> None:
    # UIDs of one length: what breaks off just behind an element is a whole data set without pixels, and legal.
    dataset = ct_slice(study="1.2.3.4", series="1.2.3.5", SOPInstanceUID="1.2.3.6", FrameOfReferenceUID="1.2.3.7")
    file = part10(dataset, tmp_path / "a.dcm", syntax)
    content = dataset_bytes(file)

    with pytest.raises(IntakeError):
        examine(sending_of(file, content=content[: int(len(content) * kept_fraction)]))


def test_bytes_that_are_no_data_set_are_not_understood(tmp_path: Path) -> None:
    file = part10(ct_slice(), tmp_path / "a.dcm")

    for content in (b"", b"\0" * 4096, b"GET / HTTP/1.1\r\n\r\n" * 10, bytes(range(256)) * 16):
        with pytest.raises(IntakeError):
            examine(sending_of(file, content=content))


def test_a_small_file_that_inflates_without_end_takes_no_memory(tmp_path: Path) -> None:
    huge = ct_slice()
    huge.PixelData = bytes(64 << 20)
    file = part10(huge, tmp_path / "bomb.dcm", uid.DeflatedExplicitVRLittleEndian)

    assert file.stat().st_size < 100_000
    assert examine(sending_of(file)).usable_image


def test_an_undecodable_name_does_not_lose_the_study(tmp_path: Path) -> None:
    file = part10(ct_slice(SpecificCharacterSet="ISO_IR 192", PatientName="Gruen^Aenne"), tmp_path / "a.dcm")
    broken = dataset_bytes(file).replace(b"Gruen^Aenne", b"Gr\xfcn^\xc4nne  ")

    received = examine(sending_of(file, content=broken))

    assert received.identity.patient_name.startswith("Gr")
    assert received.usable_image


def test_every_malformed_file_is_taken_or_refused_with_a_reason(real_data_dir: Path) -> None:
    taken, reasons = 0, []
    for file in sorted((real_data_dir / "malformed").rglob("*.dcm")):
        content = file.read_bytes()
        sending = Sending(
            announced=Announcement(
                called_ae="HAI_NODE",
                calling_ae="CT_1",
                address="127.0.0.1",
                sop_class_uid=uid.CTImageStorage,
                sop_instance_uid="1.2.3",
                transfer_syntax_uid=ExplicitVRLittleEndian,
            ),
            content=content[132:] if content[128:132] == b"DICM" else content,
        )
        try:
            examine(sending)
            taken += 1
        except IntakeError as fault:
            reasons.append(fault.reason)

    assert len(reasons) > 100
    assert all(reasons)


# --- both ways into the spool -------------------------------------------------------------------------------


@pytest.mark.parametrize("syntax", TRANSFER_SYNTAXES)
@pytest.mark.parametrize("spilt_at", [0, 1, 100, 700, -3])
def test_an_object_that_had_to_be_written_out_is_recorded_like_one_that_had_not(
    syntax: str, spilt_at: int, tmp_path: Path
) -> None:
    sending = sending_of(part10(ct_slice(5), tmp_path / "a.dcm", syntax))

    at_once = examine(sending)
    in_parts = examine(sending, spilt_at=spilt_at % len(sending.content))

    assert dataclasses.replace(in_parts, spool_key="") == dataclasses.replace(at_once, spool_key="")


@settings(max_examples=40, deadline=None)
@given(cuts=st.lists(st.integers(min_value=0, max_value=1200), max_size=12))
def test_how_an_object_was_cut_on_the_wire_does_not_matter(
    cuts: list[int], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("cut")
    sending = sending_of(part10(ct_slice(5, SOPInstanceUID="1.2.3"), folder / "a.dcm"))
    bounds = [0, *sorted(cut % len(sending.content) for cut in cuts), len(sending.content)]
    pieces = [sending.content[start:end] for start, end in itertools.pairwise(bounds)]
    spool = _scratch_spool()

    key = IncomingObject(sending.announced, spool).finish(pieces, NOW)

    assert spool.seal_of(key) is not None
    assert dataset_bytes(spool.path(key)) == sending.content
    spool.remove(key)


@pytest.mark.parametrize("syntax", TRANSFER_SYNTAXES)
def test_the_quick_look_at_a_header_finds_what_the_library_finds(syntax: str, tmp_path: Path) -> None:
    dataset = ct_slice(RequestAttributesSequence=Sequence([ct_slice(), ct_slice()]), ProcedureCodeSequence=Sequence())
    dataset["RequestAttributesSequence"].is_undefined_length = True
    file = part10(dataset, tmp_path / "a.dcm", syntax)
    content = dataset_bytes(file)
    if not uid.UID(syntax).is_little_endian or syntax == uid.DeflatedExplicitVRLittleEndian:
        return

    flat = scan_header(content, explicit=not uid.UID(syntax).is_implicit_VR, is_all=True)
    header = read_header(BytesIO(content), uid.CTImageStorage, syntax)

    assert flat is not None
    assert header.pixels is not None
    assert (flat.pixel_offset_bytes, flat.pixel_length_bytes) == (
        header.pixels.offset_bytes,
        header.pixels.length_bytes,
    )
    assert flat.sop_instance_uid == dataset.SOPInstanceUID
    assert flat.series_instance_uid == dataset.SeriesInstanceUID


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


def recorder_of(database: Database, spool: Spool) -> Recorder:
    return Recorder(
        spool=spool,
        rows=StudyStore(database),
        quarantine=Quarantine(database),
        refusals=Refusals(database),
        receiver="test",
        clock=lambda: NOW,
    )


def record(database: Database, spool: Spool, notices: list[Notice]) -> None:
    """Let a recorder do what a receiver tells it, to the end."""
    reading, writing = os.pipe()
    writer = NoticeWriter(writing)
    for notice in notices:
        writer.tell(notice)
    writer.close()
    recorder_of(database, spool).run(NoticeReader(reading))
    os.close(reading)


def take(database: Database, spool: Spool, *sendings: Sending) -> None:
    """Receive objects and record them."""
    notices: list[Notice] = [
        Stored(call=1, spool_key=stored(spool, sending), announced=sending.announced) for sending in sendings
    ]
    record(database, spool, [*notices, Ended(call=1)])


def test_the_stored_file_is_a_part_10_file_with_the_bytes_that_came(
    database: Database, spool: Spool, tmp_path: Path
) -> None:
    file = part10(ct_slice(), tmp_path / "a.dcm", uid.JPEGLSLossless)

    take(database, spool, sending_of(file))

    (found,) = files_in(tmp_path)
    meta = pydicom.dcmread(found).file_meta
    assert dataset_bytes(found) == dataset_bytes(file)
    assert meta.TransferSyntaxUID == uid.JPEGLSLossless
    assert meta.SendingApplicationEntityTitle == "CT_1"
    assert meta.ReceivingApplicationEntityTitle == "HAI_NODE"
    (row,) = StudyStore(database).instances(pydicom.dcmread(file).StudyInstanceUID)
    assert row.spool_key is not None
    assert spool.path(row.spool_key) == found


def test_the_same_object_again_leaves_one_file(database: Database, spool: Spool, tmp_path: Path) -> None:
    sending = sending_of(part10(ct_slice(), tmp_path / "a.dcm"))

    take(database, spool, sending, sending)

    assert len(files_in(tmp_path)) == 1


def test_the_same_image_compressed_by_an_archive_is_a_correction(
    database: Database, spool: Spool, tmp_path: Path
) -> None:
    dataset = ct_slice()
    plain = sending_of(part10(dataset, tmp_path / "plain.dcm"))
    compressed = sending_of(part10(dataset, tmp_path / "compressed.dcm", uid.JPEG2000Lossless))

    take(database, spool, plain, compressed)

    studies = StudyStore(database)
    assert len(files_in(tmp_path)) == 2
    assert not studies.get(dataset.StudyInstanceUID).conflict
    assert "header-corrected" in [row.event for row in studies.events(dataset.StudyInstanceUID)]


def take_as_an_earlier_version(database: Database, spool: Spool, sending: Sending) -> None:
    """Receive and record an object with digests by SHA-256, as a node did before BLAKE3."""
    key = stored(spool, sending)
    row = examine_file(spool.path(key), key, sending.announced, Siblings(), DigestForm.SHA256)
    StudyStore(database).record(row, NOW)


def _again(dataset: Dataset, change: str) -> None:
    if change == "header":
        dataset.PatientName = "Other^Spelling"
    if change == "pixels":
        dataset.PixelData = b"\7\7" * 256


@pytest.mark.parametrize("change", ["", "header", "pixels"])
@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, uid.JPEG2000Lossless, uid.DeflatedExplicitVRLittleEndian])
def test_what_an_earlier_version_recorded_is_known_again_by_its_own_digests(
    change: str, syntax: str, database: Database, spool: Spool, tmp_path: Path
) -> None:
    dataset = ct_slice(5)
    # A copy, because it is compressed in place.
    first = sending_of(part10(copy.deepcopy(dataset), tmp_path / "a.dcm", syntax))
    _again(dataset, change)
    second = sending_of(part10(copy.deepcopy(dataset), tmp_path / "b.dcm", syntax))
    other = sending_of(part10(ct_slice(6, StudyInstanceUID=dataset.StudyInstanceUID), tmp_path / "c.dcm", syntax))

    take_as_an_earlier_version(database, spool, first)
    take(database, spool, second, other, second)

    studies = StudyStore(database)
    events = [row.event for row in studies.events(dataset.StudyInstanceUID)]
    assert bool(studies.get(dataset.StudyInstanceUID).conflict) == (change == "pixels")
    assert ("header-corrected" in events) == (change == "header")
    # The second arrival of the changed object is the same as the first one of it.
    assert len(files_in(tmp_path)) == 2 + bool(change)
    rows = {row.summary.sop_instance_uid: row for row in studies.instances(dataset.StudyInstanceUID)}
    assert form_of(rows[first.announced.sop_instance_uid].dataset_digest) is DigestForm.SHA256
    assert form_of(rows[other.announced.sop_instance_uid].dataset_digest) is DigestForm.BLAKE3


@pytest.mark.parametrize("rows", [16, 300])
def test_a_file_that_an_earlier_version_sealed_is_whole_and_recorded_with_digests_of_today(
    rows: int, database: Database, spool: Spool, tmp_path: Path
) -> None:
    sending = sending_of(part10(ct_slice(5, rows=rows), tmp_path / "a.dcm"))
    key = stored(spool, sending)
    seal = spool.seal_of(key)
    assert seal is not None
    with spool.path(key).open("r+b") as file:
        halves = digests.halves(file, seal.head_bytes, seal.split_bytes, DigestForm.SHA256)
        former = dataclasses.replace(
            seal, before_digest=halves[0], after_digest=halves[1], form=DigestForm.SHA256
        ).to_bytes()
        file.seek(0)
        file.write(former)
    assert former.startswith(b"HAI-NODE-SPOOL-1")

    record(database, spool, [])

    (row,) = StudyStore(database).instances(str(pydicom.dcmread(spool.path(key)).StudyInstanceUID))
    assert row.spool_key == key
    assert row.dataset_digest == examine(sending).dataset_digest
    assert row.pixel_digest == examine(sending).pixel_digest


def test_a_digest_of_an_earlier_version_is_that_of_its_bytes(tmp_path: Path) -> None:
    """Computed here by hand, so that rows of an earlier version stay comparable for ever."""
    dataset = ct_slice(5)
    sending = sending_of(part10(dataset, tmp_path / "a.dcm"))
    spool = _scratch_spool()
    key = stored(spool, sending)
    row = examine_file(spool.path(key), key, sending.announced, Siblings(), DigestForm.SHA256)
    spool.remove(key)

    pixels = bytes(dataset.PixelData)
    assert sending.content.endswith(pixels)
    before, after = (hashlib.sha256(part).digest() for part in (sending.content[: -len(pixels)], pixels))
    assert row.dataset_digest == hashlib.sha256(before + after).hexdigest()


def test_other_pixels_under_one_uid_are_kept_aside(database: Database, spool: Spool, tmp_path: Path) -> None:
    dataset = ct_slice()
    first = sending_of(part10(dataset, tmp_path / "a.dcm"))
    dataset.PixelData = b"\7\7" * 256
    second = sending_of(part10(dataset, tmp_path / "b.dcm"))

    take(database, spool, first, second)

    assert len(files_in(tmp_path)) == 2
    assert StudyStore(database).get(dataset.StudyInstanceUID).conflict


def test_a_full_spool_takes_nothing_and_leaves_nothing(tmp_path: Path) -> None:
    full = Spool(tmp_path / "spool", quota_gib=1e-9, keep_free_gib=0.0)

    with pytest.raises(SpoolFullError) as refusal:
        stored(full, sending_of(part10(ct_slice(), tmp_path / "a.dcm")))
    assert refusal.value.status == 0xA700
    assert files_in(tmp_path) == []


# --- a recorder that died, or was not told ----------------------------------------------------------------------


def test_what_was_acknowledged_and_not_recorded_is_found_in_the_spool(
    database: Database, spool: Spool, tmp_path: Path
) -> None:
    datasets = [ct_slice(number) for number in (1, 2, 3)]
    for number, dataset in enumerate(datasets):
        stored(spool, sending_of(part10(dataset, tmp_path / f"{number}.dcm")))

    record(database, spool, [])

    studies = StudyStore(database)
    for dataset in datasets:
        (row,) = studies.instances(dataset.StudyInstanceUID)
        assert (row.calling_ae, row.called_ae, row.received_at) == ("CT_1", "HAI_NODE", NOW)


def test_an_object_that_is_found_and_told_is_recorded_once(database: Database, spool: Spool, tmp_path: Path) -> None:
    dataset = ct_slice()
    first = sending_of(part10(dataset, tmp_path / "a.dcm"))
    dataset.PatientName = "Corrected^Name"
    corrected = sending_of(part10(dataset, tmp_path / "b.dcm"))
    dataset.PixelData = b"\7\7" * 256
    other = sending_of(part10(dataset, tmp_path / "c.dcm"))
    notices: list[Notice] = [
        Stored(call=1, spool_key=stored(spool, sending), announced=sending.announced)
        for sending in (first, corrected, other)
    ]

    record(database, spool, notices)
    before = StudyStore(database).events(dataset.StudyInstanceUID)
    record(database, spool, [*notices, *notices])

    assert len(files_in(tmp_path)) == 3
    assert StudyStore(database).spool_keys() == set(spool.keys())
    assert StudyStore(database).events(dataset.StudyInstanceUID) == before


def test_half_a_file_is_never_recorded(database: Database, spool: Spool, tmp_path: Path) -> None:
    incoming = IncomingObject(sending_of(part10(ct_slice(), tmp_path / "a.dcm")).announced, spool)
    incoming.spill([b"half of it"])

    record(database, spool, [])

    assert StudyStore(database).spool_keys() == set()
    assert len(files_in(tmp_path)) == 1, "its receiver may still be at work on it"


def test_what_a_killed_receiver_left_half_written_goes_with_the_next_look_and_nothing_else(
    database: Database, spool: Spool, tmp_path: Path
) -> None:
    file = part10(ct_slice(), tmp_path / "a.dcm")
    take(database, spool, sending_of(part10(ct_slice(), tmp_path / "b.dcm")))
    (recorded,) = StudyStore(database).spool_keys()
    damaged, short, newer, bare = (stored(spool, sending_of(file)) for _ in range(4))
    spool.path(recorded).write_bytes(BLANK + b"has a row, whatever became of it")
    spool.path(damaged).write_bytes(spool.path(damaged).read_bytes()[:-1] + b"\xff")
    spool.path(short).write_bytes(spool.path(short).read_bytes()[:-1])
    spool.path(newer).write_bytes(b"HAI-NODE-SPOOL-9" + spool.path(newer).read_bytes()[16:])
    spool.path(bare).write_bytes(BLANK + spool.path(bare).read_bytes()[128:])
    in_hand = IncomingObject(sending_of(file).announced, spool)
    in_hand.spill([b"half of it"])
    before = set(spool.keys())

    record(database, spool, [])

    assert before - set(spool.keys()) == {short, bare}


@pytest.mark.parametrize(
    "beginning",
    [
        struct.pack("<HH2sH", 2, 0x0017, b"AE", 4) + b"PACS",
        struct.pack("<HH2sH", 2, 0x0010, b"UI", 18) + b"1.2.840.10008.1.2 ",
        struct.pack("<HH2sH", 2, 0x0003, b"BB", 4) + b"1.2 ",
    ],
    ids=["another sender", "another syntax", "what the library does not know"],
)
def test_a_data_set_that_begins_like_meta_information_speaks_for_nobody_and_stops_no_recorder(
    beginning: bytes, database: Database, spool: Spool, tmp_path: Path
) -> None:
    odd, plain = (part10(ct_slice(number), tmp_path / f"{number}.dcm") for number in (1, 2))
    sent = sending_of(odd, content=beginning + dataset_bytes(odd))
    keys = {stored(spool, sent), stored(spool, sending_of(plain))}
    assert [announcement_of(spool.path(key)) for key in keys].count(sent.announced) == 1

    record(database, spool, [])

    assert StudyStore(database).spool_keys() == keys, "found by the next recorder, and recorded"


def test_refusals_are_counted_by_day_peer_and_reason(database: Database, spool: Spool) -> None:
    refused = Refused(peer="ct-1", status="0xA900", reason="not the announced object")

    record(database, spool, [refused, refused, Refused(peer="", status="A-ASSOCIATE-RJ 1/1/3", reason="a stranger")])

    counts = {(row.peer, row.reason): row.count for row in Refusals(database).since(NOW)}
    assert counts == {("ct-1", "not the announced object"): 2, ("", "a stranger"): 1}


def test_an_object_that_breaks_the_examination_is_set_aside_and_the_others_recorded(
    database: Database, spool: Spool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good, bad = (sending_of(part10(ct_slice(number), tmp_path / f"{number}.dcm")) for number in (1, 2))

    def breaking(path: Path, key: str, announced: Announcement, *rest: Any) -> ReceivedInstance:
        if announced == bad.announced:
            raise ZeroDivisionError
        return examine_file(path, key, announced, *rest)

    monkeypatch.setattr("scp_node.inbound.recorder.examine", breaking)
    take(database, spool, bad, good)

    (aside,) = Quarantine(database).of_study("")
    assert aside.sop_instance_uid == bad.announced.sop_instance_uid
    assert len(files_in(tmp_path)) == 2
    assert len(StudyStore(database).spool_keys()) == 2


def test_what_a_look_found_is_not_examined_again_when_its_notice_is_read(
    database: Database, spool: Spool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a recorder that fell behind once does everything twice from then on, and never catches up."""
    examined_keys: list[str] = []

    def counting(path: Path, key: str, *rest: Any) -> ReceivedInstance:
        examined_keys.append(key)
        return examine_file(path, key, *rest)

    monkeypatch.setattr("scp_node.inbound.recorder.examine", counting)
    sendings = [sending_of(part10(ct_slice(number), tmp_path / f"{number}.dcm")) for number in range(5)]
    take(database, spool, *sendings)

    assert len(examined_keys) == len(set(examined_keys)) == 5
    assert StudyStore(database).spool_keys() == set(spool.keys())


def test_objects_are_examined_once_while_others_are_waited_for_and_recorded_together(
    database: Database, spool: Spool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the last of a burst wait for the examination of all that came in the same moment."""
    examined_keys: list[str] = []

    good, bad = (sending_of(part10(ct_slice(number), tmp_path / f"{number}.dcm")) for number in (1, 2))

    def counting(path: Path, key: str, announced: Announcement, *rest: Any) -> ReceivedInstance:
        examined_keys.append(key)
        if announced == bad.announced:
            raise ZeroDivisionError
        return examine_file(path, key, announced, *rest)

    monkeypatch.setattr("scp_node.inbound.recorder.examine", counting)
    monkeypatch.setattr("scp_node.inbound.recorder.GATHER_S", 3600.0)
    # Its first look must not be what finds them.
    monkeypatch.setattr(Recorder, "look_for_unrecorded", lambda _: 0)
    reading, writing = os.pipe()
    writer = NoticeWriter(writing)
    recording = threading.Thread(target=recorder_of(database, spool).run, args=[NoticeReader(reading)])
    recording.start()
    try:
        keys = [stored(spool, good), stored(spool, bad)]
        for key, sending in zip(keys, (good, bad), strict=True):
            writer.tell(Stored(call=1, spool_key=key, announced=sending.announced))
        assert eventually(lambda: len(examined_keys) == 2)
        assert StudyStore(database).spool_keys() == set()

        writer.tell(Ended(call=1))
        assert eventually(lambda: StudyStore(database).spool_keys() == set(keys))
        assert len(examined_keys) == 2
        assert len(Quarantine(database).of_study("")) == 1
    finally:
        writer.close()
        recording.join()
        os.close(reading)


def test_one_recorder_of_many_looks_at_a_time(database: Database, spool: Spool, tmp_path: Path) -> None:
    """Else each of many examines every file, and recording comes to a stand."""
    stored(spool, sending_of(part10(ct_slice(), tmp_path / "a.dcm")))
    recorder = recorder_of(database, spool)
    same_spool = Spool(tmp_path / "spool", quota_gib=1.0, keep_free_gib=0.0)

    with same_spool.searched() as alone:
        assert alone
        assert recorder.look_for_unrecorded() is None
    assert StudyStore(database).spool_keys() == set()

    assert recorder.look_for_unrecorded() == 1
    assert StudyStore(database).spool_keys() == set(spool.keys())


def test_a_recorder_that_is_to_end_does_not_wait_for_the_look_of_another(
    database: Database, spool: Spool, tmp_path: Path
) -> None:
    """Else those of receivers that were killed one after the other outlive the node's stop."""
    stored(spool, sending_of(part10(ct_slice(), tmp_path / "a.dcm")))
    same_spool = Spool(tmp_path / "spool", quota_gib=1.0, keep_free_gib=0.0)

    with same_spool.searched():
        record(database, spool, [])
    assert StudyStore(database).spool_keys() == set()

    record(database, spool, [])
    assert StudyStore(database).spool_keys() == set(spool.keys())


def test_what_another_recorder_took_is_not_examined_again(
    database: Database, spool: Spool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sendings = [sending_of(part10(ct_slice(number), tmp_path / f"{number}.dcm")) for number in range(3)]
    notices: list[Notice] = [
        Stored(call=1, spool_key=stored(spool, sending), announced=sending.announced) for sending in sendings
    ]
    recorder_of(database, spool).look_for_unrecorded()

    def never(*_: object) -> ReceivedInstance:
        raise AssertionError("it is recorded already")

    monkeypatch.setattr("scp_node.inbound.recorder.examine", never)
    record(database, spool, notices)

    assert Quarantine(database).of_study("") == []
    assert StudyStore(database).spool_keys() == set(spool.keys())


def test_what_another_recorder_took_is_held_by_the_association_that_brought_it(
    database: Database, spool: Spool, tmp_path: Path
) -> None:
    """Else a study of which more is on its way is analysed, because the look of another was quicker than a notice."""
    sending = sending_of(part10(ct_slice(), tmp_path / "a.dcm"))
    told = Stored(call=1, spool_key=stored(spool, sending), announced=sending.announced)
    recorder_of(database, spool).look_for_unrecorded()
    (study,) = StudyStore(database).studies_of([told.spool_key]).values()
    reading, writing = os.pipe()
    writer = NoticeWriter(writing)

    def held() -> bool:
        return study in StudyStore(database).studies_held_open(NOW, 60.0)

    recording = threading.Thread(target=recorder_of(database, spool).run, args=[NoticeReader(reading)])
    recording.start()
    try:
        writer.tell(told)
        assert eventually(held)
        writer.tell(Ended(call=1))
        assert eventually(lambda: not held())
    finally:
        writer.close()
        recording.join()
        os.close(reading)


# --- whole blocks -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rows", [100, 177, 200, 300])
def test_a_file_of_some_size_fills_whole_blocks_and_holds_the_object_as_sent(rows: int, tmp_path: Path) -> None:
    sending = sending_of(part10(ct_slice(5, rows=rows), tmp_path / "a.dcm"))
    spool = _scratch_spool()

    key = stored(spool, sending)

    path = spool.path(key)
    is_whole_blocks = path.stat().st_size % BLOCK_BYTES == 0
    assert is_whole_blocks == (len(sending.content) >= LEAST_DIRECT_BYTES)
    assert dataset_bytes(path) == sending.content
    assert spool.seal_of(key) is not None
    assert announcement_of(path) == sending.announced
    pydicom.dcmread(path)
    in_memory = examine(sending)
    spilt = examine(sending, spilt_at=1000)
    assert dataclasses.replace(spilt, spool_key="", byte_count=0) == dataclasses.replace(
        in_memory, spool_key="", byte_count=0
    )
    spool.remove(key)


@given(title=st.text(alphabet="ABC_", min_size=1, max_size=16), size=st.integers(min_value=0, max_value=100_000))
def test_a_head_is_filled_up_to_whole_blocks_whatever_is_in_it(title: str, size: int) -> None:
    announced = Announcement(
        called_ae=title, calling_ae="CT_1", address="::1", sop_class_uid="1.2", sop_instance_uid="1.2.3",
        transfer_syntax_uid=ExplicitVRLittleEndian,
    )  # fmt: skip
    size *= 2

    head = announced.aligned_head(size, BLOCK_BYTES)

    assert (len(head) + size) % BLOCK_BYTES == 0
    assert len(head) < len(announced.file_head()) + BLOCK_BYTES + 100
    meta = pydicom.dcmread(BytesIO(head)).file_meta
    assert meta.FileMetaInformationGroupLength == len(head) - 144
    assert announced.called_ae == meta.ReceivingApplicationEntityTitle
