"""What a second arrival of a SOP Instance UID is: the same object, a correction of its header, or another object."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from scp_node.domain.digest import form_of
from scp_node.domain.study import ReceivedInstance, Reception

NATIVE_LITTLE_ENDIAN = frozenset({"1.2.840.10008.1.2", "1.2.840.10008.1.2.1"})
"""Implicit and explicit VR little endian: other headers, the very same bytes of Pixel Data (PS3.5 section 8.1.1)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldInstance:
    """What the store holds under one SOP Instance UID."""

    study_instance_uid: str
    series_instance_uid: str
    sop_class_uid: str
    dataset_digest: str
    """Of the newest headers."""
    geometry_digest: str
    pixel_digests: Mapping[str, str]
    """By :func:`pixel_form` of each transfer syntax in which the pixels were received."""


def pixel_form(transfer_syntax_uid: str) -> str:
    """Name of the set of transfer syntaxes whose Pixel Data can be compared byte for byte with this one."""
    return "native" if transfer_syntax_uid in NATIVE_LITTLE_ENDIAN else transfer_syntax_uid


def compare(held: HeldInstance, received: ReceivedInstance) -> Reception:
    """Say what a second arrival of a SOP Instance UID is.

    Compressed pixels cannot be compared with native ones without decoding, which the node never does: in a new transfer
    syntax equal geometry is taken for the same image, and the pixels received first stay the ones that are analysed.

    Returns
    -------
    Reception
        ``SAME``, ``CORRECTION`` or ``CONFLICT``.

    Raises
    ------
    ValueError
        If the digests are of two forms: the caller was to take those of the received one in the form that is held.
    """
    summary = received.summary
    if form_of(received.dataset_digest) is not form_of(held.dataset_digest):
        msg = "digests of two forms say nothing of each other"
        raise ValueError(msg)
    if received.dataset_digest == held.dataset_digest:
        return Reception.SAME
    placed_as = (held.study_instance_uid, held.series_instance_uid, held.sop_class_uid, held.geometry_digest)
    if placed_as != (
        summary.study_instance_uid,
        summary.series_instance_uid,
        summary.sop_class_uid,
        received.geometry_digest,
    ):
        return Reception.CONFLICT
    known_pixels = held.pixel_digests.get(pixel_form(summary.transfer_syntax_uid))
    if known_pixels is not None and known_pixels != received.pixel_digest:
        return Reception.CONFLICT
    return Reception.CORRECTION
