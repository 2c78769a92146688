"""Which associations are open in this process, and from where."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from scp_node.inbound.guard import Admit, Reject
from scp_node.inbound.lockout import WITH_UNUSED, Lockout
from scp_node.inbound.upper_layer import Titles


@dataclass(slots=True, kw_only=True, eq=False)
class Call:
    """One admitted association."""

    number: int
    """Unique in this process."""
    peer: str
    calling_ae: str
    called_ae: str
    address: str
    admitted: Admit
    has_stored: bool = False
    """It brought an object, so that the recorder knows of it."""
    useless_reports: int = 0
    """Commitment reports that told us nothing."""


class Ledger:
    """Open associations; safe for many threads."""

    def __init__(self) -> None:
        self._calls: dict[int, Call] = {}
        self._from_address: Counter[str] = Counter()
        self._last_number = 0
        self._unused = Lockout(WITH_UNUSED)
        self._lock = threading.Lock()

    def admit(self, titles: Titles, address: str, decide: Callable[[int, int], Admit | Reject]) -> Call | Reject:
        """Decide on a request and enter it if it is admitted, in one step.

        Parameters
        ----------
        titles : Titles
            Who calls whom.
        address : str
            From where.
        decide : (open, open from this address) -> Admit or Reject
            The guard's decision.
        """
        with self._lock:
            decision = decide(len(self._calls), self._from_address[address])
            if isinstance(decision, Reject):
                return decision
            self._last_number += 1
            call = Call(
                number=self._last_number,
                peer=decision.peer,
                calling_ae=titles.calling_ae,
                called_ae=titles.called_ae,
                address=address,
                admitted=decision,
            )
            self._calls[call.number] = call
            self._from_address[address] += 1
            return call

    def close(self, call: Call, now_s: float, *, was_released: bool) -> bool:
        """Strike an association off; ``False`` if that happened before.

        Parameters
        ----------
        call : Call
            The association.
        now_s : float
            Of a clock that only runs forward.
        was_released : bool
            It ended as it should.
        """
        with self._lock:
            if self._calls.pop(call.number, None) is None:
                return False
            if not (was_released or call.has_stored):
                self._unused.note(call.address, now_s)
            self._from_address[call.address] -= 1
            if not self._from_address[call.address]:
                del self._from_address[call.address]
            return True

    def must_wait(self, address: str, now_s: float) -> bool:
        """Whether the next association from there has to wait, because so many came to nothing."""
        with self._lock:
            return self._unused.is_locked_out(address, now_s)

    @property
    def open_count(self) -> int:
        """How many are open."""
        with self._lock:
            return len(self._calls)
