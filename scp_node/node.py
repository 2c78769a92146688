"""The composition root: everything is made here once and handed to what needs it; nothing is global."""

from __future__ import annotations

import fcntl
import gc
import os
import signal
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from random import Random
from types import FrameType

from scp_node.domain.completion import Patience
from scp_node.errors import NodeError
from scp_node.journal import journal
from scp_node.metrics import NodeCollector, ReceiverCounts, serve_metrics
from scp_node.outbound.counting import FoundCounts
from scp_node.outbound.courier import PeerCourier
from scp_node.outbound.cutoff import Cutoff
from scp_node.pipeline.analyze import AnalyzeJobs
from scp_node.pipeline.children import LocalRunner
from scp_node.pipeline.clock import Clock, now_utc
from scp_node.pipeline.complete import Complete
from scp_node.pipeline.count import ArchiveCounts, CountInstances
from scp_node.pipeline.deliver import DeliverToPeer
from scp_node.pipeline.encode import EncodeResults
from scp_node.pipeline.expectations import Expectations
from scp_node.pipeline.folders import JobFolders
from scp_node.pipeline.recover import Recovery
from scp_node.pipeline.retain import Retain, retention_periods
from scp_node.pipeline.route import RouteStudies
from scp_node.pipeline.stage import StageRunner
from scp_node.receivers import Receivers
from scp_node.settings import CompletionSettings, Settings
from scp_node.store.database import Database
from scp_node.store.deliveries import DeliveryStore
from scp_node.store.jobs import JobStore
from scp_node.store.overview import Overview
from scp_node.store.retention import Retention
from scp_node.store.spool import Spool
from scp_node.store.studies import StudyStore

TICK_S = 0.5
COUNT_S = 2.0
LEASES_S = 5.0
RETENTION_S = 600.0
STOP_LOOK_S = 0.2
HANG_UP_S = 10.0
"""A peer that has not answered so long after the node was asked to stop is not waited for."""
LOCK_FILE = "node.lock"
LOCK_WAIT_S = 10.0
"""Longer than receivers of a killed node take to end."""
LOCK_POLL_S = 0.2


class DataFolderTakenError(NodeError):
    """Another node works on the data folder."""


