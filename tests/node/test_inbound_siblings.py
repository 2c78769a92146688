"""Rows of planes that are told by their siblings are those that reading each header whole gives."""

import struct
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path

import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.tag import Tag
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

from analyzers.frames import FRAME_VECTORS
from analyzers.headers import ATTRIBUTES, CODE_SEQUENCES
from scp_node.dimse.text import UNREADABLE
from scp_node.domain.study import ReceivedInstance
from scp_node.errors import UnreadableObjectError
from scp_node.inbound.announcement import Announcement
from scp_node.inbound.contexts import TRANSFER_SYNTAXES
from scp_node.inbound.examination import examine
from scp_node.inbound.flat_header import header_elements
from scp_node.inbound.siblings import Siblings
from scp_node.store.seal import PREAMBLE_BYTES, seal_in_order
from tests.node.network import ct_slice

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
PLAIN = {
    **{keyword: dictionary_VR(Tag(keyword)) for keyword in ATTRIBUTES if "." not in keyword},
    "SOPInstanceUID": "UI", "StudyInstanceUID": "UI", "SeriesInstanceUID": "UI", "Modality": "CS", "Rows": "US",
    "ImagePositionPatient": "DS", "ImageOrientationPatient": "DS", "PixelSpacing": "DS", "PatientName": "PN",
    "PatientID": "LO", "IssuerOfPatientID": "LO", "AccessionNumber": "SH", "SpecificCharacterSet": "CS",
    "WindowCenter": "DS", "SmallestImagePixelValue": "US", "XRayTubeCurrent": "IS", "InstanceCreationTime": "TM",
}  # fmt: skip
"""Elements that a row may speak of, and some that none does, with their representations."""
ROOTS = {path.split(".")[0] for path in (*CODE_SEQUENCES, *ATTRIBUTES)}
SEQUENCES = sorted(keyword for keyword in ROOTS if dictionary_VR(Tag(keyword)) == "SQ")
TEXTS = st.sampled_from(
    ["", "1", "2.5", "-3\\4\\5", "1\\0\\0\\0\\1\\0", "0.8\\0.8", "20260102", "101112.5", "AXIAL\\ORIGINAL", "no number",
     "1.2.3.4", "ISO_IR 192", "M\u00fcller", "  7 ", "\\"]
)  # fmt: skip


@pytest.fixture(autouse=True)
def quiet_library() -> Iterator[None]:
    # The recorder process silences the library; here every warning would be an error.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def row_of(dataset: bytes, sop_class: str, syntax: str, folder: Path, siblings: Siblings) -> ReceivedInstance | str:
    """What the recorder makes of a data set; the reason if nothing."""
    announced = Announcement(
        called_ae="HAI_NODE", calling_ae="CT_1", address="127.0.0.1", sop_class_uid=sop_class,
        sop_instance_uid="1.2.3", transfer_syntax_uid=syntax,
    )  # fmt: skip
    head = announced.file_head()
    split = dataset.find(b"\xe0\x7f\x10\x00")
    offset = split + (8 if syntax == ImplicitVRLittleEndian else 12)
    seal = replace(
        seal_in_order(head=head, dataset_bytes=len(dataset), received_at=NOW),
        split_bytes=offset if split >= 0 else len(dataset),
    )
    file = folder / "object"
    file.write_bytes(seal.to_bytes() + head[PREAMBLE_BYTES:] + dataset)
    try:
        return examine(file, "0" * 32, announced, siblings)
    except UnreadableObjectError as fault:
        return fault.reason


def encoded(dataset: Dataset, syntax: str) -> bytes:
    stream = BytesIO()
    pydicom.dcmwrite(
        stream, dataset, implicit_vr=syntax == ImplicitVRLittleEndian, little_endian=True, enforce_file_format=False
    )
    return stream.getvalue()


def edited(content: bytes, syntax: str, edits: Mapping[str, str | None]) -> bytes:
    """Put these very bytes into elements, whether they are values of their representation or not; ``None`` removes."""
    explicit = syntax == ExplicitVRLittleEndian
    header = header_elements(content, explicit=explicit)
    assert header is not None
    raw = dict(header.raw)
    for keyword, text in edits.items():
        tag = Tag(keyword)
        if text is None:
            raw.pop(tag, None)
            continue
        value = text.encode() + b" " * (len(text.encode()) % 2)
        place = struct.pack("<HH", tag.group, tag.element)
        form = struct.pack("<2sH", PLAIN[keyword][:2].encode(), len(value))
        if PLAIN[keyword] in ("UC", "UT"):
            form = struct.pack("<2sHL", PLAIN[keyword].encode(), 0, len(value))
        raw[tag] = place + (form if explicit else struct.pack("<L", len(value))) + value
    head = b"".join(raw[tag] for tag in sorted(raw))
    return head + content[sum(map(len, header.raw.values())) :]


