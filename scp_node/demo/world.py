"""The small world of the demonstration: scratch folders, free ports, a configuration, the processes, and their end."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import IO, Any, Protocol

import tomli_w

from scp_node.demo.ports import free_port
from scp_node.errors import NodeError
from scp_node.pipeline.children import LEASH

PROGRAM = Path(__file__).resolve().parents[2] / "run_node.py"
SHIPPED_ROUTES = PROGRAM.parent / "config" / "routes.toml"
NODE_TITLE = "HAI_NODE"
SCANNER_TITLE = "SCANNER"
STOP_S = 30.0
_SIGNAL_EXIT = 128
"""A shell adds the signal's number to it."""
_LAST_LINES = 20


class Pacs(Protocol):
    """The PACS of the demonstration: a real one, or the stand-in."""

    name: str
    ae_title: str
    port: int

    def start(self) -> None:
        """Start and wait until it answers."""

    def stop(self) -> None:
        """Stop."""

    def fetch(self, study_instance_uid: str) -> list[bytes]:
        """Every object that it holds of one study, as Part 10 files."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """Free ports on loopback."""

    node: int
    pacs: int
    pacs_http: int


def free_ports() -> Ports:
    """Three ports that nobody has at this moment."""
    chosen: set[int] = set()
    while len(chosen) < 3:
        chosen.add(free_port())
    node, pacs, pacs_http = chosen
    return Ports(node=node, pacs=pacs, pacs_http=pacs_http)


def write_configuration(folder: Path, data_folder: Path, ports: Ports, pacs_title: str) -> None:
    """The shipped routes, short waiting times, and peers on loopback."""
    node: dict[str, Any] = {
        "data_folder": str(data_folder),
        "receiving": {
            # The shipped routes ask for the second one.
            "ae_titles": [NODE_TITLE, "HAI_FORCE"],
            "bind_address": "127.0.0.1",
            "port": ports.node,
            "spool_quota_gib": 4.0,
            "keep_free_gib": 0.2,
        },
        "completion": {
            "quiet_ct_s": 15.0,
            "quiet_mr_s": 15.0,
            "quiet_nm_s": 15.0,
            "quiet_other_s": 15.0,
            "quiet_when_complete_s": 2.0,
            "association_hold_s": 10.0,
        },
        "analysis": {"max_jobs": 2, "time_limit_s": 300.0, "niceness": 0},
        "delivery": {"first_wait_s": 1.0, "longest_wait_s": 10.0, "commitment_wait_s": 15.0},
    }
    loopback = ["127.0.0.1"]
    peers = {
        "scanner": {"ae_title": SCANNER_TITLE, "addresses": loopback, "may_send": True},
        "pacs": {"ae_title": pacs_title, "addresses": loopback, "host": "127.0.0.1", "port": ports.pacs},
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "node.toml").write_text(tomli_w.dumps(node), encoding="utf-8")
    (folder / "peers.toml").write_text(tomli_w.dumps({"peer": peers}), encoding="utf-8")
    (folder / "routes.toml").write_text(SHIPPED_ROUTES.read_text(encoding="utf-8"), encoding="utf-8")


@contextmanager
def orderly_end() -> Iterator[None]:
    """While it lasts, SIGTERM and SIGHUP unwind the stack like Ctrl-C does, so that nothing is left running."""

    def end(number: int, _frame: FrameType | None) -> None:
        raise SystemExit(_SIGNAL_EXIT + number)

    before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def start_process(command: Sequence[str], log: IO[bytes]) -> subprocess.Popen[bytes]:
    """Start a server that dies with us, even by kill -9, and hears Ctrl-C only through us."""
    leashed = [sys.executable, "-I", str(LEASH), "0", *command]
    return subprocess.Popen(leashed, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)


def stop_process(process: subprocess.Popen[bytes]) -> None:
    """Ask it to end; by force if it does not."""
    process.terminate()
    try:
        process.wait(timeout=STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


class NodeProcess:
    """``run_node.py serve`` as a process of its own."""

    def __init__(self, config_folder: Path, log: Path) -> None:
        self._config_folder = config_folder
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it; :meth:`require_running` says whether it lives."""
        with self._log.open("wb") as log:
            command = [sys.executable, str(PROGRAM), "serve", "--config", str(self._config_folder)]
            self._process = start_process(command, log)

    def require_running(self) -> None:
        """Raise ``NodeError`` when it has ended."""
        if self._process is not None and self._process.poll() is not None:
            said = self._log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-_LAST_LINES:]
            raise NodeError(
                "\n".join([f"the node ended with exit code {self._process.returncode}; its log {self._log}:", *said])
            )

    def stop(self) -> None:
        """Ask it to end; by force if it does not."""
        if self._process is not None:
            stop_process(self._process)
