"""One receiver process: a listening socket, the handlers behind it, and its life from start to graceful end."""

from __future__ import annotations

import argparse
import ctypes
import logging
import os
import select
import signal
import socket
import sys
import threading
import time
import warnings
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from socketserver import BaseServer
from typing import Any

from pynetdicom import AE
from pynetdicom import _config as library_settings
from pynetdicom.presentation import build_context
from pynetdicom.transport import ThreadedAssociationServer

from scp_node.dimse.services import VERIFICATION
from scp_node.domain.identifiers import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from scp_node.errors import SettingsError, StoreError
from scp_node.inbound.contexts import Contexts, know_retired_storage_classes
from scp_node.inbound.guard import Guard
from scp_node.inbound.handlers import Handlers
from scp_node.inbound.intake import Intake
from scp_node.inbound.ledger import Ledger
from scp_node.journal import journal, start_journal
from scp_node.settings import ReceivingSettings, Settings, load_settings
from scp_node.store.database import Database
from scp_node.store.deliveries import DeliveryStore
from scp_node.store.spool import Spool
from scp_node.store.studies import StudyStore

ASSOCIATION_LEASE_S = 60.0
"""A killed receiver's associations hold their studies no longer than this."""
RENEW_S = 10.0
GRACE_S = 5.0
"""After SIGTERM, open associations may go on for so long; then they are aborted and their senders send again."""
BACKLOG = 128

EXIT_OK, EXIT_BAD_SETTINGS, EXIT_CANNOT_SERVE = 0, 2, 3

_PR_SET_PDEATHSIG = 1


class Acceptor(ThreadedAssociationServer):
    """The library's server on a listening socket that was made elsewhere, and that other receivers may share."""

    def __init__(self, *args: Any, listening: socket.socket, **kwargs: Any) -> None:
        self._listening = listening
        super().__init__(*args, **kwargs)

    def server_bind(self) -> None:
        """Take over the socket instead of binding the one that was made for us."""
        if self.socket is not None:
            self.socket.close()
        self.socket = self._listening
        # Several processes are woken by one connection; those that come too late must not wait in accept().
        self.socket.setblocking(False)
        self.server_address = self.socket.getsockname()

    def server_activate(self) -> None:
        """It listens already."""

    def get_request(self) -> tuple[socket.socket, tuple[str, int]]:
        """Accept; what is accepted blocks again."""
        wire, address = super().get_request()
        wire.setblocking(True)
        return wire, address

    def server_close(self) -> None:
        """Close our descriptor only: a shutdown would stop the port for the other receivers, too."""
        if self.socket is not None:
            self.socket.close()

    def shutdown(self) -> None:
        """Accept no more; open associations go on."""
        BaseServer.shutdown(self)
        self.server_close()


class Listener:
    """Accepts associations until it is stopped.

    Parameters
    ----------
    receiving : ReceivingSettings
        Titles and limits.
    listening : socket.socket
        Bound and listening.
    handlers : Handlers
        What events do.
    ledger : Ledger
        The open associations.
    """

    def __init__(
        self, receiving: ReceivingSettings, listening: socket.socket, handlers: Handlers, ledger: Ledger
    ) -> None:
        entity = AE(receiving.ae_titles[0])
        entity.implementation_class_uid = IMPLEMENTATION_CLASS_UID
        entity.implementation_version_name = IMPLEMENTATION_VERSION_NAME
        entity.maximum_pdu_size = receiving.maximum_pdu_bytes
        entity.network_timeout = receiving.network_timeout_s
        entity.acse_timeout = receiving.network_timeout_s
        entity.dimse_timeout = receiving.network_timeout_s
        # The guard counts and rejects; the library's own limit must not come before it.
        entity.maximum_associations = 1_000_000
        self._ledger = ledger
        self._acceptor = entity.make_server(
            listening.getsockname(),
            contexts=[build_context(VERIFICATION)],
            evt_handlers=handlers.bound(),
            server_class=Acceptor,
            listening=listening,
        )
        self._thread = threading.Thread(
            target=self._acceptor.serve_forever, kwargs={"poll_interval": 0.1}, name="acceptor", daemon=True
        )

    def start(self) -> None:
        """Accept from now on."""
        self._thread.start()

    @property
    def is_serving(self) -> bool:
        """False when accepting ended, by :meth:`stop` or by a fault."""
        return self._thread.is_alive()

    def stop(self, grace_s: float) -> None:
        """Accept no more; give open associations ``grace_s`` seconds to end, then abort them."""
        self._acceptor.shutdown()
        self._thread.join()
        end_s = time.monotonic() + grace_s
        while self._ledger.keys() and time.monotonic() < end_s:
            time.sleep(0.05)
        for association in self._acceptor.active_associations:
            association.abort()
        for key in self._ledger.keys():  # noqa: SIM118 - not a dictionary
            self._ledger.close(key)


