"""Processes killed at random moments while objects arrive, and what became of everything that was acknowledged."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from pathlib import Path

import psutil
import pydicom

from scp_node.inbound.listener import listening_socket
from scp_node.inbound.wire import BUFFER_BYTES
from scp_node.pipeline.folders import JobFolders
from scp_node.pipeline.recover import Recovery
from scp_node.store.database import Database
from scp_node.store.deliveries import DeliveryStore
from scp_node.store.file_image import LEAST_DIRECT_BYTES
from scp_node.store.jobs import JobStore
from scp_node.store.quarantine import Quarantine
from scp_node.store.spool import Spool
from scp_node.store.studies import StudyStore
from tests.bench.prepared_objects import PreparedObjects, RefusedError, Sender, instance_uid, number_of
from tests.node.network import REPOSITORY, Site, dataset_bytes, eventually

MARK = "HAI_SOAK_RUN"
OBJECTS_PER_STUDY = 20
SUCCESS = 0x0000


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a run of kills left; the counts of :attr:`faults` must be 0."""

    kills: int
    acknowledged: int
    direct: int
    """Of these so large that they are written past the system's cache."""
    spilt: int
    """Of these larger than the receive buffer."""
    sent_again: int
    """Objects whose answer never came, or that were refused."""
    missing: int
    """Acknowledged, and no row or no file."""
    twice: int
    """Present in more than one file."""
    half: int
    """Rows, acknowledged or not, whose file does not hold the bytes that were sent, and files that no row knows after
    recovery."""
    orphans: int
    """Processes left after the end."""

    @property
    def faults(self) -> dict[str, int]:
        """What must be 0."""
        return {"missing": self.missing, "twice": self.twice, "half": self.half, "orphans": self.orphans}

    def __add__(self, other: Outcome) -> Outcome:
        return Outcome(**{each.name: getattr(self, each.name) + getattr(other, each.name) for each in fields(self)})


