"""Image decoders stay outside: pixels are decoded in the analyzer's child only, never at the door."""

from __future__ import annotations

import sys

_UNUSED = ("PIL", "gdcm", "jpeg_ls", "openjpeg", "pylibjpeg", "rich", "rle")
"""Loaded by pydicom and structlog where they are installed: a quarter of a process's memory, much code to attack."""


def forbid_decoders() -> None:
    """Keep them out of this process; call it before anything else is imported."""
    for name in _UNUSED:
        # So Python writes that a module must not be imported.
        sys.modules[name] = None  # type: ignore[assignment]
