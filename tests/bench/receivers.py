"""The receivers that are compared, each started afresh on an empty folder and ended after one run."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import psutil

from scp_node.demo.ports import free_port
from scp_node.settings.node import ReceivingSettings
from tests.bench.programs import BenchError, orthanc
from tests.node.network import REPOSITORY, dcmtk

CALLED, CALLING = "HAI_NODE", "BENCH"
_START_S = 60.0
_STOP_S = 30.0
_CHILDREN_S = 10.0


@dataclass(slots=True, kw_only=True)
class Receiver:
    """One receiver while it runs. The kinds differ in how they are started and in what they have for an index."""

    name: ClassVar[str]
    durable: ClassVar[bool]
    folder: Path
    """Empty at first, and for this receiver alone."""
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = field(default=None)

    def command(self) -> list[str]:
        """What to run."""
        raise NotImplementedError

    def storage(self) -> Path:
        """Below here lie the objects."""
        return self.folder

    def recorded(self) -> int | None:
        """Rows in the index by now; ``None`` if rows are written before objects are acknowledged, or not at all."""
        return None

    def rows(self) -> int | None:
        """Rows in the index after its end; ``None`` if there is no index."""
        return self.recorded()

    def serves(self) -> bool:
        """Whether it accepts."""
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=1.0).close()
        except OSError:
            return False
        return True

    def environment(self, *, no_delay: bool) -> dict[str, str]:
        """Variables of its process; DCMTK and Orthanc leave Nagle's algorithm on unless told."""
        return {**os.environ, "OMP_NUM_THREADS": "1"} | ({"TCP_NODELAY": "1"} if no_delay else {})

    def family(self) -> list[psutil.Process]:
        """It and its descendants."""
        if self.process is None:
            return []
        try:
            leader = psutil.Process(self.process.pid)
            return [leader, *leader.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def peaks_mb(self) -> dict[str, float]:
        """Largest resident memory so far by what a process is, of the largest of its kind, in MB (10^6 bytes)."""
        peaks: dict[str, float] = {}
        for process in self.family():
            peaks[self.role(process)] = max(peaks.get(self.role(process), 0.0), _peak_mb(process))
        return peaks

    def cpu_s(self) -> dict[str, float]:
        """CPU time so far by what a process is, with that of children that ended, in seconds."""
        used: dict[str, float] = {}
        for process in self.family():
            # Children that receivers have for associations may end at any moment.
            with suppress(psutil.NoSuchProcess):
                times = process.cpu_times()
                spent = times.user + times.system + times.children_user + times.children_system
                role = self.role(process)
                used[role] = used.get(role, 0.0) + spent
        return used

    def role(self, process: psutil.Process) -> str:
        """What a process of the family does."""
        return "receiver"

    def end(self) -> None:
        """Ask it to end, and wait.

        Raises
        ------
        BenchError
            If it does not, or leaves a process behind.
        """
        family = self.family()
        if self.process is not None:
            self.process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(_STOP_S)
        left = _alive(family, 1.0)
        if left:
            raise BenchError(f"{self.name} left {len(left)} processes behind")


class Node(Receiver):
    """The whole node as it ships (`serve`), with its own settings; only the port and the folders are the run's."""

    name = "node"
    durable = True
    processes: ClassVar[int] = ReceivingSettings.model_fields["processes"].default

    def command(self) -> list[str]:
        config, data = self.folder / "config", self.folder / "data"
        config.mkdir()
        data.mkdir()
        (config / "node.toml").write_text(
            f'data_folder = "{data}"\n[receiving]\nae_titles = ["{CALLED}", "HAI_FORCE"]\nbind_address = "127.0.0.1"\n'
            f"port = {self.port}\nprocesses = {self.processes}\n"
        )
        (config / "peers.toml").write_text(
            f'[peer.bench]\nae_title = "{CALLING}"\naddresses = ["127.0.0.1"]\nmay_send = true\n'
            '[peer.pacs]\nae_title = "PACS"\naddresses = ["127.0.0.1"]\nhost = "127.0.0.1"\nport = 9\n'
        )
        shutil.copyfile(REPOSITORY / "config" / "routes.toml", config / "routes.toml")
        return [sys.executable, str(REPOSITORY / "run_node.py"), "serve", "--config", str(config)]

    def storage(self) -> Path:
        return self.folder / "data" / "spool"

    def recorded(self) -> int | None:
        # Of a table that nothing is removed from, and that costs the node nothing however often it is asked.
        return _count(self.folder / "data" / "node.sqlite3", "SELECT coalesce(max(rowid), 0) FROM instance")

    def serves(self) -> bool:
        # A recorder may come up a moment after its receiver; what is measured is a node that is there.
        told = log_of(self.folder).read_text()
        return '"serving"' in told and told.count('"recording"') == self.processes

    def role(self, process: psutil.Process) -> str:
        words = process.cmdline()
        if "scp_node.inbound.record" in words:
            return "recorder"
        return "receiver" if "scp_node.inbound" in words else "main"


class NodeOfOne(Node):
    """The node with one receiver process."""

    name = "node, 1 process"
    processes = 1


class Orthanc(Receiver):
    """Orthanc as it comes (it syncs every file), without its web server."""

    name = "Orthanc"
    durable = True

    def command(self) -> list[str]:
        file = self.folder / "orthanc.json"
        told = {
            "Name": "bench", "StorageDirectory": str(self.folder / "storage"),
            "IndexDirectory": str(self.folder / "storage"), "DicomAet": CALLED, "DicomPort": self.port,
            "HttpServerEnabled": False, "DicomAlwaysAllowStore": True, "DicomCheckCalledAet": False, "Plugins": [],
        }  # fmt: skip
        file.write_text(json.dumps(told))
        return [orthanc(), str(file)]

    def storage(self) -> Path:
        return self.folder / "storage"

    def rows(self) -> int | None:
        # It keeps the database to itself while it runs. 3 is its number for an instance (patient 0, study 1, series 2).
        return _count(self.folder / "storage" / "index", "SELECT count(*) FROM Resources WHERE resourceType = 4")


class Storescp(Receiver):
    """DCMTK storescp as it comes: one process, one association after the other, nothing synced."""

    name = "storescp"
    durable = False

    def command(self) -> list[str]:
        return [dcmtk("storescp"), "-od", str(self.folder), str(self.port)]


class StorescpSynchronous(Receiver):
    """DCMTK storescp with a process for each association, into a folder whose writes are synchronous (chattr +S)."""

    name = "storescp --fork, +S"
    durable = True

    def command(self) -> list[str]:
        made = subprocess.run(["chattr", "+S", str(self.folder)], capture_output=True, text=True, check=False)
        if made.returncode:
            raise BenchError(f"chattr +S does not work in {self.folder}: {made.stderr.strip()}")
        return [dcmtk("storescp"), "--fork", "-od", str(self.folder), str(self.port)]

    def end(self) -> None:
        # Its children end some time after their associations. One that does not is ended here: it is not what we test.
        children = self.family()[1:]
        for child in _alive(children, _CHILDREN_S):
            with suppress(psutil.NoSuchProcess):
                child.kill()
        _alive(children, _CHILDREN_S)
        super().end()


class ReferenceReceiver(Receiver):
    """Our C program: new file, fsync, one row appended and fdatasynced for each object."""

    name = "C program"
    durable = True
    program: ClassVar[Path]

    def command(self) -> list[str]:
        return [str(self.program), str(self.port), str(self.folder)]

    def rows(self) -> int | None:
        return sum(file.read_bytes().count(b"\n") for file in self.folder.glob("*.index"))


@contextmanager
def running(kind: type[Receiver], folder: Path, *, no_delay: bool) -> Iterator[Receiver]:
    """Start a receiver on a new folder, and end it. What it stored stays: see :data:`tests.bench.measuring.REST_S`.

    Raises
    ------
    BenchError
        If it does not start.
    """
    folder.mkdir(parents=True)
    # What an earlier run left to be written must not slow this one.
    os.sync()
    receiver = kind(folder=folder)
    command = receiver.command()
    with log_of(folder).open("wb") as log:
        receiver.process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=folder,
            env=receiver.environment(no_delay=no_delay),
        )  # fmt: skip
    try:
        _await_serving(receiver)
        yield receiver
    finally:
        _kill(receiver)


