"""The receiver processes: started on one shared listening socket, watched, started again when one dies or hangs."""

from __future__ import annotations

import json
import os
import select
import shutil
import subprocess
import sys
import time
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from socket import AF_UNIX, SOCK_SEQPACKET, socket, socketpair

from scp_node.errors import NodeError
from scp_node.heartbeat import Heartbeats
from scp_node.inbound.listener import listening_socket
from scp_node.inbound.places import shared_places
from scp_node.journal import journal
from scp_node.metrics import Loss, ReceiverCounts
from scp_node.settings import NodeSettings

READY = b"ready"
START_S = 30.0
STOP_S = 15.0
KILL_S = 2.0
"""For a killed process to be gone; one that waits for a disk that does not answer goes when that does."""
KEPT_CONFIG = "config-in-use"


TOLD_FILE = "receivers.json"
OLD_S = 120.0
"""The word of a node that is well is a few seconds old, and :data:`START_S` older while a receiver starts."""


class PortTakenError(NodeError):
    """The DICOM port cannot be had."""


class Receivers:
    """Keeps ``processes`` receivers alive.

    Parameters
    ----------
    config_folder : Path
        What they read.
    settings : NodeSettings
        Ports, number, and where their counts go.
    lock : int
        Descriptor of the data folder's lock. Every receiver inherits it: the folder is free for another node only when
        the last of them has ended, also after the main process was killed.
    counts : ReceiverCounts
        Hears what they count.
    """

    def __init__(self, config_folder: Path, settings: NodeSettings, lock: int, counts: ReceiverCounts) -> None:
        self._config_folder = _kept(config_folder, settings.data_folder)
        self._lock = lock
        self._settings = settings
        self._listeners = _ports(settings)
        self._places = shared_places(settings.receiving.processes, settings.receiving.maximum_associations)
        self._counts = counts
        self._processes: dict[int, subprocess.Popen[bytes]] = {}
        self._heartbeats = Heartbeats(settings.receiving.process_timeout_s)
        self._hung: set[int] = set()
        """Process ids of those that were killed for their silence and are not gone yet."""
        self._journal = journal("receivers")
        # Left by a node that was killed.
        (settings.data_folder / TOLD_FILE).unlink(missing_ok=True)

    def start(self, now: datetime) -> None:
        """Start all and wait until each accepts associations."""
        for number in range(1, self._settings.receiving.processes + 1):
            self._processes[number] = self._spawn(number)
        self._tell(now)

    def mend(self, now: datetime) -> None:
        """Start again whichever has ended or hangs; call it every few seconds."""
        self._end_the_hung()
        self._tell(now)
        for number, process in list(self._processes.items()):
            if process.poll() is not None:
                self._journal.error(
                    "a receiver ended and is started again", pid=process.pid, exit_code=process.returncode
                )
                self._forget(process, Loss.HUNG if process.pid in self._hung else Loss.ENDED)
                try:
                    self._processes[number] = self._spawn(number)
                except (NodeError, OSError) as fault:
                    # The others go on; the next look tries again.
                    self._journal.error("a receiver cannot be started", count=number, cause=str(fault))
                self._tell(now)

    def _end_the_hung(self) -> None:
        """Kill those that give no sign of life: callers whom the kernel gives to them would wait for ever.

        Nothing gentler would be heard. Objects that they acknowledged are safe as after any crash.
        """
        silent = self._heartbeats.hung(self._counts.hear(), time.monotonic())
        for process in self._processes.values():
            if process.pid in silent and process.pid not in self._hung and process.poll() is None:
                self._journal.error("a receiver hangs and is killed", pid=process.pid)
                self._hung.add(process.pid)
                if not _killed(process):
                    self._journal.error("a killed receiver is not gone: its disk does not answer", pid=process.pid)

    def _tell(self, now: datetime) -> None:
        """Leave word for `status`, which is another process, how many receivers there are."""
        alive = sum(one.poll() is None and one.pid not in self._hung for one in self._processes.values())
        told = {"at": now.timestamp(), "alive": alive, "wanted": self._settings.receiving.processes}
        file = self._settings.data_folder / TOLD_FILE
        temporary = file.with_suffix(".part")
        with suppress(OSError):  # a full disk must not end receiving; `status` sees that the word is old
            temporary.write_text(json.dumps(told), encoding="utf-8")
            temporary.replace(file)

    def stop(self) -> None:
        """Ask all to end: running associations are finished or aborted within seconds.

        Our own descriptors of the ports go first. As long as anybody has one, the kernel takes calls that nobody hears.
        """
        for listening in self._listeners.values():
            listening.close()
        self._listeners = {}
        for process in self._processes.values():
            process.terminate()
        deadline = time.monotonic() + STOP_S
        for process in self._processes.values():
            try:
                process.wait(timeout=max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                _killed(process)
            self._forget(process)
        if self._places >= 0:
            os.close(self._places)
            self._places = -1
        (self._settings.data_folder / TOLD_FILE).unlink(missing_ok=True)

    def _spawn(self, number: int) -> subprocess.Popen[bytes]:
        if not self._listeners:
            raise NodeError("the node stops")
        command = [sys.executable, "-m", "scp_node.inbound", "--config", str(self._config_folder)]
        command += ["--receiver", str(number), "--receivers", str(self._settings.receiving.processes)]
        command += ["--places-fd", str(self._places)]
        for option, listening in self._listeners.items():
            command += [option, str(listening.fileno())]
        descriptors = [listening.fileno() for listening in self._listeners.values()]
        ours, its = socketpair(AF_UNIX, SOCK_SEQPACKET)
        with its:
            process = subprocess.Popen(
                [*command, "--counts-fd", str(its.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                pass_fds=(*descriptors, its.fileno(), self._places, self._lock),
            )
        self._counts.link(process.pid, ours)
        if not _is_ready(process):
            _killed(process)
            self._forget(process)
            raise NodeError(f"receiver {number} did not start (exit code {process.returncode}); its messages are above")
        self._journal.info("receiver started", pid=process.pid, port=self._settings.receiving.port)
        return process

    def _forget(self, process: subprocess.Popen[bytes], loss: Loss | None = None) -> None:
        self._counts.forget(process.pid, loss)
        self._hung.discard(process.pid)
        if process.stdout is not None:
            process.stdout.close()


def _killed(process: subprocess.Popen[bytes]) -> bool:
    """Kill a process; whether it was gone soon."""
    process.kill()
    try:
        process.wait(timeout=KILL_S)
    except subprocess.TimeoutExpired:
        return False
    return True


def receivers_fault(data_folder: Path, now: datetime) -> str:
    """What is wrong with the receivers of a running node, as far as it left word; empty if nothing.

    Parameters
    ----------
    data_folder : Path
        Of the node.
    now : datetime
        Aware UTC.
    """
    try:
        told = json.loads((data_folder / TOLD_FILE).read_text(encoding="utf-8"))
        age_s, alive, wanted = now.timestamp() - told["at"], int(told["alive"]), int(told["wanted"])
    except (OSError, ValueError, KeyError, TypeError):
        return "no receiver has started yet: nothing is received; look again in a minute, then at the journal"
    if age_s > OLD_S:
        return f"the node has not looked after its receivers for {age_s:.0f} s: see the journal, restart it"
    if alive == 0:
        return "no receiver listens: nothing is received; the journal says why it does not start"
    return f"{alive} of {wanted} receivers listen: the journal says why" if alive < wanted else ""


def _kept(config_folder: Path, data_folder: Path) -> Path:
    """Copy the configuration for the receivers.

    One that is started again shall be like the one before, and like its node, also while somebody edits the files.
    """
    kept = data_folder / KEPT_CONFIG
    kept.mkdir(exist_ok=True)
    for file in list(kept.glob("*.toml")):
        file.unlink()
    for file in config_folder.glob("*.toml"):
        shutil.copyfile(file, kept / file.name)
    return kept


def _is_ready(process: subprocess.Popen[bytes]) -> bool:
    """Whether it says so in time."""
    output = process.stdout
    if output is None:
        return False
    readable, _, _ = select.select([output], [], [], START_S)
    return bool(readable) and output.readline().startswith(READY)


def _ports(settings: NodeSettings) -> dict[str, socket]:
    """Listening sockets by the option that hands them to a receiver."""
    receiving, tls = settings.receiving, settings.tls
    wanted = {"--listen-fd": (receiving.port, "receiving")} if receiving.without_tls else {}
    if tls is not None:
        wanted["--listen-tls-fd"] = (tls.port, "tls")
    found: dict[str, socket] = {}
    for option, (port, table) in wanted.items():
        try:
            found[option] = listening_socket(receiving.bind_address, port)
        except OSError as error:
            for listening in found.values():
                listening.close()
            raise PortTakenError(
                f"port {port} at {receiving.bind_address} cannot be had ({error.strerror}): stop the program that "
                f"has it, choose another {table}.port in node.toml, or grant CAP_NET_BIND_SERVICE for one below 1024"
            ) from error
    return found
