"""Associations that we open: to whom, on which terms, and in which words they fail."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from pydicom.uid import UID
from pynetdicom import AE, evt
from pynetdicom.association import Association

from scp_node.domain.identifiers import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from scp_node.errors import PermanentDeliveryError, TransientDeliveryError
from scp_node.outbound.cutoff import Cutoff
from scp_node.outbound.pause import Pause
from scp_node.settings import Settings
from scp_node.tls import TlsFiles, TlsFilesError, client_context

MAX_CONTEXTS = 128
"""Odd numbers up to 255 (PS3.8 section 9.3.2.2)."""

_REJECTIONS: Mapping[tuple[int, int], str] = {
    (1, 1): "no reason given",
    (1, 2): "application context name not supported",
    (1, 3): "calling AE title not recognised",
    (1, 7): "called AE title not recognised",
    (2, 1): "no reason given",
    (2, 2): "protocol version not supported",
    (3, 1): "temporary congestion",
    (3, 2): "local limit exceeded",
}
"""By source and reason (PS3.8 table 9-21)."""

Proposal = tuple[UID, UID]
"""Abstract syntax and transfer syntax of one presentation context."""
Handler = tuple[evt.EventType, Callable[..., Any]]


class NothingAcceptedError(PermanentDeliveryError):
    """The peer accepted the association and none of what we proposed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """How one peer is called."""

    peer: str
    """Its name in ``peers.toml``."""
    host: str
    port: int
    called_ae: str
    calling_ae: str
    connect_timeout_s: float
    response_timeout_s: float
    tls: TlsFiles | None = None
    """Our certificates, for a peer that is called with TLS."""
    cutoff: Cutoff | None = None
    """Ends the association from outside."""


def terms_of(settings: Settings, peer: str, cutoff: Cutoff | None = None) -> Terms:
    """Terms of a peer that receives.

    Raises
    ------
    PermanentDeliveryError
        If the configuration names no such peer, or one without host and port.
    """
    configured = settings.peers.get(peer)
    if configured is None or configured.port is None:
        raise PermanentDeliveryError(f"peers.toml names no peer {peer!r} with host and port")
    return Terms(
        peer=peer,
        host=configured.host,
        port=configured.port,
        called_ae=configured.called_ae_title or configured.ae_title,
        calling_ae=settings.node.receiving.ae_titles[0],
        connect_timeout_s=settings.node.delivery.connect_timeout_s,
        response_timeout_s=settings.node.delivery.response_timeout_s,
        tls=settings.node.tls if configured.tls else None,
        cutoff=cutoff,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """An established association on which only we ask."""

    association: Association
    _pause: Pause

    def let_peer_ask(self) -> None:
        """From now on serve what the peer asks (its reports); send no further request ourselves."""
        self._pause.end()


@contextmanager
def linked(terms: Terms, proposals: Iterable[Proposal], *, handlers: Iterable[Handler] = ()) -> Iterator[Link]:
    """An association with exactly the proposed contexts; released at the end, aborted if the block raises.

    Raises
    ------
    TransientDeliveryError
        If there is no association: unreachable, rejected, aborted, no answer in time.
    NothingAcceptedError
        If no context was accepted.
    """
    association = _associate(terms, proposals, handlers)
    pause = Pause.of(association)
    well = False
    try:
        yield Link(association=association, _pause=pause)
        well = True
    finally:
        if well and association.is_established:
            pause.release(within_s=terms.response_timeout_s)
        elif association.is_established:
            association.abort()
        pause.end()


def _associate(terms: Terms, proposals: Iterable[Proposal], handlers: Iterable[Handler]) -> Association:
    if terms.cutoff is not None and terms.cutoff.is_cut:
        raise TransientDeliveryError("the node is stopping")
    entity = _entity(terms)
    for abstract_syntax, transfer_syntax in dict.fromkeys(proposals):
        entity.add_requested_context(abstract_syntax, transfer_syntax)
    connections: list[evt.Event] = []
    try:
        # Read for each association, so that a renewed certificate is used at once.
        tls = None if terms.tls is None else (client_context(terms.tls), terms.host)
    except TlsFilesError as fault:
        raise TransientDeliveryError(str(fault)) from fault
    try:
        association = entity.associate(
            terms.host,
            terms.port,
            ae_title=terms.called_ae,
            tls_args=tls,
            evt_handlers=[
                (evt.EVT_CONN_OPEN, send_at_once),
                (evt.EVT_CONN_OPEN, connections.append),
                *([] if terms.cutoff is None else terms.cutoff.handlers),
                *handlers,
            ],
        )
    except OSError as fault:
        raise TransientDeliveryError(f"{terms.host} cannot be resolved ({fault.strerror})") from fault
    if not association.is_established:
        raise _failure(association, terms, connected=bool(connections))
    return association


def send_at_once(event: evt.Event) -> None:
    """Set TCP_NODELAY: without it each message waits for the peer's delayed acknowledgement of the one before."""
    wire = event.assoc.dul.socket
    if wire is not None and wire.socket is not None:
        wire.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _entity(terms: Terms) -> AE:
    entity = AE(terms.calling_ae)
    entity.implementation_class_uid = UID(IMPLEMENTATION_CLASS_UID)
    entity.implementation_version_name = IMPLEMENTATION_VERSION_NAME
    entity.connection_timeout = terms.connect_timeout_s
    entity.acse_timeout = terms.response_timeout_s
    entity.dimse_timeout = terms.response_timeout_s
    entity.network_timeout = terms.response_timeout_s
    return entity


def _failure(
    association: Association, terms: Terms, *, connected: bool
) -> TransientDeliveryError | PermanentDeliveryError:
    where = f"{terms.called_ae} at {terms.host}:{terms.port}"
    answer = association.acceptor.primitive
    if association.is_rejected and answer is not None:
        source, reason = int(answer.result_source or 0), int(answer.diagnostic or 0)
        words = _REJECTIONS.get((source, reason), "for a reason that the standard does not know")
        return TransientDeliveryError(f"{where} rejects the association: {words} (source {source}, reason {reason})")
    if answer is not None and association.rejected_contexts:
        return NothingAcceptedError(f"{where} accepts none of the proposed presentation contexts")
    if not connected:
        with_tls = ", or its certificate or ours was not accepted" if terms.tls is not None else ""
        return TransientDeliveryError(f"no connection to {where}{with_tls}")
    return TransientDeliveryError(f"{where} answers the request for an association with an abort, or not at all")