@dataclass(slots=True, kw_only=True)
class Load:
    """Senders that never give up: each object is sent until it is acknowledged."""

    port: int
    threads: int
    objects: PreparedObjects = field(default_factory=PreparedObjects.mixed)
    per_study: int = OBJECTS_PER_STUDY
    acknowledged: set[int] = field(default_factory=set)
    """Numbers of objects."""
    sent_again: int = 0
    _stop: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _next: int = 0

    def dataset(self, number: int) -> bytes:
        """What is sent under a number."""
        return self.objects.dataset(number, number // self.per_study)

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Send from here on."""
        threads = [threading.Thread(target=self._send, daemon=True) for _ in range(self.threads)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._stop.set()
            for thread in threads:
                thread.join(timeout=90)

    def _send(self) -> None:
        waiting: list[int] = []
        while not self._stop.is_set():
            with self._lock:
                first, self._next = self._next, self._next + self.per_study
            waiting = list(range(first, first + self.per_study))
            while waiting and not self._stop.is_set():
                try:
                    self._send_study(waiting)
                except (OSError, RefusedError):
                    self.sent_again += 1
                    time.sleep(0.02)

    def _send_study(self, waiting: list[int]) -> None:
        with Sender(self.port, timeout_s=30.0) as link:
            while waiting and not self._stop.is_set():
                number = waiting[0]
                if link.store(instance_uid(number), self.dataset(number)) != SUCCESS:
                    raise RefusedError
                self.acknowledged.add(number)
                waiting.pop(0)


class Victim:
    """A receiver with its recorder, started again and again on one listening socket."""

    def __init__(self, site: Site, journal: Path) -> None:
        self._site = site
        self._journal = journal
        self.mark = uuid.uuid4().hex
        self._listening = listening_socket("127.0.0.1", site.port)
        self._process = self._started()

    @property
    def receiver(self) -> psutil.Process:
        """The receiver process."""
        return psutil.Process(self._process.pid)

    def recorder(self) -> psutil.Process | None:
        """Its recorder, if it has one just now."""
        found = [one for one in self.receiver.children() if one.status() != psutil.STATUS_ZOMBIE]
        return found[0] if found else None

    def kill(self, which: str) -> None:
        """SIGKILL the receiver, the recorder or both; start again what nobody else would."""
        recorder = self.recorder()
        if which in ("recorder", "both") and recorder is not None:
            with contextlib.suppress(psutil.NoSuchProcess):
                recorder.kill()
        if which in ("receiver", "both"):
            self._process.kill()
            self._process.wait(timeout=60)
            self._close_output()
            self._process = self._started()

    def stop(self) -> None:
        """SIGTERM, and wait."""
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(timeout=60)
        self._close_output()

    def restart(self) -> None:
        """Start again after :meth:`stop`."""
        self._process = self._started()

    def close(self) -> None:
        """Give the port back, and end what is left in any case."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait(timeout=60)
            self._close_output()
        self._listening.close()

    def family(self) -> list[psutil.Process]:
        """Every living process of this run, whoever its parent is by now."""
        return marked(self.mark)

    def _started(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "scp_node.inbound", "--config", str(self._site.config), "--receiver", "1"]
        command += ["--listen-fd", str(self._listening.fileno())]
        with self._journal.open("ab") as journal:
            process = subprocess.Popen(
                command,
                stdout=subprocess.PIPE,
                stderr=journal,
                cwd=REPOSITORY,
                pass_fds=(self._listening.fileno(),),
                env={**os.environ, MARK: self.mark},
            )
        if process.stdout is None or not process.stdout.readline().startswith(b"ready"):
            raise RuntimeError("the receiver did not start")
        return process

    def _close_output(self) -> None:
        if self._process.stdout is not None:
            self._process.stdout.close()


def marked(mark: str) -> list[psutil.Process]:
    """Living processes that inherited a mark."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.environ().get(MARK) == mark and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def kill_often(site: Site, journal: Path, *, kills: int, senders: int, seed: int) -> Outcome:
    """Kill a receiver, its recorder or both under load, so many times, and look at what is left."""
    chance = random.Random(seed)  # noqa: S311 - moments, no secret
    victim = Victim(site, journal)
    try:
        load = Load(port=site.port, threads=senders)
        with load.running():
            for _ in range(kills):
                time.sleep(chance.uniform(0.0, 0.6))
                victim.kill(chance.choice(["receiver", "receiver", "recorder", "both"]))
            time.sleep(0.5)
        victim.stop()
        # The recorder of the last one may have been killed; the next one finds what it left.
        victim.restart()
        with contextlib.closing(Database.open(site.data, migrate=False)) as database:
            eventually(lambda: _rows(database).keys() >= set(map(instance_uid, load.acknowledged)), within_s=60.0)
        victim.stop()
        orphans = 0 if eventually(lambda: not victim.family(), within_s=20.0) else len(victim.family())
    finally:
        victim.close()
    return examined(site, load, kills=kills, orphans=orphans)


def examined(site: Site, load: Load, *, kills: int, orphans: int) -> Outcome:
    """Recover as a starting node does, and compare rows and files with what was acknowledged."""
    with contextlib.closing(Database.open(site.data, migrate=False)) as database:
        spool = Spool(site.data / "spool", quota_gib=1000.0, keep_free_gib=0.0)
        Recovery(
            studies=StudyStore(database),
            jobs=JobStore(database),
            deliveries=DeliveryStore(database),
            spool=spool,
            folders=JobFolders(data_folder=site.data),
        ).run(datetime.now(UTC))
        rows = _rows(database)
        files = list(spool.keys())
        quarantined = len(Quarantine(database).of_study(""))
    present = Counter(_uid_of(spool.path(key)) for key in files)
    half = len(set(files) ^ set(rows.values())) + quarantined
    for uid, key in rows.items():
        path = spool.path(key)
        half += path.exists() and dataset_bytes(path) != load.dataset(number_of(uid))
    acknowledged = {number: rows.get(instance_uid(number)) for number in load.acknowledged}
    sizes = [len(load.dataset(number)) for number in acknowledged]
    return Outcome(
        kills=kills,
        acknowledged=len(acknowledged),
        direct=sum(LEAST_DIRECT_BYTES <= size <= BUFFER_BYTES for size in sizes),
        spilt=sum(size > BUFFER_BYTES for size in sizes),
        sent_again=load.sent_again,
        missing=sum(key is None or not spool.path(key).exists() for key in acknowledged.values()),
        twice=sum(count > 1 for count in present.values()),
        half=half,
        orphans=orphans,
    )


def _rows(database: Database) -> dict[str, str]:
    """SOP Instance UID -> spool key."""
    with database.reading() as connection:
        found = connection.exec_driver_sql("SELECT sop_instance_uid, spool_key FROM instance")
        return {row[0]: row[1] for row in found}


def _uid_of(path: Path) -> str:
    return str(pydicom.filereader.read_file_meta_info(path).MediaStorageSOPInstanceUID)
