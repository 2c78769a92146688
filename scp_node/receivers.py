"""The receiver processes: started on one shared listening socket, watched, started again when one dies."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from socket import socket

from scp_node.errors import NodeError
from scp_node.inbound.listener import listening_socket
from scp_node.journal import journal
from scp_node.settings import ReceivingSettings

READY = b"ready"
START_S = 30.0
STOP_S = 15.0


class PortTakenError(NodeError):
    """The DICOM port cannot be had."""


class Receivers:
    """Keeps ``processes`` receivers alive.

    Parameters
    ----------
    config_folder : Path
        What they read.
    settings : ReceivingSettings
        Port and number.
    lock : int
        Descriptor of the data folder's lock. Every receiver inherits it: the folder is free for another node only when
        the last of them has ended, also after the main process was killed.
    """

    def __init__(self, config_folder: Path, settings: ReceivingSettings, lock: int) -> None:
        self._config_folder = config_folder
        self._lock = lock
        self._settings = settings
        self._listener = _port(settings)
        self._processes: dict[int, subprocess.Popen[bytes]] = {}
        self._journal = journal("receivers")

    def start(self) -> None:
        """Start all and wait until each accepts associations."""
        for number in range(1, self._settings.processes + 1):
            self._processes[number] = self._spawn(number)

    def mend(self) -> None:
        """Start again whichever has ended; call it every few seconds."""
        for number, process in list(self._processes.items()):
            if process.poll() is not None:
                self._journal.error(
                    "a receiver ended and is started again", pid=process.pid, exit_code=process.returncode
                )
                self._processes[number] = self._spawn(number)

    def stop(self) -> None:
        """Ask all to end: running associations are finished or aborted within seconds."""
        for process in self._processes.values():
            process.terminate()
        deadline = time.monotonic() + STOP_S
        for process in self._processes.values():
            try:
                process.wait(timeout=max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._listener.close()

    def _spawn(self, number: int) -> subprocess.Popen[bytes]:
        descriptor = self._listener.fileno()
        command = [sys.executable, "-m", "scp_node.inbound", "--config", str(self._config_folder)]
        command += ["--receiver", str(number), "--listen-fd", str(descriptor)]
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, pass_fds=(descriptor, self._lock)
        )
        if process.stdout is None or not process.stdout.readline().startswith(READY):
            process.kill()
            process.wait()
            raise NodeError(f"receiver {number} did not start (exit code {process.returncode}); its messages are above")
        self._journal.info("receiver started", pid=process.pid, port=self._settings.port)
        return process


def _port(settings: ReceivingSettings) -> socket:
    try:
        return listening_socket(settings)
    except OSError as error:
        raise PortTakenError(
            f"port {settings.port} at {settings.bind_address} cannot be had ({error.strerror}): stop the program that "
            "has it, choose another receiving.port in node.toml, or grant CAP_NET_BIND_SERVICE for one below 1024"
        ) from error
