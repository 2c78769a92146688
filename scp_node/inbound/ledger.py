"""Which associations are open in this process, and their leased rows in the store."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

from scp_node.inbound.guard import Admit, Reject


class AssociationRows(Protocol):
    """The rows of open associations; :class:`scp_node.store.studies.StudyStore` keeps them."""

    def open_association(
        self, calling_ae: str, called_ae: str, calling_address: str, receiver: str, lease_until: datetime
    ) -> int:
        """Make a row."""

    def touch_association(
        self, association_id: int, study_instance_uid: str | None, last_instance_at: datetime, lease_until: datetime
    ) -> None:
        """Extend its lease."""

    def close_association(self, association_id: int) -> None:
        """Remove it."""


@dataclass(slots=True, kw_only=True, eq=False)
class Call:
    """One admitted association. Changes while it is open: its row is made when the first object arrives."""

    peer: str
    calling_ae: str
    called_ae: str
    address: str
    association_id: int | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)


class Ledger:
    """Open associations by the library's object for each; safe for many threads.

    Parameters
    ----------
    rows : AssociationRows
        Their rows.
    receiver : str
        Names this process in the rows.
    lease_s : float
        A row outlives a killed receiver by at most so long.
    """

    def __init__(self, rows: AssociationRows, receiver: str, lease_s: float) -> None:
        self._rows = rows
        self._receiver = receiver
        self._lease = timedelta(seconds=lease_s)
        self._calls: dict[object, Call] = {}
        self._lock = threading.Lock()

    def admit(
        self, key: object, decide: Callable[[int], Admit | Reject], call: Callable[[Admit], Call]
    ) -> Admit | Reject:
        """Decide on a new association, given how many are open, and enter it if it is admitted; in one step."""
        with self._lock:
            decision = decide(len(self._calls))
            if isinstance(decision, Admit):
                self._calls[key] = call(decision)
            return decision

    def call(self, key: object) -> Call | None:
        """The admitted association, if it is open."""
        with self._lock:
            return self._calls.get(key)

    def row_of(self, call: Call, now: datetime) -> int:
        """Number of its row; made at the first object, so that an echo costs none.

        Raises
        ------
        StoreError
            If the row cannot be made.
        """
        with call.lock:
            if call.association_id is None:
                call.association_id = self._rows.open_association(
                    call.calling_ae, call.called_ae, call.address, self._receiver, now + self._lease
                )
            return call.association_id

    def close(self, key: object) -> Call | None:
        """Strike an association off and remove its row; ``None`` if that happened before."""
        with self._lock:
            call = self._calls.pop(key, None)
        if call is not None and call.association_id is not None:
            self._rows.close_association(call.association_id)
        return call

    def renew(self, now: datetime) -> None:
        """Extend the leases of all that are open."""
        with self._lock:
            numbers = [call.association_id for call in self._calls.values()]
        for association_id in numbers:
            if association_id is not None:
                self._rows.touch_association(association_id, None, now, now + self._lease)

    def keys(self) -> list[object]:
        """The open associations."""
        with self._lock:
            return list(self._calls)
