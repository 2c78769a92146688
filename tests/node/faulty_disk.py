"""A disk under real processes that fails, or is slow, when it is told to."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultyDisk:
    """What tells the processes under test when to meet which error."""

    control: Path
    library: Path

    @classmethod
    def built(cls, folder: Path) -> FaultyDisk:
        """Compiled from ``faulty_disk.c``; works until it is told otherwise."""
        compiler = shutil.which("cc")
        if compiler is None:
            pytest.skip("no C compiler")
        library = folder / "faulty_disk.so"
        source = Path(__file__).with_suffix(".c")
        subprocess.run([compiler, "-O1", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
        (folder / "control").write_text("")
        return cls(control=folder / "control", library=library)

    def is_slow(self, call: str, seconds: int, part: str) -> None:
        """From now on these calls take so much longer."""
        self.breaks(call, -seconds, part)

    def breaks(self, call: str, number: int, part: str) -> None:
        self.control.with_suffix(".next").write_text(f"{call} {number} {part}")
        self.control.with_suffix(".next").replace(self.control)

    def works(self) -> None:
        self.control.write_text("")

    @property
    def log(self) -> list[str]:
        log = self.control.with_name(self.control.name + ".log")
        return log.read_text().splitlines() if log.exists() else []

    def environment(self, root: Path) -> dict[str, str]:
        return {"LD_PRELOAD": str(self.library), "FAULTY_DISK": str(self.control), "FAULTY_ROOT": str(root)}
