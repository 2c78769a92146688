"""Deliver: let the courier send what is due for one peer, and prove that the peer holds it. One stage per peer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from scp_node.domain.outcome import Outcome
from scp_node.pipeline.ports import Courier


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliverToPeer:
    """The stage that sends to one peer; a dead peer keeps only its own stage waiting."""

    courier: Courier
    peer: str
    stopping: Callable[[], bool]

    @property
    def name(self) -> str:
        """The verb."""
        return "deliver"

    def due(self, now: datetime) -> Sequence[str]:
        """Sending and confirming, in this order."""
        return () if self.stopping() else ("deliver", "confirm")

    def key(self, item: str) -> str:
        """The step and the peer."""
        return f"{item} {self.peer}"

    def step(self, item: str, now: datetime) -> Outcome:
        """Send, or ask for proof."""
        if item == "deliver":
            return self.courier.deliver(self.peer, now)
        return self.courier.confirm(self.peer, now)
