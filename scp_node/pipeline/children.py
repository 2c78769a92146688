"""Child processes under limits: own process group, wall time, resident memory of the whole group, killed as a group."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO

import psutil

from scp_node.pipeline.ports import Child, ChildEnd, Ending

LEASH = Path(__file__).with_name("leash.py")
SAMPLE_S = 0.2
ASK_S = 1.0
TAIL_BYTES = 4000
GIB = 1024.0**3


class LocalRunner:
    """Runs commands on this machine, each on a leash (see ``leash.py``)."""

    def run(
        self,
        child: Child,
        *,
        started: Callable[[int, float], None],
        wanted: Callable[[], bool],
    ) -> ChildEnd:
        """Run to the end; see :class:`scp_node.pipeline.ports.Runner`."""
        begun = time.monotonic()
        command = [sys.executable, "-I", "-S", str(LEASH), str(child.limits.niceness), *child.command]
        with tempfile.TemporaryFile() as stdout, child.log.open("wb") as stderr:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr, start_new_session=True
            )
            try:
                started(process.pid, _started_at(process.pid))
                ending, peak_bytes = _watch(process, child, begun, wanted)
            finally:
                kill_group(process.pid)
                process.wait()
            return ChildEnd(
                ending=ending,
                exit_code=process.returncode,
                seconds=time.monotonic() - begun,
                peak_memory_gib=peak_bytes / GIB,
                stdout=_whole(stdout),
                stderr_tail=_tail(child.log),
            )


def _watch(
    process: subprocess.Popen[bytes], child: Child, begun: float, wanted: Callable[[], bool]
) -> tuple[Ending, int]:
    """Sample until the process ends or must be ended; the peak of the group's resident memory in bytes."""
    peak_bytes, ask_at = 0, begun + ASK_S
    while True:
        try:
            process.wait(timeout=SAMPLE_S)
            return Ending.EXITED, peak_bytes
        except subprocess.TimeoutExpired:
            pass
        now = time.monotonic()
        resident = group_memory_bytes(process.pid)
        peak_bytes = max(peak_bytes, resident)
        if resident > child.limits.memory_gib * GIB:
            return Ending.OUT_OF_MEMORY, peak_bytes
        if now - begun > child.limits.time_s:
            return Ending.TIMED_OUT, peak_bytes
        if now >= ask_at:
            ask_at = now + ASK_S
            if not wanted():
                return Ending.STOPPED, peak_bytes


def group_memory_bytes(pid: int) -> int:
    """Resident memory of a process and all its descendants, in bytes; 0 when it is gone."""
    try:
        leader = psutil.Process(pid)
        family = [leader, *leader.children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0
    total = 0
    for process in family:
        try:
            total += process.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return total


def kill_group(pid: int) -> None:
    """Kill the process group that ``pid`` leads, whatever is left of it."""
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def kill_if_same(pid: int, started_at: float) -> bool:
    """Kill the group of a process recorded earlier, if pid and start time still name the same process."""
    try:
        same = abs(psutil.Process(pid).create_time() - started_at) < 1.0
    except psutil.NoSuchProcess:
        return False
    if same:
        kill_group(pid)
    return same


def _started_at(pid: int) -> float:
    try:
        return psutil.Process(pid).create_time()
    except psutil.NoSuchProcess:
        return 0.0


def _whole(stream: IO[bytes]) -> bytes:
    stream.seek(0)
    return stream.read()


def _tail(log: Path) -> str:
    with log.open("rb") as stream:
        stream.seek(0, os.SEEK_END)
        stream.seek(max(0, stream.tell() - TAIL_BYTES))
        return stream.read().decode("utf-8", errors="replace")
