"""The two hash functions behind the digests of received objects."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Protocol

from blake3 import blake3

from scp_node.domain.digest import DigestForm


class Hasher(Protocol):
    """A digest being taken."""

    def update(self, data: bytes | memoryview, /) -> object:
        """Take more."""

    def digest(self) -> bytes:
        """Of all that was taken, 32 bytes."""


_HASHERS: dict[DigestForm, Callable[[], Hasher]] = {DigestForm.SHA256: hashlib.sha256, DigestForm.BLAKE3: blake3}


def hasher(form: DigestForm) -> Hasher:
    """One that has taken nothing yet."""
    return _HASHERS[form]()


def digest_of(content: bytes | memoryview, form: DigestForm = DigestForm.BLAKE3) -> bytes:
    """The digest of bytes, 32 of them."""
    taken = hasher(form)
    taken.update(content)
    return taken.digest()