planes = st.lists(
    st.lists(st.tuples(st.sampled_from(sorted(PLAIN)), st.none() | TEXTS), max_size=4), min_size=2, max_size=4
)


@given(planes, st.sampled_from([ExplicitVRLittleEndian, ImplicitVRLittleEndian]))
def test_a_plane_told_by_its_siblings_has_the_row_that_its_own_header_gives(
    tmp_path_factory: pytest.TempPathFactory, changes: list[list[tuple[str, str | None]]], syntax: str
) -> None:
    folder = tmp_path_factory.mktemp("objects")
    siblings = Siblings()
    for number, several in enumerate(changes):
        dataset = ct_slice(number, study="1.2.3.1", series="1.2.3.2", SOPInstanceUID=f"1.2.3.{number}")
        dataset.FrameOfReferenceUID = "1.2.3.9"
        content = edited(encoded(dataset, syntax), syntax, dict(several))
        alone = row_of(content, str(dataset.SOPClassUID), syntax, folder, Siblings())
        assert row_of(content, str(dataset.SOPClassUID), syntax, folder, siblings) == alone


@pytest.mark.parametrize("keyword", [*sorted(PLAIN), *SEQUENCES, *FRAME_VECTORS, "private"])
@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
def test_whatever_differs_between_two_planes_is_in_the_row(keyword: str, syntax: str, tmp_path: Path) -> None:
    """Each element that a row speaks of, in both planes, with two values."""
    siblings = Siblings()
    for number, text in enumerate(("1\\2\\3", "4\\5\\6")):
        dataset = ct_slice(1, study="1.2.3.1", series="1.2.3.2", SOPInstanceUID=f"1.2.3.{number}")
        dataset.FrameOfReferenceUID = "1.2.3.9"
        if keyword == "private":
            dataset.private_block(0x0019, "SIEMENS MR HEADER", create=True).add_new(0x0C, "IS", text[0])
            dataset.private_block(0x0029, "SIEMENS CSA HEADER", create=True).add_new(0x10, "OB", text.encode() * 2)
        elif keyword in SEQUENCES:
            item = Dataset()
            item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = text[0], "99TEST", text[2]
            dataset[keyword] = DataElement(Tag(keyword), "SQ", [item])
        elif keyword in FRAME_VECTORS:
            dataset[keyword] = DataElement(Tag(keyword), "US", [number + 1])
        content = encoded(dataset, syntax)
        if keyword in PLAIN:
            content = edited(content, syntax, {keyword: text})
        alone = row_of(content, str(dataset.SOPClassUID), syntax, tmp_path, Siblings())
        assert not isinstance(alone, str)
        assert row_of(content, str(dataset.SOPClassUID), syntax, tmp_path, siblings) == alone


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
def test_the_planes_of_a_series_are_read_whole_once(
    syntax: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    siblings = Siblings()
    rows = []
    for number in range(1, 5):
        dataset = ct_slice(number, study="1.2.3.1", series="1.2.3.2", SOPInstanceUID=f"1.2.3.{number}")
        dataset.FrameOfReferenceUID, dataset.SliceLocation, dataset.ContentTime = "1.2.3.9", number, f"10111{number}"
        rows.append(row_of(encoded(dataset, syntax), str(dataset.SOPClassUID), syntax, tmp_path, siblings))
        # From now on the library is not asked any more.
        monkeypatch.setattr("scp_node.inbound.examination.read_header", None)

    assert [row.summary.text("InstanceNumber") for row in rows if not isinstance(row, str)] == ["1", "2", "3", "4"]


def test_real_series_have_the_rows_that_reading_each_header_whole_gives(real_data_dir: Path, tmp_path: Path) -> None:
    seen = 0
    siblings = Siblings()
    folders = sorted({file.parent for file in real_data_dir.rglob("*.dcm")})
    for file in (file for folder in folders for file in sorted(folder.glob("*.dcm"))):
        try:
            meta = pydicom.filereader.read_file_meta_info(file)
            syntax, sop_class = str(meta.TransferSyntaxUID), str(meta.MediaStorageSOPClassUID)
            begin = 144 + int(meta.get("FileMetaInformationGroupLength", 0))
        except (pydicom.errors.InvalidDicomError, *UNREADABLE):
            continue
        if syntax not in TRANSFER_SYNTAXES or file.stat().st_size > 4 << 20:
            continue
        content = file.read_bytes()[begin:]
        alone = row_of(content, sop_class, syntax, tmp_path, Siblings())
        assert row_of(content, sop_class, syntax, tmp_path, siblings) == alone, file
        seen += not isinstance(alone, str)
    assert seen > 50
