"""In which form a digest is written, and that two of different forms are never compared.

An earlier version took SHA-256, and its digests are plain hexadecimal. Digests are BLAKE3 now, for the same certainty
at a third of the time, and say so. All rows of one SOP Instance UID keep the form of the first: what comes again is
digested from its file in that form.
"""

from __future__ import annotations

from enum import StrEnum

_MARK = "blake3:"
"""Before the hexadecimal digits."""


class DigestForm(StrEnum):
    """How a digest was taken."""

    SHA256 = "sha256"
    BLAKE3 = "blake3"


def digest_text(digest: bytes, form: DigestForm) -> str:
    """A digest as rows hold it."""
    return digest.hex() if form is DigestForm.SHA256 else _MARK + digest.hex()


def form_of(text: str) -> DigestForm:
    """The form of a digest that a row holds."""
    return DigestForm.BLAKE3 if text.startswith(_MARK) else DigestForm.SHA256
