"""A whole node under test: its processes, its configuration, what its store says, and how it is ended."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from scp_node.demo.ports import free_port
from scp_node.domain.delivery import DeliveryState
from scp_node.domain.job import JobState
from scp_node.domain.study import StudyState
from scp_node.errors import UnknownStudyError
from scp_node.settings import load_settings
from scp_node.store.database import Database
from scp_node.store.overview import Explanation, Overview
from tests.node.network import REPOSITORY

PROBE = Path(__file__).with_name("probe_analyzer.py")
PATIENCE_S = 120.0

ROUTES = """
deliver_to = ["pacs"]

[[route]]
name = "mapping"
when = { attribute = "StudyDescription", matches = "Y90" }
ignore = "radioembolisation mapping"

[[route]]
name = "probe"
when = { attribute = "StudyDescription", matches = "HAI" }
analyze = ["probe"]
deliver_to = ["pacs"]
"""


@dataclass(slots=True, kw_only=True)
class NodeUnderTest:
    """One data folder and the processes that work on it, which may come and go."""

    config: Path
    data: Path
    port: int
    behaviour: Path
    log: Path
    environment: dict[str, str]
    process: subprocess.Popen[bytes] | None = field(default=None)
    _database: Database | None = field(default=None, init=False)

    def start(self) -> None:
        """Start, and wait until it serves."""
        self.begin()
        self.await_serving()

    def begin(self) -> None:
        """Start."""
        with self.log.open("ab") as log:
            command = [sys.executable, str(REPOSITORY / "run_node.py"), "serve", "--config", str(self.config)]
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self.environment, cwd=REPOSITORY
            )

    def await_serving(self) -> None:
        """Wait until it serves."""
        self.wait(lambda: b'"serving"' in self._log_since_start(), "the node to serve")

    def _log_since_start(self) -> bytes:
        content = self.log.read_bytes()
        assert self.process is not None
        assert self.process.poll() is None, content.decode()[-3000:]
        return content[self._begun :]

    @property
    def _begun(self) -> int:
        return int(self.environment.get("HAI_LOG_BEGUN", "0"))

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        assert self.process is not None
        self.process.terminate()
        code = self.process.wait(timeout=60)
        self._mark_log()
        return code

    def kill(self) -> None:
        """SIGKILL to the main process alone; its children have to notice by themselves."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(timeout=60)
        self._mark_log()

    def _mark_log(self) -> None:
        self.environment["HAI_LOG_BEGUN"] = str(self.log.stat().st_size)

    def family(self) -> list[psutil.Process]:
        """All processes that work for this node, whoever their parent is by now."""
        found = []
        for process in psutil.process_iter():
            try:
                told = process.environ().get("HAI_PROBE_BEHAVIOUR") == str(self.behaviour)
            except (psutil.AccessDenied, psutil.NoSuchProcess, psutil.ZombieProcess):
                continue
            if told and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        return found

    def behave(self, how: str) -> None:
        """Tell the analyzer how to behave from its next run on."""
        self.behaviour.write_text(how)

    def explanation(self, study_uid: str) -> Explanation | None:
        """What the store says of a study; ``None`` before it knows it."""
        if self._database is None:
            self._database = Database.open(self.data, migrate=False)
        try:
            return Overview(self._database, self.data).explanation(study_uid)
        except UnknownStudyError:
            return None

    def forget_database(self) -> None:
        """Close our own view of the store: its file is about to be another."""
        if self._database is not None:
            self._database.close()
            self._database = None

    def kill_when(self, study_uid: str, condition: Callable[[Explanation], bool], what: str) -> Explanation:
        """SIGKILL the main process at the very commit after which a condition holds, and return what it left.

        The condition is looked at under the write lock of the database, so that nothing is committed after it.
        """
        with closing(sqlite3.connect(self.data / "node.sqlite3", timeout=30, isolation_level=None)) as database:
            seen: list[Explanation] = []

            def killed() -> bool:
                database.execute("BEGIN IMMEDIATE")
                try:
                    told = self.explanation(study_uid)
                    if told is None or not condition(told):
                        return False
                    self.kill()
                    seen.append(told)
                    return True
                finally:
                    database.execute("ROLLBACK")

            self.wait(killed, what, every_s=0.02)
            return seen[-1]

    def end(self) -> None:
        """Kill whatever is left."""
        for process in self.family():
            process.kill()
        if self.process is not None:
            self.process.wait(timeout=60)
        if self._database is not None:
            self._database.close()

    def wait(self, condition: Callable[[], bool], what: str, *, every_s: float = 0.1) -> None:
        """Wait for something to come true; the end of the log explains why it did not."""
        deadline_s = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline_s:
            if condition():
                return
            time.sleep(every_s)
        raise AssertionError(f"waited {PATIENCE_S:g} s for {what}; log:\n{self.log.read_text()[-4000:]}")

    def until(self, study_uid: str, condition: Callable[[Explanation], bool], what: str) -> Explanation:
        """Wait until the store's account of a study satisfies a condition, and return it."""
        seen: list[Explanation] = []

        def holds() -> bool:
            told = self.explanation(study_uid)
            if told is None or not condition(told):
                return False
            seen.append(told)
            return True

        self.wait(holds, what)
        return seen[-1]

    def answered(self, study_uid: str, *, revision: int = 1) -> Explanation:
        """Wait until the given revision of a study is answered and committed."""
        return self.until(study_uid, lambda told: is_committed(told, revision), f"revision {revision} committed")

    def state(self, study_uid: str, state: StudyState) -> Explanation:
        """Wait until a study is in a state."""
        return self.until(study_uid, lambda told: told.study.state is state, f"study {state}")

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run one of the node's commands on its configuration."""
        return subprocess.run(
            [sys.executable, str(REPOSITORY / "run_node.py"), *arguments, "--config", str(self.config)],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            env=self.environment,
        )


