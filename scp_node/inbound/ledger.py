"""Which associations are open in this process, and whether there is a place for one more."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from scp_node.inbound.guard import Admit, Load, Reject
from scp_node.inbound.lockout import WITH_UNUSED, Lockout
from scp_node.inbound.places import Places
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
    place: int
    has_stored: bool = False
    """It brought an object, so that the recorder knows of it."""
    useless_reports: int = 0
    """Commitment reports that told us nothing."""


class Ledger:
    """Open associations; safe for many threads.

    Parameters
    ----------
    places : Places
        What all receivers have together.
    """

    def __init__(self, places: Places) -> None:
        self.receivers: Final = places.receivers
        """How many share the doors."""
        self._places = places
        self._calls: dict[int, Call] = {}
        self._last_number = 0
        self._unused = Lockout(WITH_UNUSED.shared_by(self.receivers))
        self._lock = threading.Lock()

    def admit(self, titles: Titles, address: str, decide: Callable[[Load], Admit | Reject]) -> Call | Reject:
        """Decide on a request and enter it if it is admitted, in one step.

        Parameters
        ----------
        titles : Titles
            Who calls whom.
        address : str
            From where.
        decide : (Load) -> Admit or Reject
            The guard's decision.
        """
        with self._lock:
            decision = decide(self._places.load(address))
            if isinstance(decision, Reject):
                return decision
            place = self._places.take(address)
            # Another receiver may have given away the last one at the same moment.
            decision = decide(self._places.load(address, besides=place))
            if isinstance(decision, Reject):
                self._places.give_back(place)
                return decision
            self._last_number += 1
            call = Call(
                number=self._last_number,
                peer=decision.peer,
                calling_ae=titles.calling_ae,
                called_ae=titles.called_ae,
                address=address,
                admitted=decision,
                place=place,
            )
            self._calls[call.number] = call
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
            self._places.give_back(call.place)
            return True

    def must_wait(self, address: str, now_s: float) -> bool:
        """Whether the next association from there has to wait, because so many came to nothing."""
        with self._lock:
            return self._unused.is_locked_out(address, now_s)

    def has_more_than_another(self) -> bool:
        """Whether another receiver has fewer open than this one."""
        with self._lock:
            return self._places.is_fuller_than_another()

    @property
    def open_count(self) -> int:
        """How many are open."""
        with self._lock:
            return len(self._calls)
