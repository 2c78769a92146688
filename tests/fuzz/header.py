"""Header scanner and header reader: where the quick look answers, the library's reading agrees; nobody crashes.

The input: one byte for the transfer syntax, one for the SOP class, then a data set.
"""

import logging
import warnings
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from tempfile import mkdtemp

from tests.fuzz.engine import fuzz, instrumented

with instrumented(__name__):
    from pydicom.tag import Tag
    from pydicom.uid import (
        CTImageStorage,
        DeflatedExplicitVRLittleEndian,
        EnhancedMRImageStorage,
        ExplicitVRBigEndian,
        ExplicitVRLittleEndian,
        ImplicitVRLittleEndian,
        JPEG2000Lossless,
        NuclearMedicineImageStorage,
    )

    from scp_node.dimse.text import text_of
    from scp_node.domain.identifiers import is_uid
    from scp_node.errors import UnreadableObjectError
    from scp_node.inbound.announcement import Announcement
    from scp_node.inbound.digests import value_digest
    from scp_node.inbound.examination import examine
    from scp_node.inbound.flat_header import FlatHeader, scan_header
    from scp_node.inbound.header import is_deflated, read_header
    from scp_node.inbound.siblings import Siblings
    from scp_node.store.seal import PREAMBLE_BYTES, seal_in_order

SYNTAXES = (
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    ExplicitVRBigEndian,
    DeflatedExplicitVRLittleEndian,
)
CLASSES = (CTImageStorage, EnhancedMRImageStorage, NuclearMedicineImageStorage, "1.2.840.10008.5.1.4.1.1.88.33")

_RECEIVED_AT = datetime(2026, 1, 2, tzinfo=UTC)
# On one file again and again: the fuzzer is one process.
_FILE = Path(mkdtemp(prefix="fuzz-header-")) / "object"


def consider(data: bytes) -> None:
    """Read a data set in each way that the node does."""
    if len(data) < 3:
        return
    syntax, sop_class, content = SYNTAXES[data[0] % len(SYNTAXES)], CLASSES[data[1] % len(CLASSES)], data[2:]
    logging.disable(logging.CRITICAL)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        flat = None
        if syntax.is_little_endian and not is_deflated(syntax):
            flat = scan_header(content, explicit=not syntax.is_implicit_VR, is_all=True)
        try:
            header = read_header(BytesIO(content), sop_class, syntax)
            value_digest(BytesIO(content), 0, header.pixels, deflated=is_deflated(syntax))
        except UnreadableObjectError:
            pass
        else:
            if flat is not None:
                _agree(flat, content, sop_class, syntax)
        if flat is not None and sop_class == CTImageStorage:
            _bounds(flat, content)
        _examine(content, sop_class, syntax)


def _bounds(flat: "FlatHeader", content: bytes) -> None:
    """The quick look says nothing about bytes that are not there."""
    if flat.pixel_offset_bytes is not None:
        assert 0 < flat.pixel_offset_bytes <= len(content)


def _agree(flat: "FlatHeader", content: bytes, sop_class: str, syntax: str) -> None:
    header = read_header(BytesIO(content), sop_class, syntax)
    pairs = [
        (flat.sop_class_uid, "SOPClassUID"),
        (flat.sop_instance_uid, "SOPInstanceUID"),
        (flat.study_instance_uid, "StudyInstanceUID"),
        (flat.series_instance_uid, "SeriesInstanceUID"),
    ]
    for quick, keyword in pairs:
        slow = text_of(header.dataset, Tag(keyword))
        # What the quick look takes for no UID is refused, also where the library would drop what disturbs.
        assert quick == slow or not is_uid(quick), (keyword, quick, slow)
    if header.pixels is None or flat.pixel_offset_bytes is None:
        return
    assert (flat.pixel_offset_bytes, flat.pixel_length_bytes) == (
        header.pixels.offset_bytes,
        header.pixels.length_bytes,
    )


def _examine(content: bytes, sop_class: str, syntax: str) -> None:
    announced = Announcement(
        called_ae="HAI_NODE",
        calling_ae="CT_1",
        address="127.0.0.1",
        sop_class_uid=sop_class,
        sop_instance_uid="1.2.3",
        transfer_syntax_uid=syntax,
    )
    head = announced.file_head()
    seal = seal_in_order(head=head, dataset_bytes=len(content), received_at=_RECEIVED_AT)
    _FILE.write_bytes(seal.to_bytes() + head[PREAMBLE_BYTES:] + content)
    try:
        siblings = Siblings()
        instance = examine(_FILE, "0" * 32, announced, siblings)
        # Now it is known, and may be told by itself.
        assert examine(_FILE, "0" * 32, announced, siblings) == instance
    except UnreadableObjectError:
        return
    assert instance.byte_count == _FILE.stat().st_size


if __name__ == "__main__":
    fuzz("header", consider)
