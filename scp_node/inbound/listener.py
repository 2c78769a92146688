"""One receiver process: a listening socket, the handlers behind it, and its life from start to graceful end."""

from __future__ import annotations

import argparse
import ctypes
import gc
import os
import select
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from scp_node.dimse.transactions import asked_of
from scp_node.errors import SettingsError, StoreError
from scp_node.inbound.associations import Associations, make_associations
from scp_node.inbound.contexts import Contexts, know_retired_storage_classes
from scp_node.inbound.guard import Guard
from scp_node.inbound.handlers import Handlers
from scp_node.inbound.intake import Intake
from scp_node.inbound.ledger import Ledger
from scp_node.inbound.metrics import ReceiverMetrics
from scp_node.inbound.notices import NoticeWriter
from scp_node.inbound.places import Places, shared_places
from scp_node.inbound.quiet import quiet_libraries
from scp_node.inbound.recorder_process import RecorderProcess
from scp_node.inbound.reports import CommitmentReports
from scp_node.inbound.waiting_room import Door, WaitingRoom
from scp_node.journal import journal, start_journal
from scp_node.settings import Settings, load_settings
from scp_node.store.database import Database
from scp_node.store.deliveries import DeliveryStore
from scp_node.store.spool import Spool
from scp_node.tls import ReloadedContext, TlsFilesError

LOOK_S = 1.0
"""How often the recorder is looked after."""
RECORDER_STOP_S = 8.0
GRACE_S = 5.0
"""After SIGTERM, open associations may go on for so long; then they are aborted and their senders send again."""
MOST_BLANKS = 32
"""Empty files that are made ahead: with so many one sync of their folder is a small part of the cost of each."""
LEAST_WAITING = 8
"""Connections without association, in each receiver."""
BACKLOG = 1024
"""Connections that the kernel keeps for us; beyond, it drops attempts, and honest ones are repeated after a second."""

EXIT_OK, EXIT_BAD_SETTINGS, EXIT_CANNOT_SERVE = 0, 2, 3

_PR_SET_PDEATHSIG = 1


class Listener:
    """Accepts associations until it is stopped.

    Parameters
    ----------
    room : WaitingRoom
        Lets callers in.
    associations : Associations
        Those who are in.
    ledger : Ledger
        Tells whether any is open.
    spool : Spool
        Closed at the end.
    """

    def __init__(self, room: WaitingRoom, associations: Associations, ledger: Ledger, spool: Spool) -> None:
        self._room = room
        self._associations = associations
        self._ledger = ledger
        self._spool = spool
        self._thread = threading.Thread(target=room.run, name="waiting-room", daemon=True)

    def start(self) -> None:
        """Accept from now on."""
        self._thread.start()

    @property
    def is_serving(self) -> bool:
        """False when accepting ended, by :meth:`stop` or by a fault."""
        return self._thread.is_alive()

    def stop(self, grace_s: float) -> None:
        """Accept no more; give open associations ``grace_s`` seconds to end, then abort them."""
        self._room.stop()
        self._thread.join()
        end_s = time.monotonic() + grace_s
        while self._ledger.open_count and time.monotonic() < end_s:
            time.sleep(0.05)
        self._associations.abort_all()
        self._spool.close()


def listening_socket(address: str, port: int) -> socket.socket:
    """Bind and listen; receivers may inherit the socket, so that they share one port.

    Raises
    ------
    OSError
        If the address cannot be had.
    """
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((address, port))
        listening.listen(BACKLOG)
    except OSError:
        listening.close()
        raise
    return listening


def _doors(settings: Settings, plain_fd: int | None, tls_fd: int | None) -> list[Door]:
    """What to accept on: inherited sockets where there are, else our own.

    Raises
    ------
    OSError
        If a port cannot be had.
    TlsFilesError
        If the TLS files cannot be used.
    """
    receiving, tls = settings.node.receiving, settings.node.tls
    doors = []
    if receiving.without_tls:
        doors.append(Door(listening=_inherited(plain_fd) or listening_socket(receiving.bind_address, receiving.port)))
    if tls is not None:
        context = ReloadedContext(tls)
        doors.append(
            Door(listening=_inherited(tls_fd) or listening_socket(receiving.bind_address, tls.port), tls=context)
        )
    return doors


def _inherited(descriptor: int | None) -> socket.socket | None:
    return None if descriptor is None else socket.socket(fileno=descriptor)


def _places(settings: Settings, options: argparse.Namespace) -> Places:
    """Those of all receivers; for one that was started alone, its own.

    Raises
    ------
    OSError
        If there is no memory for them.
    """
    receivers, descriptor = options.receivers or options.receiver, options.places_fd
    if descriptor is None:
        descriptor = shared_places(receivers, settings.node.receiving.maximum_associations)
    return Places(descriptor, receiver=options.receiver, receivers=receivers)