def _alive(processes: Sequence[psutil.Process], wait_s: float) -> list[psutil.Process]:
    """Those that have not ended after so long; one that ended and that its parent has not yet asked for is no more."""
    deadline_s = time.monotonic() + wait_s
    while True:
        left = [process for process in processes if _runs(process)]
        if not left or time.monotonic() > deadline_s:
            return left
        time.sleep(0.02)


def _runs(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def log_of(folder: Path) -> Path:
    """What a receiver says; beside its folder, which belongs to it alone."""
    return folder.with_suffix(".log")


def _await_serving(receiver: Receiver) -> None:
    deadline_s = time.monotonic() + _START_S
    while not receiver.serves():
        ended = receiver.process is None or receiver.process.poll() is not None
        if ended or time.monotonic() > deadline_s:
            raise BenchError(f"{receiver.name} did not start: {log_of(receiver.folder).read_text()[-2000:]}")
        time.sleep(0.05)


def _kill(receiver: Receiver) -> None:
    for process in receiver.family():
        process.send_signal(signal.SIGKILL)
    if receiver.process is not None:
        receiver.process.wait()


def _peak_mb(process: psutil.Process) -> float:
    lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    # A process that has just ended has none.
    return next((float(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith("VmHWM")), 0.0)


def _count(database: Path, question: str) -> int:
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=30)) as connection:
        return int(connection.execute(question).fetchone()[0])


KINDS: Mapping[str, type[Receiver]] = {
    kind.name: kind for kind in (Node, NodeOfOne, Orthanc, Storescp, StorescpSynchronous, ReferenceReceiver)
}
