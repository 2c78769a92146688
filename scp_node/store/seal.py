"""The seal of a spool file: by it alone a file is known to be whole, and when it was received.

A file is received under its final name, so half a file looks like a whole one until somebody asks for its seal. The
seal fills the 128 bytes of the Part 10 preamble, which the standard leaves to the application (PS3.10 section 7.1), and
is written last. Two ways lead to it, and both survive a power cut at any moment:

* *by digest*: data and seal are synced together. Whichever blocks reach the disk first, a seal whose digests fit the
  data proves that all of them did.
* *in order*: the data are synced before the seal is written and synced. For objects so large that computing a digest
  while they arrive would cost more than a second sync.

Whoever acknowledges an object has synced its seal before; the row in the database may follow, because everything that
it needs lies in the file.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import BinaryIO

from scp_node.domain.digest import DigestForm
from scp_node.store.hashing import hasher

PREAMBLE_BYTES = 128
BLANK = bytes(PREAMBLE_BYTES)
"""What stands there while a file is being received."""

_MAGIC = {DigestForm.SHA256: b"HAI-NODE-SPOOL-1", DigestForm.BLAKE3: b"HAI-NODE-SPOOL-2"}
"""The first sixteen bytes. Files of an earlier version are whole files, too."""
_MAGIC_STEM = b"HAI-NODE-SPOOL-"
_FORM_OF = {magic: form for form, magic in _MAGIC.items()}
_FIELDS = struct.Struct("<16sIIQQq32s32s")
_CRC = struct.Struct("<I")
_MAGIC_BYTES = 16
_NO_DIGEST = bytes(32)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_STEP_BYTES = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Seal:
    """What the first 128 bytes of a whole spool file say."""

    head_bytes: int
    """Preamble, prefix and file meta information: where the data set begins."""
    head_crc: int
    """CRC-32 of the prefix and the file meta information."""
    dataset_bytes: int
    split_bytes: int
    """Where in the data set the value of Pixel Data begins; its end if it has none, or none that was found."""
    received_at: datetime
    """Aware UTC, to the microsecond."""
    before_digest: bytes
    """Of the data set up to the split; 32 zeros where the file was sealed in order."""
    after_digest: bytes
    """Of the data set from the split on; likewise."""
    form: DigestForm = DigestForm.BLAKE3
    """Of both digests."""

    @property
    def has_digests(self) -> bool:
        """False for a file that was sealed in order."""
        return self.before_digest != _NO_DIGEST

    def to_bytes(self) -> bytes:
        """The preamble."""
        body = _FIELDS.pack(
            _MAGIC[self.form],
            self.head_bytes,
            self.head_crc,
            self.dataset_bytes,
            self.split_bytes,
            (self.received_at - _EPOCH) // _MICROSECOND,
            self.before_digest,
            self.after_digest,
        )
        return (body + _CRC.pack(zlib.crc32(body))).ljust(PREAMBLE_BYTES, b"\0")


def head_crc(head: bytes) -> int:
    """CRC-32 of the prefix and the file meta information of a head, which begins with its preamble."""
    return zlib.crc32(head[PREAMBLE_BYTES:])


def seal_in_order(*, head: bytes, dataset_bytes: int, received_at: datetime) -> Seal:
    """The seal of a file whose data are on the disk already; ``head`` is all before the data set."""
    return Seal(
        head_bytes=len(head),
        head_crc=head_crc(head),
        dataset_bytes=dataset_bytes,
        split_bytes=dataset_bytes,
        received_at=received_at,
        before_digest=_NO_DIGEST,
        after_digest=_NO_DIGEST,
    )


def read_seal(file: BinaryIO) -> Seal | None:
    """The seal at the present start of a file; ``None`` if it has none, or half a one."""
    preamble = file.read(PREAMBLE_BYTES)
    form = _FORM_OF.get(preamble[:_MAGIC_BYTES])
    if len(preamble) < PREAMBLE_BYTES or form is None:
        return None
    (crc,) = _CRC.unpack_from(preamble, _FIELDS.size)
    if zlib.crc32(preamble[: _FIELDS.size]) != crc:
        return None
    fields = _FIELDS.unpack_from(preamble)
    return Seal(
        head_bytes=fields[1],
        head_crc=fields[2],
        dataset_bytes=fields[3],
        split_bytes=fields[4],
        received_at=_EPOCH + fields[5] * _MICROSECOND,
        before_digest=fields[6],
        after_digest=fields[7],
        form=form,
    )


def whole_seal(path: Path) -> Seal | None:
    """The seal of a file, if all the bytes that it speaks of are there; reads the whole file.

    Raises
    ------
    OSError
        If the file cannot be read.
    """
    with path.open("rb") as file:
        seal = read_seal(file)
        if seal is None or path.stat().st_size != seal.head_bytes + seal.dataset_bytes:
            return None
        if zlib.crc32(file.read(seal.head_bytes - PREAMBLE_BYTES)) != seal.head_crc:
            return None
        if not seal.has_digests:
            return seal
        behind_bytes = seal.dataset_bytes - seal.split_bytes
        digests = (_digest(file, seal.split_bytes, seal.form), _digest(file, behind_bytes, seal.form))
        return seal if digests == (seal.before_digest, seal.after_digest) else None


def is_unfinished(path: Path) -> bool:
    """Whether the writer of a file never came to its seal, or to the end of what the seal speaks of.

    What is there to the last byte and differs from its seal is not unfinished but damaged.

    Raises
    ------
    OSError
        If the file cannot be read.
    """
    with path.open("rb") as file:
        preamble = file.read(PREAMBLE_BYTES)
        if len(preamble) < PREAMBLE_BYTES or preamble == BLANK:
            return True
        file.seek(0)
        seal = read_seal(file)
        return seal is not None and path.stat().st_size < seal.head_bytes + seal.dataset_bytes


def is_of_another_version(path: Path) -> bool:
    """Whether a file has a seal of a form that this program does not know: it cannot tell what became of it.

    Raises
    ------
    OSError
        If the file cannot be read.
    """
    with path.open("rb") as file:
        magic = file.read(_MAGIC_BYTES)
    return magic.startswith(_MAGIC_STEM) and magic not in _FORM_OF


def _digest(file: BinaryIO, length_bytes: int, form: DigestForm) -> bytes:
    digest = hasher(form)
    while length_bytes > 0 and (step := file.read(min(_STEP_BYTES, length_bytes))):
        digest.update(step)
        length_bytes -= len(step)
    return digest.digest()