def is_committed(told: Explanation, revision: int) -> bool:
    """True when every job of the revision is answered and the PACS committed to every object of it."""
    lines = [line for line in told.jobs if line.job.revision == revision and line.job.state is not JobState.SUPERSEDED]
    deliveries = [each for line in lines for each in line.deliveries]
    return (
        told.study.revision >= revision
        and bool(lines)
        and all(line.job.answered and line.deliveries for line in lines)
        and all(each.state is DeliveryState.COMMITTED for each in deliveries)
    )


@contextmanager
def node_under_test(
    folder: Path,
    *,
    pacs_port: int,
    pacs: str = "",
    receiving: str = "",
    analysis: str = "",
    attempts: int = 2,
    memory_limit_gib: float = 1.0,
    routes: str = ROUTES,
    thresholds: str = "",
    quiet_s: float = 3.0,
    response_timeout_s: float = 10.0,
) -> Iterator[NodeUnderTest]:
    """Write a configuration with short waiting times, start the node, and end whatever is left of it."""
    config, data = folder / "config", folder / "data"
    config.mkdir(parents=True)
    port = free_port()
    (config / "node.toml").write_text(
        f'data_folder = "{data}"\nlog_level = "debug"\n'
        f'[receiving]\nae_titles = ["HAI_NODE", "HAI_FORCE"]\nbind_address = "127.0.0.1"\nport = {port}\n'
        f"keep_free_gib = 0.1\n{receiving}\n"
        f"[completion]\nquiet_ct_s = {quiet_s}\nquiet_mr_s = 3.0\nquiet_nm_s = 3.0\nquiet_other_s = 3.0\n"
        f"quiet_when_complete_s = 1.0\nassociation_hold_s = 4.0\n"
        f"[analysis]\nretry_s = 0.5\nattempts = {attempts}\nlease_s = 5.0\n"
        f"memory_limit_gib = {memory_limit_gib}\n{analysis}\n"
        "[delivery]\nfirst_wait_s = 0.5\nlongest_wait_s = 2.0\ncommitment_wait_s = 4.0\n"
        f"response_timeout_s = {response_timeout_s}\n"
        "lease_s = 20.0\n"
    )
    (config / "peers.toml").write_text(
        '[peer.ct-1]\nae_title = "CT_1"\naddresses = ["127.0.0.1"]\nmay_send = true\n'
        '[peer.pacs]\nae_title = "PACS"\naddresses = ["127.0.0.1"]\nmay_send = true\n'
        f'host = "127.0.0.1"\nport = {pacs_port}\n{pacs}\n'
    )
    (config / "routes.toml").write_text(routes)
    (config / "thresholds.toml").write_text(thresholds)
    behaviour = folder / "behaviour"
    node = NodeUnderTest(
        config=config,
        data=data,
        port=port,
        behaviour=behaviour,
        log=folder / "node.log",
        environment={
            **os.environ,
            "PYTHONPATH": str(install_probe(folder / "private")),
            "HAI_PROBE_BEHAVIOUR": str(behaviour),
        },
    )
    load_settings(config)
    try:
        node.start()
        yield node
    finally:
        node.end()


def install_probe(folder: Path) -> Path:
    """Install the test analyzer as a distribution of its own, and return the folder for ``PYTHONPATH``."""
    info = folder / "hai_probe-1.0.0.dist-info"
    info.mkdir(parents=True)
    shutil.copyfile(PROBE, folder / "hai_probe.py")
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: hai-probe\nVersion: 1.0.0\n")
    (info / "entry_points.txt").write_text("[hai_node.analyzers]\nprobe = hai_probe:ANALYZER\n")
    return folder


def made_objects(told: Explanation, revision: int = 1) -> Sequence[str]:
    """SOP Instance UIDs of the answer of one revision."""
    return [each.sop_instance_uid for line in told.jobs if line.job.revision == revision for each in line.objects]
