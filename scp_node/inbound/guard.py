"""Who may call, and what for. Decisions as values; nothing here touches a socket."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum

from scp_node.settings import Peer, Verification

PERMANENT, TRANSIENT = 1, 2
"""Results of an A-ASSOCIATE-RJ (PS3.8 table 9-21)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reject:
    """The association is rejected; the three numbers are those of PS3.8 table 9-21."""

    result: int
    source: int
    reason: int
    why: str
    """For the journal."""


class Permission(StrEnum):
    """What an admitted caller may do besides C-ECHO."""

    STORE = "store"
    REPORT_COMMITMENT = "report-commitment"


@dataclass(frozen=True, slots=True, kw_only=True)
class Admit:
    """The association may be accepted."""

    peer: str
    """Name of the peer in ``peers.toml``."""
    permissions: frozenset[Permission]


CALLED_TITLE_UNKNOWN = Reject(result=PERMANENT, source=1, reason=7, why="the called AE title is none of ours")
CALLING_TITLE_UNKNOWN = Reject(result=PERMANENT, source=1, reason=3, why="the calling AE title is not in peers.toml")
CALLING_ADDRESS_UNKNOWN = Reject(
    result=PERMANENT,
    source=1,
    reason=3,
    why="the calling AE title is known, but not from this address; see addresses in peers.toml",
)
CERTIFICATE_OF_ANOTHER = Reject(
    result=PERMANENT,
    source=1,
    reason=3,
    why="the calling AE title is known, but not with this certificate; see certificate_names in peers.toml",
)
TOO_MANY_ASSOCIATIONS = Reject(result=TRANSIENT, source=3, reason=2, why="receiving.maximum_associations is reached")
TOO_MANY_FROM_ADDRESS = Reject(
    result=TRANSIENT, source=3, reason=2, why="receiving.maximum_associations_per_address is reached"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who asks for an association, as far as the connection and the request say."""

    calling_ae: str
    called_ae: str
    """Titles as sent; spaces around them do not count (PS3.8 section 9.3.2)."""
    address: str
    """IP address of the other end."""
    certificate_names: frozenset[str] | None = None
    """Of its verified certificate; ``None`` on a connection without TLS."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """Associations that are open in all receivers besides the one that is asked for."""

    in_all: int
    from_address: int


class Guard:
    """Decides on each request for an association.

    Parameters
    ----------
    ae_titles : collection of str
        Our titles.
    peers : name → Peer
        All peers; titles may repeat among those that do not send.
    maximum_associations, maximum_per_address : int
        Open at the same time in all receivers.
    """

    def __init__(
        self,
        ae_titles: Collection[str],
        peers: Mapping[str, Peer],
        maximum_associations: int,
        maximum_per_address: int,
    ) -> None:
        self._ae_titles = frozenset(ae_titles)
        self._peers = dict(peers)
        self._maximum_associations = maximum_associations
        self._maximum_per_address = maximum_per_address

    def decide(self, caller: Caller, load: Load) -> Admit | Reject:
        """Admit or reject.

        The identity of the caller is judged before the load: a stranger learns nothing about how busy we are.
        """
        if caller.called_ae.strip() not in self._ae_titles:
            return CALLED_TITLE_UNKNOWN
        title = caller.calling_ae.strip()
        known = {name: peer for name, peer in self._peers.items() if peer.ae_title == title}
        if not known:
            return CALLING_TITLE_UNKNOWN
        near = {name: peer for name, peer in known.items() if peer.may_call_from(caller.address)}
        if not near:
            return CALLING_ADDRESS_UNKNOWN
        callers = {name: peer for name, peer in near.items() if peer.may_call_with(caller.certificate_names)}
        if not callers:
            return CERTIFICATE_OF_ANOTHER
        if load.in_all >= self._maximum_associations:
            return TOO_MANY_ASSOCIATIONS
        if load.from_address >= self._maximum_per_address:
            return TOO_MANY_FROM_ADDRESS
        return Admit(peer=min(callers), permissions=permissions_of(callers.values()))

    def expects_calls_from(self, address: str) -> bool:
        """Whether any peer may call from there: such an address is never locked out, whatever its programs do."""
        return any(peer.may_call_from(address) for peer in self._peers.values())


def permissions_of(peers: Collection[Peer]) -> frozenset[Permission]:
    """What a caller may do that can be any of these peers."""
    granted = set()
    if any(peer.may_send for peer in peers):
        granted.add(Permission.STORE)
    if any(peer.receives and peer.verification is Verification.COMMITMENT for peer in peers):
        granted.add(Permission.REPORT_COMMITMENT)
    return frozenset(granted)
