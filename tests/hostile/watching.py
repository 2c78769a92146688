"""How much memory, how many threads and descriptors a receiver and its recorder have, at the most."""

from __future__ import annotations

import contextlib
import threading
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

LOOK_S = 0.1


@dataclass(slots=True)
class Most:
    """The largest values seen; sums over the processes."""

    resident_mb: float = 0.0
    threads: int = 0
    descriptors: int = 0


def _proportional_bytes(pid: int) -> int:
    """Resident memory; a page that several processes share counts once among them (PSS)."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return 1024 * int(line.split()[1])
    return 0


def _descriptors(pid: int) -> int:
    """Open ones, but for the empty files that a receiver makes ahead: their number depends on what came before."""
    count = 0
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            count += not (link.readlink().suffix == ".dcm" and link.stat().st_size == 0)
    return count


class Watch:
    """Looks at a process and its children while its ``with`` block lasts."""

    def __init__(self, pid: int) -> None:
        self._process = psutil.Process(pid)
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.most = Most()

    def look(self) -> Most:
        """The values of this moment."""
        now = Most()
        for process in [self._process, *self._process.children(recursive=True)]:
            try:
                now.resident_mb += _proportional_bytes(process.pid) / 1e6
                now.threads += process.num_threads()
                now.descriptors += _descriptors(process.pid)
            except (psutil.Error, OSError):
                continue
        return now

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        self._thread.join()

    def _run(self) -> None:
        while True:
            now = self.look()
            self.most.resident_mb = max(self.most.resident_mb, now.resident_mb)
            self.most.threads = max(self.most.threads, now.threads)
            self.most.descriptors = max(self.most.descriptors, now.descriptors)
            if self._done.wait(LOOK_S):
                return