class Node:
    """One running node: opened on its data folder, started, stopped."""

    def __init__(self, settings: Settings, versions: Mapping[str, str]) -> None:
        """Open the store of ``settings`` for this process alone.

        Parameters
        ----------
        settings : Settings
            The configuration.
        versions : analyzer name → version
            What is installed.

        Raises
        ------
        DataFolderTakenError
            When another node has the data folder.
        """
        self._settings = settings
        self._stopping = threading.Event()
        self._cutoff = Cutoff()
        self._journal = journal("node")
        data_folder = settings.node.data_folder
        with ExitStack() as undo:
            lock = _lock(data_folder)
            undo.callback(os.close, lock)
            self._database = Database.open(data_folder, migrate=True)
            undo.callback(self._database.close)
            self._make_stores(data_folder)
            self._make_stages(versions)
            self._received = ReceiverCounts()
            self._receivers = Receivers(settings.folder, settings.node, lock, self._received)
            self._close = undo.pop_all()

    def _make_stores(self, data_folder: Path) -> None:
        receiving = self._settings.node.receiving
        self._studies = StudyStore(self._database)
        self._jobs = JobStore(self._database)
        self._deliveries = DeliveryStore(self._database)
        self._spool = Spool(
            data_folder / "spool", quota_gib=receiving.spool_quota_gib, keep_free_gib=receiving.keep_free_gib
        )
        self._folders = JobFolders(data_folder=data_folder)

    def _make_stages(self, versions: Mapping[str, str]) -> None:
        settings, runner, counts = self._settings.node, LocalRunner(), ArchiveCounts()
        self._complete = Complete(
            studies=self._studies,
            expectations=Expectations(
                runner,
                niceness=settings.analysis.niceness,
                thresholds=self._settings.thresholds,
                stopping=self._stopping.is_set,
            ),
            routes=self._settings.routes,
            patience=patience(settings.completion),
            association_hold_s=settings.completion.association_hold_s,
            counts=counts,
            stopping=self._stopping.is_set,
        )
        self._count = CountInstances(
            studies=self._studies,
            archive=FoundCounts(settings=self._settings, cutoff=self._cutoff),
            counts=counts,
            peers={peer.ae_title: name for name, peer in self._settings.peers.items() if peer.counts_instances},
            quiet_s=settings.completion.quiet_when_complete_s,
            stopping=self._stopping.is_set,
        )
        self._route = RouteStudies(studies=self._studies, jobs=self._jobs, routes=self._settings.routes)
        self._analyze = AnalyzeJobs(
            studies=self._studies,
            jobs=self._jobs,
            spool=self._spool,
            folders=self._folders,
            runner=runner,
            settings=settings.analysis,
            thresholds=self._settings.thresholds,
            clock=now_utc,
            stopping=self._stopping.is_set,
        )
        self._encode = EncodeResults(
            studies=self._studies,
            jobs=self._jobs,
            spool=self._spool,
            folders=self._folders,
            runner=runner,
            analysis=settings.analysis,
            objects=settings.objects,
            peers=self._settings.peers,
            versions=versions,
            thresholds=self._settings.thresholds,
            stopping=self._stopping.is_set,
        )

        self._retain = Retain(
            retention=Retention(self._database),
            jobs=self._jobs,
            spool=self._spool,
            folders=self._folders,
            periods=retention_periods(settings.retention),
        )

    def serve(self) -> None:
        """Recover, receive and work until SIGTERM or SIGINT."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._asked_to_stop)
        try:
            self._recover()
            self._receivers.start(now_utc())
            stop_metrics = self._serve_metrics()
            clock = self._wound_clock()
            # What was made until now is no garbage; looking at all of it takes 80 ms, which receivers may need.
            gc.freeze()
            clock.start()
            self._journal.info("serving", port=self._settings.node.receiving.port, digest=self._settings.digest)
            while not self._stopping.is_set():
                # Not Event.wait(): the signal handler sets the event, and must never meet its lock held by this thread.
                time.sleep(STOP_LOOK_S)
            self._stop(clock)
            stop_metrics()
        finally:
            self._receivers.stop()
            self._close.close()

    def _stop(self, clock: Clock) -> None:
        """End everything in far less than the 90 s that the service manager gives us.

        Receivers first, because scanners wait for them; everybody else has seen by now that the node is to stop.
        """
        self._journal.info("stopping")
        hang_up = threading.Timer(HANG_UP_S, self._cutoff.cut)
        hang_up.daemon = True
        hang_up.start()
        self._receivers.stop()
        clock.stop()
        hang_up.cancel()

    def _serve_metrics(self) -> Callable[[], None]:
        port = self._settings.node.metrics.port
        if not port:
            return lambda: None
        overview = Overview(self._database, self._settings.node.data_folder)
        try:
            return serve_metrics(port, self._received, NodeCollector(overview, now_utc))
        except OSError as fault:
            raise NodeError(
                f"metrics.port {port} cannot be had ({fault.strerror}): choose another in node.toml, or 0"
            ) from fault

    def _mend_receivers(self, now: datetime) -> None:
        if not self._stopping.is_set():
            self._receivers.mend(now)

    def _asked_to_stop(self, _signal: int, _frame: FrameType | None) -> None:
        self._stopping.set()

    def _recover(self) -> None:
        recovery = Recovery(
            studies=self._studies,
            jobs=self._jobs,
            deliveries=self._deliveries,
            spool=self._spool,
            folders=self._folders,
        )
        recovery.run(now_utc())
        self._retain.finish_what_was_begun()

    def _wound_clock(self) -> Clock:
        slots = self._settings.node.analysis.max_jobs
        receiving_peers = [name for name, peer in self._settings.peers.items() if peer.receives]
        counted = bool(self._count.peers)
        clock = Clock(threads=slots + len(receiving_peers) + counted)
        if counted:
            clock.every(COUNT_S, "count", StageRunner(self._count).run)
        clock.every(TICK_S, "complete", StageRunner(self._complete).run)
        clock.every(TICK_S, "route", StageRunner(self._route).run)
        for slot in range(slots):
            clock.every(TICK_S, f"analyze-{slot + 1}", StageRunner(self._analyze).run)
        clock.every(TICK_S, "encode", StageRunner(self._encode).run)
        courier = PeerCourier(
            settings=self._settings,
            deliveries=self._deliveries,
            data_folder=self._settings.node.data_folder,
            random=Random(),  # noqa: S311 - jitter, no secret
            clock=now_utc,
            stopping=self._stopping.is_set,
            cutoff=self._cutoff,
        )
        for name in receiving_peers:
            stage = DeliverToPeer(courier=courier, peer=name, stopping=self._stopping.is_set)
            clock.every(TICK_S, f"deliver-{name}", StageRunner(stage).run)
        clock.every(LEASES_S, "leases", self._jobs.expire_leases)
        clock.every(LEASES_S, "delivery-leases", self._deliveries.expire_leases)
        clock.every(LEASES_S, "receivers", self._mend_receivers)
        clock.every(RETENTION_S, "retain", StageRunner(self._retain).run)
        return clock


def patience(completion: CompletionSettings) -> Patience:
    """The waiting times of the configuration as the domain wants them."""
    return Patience(
        quiet_ct_s=completion.quiet_ct_s,
        quiet_mr_s=completion.quiet_mr_s,
        quiet_nm_s=completion.quiet_nm_s,
        quiet_other_s=completion.quiet_other_s,
        quiet_when_complete_s=completion.quiet_when_complete_s,
        cap_s=completion.cap_s,
    )


def is_running(data_folder: Path) -> bool:
    """True when a node works on the data folder now.

    Read from the kernel's list of locks: to try the lock, even for an instant, could stop a node that is just starting.
    """
    try:
        number = str((data_folder / LOCK_FILE).stat().st_ino)
        locks = Path("/proc/locks").read_text(encoding="ascii").splitlines()
    except OSError:
        return False
    return any(line.split()[1] == "FLOCK" and line.split()[5].rpartition(":")[2] == number for line in locks)


def _lock(data_folder: Path) -> int:
    """Take the data folder for this process and its receivers; the lock ends with the last of them, however it ends.

    Receivers outlive a killed node by the seconds that they give to open associations. Before they are gone nobody may
    recover: a file of theirs whose row is still to come would look like one without a row.
    """
    data_folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(data_folder / LOCK_FILE, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    deadline_s = time.monotonic() + LOCK_WAIT_S
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if time.monotonic() < deadline_s:
                time.sleep(LOCK_POLL_S)
                continue
            os.close(descriptor)
            raise DataFolderTakenError(
                f"another node works on {data_folder}: stop it, or name another data_folder"
            ) from error
        return descriptor
