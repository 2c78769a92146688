"""The associations that one receiver holds open, as leased rows: they hold their studies back from being analysed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import Protocol

from scp_node.inbound.announcement import Announcement
from scp_node.store.associations import OpenAssociation

LEASE_S = 60.0
"""The rows of a killed receiver's associations hold their studies no longer than this."""
RENEW_S = 10.0


class AssociationRows(Protocol):
    """The rows of associations; :class:`scp_node.store.studies.StudyStore` keeps them."""

    def open_associations(self, rows: Iterable[OpenAssociation]) -> list[int]:
        """Make the rows of associations."""

    def note_carried(self, carried: Iterable[tuple[int, str]], now: datetime) -> None:
        """Note pairs of an association and a study of which it carried an instance that is recorded already."""

    def renew_associations(self, association_ids: Iterable[int], lease_until: datetime) -> None:
        """Extend leases."""

    def close_associations(self, association_ids: Iterable[int]) -> None:
        """Remove the rows."""


class OpenCalls:
    """The receiver's numbers of its open associations, each with the number of its row.

    Where a number is ``None`` nobody is known to hold an association open.

    Parameters
    ----------
    rows : AssociationRows
        Where the rows go.
    receiver : str
        Names the receiver in them.
    clock : () -> datetime
        Aware UTC.
    """

    def __init__(self, rows: AssociationRows, receiver: str, clock: Callable[[], datetime]) -> None:
        self._rows = rows
        self._receiver = receiver
        self._clock = clock
        self._associations: dict[int, int] = {}
        self._renewed_at_s = time.monotonic()

    def begin(self, calls: Iterable[tuple[int | None, Announcement]]) -> None:
        """Make the rows of those that bring their first objects, all at once: each commit is a sync of the disk."""
        rows = {
            call: OpenAssociation(
                association_id=0,
                calling_ae=announced.calling_ae,
                called_ae=announced.called_ae,
                calling_address=announced.address,
                receiver=self._receiver,
                lease_until=self._lease_end(),
            )
            for call, announced in calls
            if call is not None and call not in self._associations
        }
        if rows:
            self._associations.update(zip(rows, self._rows.open_associations(rows.values()), strict=True))

    def association_of(self, call: int | None) -> int | None:
        """Number of the row of a call that has begun."""
        return None if call is None else self._associations[call]

    def carry(self, studies: Iterable[tuple[int | None, str]]) -> None:
        """Note that calls that have begun carried objects of studies that are recorded already."""
        carried = {(self._associations[call], study) for call, study in studies if call is not None}
        if carried:
            self._rows.note_carried(carried, self._clock())

    def forget(self, calls: Iterable[int]) -> None:
        """Remove the rows of associations that have ended."""
        known = [call for call in dict.fromkeys(calls) if call in self._associations]
        if known:
            self._rows.close_associations([self._associations[call] for call in known])
        for call in known:
            del self._associations[call]

    def forget_all(self) -> None:
        """Remove all rows: the receiver has ended."""
        self.forget(list(self._associations))

    def renew(self) -> None:
        """Extend the leases, if it is time."""
        if time.monotonic() - self._renewed_at_s >= RENEW_S:
            self._renewed_at_s = time.monotonic()
            self._rows.renew_associations(self._associations.values(), self._lease_end())

    def _lease_end(self) -> datetime:
        return self._clock() + timedelta(seconds=LEASE_S)
