"""Child processes under limits: own session, wall time, resident memory of the whole family, killed with all of it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO

import psutil

from scp_node.pipeline.ports import Child, ChildEnd, Ending

LEASH = Path(__file__).with_name("leash.py")
SAMPLE_S = 0.2
ASK_S = 1.0
TAIL_BYTES = 4000
KILL_ROUNDS = 20
"""A process that starts others all the time is looked for again so often."""
START_SLACK_S = 1.0
"""Start times that the system reports differ by less, also for one and the same process."""
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
                kill_session(process.pid)
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
    """Kill the process group that ``pid`` leads, all at once."""
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def kill_session(pid: int, started_at: float = 0.0) -> int:
    """Kill what is left of the session that ``pid`` leads, or led, also in groups of its own; return how many.

    The system gives a number to no new process while a session or group of that number has members, so the members
    of a session whose leader is gone are what it started.

    Parameters
    ----------
    started_at : float
        Only processes that began then or later, in seconds since the epoch.
    """
    killed: set[int] = set()
    for _ in range(KILL_ROUNDS):
        members = [process for process in _members(pid, started_at) if process.pid not in killed]
        if not members:
            break
        for process in members:
            # A process is looked at again before it is killed: its number may name another one by now.
            with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                process.kill()
            killed.add(process.pid)
    return len(killed)


def _members(leader: int, started_at: float) -> Iterator[psutil.Process]:
    """The processes of this user in a session, dead ones that nobody has waited for left out."""
    for process in psutil.process_iter():
        with suppress(psutil.NoSuchProcess, psutil.AccessDenied, ProcessLookupError, PermissionError):
            if os.getsid(process.pid) != leader:
                continue
            ours = process.uids().real == os.getuid() and process.status() != psutil.STATUS_ZOMBIE
            if ours and process.create_time() >= started_at - START_SLACK_S:
                yield process


def kill_remains(pid: int, started_at: float) -> int:
    """Kill a process recorded earlier, and whatever it started; return how many processes.

    Its own children do not die with it: only the leader is bound to the life of the node. Nothing is killed if the
    number names another process by now, this node's own session, or if the system was started again since.
    """
    if started_at < psutil.boot_time() - START_SLACK_S or pid == os.getsid(0):
        return 0
    with suppress(psutil.NoSuchProcess):
        if abs(psutil.Process(pid).create_time() - started_at) >= START_SLACK_S:
            return 0
    return kill_session(pid, started_at)


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
