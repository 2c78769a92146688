"""Make what was written survive a power cut: files have their own sync, and their names that of their folder."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path


def sync_folder(folder: Path) -> None:
    """Make the names inside a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_file_system(descriptor: int) -> None:
    """Make everything durable that lies on the disk of an open file; unlike ``sync`` it tells whether that succeeded.

    Raises
    ------
    OSError
        If the disk refuses.
    """
    # Linux 5.8.
    if ctypes.CDLL(None, use_errno=True).syncfs(descriptor) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def sync_tree(top: Path) -> None:
    """Make every file and every name below a folder durable; its own name is that of the folder above.

    Only plain files are opened: a pipe or a link that a stranger's program left there is no content of ours.

    Raises
    ------
    OSError
        If the disk refuses: then nothing may be built on what is there.
    """
    for folder, _folders, _names in os.walk(top, onerror=_raise):
        sync_files(Path(folder))


def sync_files(folder: Path) -> None:
    """Make the files and the names in a folder durable, and nothing below; likewise only plain files."""
    for path in sorted(folder.iterdir()):
        if path.is_symlink() or not path.is_file():
            continue
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    sync_folder(folder)


def _raise(fault: OSError) -> None:
    raise fault