def assemble(
    settings: Settings,
    database: Database,
    doors: Sequence[Door],
    notices: NoticeWriter,
    metrics: ReceiverMetrics,
    places: Places,
) -> Listener:
    """Put the parts of one receiver together."""
    receiving = settings.node.receiving
    spool = Spool(
        settings.node.data_folder / "spool",
        quota_gib=receiving.spool_quota_gib,
        keep_free_gib=receiving.keep_free_gib,
        most_blanks=MOST_BLANKS,
    )
    ledger = Ledger(places)

    def is_ours(transaction: str) -> bool:
        return any(asked_of(name, transaction) for name in settings.peers)

    handlers = Handlers(
        contexts=Contexts(),
        ledger=ledger,
        intake=Intake(spool, notices, metrics, _now),
        notices=notices,
        metrics=metrics,
        reports=CommitmentReports(DeliveryStore(database), is_ours, _now),
    )
    associations = make_associations(receiving, doors[0].listening, handlers)
    room = WaitingRoom(
        doors,
        guard=Guard(
            receiving.ae_titles,
            settings.peers,
            places.most,
            receiving.maximum_associations_per_address,
        ),
        ledger=ledger,
        metrics=metrics,
        most_waiting=max(LEAST_WAITING, receiving.maximum_waiting // places.receivers),
        request_timeout_s=receiving.request_timeout_s,
        hand_over=associations.begin,
        on_reject=handlers.handle_rejection,
    )
    return Listener(room, associations, ledger, spool)


def _journal_fault(fault: threading.ExceptHookArgs) -> None:
    """A fault that nobody planned ends a thread; the association in it is aborted, and the sender sends again."""
    name = fault.thread.name if fault.thread is not None else ""
    journal("inbound").error(
        "a thread ended by a fault that nobody planned",
        what=name,
        exception="".join(traceback.format_exception(fault.exc_type, fault.exc_value, fault.exc_traceback)),
    )


def _now() -> datetime:
    return datetime.now(UTC)


def main(arguments: Sequence[str]) -> int:
    """Run a receiver until SIGTERM; the line ``ready HOST PORT`` on standard output says that it accepts."""
    options = _options(arguments)
    try:
        settings = load_settings(options.config)
    except SettingsError as fault:
        print(fault, file=sys.stderr)
        return EXIT_BAD_SETTINGS
    start_journal(settings.node.log_level)
    log = journal("inbound")
    die_with_parent()
    quiet_libraries()
    know_retired_storage_classes()
    asked_to_end = hear_signals()
    threading.excepthook = _journal_fault
    try:
        doors = _doors(settings, options.listen_fd, options.listen_tls_fd)
        places = _places(settings, options)
        database = Database.open(settings.node.data_folder, migrate=False)
    except (OSError, StoreError, TlsFilesError) as fault:
        log.error("the receiver cannot start", cause=str(fault), port=settings.node.receiving.port)
        return EXIT_CANNOT_SERVE
    # The recorder inherits what else this process did: the lock of the data folder, which must outlive it.
    for door in doors:
        door.listening.set_inheritable(False)
    if options.places_fd is not None:
        os.set_inheritable(options.places_fd, False)
    counts = None if options.counts_fd is None else socket.socket(fileno=options.counts_fd)
    if counts is not None:
        counts.set_inheritable(False)
    metrics = ReceiverMetrics(counts)
    recorder = RecorderProcess(options.config, f"{options.receiver}:{os.getpid()}")
    listener = assemble(settings, database, doors, recorder.notices, metrics, places)
    host, port = doors[0].listening.getsockname()[:2]
    # The library collects garbage every 60 associations; what was made until now is none, and takes 36 ms to look at,
    # during which nothing else runs.
    gc.freeze()
    listener.start()
    print(f"ready {host} {port}", flush=True)
    log.info("receiving", port=port, pid=os.getpid(), count=options.receiver)
    served = _serve(listener, recorder, metrics, asked_to_end)
    listener.stop(GRACE_S)
    metrics.tell()
    recorder.stop(RECORDER_STOP_S)
    database.close()
    log.info("receiver ended", pid=os.getpid())
    return EXIT_OK if served else EXIT_CANNOT_SERVE


def hear_signals() -> socket.socket:
    """Turn SIGTERM and SIGINT into bytes to be read, whichever thread they hit and however many come.

    Blocking them is not enough: a library may have threads already that block nothing, and the kernel sends the
    parent-death signal once for each thread of the parent that would have inherited us. The second one would end us
    at once, in the middle of an association.
    """
    heard, told = socket.socketpair()
    told.setblocking(False)
    signal.set_wakeup_fd(told.detach(), warn_on_full_buffer=False)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _signal, _frame: None)
    return heard


def _serve(
    listener: Listener, recorder: RecorderProcess, metrics: ReceiverMetrics, asked_to_end: socket.socket
) -> bool:
    """Keep the recorder alive until a signal; ``False`` if accepting ended before."""
    while listener.is_serving:
        readable, _, _ = select.select([asked_to_end], [], [], LOOK_S)
        if readable:
            return True
        recorder.mend()
        metrics.tell()
    journal("inbound").error("the receiver stopped accepting")
    return False


def die_with_parent() -> None:
    """Ask the kernel for SIGTERM when the parent ends (Linux).

    The kernel means the parent's *thread*: whoever starts receivers must do so from a thread that lives as long as
    they shall.
    """
    parent = os.getppid()
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != parent:
        sys.exit("the node ended before its receiver began")


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m scp_node.inbound", description="One DICOM receiver of the node.")
    parser.add_argument("--config", type=Path, required=True, help="folder of node.toml, peers.toml and routes.toml")
    parser.add_argument("--receiver", type=int, default=1, help="number of this receiver, from 1")
    parser.add_argument("--receivers", type=int, help="how many share the places for associations")
    parser.add_argument("--places-fd", type=int, help="descriptor of these places")
    parser.add_argument("--listen-fd", type=int, help="descriptor of a listening socket to share")
    parser.add_argument("--listen-tls-fd", type=int, help="the same for associations with TLS")
    parser.add_argument("--counts-fd", type=int, help="a socket that keeps messages apart, to tell the counts")
    return parser.parse_args(arguments)
