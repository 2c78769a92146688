"""A file system of its own that can be filled to the last block."""

import contextlib
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

MIB = 1 << 20


@contextlib.contextmanager
def mounted(folder: Path, *, size_mib: int = 24) -> Iterator[Path]:
    """Mount one; the test is skipped where that is not allowed."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size_mib}m", "tmpfs", str(folder)]
    if subprocess.run(command, capture_output=True, check=False).returncode != 0:
        pytest.skip("only root may mount a file system")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@contextlib.contextmanager
def filled(folder: Path, *, leave_bytes: int = 0) -> Iterator[None]:
    """Somebody else takes the rest of the disk."""
    ballast = folder / f"ballast-{leave_bytes}"
    with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        for size in (MIB, 4096):
            while shutil.disk_usage(folder).free > max(leave_bytes, size - 1):
                file.write(bytes(size))
    try:
        yield
    finally:
        ballast.unlink()
