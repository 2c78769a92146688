"""``peers.toml``: who may send to us, and where answers go."""

from __future__ import annotations

import ipaddress
from enum import StrEnum
from typing import Annotated

from pydantic import Field, StringConstraints, field_validator, model_validator

from scp_node.domain.delivery import ObjectKind
from scp_node.settings.node import AeTitle, Port, Table


class Verification(StrEnum):
    """How a peer proves that it holds what we sent."""

    COMMITMENT = "commitment"
    """Storage commitment (N-ACTION, N-EVENT-REPORT)."""
    FIND = "find"
    """C-FIND at IMAGE level, for archives without commitment."""


class Peer(Table):
    """One ``[peer.NAME]``: a scanner, a PACS, or both."""

    ae_title: AeTitle
    addresses: Annotated[tuple[str, ...], Field(strict=False)] = ()
    """Where it may call from: addresses or networks (``10.1.2.3``, ``10.1.2.0/24``). Empty: it may not call."""
    may_send: bool = False
    """Allowed to C-STORE to us."""
    certificate_names: Annotated[tuple[str, ...], Field(strict=False)] = ()
    """Names of which its TLS certificate must bear one (DNS name or IP address of the subject, else common name).
    With names it may call with TLS only; without, any certificate that our authorities signed will do."""
    tls: bool = False
    """Answers are delivered to it with TLS, as ``[tls]`` in ``node.toml`` says."""
    host: Annotated[str, StringConstraints(max_length=253)] = ""
    port: Port | None = None
    """Host and port where answers are delivered; a peer without them receives nothing."""
    called_ae_title: AeTitle | None = None
    """Title to call when it differs from ``ae_title``."""
    verification: Annotated[Verification, Field(strict=False)] = Verification.COMMITMENT
    check_identity: bool = False
    """Ask it (C-FIND) for its present patient ID and accession number before delivery; a difference withholds."""
    counts_instances: bool = False
    """While a study that it sends arrives, ask it (C-FIND) how many objects it holds; equal counts shorten the wait."""
    objects: Annotated[tuple[ObjectKind, ...], Field(strict=False, min_length=1)] = tuple(ObjectKind)
    """Which kinds of objects it receives."""
    groups_without_coordinates: bool = False
    """Its viewers can take measurement groups that have no coordinates."""

    @field_validator("addresses")
    @classmethod
    def _are_networks(cls, addresses: tuple[str, ...]) -> tuple[str, ...]:
        for text in addresses:
            try:
                ipaddress.ip_network(text, strict=False)
            except ValueError as error:
                raise ValueError(f"{text!r} is neither an address nor a network such as 10.1.2.0/24") from error
        return addresses

    @model_validator(mode="after")
    def _is_of_use(self) -> Peer:
        if bool(self.host) != (self.port is not None):
            raise ValueError("give host and port together, or neither")
        if self.may_send and not self.addresses:
            raise ValueError("a peer that may_send needs its addresses")
        if self.counts_instances and not (self.may_send and self.receives):
            raise ValueError("counts_instances needs may_send, host and port: it is asked about what it sends")
        return self

    @property
    def receives(self) -> bool:
        """True when answers can be delivered to it."""
        return self.port is not None

    def may_call_with(self, certificate_names: frozenset[str] | None) -> bool:
        """True when the certificate is the peer's; ``None`` stands for a connection without TLS."""
        if not self.certificate_names:
            return True
        wanted = {name.lower() for name in self.certificate_names}
        return certificate_names is not None and bool(wanted & {name.lower() for name in certificate_names})

    def may_call_from(self, address: str) -> bool:
        """True when the address lies in one of the peer's networks (IPv4-mapped IPv6 counts as IPv4)."""
        try:
            caller = ipaddress.ip_address(address)
        except ValueError:
            return False
        if isinstance(caller, ipaddress.IPv6Address) and caller.ipv4_mapped is not None:
            caller = caller.ipv4_mapped
        return any(caller in ipaddress.ip_network(text, strict=False) for text in self.addresses)


class PeersFile(Table):
    """The whole of ``peers.toml``."""

    peer: dict[Annotated[str, StringConstraints(pattern="^[a-z0-9][a-z0-9-]{0,31}$")], Peer]