def listening_socket(receiving: ReceivingSettings) -> socket.socket:
    """Bind and listen; receivers may inherit the socket, so that they share one port.

    Raises
    ------
    OSError
        If the address cannot be had.
    """
    family = socket.AF_INET6 if ":" in receiving.bind_address else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((receiving.bind_address, receiving.port))
        listening.listen(BACKLOG)
    except OSError:
        listening.close()
        raise
    return listening


def assemble(
    settings: Settings, database: Database, listening: socket.socket, receiver: str
) -> tuple[Listener, Ledger]:
    """Put the parts of one receiver together."""
    receiving = settings.node.receiving
    studies = StudyStore(database)
    spool = Spool(
        settings.node.data_folder / "spool",
        quota_gib=receiving.spool_quota_gib,
        keep_free_gib=receiving.keep_free_gib,
    )
    ledger = Ledger(studies, receiver, ASSOCIATION_LEASE_S)
    handlers = Handlers(
        guard=Guard(receiving.ae_titles, settings.peers, receiving.maximum_associations),
        contexts=Contexts(),
        ledger=ledger,
        intake=Intake(spool, studies),
        commitments=DeliveryStore(database),
        clock=lambda: datetime.now(UTC),
    )
    return Listener(receiving, listening, handlers, ledger), ledger


def quiet_libraries() -> None:
    """Let the libraries write nothing: what they say may hold values of data sets. The journal has our own words."""
    library_settings.LOG_HANDLER_LEVEL = "none"
    warnings.simplefilter("ignore")
    for name in ("pynetdicom", "pydicom"):
        logger = logging.getLogger(name)
        logger.addHandler(logging.NullHandler())
        logger.propagate = False


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
    try:
        listening = (
            listening_socket(settings.node.receiving)
            if options.listen_fd is None
            else socket.socket(fileno=options.listen_fd)
        )
        database = Database.open(settings.node.data_folder, migrate=False)
    except (OSError, StoreError) as fault:
        log.error("the receiver cannot start", cause=str(fault), port=settings.node.receiving.port)
        return EXIT_CANNOT_SERVE
    listener, ledger = assemble(settings, database, listening, f"{options.receiver}:{os.getpid()}")
    listener.start()
    host, port = listening.getsockname()[:2]
    print(f"ready {host} {port}", flush=True)
    log.info("receiving", port=port, pid=os.getpid(), count=options.receiver)
    served = _serve(listener, ledger, asked_to_end)
    listener.stop(GRACE_S)
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


def _serve(listener: Listener, ledger: Ledger, asked_to_end: socket.socket) -> bool:
    """Keep leases alive until a signal; ``False`` if accepting ended before."""
    while listener.is_serving:
        readable, _, _ = select.select([asked_to_end], [], [], RENEW_S)
        if readable:
            return True
        try:
            ledger.renew(datetime.now(UTC))
        except StoreError as fault:
            journal("inbound").warning("leases could not be renewed", cause=str(fault))
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
    parser.add_argument("--receiver", type=int, default=1, help="number of this receiver, for the journal")
    parser.add_argument("--listen-fd", type=int, help="descriptor of a listening socket to share")
    return parser.parse_args(arguments)
