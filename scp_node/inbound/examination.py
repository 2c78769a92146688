"""From a sealed spool file to the row that is recorded of it."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

from pydicom.dataset import Dataset
from pydicom.tag import Tag

from analyzers.headers import instance_summary
from scp_node.dimse.text import text_of
from scp_node.domain.digest import DigestForm
from scp_node.domain.study import Identity, ReceivedInstance
from scp_node.errors import UnreadableObjectError
from scp_node.inbound.announcement import Announcement
from scp_node.inbound.digests import dataset_digest, geometry_digest, halves, pixel_digest, value_digest
from scp_node.inbound.header import PixelElement, is_deflated, read_header
from scp_node.inbound.incoming import split_of
from scp_node.inbound.siblings import MAX_SIBLING_BYTES, Described, Siblings, series_of
from scp_node.inbound.usability import is_made_by_this_software, is_usable_image
from scp_node.store.seal import Seal, read_seal

_IDENTITY = {
    "patient_id": Tag("PatientID"),
    "issuer_of_patient_id": Tag("IssuerOfPatientID"),
    "patient_name": Tag("PatientName"),
    "patient_birth_date": Tag("PatientBirthDate"),
    "patient_sex": Tag("PatientSex"),
    "accession_number": Tag("AccessionNumber"),
    "study_id": Tag("StudyID"),
    "study_date": Tag("StudyDate"),
    "study_time": Tag("StudyTime"),
    "study_description": Tag("StudyDescription"),
    "referring_physician": Tag("ReferringPhysicianName"),
    "character_set": Tag("SpecificCharacterSet"),
}


def examine(
    path: Path,
    spool_key: str,
    announced: Announcement,
    siblings: Siblings,
    form: DigestForm = DigestForm.BLAKE3,
) -> ReceivedInstance:
    """Read the header and take the digests, as far as the seal does not hold them already.

    Parameters
    ----------
    path : Path
        A whole spool file.
    spool_key : str
        Its name in the store.
    announced : Announcement
        What was known of it before it came.
    siblings : Siblings
        Headers that were read before.
    form : DigestForm
        Of the digests; another one than the seal's takes reading the whole file.

    Raises
    ------
    UnreadableObjectError
        If the header cannot be understood, or the file has no seal.
    OSError
        If the file cannot be read.
    """
    with path.open("rb") as file:
        seal = read_seal(file)
        if seal is None:
            raise UnreadableObjectError("the spool file was never finished")
        described = _described(file, seal, announced, siblings)
        before, after, pixels = _digests(file, seal, described.pixels, announced.transfer_syntax_uid, form)
    summary = described.summary
    geometry = geometry_digest(summary)
    return ReceivedInstance(
        summary=summary,
        identity=described.identity,
        called_ae=announced.called_ae,
        calling_ae=announced.calling_ae,
        calling_address=announced.address,
        received_at=seal.received_at,
        spool_key=spool_key,
        byte_count=seal.head_bytes + seal.dataset_bytes,
        dataset_digest=dataset_digest(before, after, form),
        pixel_digest=pixel_digest(pixels, geometry, summary, form),
        geometry_digest=geometry,
        usable_image=described.usable_image,
    )


def _described(file: BinaryIO, seal: Seal, announced: Announcement, siblings: Siblings) -> Described:
    """What the header says; read whole only where no header before it says nearly the same."""
    sop_class_uid, syntax = announced.sop_class_uid, announced.transfer_syntax_uid
    elements = None
    if seal.split_bytes <= MAX_SIBLING_BYTES:
        file.seek(seal.head_bytes)
        elements = siblings.elements_of(file.read(seal.split_bytes), sop_class_uid, syntax)
    if elements is None:
        return _read(file, seal, announced)
    series = series_of(elements, sop_class_uid, syntax)
    described = siblings.described(series, elements)
    if described is None:
        described = _read(file, seal, announced)
        siblings.remember(series, elements, described)
    return described


def _read(file: BinaryIO, seal: Seal, announced: Announcement) -> Described:
    file.seek(seal.head_bytes)
    header = read_header(file, announced.sop_class_uid, announced.transfer_syntax_uid)
    summary = instance_summary(header.dataset, announced.transfer_syntax_uid)
    return Described(
        summary=summary,
        identity=identity_of(header.dataset),
        usable_image=is_usable_image(
            announced.sop_class_uid,
            summary.modality,
            has_pixels=header.pixels is not None,
            made_by_this_software=is_made_by_this_software(header.dataset),
        ),
        pixels=header.pixels,
    )


def _digests(
    file: BinaryIO, seal: Seal, pixels: PixelElement | None, syntax: str, form: DigestForm
) -> tuple[bytes, bytes, bytes]:
    """Digests of the data set before and after the split, and of the value of Pixel Data."""
    deflated = is_deflated(syntax)
    split = split_of(pixels, seal.dataset_bytes, deflated=deflated)
    if seal.has_digests and seal.form is form and seal.split_bytes == split:
        before, after = seal.before_digest, seal.after_digest
    else:
        before, after = halves(file, seal.head_bytes, split, form)
    if pixels is not None and not deflated and pixels.offset_bytes + pixels.length_bytes == seal.dataset_bytes:
        # Nothing follows native pixels, so the second half is they.
        return before, after, after
    return before, after, value_digest(file, seal.head_bytes, pixels, deflated=deflated, form=form)


def identity_of(dataset: Dataset) -> Identity:
    """Who and which request, as the object says it."""
    return Identity(**{name: text_of(dataset, tag) for name, tag in _IDENTITY.items()})
