"""The spool: received files under opaque names. It knows no database; a file without a row is nobody's."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final, Self

from scp_node.durability import sync_file_system, sync_folder
from scp_node.errors import SpoolFullError
from scp_node.store.blanks import SUFFIX, Blank, Blanks
from scp_node.store.file_image import FileImage, FileImages, write_all
from scp_node.store.remains import remove_blank, remove_unfinished
from scp_node.store.seal import Seal, is_of_another_version, whole_seal

_KEY = re.compile(r"[0-9a-f]{32}")
_GIB = 1024**3
_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_RESUME_FRACTION = 0.02
"""Of the quota, or of the disk where that is smaller: once full, the spool takes objects again when so much is free.
Without this a full spool would take one object after each purge, and break every study in two."""
_MEASURE_AGAIN_FRACTION = 0.005
"""Of the quota: after so much written here the folder is measured again, because other processes write, too."""
_MEASURE_FULL_AGAIN_S = 2.0
"""A full spool is measured no more often, however many objects are refused."""

_ASK_FREE_AGAIN_S = 0.05
"""The disk is asked no more often what it has left; what is written here is taken off in between."""

_FETCHED_BYTES = 16 << 10
"""Head and header of most images."""


class SpoolFile:
    """One file being written. Ends in :meth:`durable` or :meth:`discard`; leaving a ``with`` block discards it.

    Until its seal is written (see :mod:`scp_node.store.seal`) the file is nobody's, whatever a crash leaves of it. Its
    writer holds a lock on it until it is durable or gone, so that nobody records what may still be taken back.
    """

    def __init__(self, blank: Blank, allowance_bytes: int, written: Callable[[int], None]) -> None:
        self.spool_key: Final = blank.spool_key
        self.byte_count = 0
        self._path = blank.path
        self._descriptor = blank.descriptor
        self._allowance_bytes = allowance_bytes
        self._written = written
        self._made_durable = False

    def write(self, parts: Sequence[bytes | bytearray | memoryview]) -> None:
        """Append, in one system call where the kernel takes it.

        Raises
        ------
        SpoolFullError
            If the quota or the disk has no room; the file is discarded.
        OSError
            If the disk refuses otherwise; likewise.
        """
        self._count(sum(map(len, parts)))
        try:
            write_all(self._descriptor, parts)
        except OSError as fault:
            raise self._refusal(fault) from fault

    def write_image(self, image: FileImage) -> None:
        """Write all of a file whose bytes are together.

        Raises
        ------
        SpoolFullError, OSError
            As :meth:`write`.
        """
        self._count(image.byte_count)
        try:
            image.write_to(self._descriptor)
        except OSError as fault:
            raise self._refusal(fault) from fault

    def seal(self, preamble: bytes) -> None:
        """Write the seal over the blank preamble of a file whose data are on the disk already."""
        try:
            os.fdatasync(self._descriptor)
            os.pwrite(self._descriptor, preamble, 0)
        except OSError as fault:
            raise self._refusal(fault) from fault

    def read(self) -> BinaryIO:
        """A reader of what was written so far, at its start; the caller closes it."""
        return Path(self._path).open("rb")

    def durable(self) -> str:
        """Force the bytes onto the disk, where the name is already; return the spool key."""
        try:
            os.fsync(self._descriptor)
        except OSError as fault:
            raise self._refusal(fault) from fault
        self._made_durable = True
        self._close()
        self._written(self.byte_count)
        return self.spool_key

    def discard(self) -> None:
        """Remove the file, unless it was made durable."""
        if self._made_durable:
            return
        # What a failing disk says is of no interest: a file without a seal is removed at the next start. One that
        # cannot be removed loses its seal; and only then is the lock given up.
        try:
            Path(self._path).unlink(missing_ok=True)
        except OSError:
            with suppress(OSError):
                os.ftruncate(self._descriptor, 0)
        self._close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.discard()

    def _close(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            # Everything that mattered was synced; what closing says about it comes too late for anybody.
            with suppress(OSError):
                os.close(descriptor)

    def _count(self, more_bytes: int) -> None:
        self.byte_count += more_bytes
        if self.byte_count > self._allowance_bytes:
            self.discard()
            msg = "the spool has no room for this object"
            raise SpoolFullError(msg)

    def _refusal(self, fault: OSError) -> Exception:
        self.discard()
        return SpoolFullError("the disk of the spool is full") if fault.errno in _NO_ROOM else fault


class Spool:
    """Files under ``folder/ab/<32 hexadecimal digits>.dcm``; the quarantine is another spool.

    Parameters
    ----------
    folder : Path
        Made if absent.
    quota_gib : float
        Largest sum of file sizes, in GiB. Held to within half a percent for each process that writes.
    keep_free_gib : float
        What must stay free on the disk, in GiB.
    most_blanks : int
        Files that are made ahead at most, when many come; see :mod:`scp_node.store.blanks`.
    elapsed_s : () -> float
        A clock that only runs forward, in seconds; for how often a full spool is measured.
    """

    def __init__(
        self,
        folder: Path,
        *,
        quota_gib: float,
        keep_free_gib: float,
        most_blanks: int = 1,
        elapsed_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._folder = folder
        self._quota_bytes = int(quota_gib * _GIB)
        self._keep_free_bytes = int(keep_free_gib * _GIB)
        self._elapsed_s = elapsed_s
        self._measured_bytes = 0
        self._written_since_bytes = 0
        self._measured_at_s = 0.0
        self._free_bytes = 0
        self._free_asked_at_s = -_ASK_FREE_AGAIN_S
        self._is_full = False
        self.images: Final = FileImages()
        self._blanks = Blanks(folder, most=most_blanks, elapsed_s=elapsed_s)
        self._make_folders()
        self._measure()

    def begin(self) -> SpoolFile:
        """Open a new file.

        Raises
        ------
        SpoolFullError
            If quota or disk have no room.
        """
        allowance_bytes = self._allowance_bytes()
        if allowance_bytes <= 0:
            msg = "the spool is full: quota_gib or keep_free_gib in node.toml is reached"
            raise SpoolFullError(msg)
        try:
            return SpoolFile(self._blanks.take(), allowance_bytes, self._count)
        except OSError as fault:
            if fault.errno in _NO_ROOM:
                msg = "the disk of the spool is full"
                raise SpoolFullError(msg) from fault
            raise

    def close(self) -> None:
        """Remove the files that were made ahead and not used."""
        self._blanks.remove()

    def path(self, spool_key: str) -> Path:
        """Where the file of a key lies.

        Raises
        ------
        ValueError
            If it is no spool key.
        """
        return Path(self._file_name(spool_key))

    def remove(self, spool_key: str) -> None:
        """Remove a file; one that is gone already is fine."""
        path = self.path(spool_key)
        try:
            byte_count = path.stat().st_size
            path.unlink()
        except FileNotFoundError:
            return
        self._measured_bytes = max(0, self._measured_bytes - byte_count)

    def keys(self) -> Iterator[str]:
        """Keys of all files, whole or not."""
        for entry in self._entries():
            key = entry.name.removesuffix(SUFFIX)
            if _KEY.fullmatch(key) is not None:
                yield key

    def seal_of(self, spool_key: str) -> Seal | None:
        """The seal of a file that was received whole; reads all of it. ``None`` also for a file that is gone."""
        try:
            return whole_seal(self.path(spool_key))
        except FileNotFoundError:
            return None

    def settled_seal_of(self, spool_key: str) -> Seal | None:
        """The seal of a whole file that no writer has in hand any more; durable after the next :meth:`sync`.

        A seal alone says nothing of the disk: between writing a file and syncing it a receiver may still fail, or be
        killed. Whoever records files that it was not told of asks for them here, and syncs before it records.

        Raises
        ------
        OSError
            If the file cannot be read.
        """
        try:
            descriptor = os.open(self.path(spool_key), os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return self.seal_of(spool_key)
        except BlockingIOError:
            return None
        finally:
            os.close(descriptor)

    def is_nobodys(self, spool_key: str) -> bool:
        """Whether a file was never received whole; one that a newer version sealed is left to that."""
        try:
            return self.seal_of(spool_key) is None and not is_of_another_version(self.path(spool_key))
        except FileNotFoundError:
            return False

    def remove_unfinished(self, spool_key: str) -> bool:
        """Remove a file that a killed receiver left half written; whether it was that. The disk may refuse."""
        return remove_unfinished(self.path(spool_key))

    def remove_blanks(self) -> None:
        """Remove the empty files that a killed receiver made ahead; a living one holds its own locked."""
        for entry in self._entries():
            with suppress(OSError):
                if entry.stat().st_size == 0:
                    remove_blank(Path(entry.path))

    @contextmanager
    def searched(self) -> Iterator[bool]:
        """Whether, while the block runs, no other process searches the spool for files without a row."""
        descriptor = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
        finally:
            os.close(descriptor)

    def fetch_head(self, spool_key: str) -> None:
        """Have the beginning of a file read ahead, without waiting for it: it was written past the system's cache."""
        with suppress(OSError):
            descriptor = os.open(self._file_name(spool_key), os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.posix_fadvise(descriptor, 0, _FETCHED_BYTES, os.POSIX_FADV_WILLNEED)
            finally:
                os.close(descriptor)

    def sync(self) -> None:
        """Force everything in the spool onto the disk, in one go: file by file it would take milliseconds each.

        Raises
        ------
        OSError
            If the disk refuses.
        """
        descriptor = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            sync_file_system(descriptor)
        finally:
            os.close(descriptor)

    @property
    def used_bytes(self) -> int:
        """Sum of the file sizes, counted now."""
        self._measure()
        return self._measured_bytes

    @property
    def free_bytes(self) -> int:
        """What the disk has left for this program."""
        return shutil.disk_usage(self._folder).free

    def _file_name(self, spool_key: str) -> str:
        if _KEY.fullmatch(spool_key) is None:
            msg = f"{spool_key!r} is no spool key"
            raise ValueError(msg)
        return f"{self._folder}/{spool_key[:2]}/{spool_key}{SUFFIX}"

    def _make_folders(self) -> None:
        # All at once and synced, so that a file's name needs one sync of one folder only.
        absent = [folder for folder in (self._folder, *self._folder.parents) if not folder.exists()]
        self._folder.mkdir(parents=True, exist_ok=True)
        for number in range(256):
            (self._folder / f"{number:02x}").mkdir(exist_ok=True)
        sync_folder(self._folder)
        # Also the names of those above; the lowest again each time, because its maker may have died before this.
        for folder in absent or [self._folder]:
            sync_folder(folder.parent)

    def _entries(self) -> Iterator[os.DirEntry[str]]:
        for number in range(256):
            with os.scandir(self._folder / f"{number:02x}") as entries:
                yield from entries

    def _measure(self) -> None:
        total_bytes = 0
        for entry in self._entries():
            try:
                total_bytes += entry.stat().st_size
            except FileNotFoundError:
                continue
        self._measured_bytes = total_bytes
        self._written_since_bytes = 0
        self._measured_at_s = self._elapsed_s()

    def _count(self, byte_count: int) -> None:
        self._measured_bytes += byte_count
        self._written_since_bytes += byte_count
        self._free_bytes -= byte_count

    def _allowance_bytes(self) -> int:
        if self._written_since_bytes > self._quota_bytes * _MEASURE_AGAIN_FRACTION:
            self._measure()
        left_bytes = self._left_bytes()
        if left_bytes <= 0 and self._elapsed_s() - self._measured_at_s >= _MEASURE_FULL_AGAIN_S:
            self._measure()
            left_bytes = self._left_bytes()
        if self._is_full:
            self._is_full = left_bytes < self._most_bytes() * _RESUME_FRACTION
        else:
            self._is_full = left_bytes <= 0
        return 0 if self._is_full else left_bytes

    def _most_bytes(self) -> int:
        """What the spool could hold at most: a quota larger than the disk is never reached."""
        return min(self._quota_bytes, shutil.disk_usage(self._folder).total - self._keep_free_bytes)

    def _left_bytes(self) -> int:
        now_s = self._elapsed_s()
        if now_s - self._free_asked_at_s >= _ASK_FREE_AGAIN_S:
            self._free_bytes, self._free_asked_at_s = self.free_bytes, now_s
        return min(self._quota_bytes - self._measured_bytes, self._free_bytes - self._keep_free_bytes)
