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
        """Sending, acting on proof and asking for it, each with waiting times of its own."""
        return () if self.stopping() else ("deliver", "act", "confirm")

    def key(self, item: str) -> str:
        """The step and the peer; a peer that takes objects again is also asked again."""
        return f"{item} {self.peer}" + (f" {self.courier.stored_count(self.peer)}" if item == "confirm" else "")

    def step(self, item: str, now: datetime) -> Outcome:
        """Send, act on proof, or ask for it."""
        steps = {"deliver": self.courier.deliver, "act": self.courier.act, "confirm": self.courier.confirm}
        return steps[item](self.peer, now)
