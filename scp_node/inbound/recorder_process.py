"""The receiver's recorder: started with it, started again when it dies, and ended after it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from scp_node.inbound.notices import NoticeWriter
from scp_node.journal import journal


class RecorderProcess:
    """One recorder process and the pipe to it.

    Parameters
    ----------
    config_folder : Path
        What it reads.
    receiver : str
        Names the receiver in the rows of its associations.
    """

    def __init__(self, config_folder: Path, receiver: str) -> None:
        self._config_folder = config_folder
        self._receiver = receiver
        # We keep the reading end as well: what a dead recorder did not read, the next one does.
        self._reading, writing = os.pipe()
        os.set_inheritable(self._reading, True)
        self.notices = NoticeWriter(writing)
        self._process = self._spawn()

    def mend(self) -> None:
        """Start it again if it ended; call it every second."""
        if self._process.poll() is None:
            return
        journal("inbound").error(
            "the recorder ended and is started again", pid=self._process.pid, exit_code=self._process.returncode
        )
        try:
            self._process = self._spawn()
        except OSError as fault:
            # Receiving goes on without it; the next look tries again.
            journal("inbound").error("the recorder cannot be started", cause=str(fault))

    def stop(self, wait_s: float) -> None:
        """Say that nothing more comes, and wait until it has recorded everything; it ends in any case."""
        self.notices.close()
        os.close(self._reading)
        try:
            self._process.wait(timeout=wait_s)
        except subprocess.TimeoutExpired:
            journal("inbound").warning("the recorder is still at work", pid=self._process.pid)

    def _spawn(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "scp_node.inbound.record", "--config", str(self._config_folder)]
        command += ["--receiver", self._receiver, "--notices-fd", str(self._reading)]
        # Everything inheritable goes along; the lock of the data folder is, and is held until all is recorded.
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, close_fds=False)
