"""A real PACS for the demonstration: Orthanc on loopback, with a storage folder of its own."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

from scp_node.demo.world import start_process, stop_process
from scp_node.errors import NodeError

START_S = 60.0
PROGRAMS = ("Orthanc", "/usr/sbin/Orthanc", "/usr/local/sbin/Orthanc")


def orthanc_program() -> str | None:
    """Path of the Orthanc program, or ``None`` when it is not installed."""
    return next((found for name in PROGRAMS if (found := shutil.which(name)) is not None), None)


class Orthanc:
    """One Orthanc, started and stopped by us."""

    name = "Orthanc"
    ae_title = "PACS"

    def __init__(self, program: str, folder: Path, *, port: int, http_port: int, node: tuple[str, int]) -> None:
        """Prepare.

        Parameters
        ----------
        program : str
            Path of the executable.
        folder : Path
            Scratch folder for its configuration, storage and log.
        port, http_port : int
            Free ports on loopback.
        node : (AE title, port)
            Where it sends storage commitment reports.
        """
        self._program = program
        self._folder = folder
        self.port = port
        self._http_port = http_port
        self._node = node
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start and wait until it answers.

        Raises
        ------
        NodeError
            When it does not.
        """
        configuration = self._folder / "orthanc.json"
        configuration.write_text(json.dumps(self._configuration()), encoding="utf-8")
        log = (self._folder / "orthanc.log").open("wb")
        with log:
            self._process = start_process([self._program, str(configuration)], log)
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                self._get("/system")
            except (urllib.error.URLError, OSError):
                time.sleep(0.2)
            else:
                return
        raise NodeError(f"Orthanc did not start; it said: {_last_line(self._folder / 'orthanc.log')}")

    def stop(self) -> None:
        """Stop it, by force if it does not go."""
        if self._process is not None:
            stop_process(self._process)

    def fetch(self, study_instance_uid: str) -> list[bytes]:
        """Every object that it holds of one study, as Part 10 files."""
        return [self._get(f"/instances/{name}/file") for name in self._instances(study_instance_uid)]

    def _instances(self, study_instance_uid: str) -> list[str]:
        question = {"Level": "Instance", "Query": {"StudyInstanceUID": study_instance_uid}}
        found = json.loads(self._get("/tools/find", json.dumps(question).encode("ascii")))
        return sorted(str(name) for name in found)

    def _get(self, path: str, body: bytes | None = None) -> bytes:
        url = f"http://127.0.0.1:{self._http_port}{path}"
        with urllib.request.urlopen(url, data=body, timeout=60) as answer:
            content: bytes = answer.read()
            return content

    def _configuration(self) -> dict[str, object]:
        title, port = self._node
        return {
            "Name": "demonstration PACS",
            "StorageDirectory": str(self._folder / "storage"),
            "IndexDirectory": str(self._folder / "storage"),
            "DicomAet": self.ae_title,
            "DicomPort": self.port,
            "DicomCheckCalledAet": True,
            "DicomAlwaysAllowStore": False,
            "DicomModalities": {
                "node": {"AET": title, "Host": "127.0.0.1", "Port": port, "AllowStorageCommitment": True}
            },
            "HttpPort": self._http_port,
            "HttpBindAddresses": ["127.0.0.1"],
            "RemoteAccessAllowed": False,
            "AuthenticationEnabled": False,
            "Plugins": [],
            "StableAge": 2,
        }


def _last_line(log: Path) -> str:
    """The log goes with the scratch folder, so its last line has to be told at once."""
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1] if lines else "nothing"
