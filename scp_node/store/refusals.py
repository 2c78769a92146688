"""What was refused at the door, counted by day: a silent drop would be a lost study that nobody knows of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import delete, insert, select, update

from scp_node.store import tables
from scp_node.store.database import Database

KEPT_D = 90
"""Days that counts are kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """How often something was refused for one reason on one day."""

    day: str
    """UTC, as ``2026-11-24``."""
    peer: str
    """Name in ``peers.toml``; empty for a stranger."""
    status: str
    reason: str
    count: int
    last_at: datetime


class Refusals:
    """The counts."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def count(self, refused: Mapping[tuple[str, str, str], int], now: datetime) -> None:
        """Add to the counts of today.

        Parameters
        ----------
        refused : (peer, status, reason) -> int
            How often each came since the last call.
        now : datetime
            Aware UTC.
        """
        row = tables.refusal.c
        day = now.date().isoformat()
        with self._database.writing() as connection:
            for (peer, status, reason), count in refused.items():
                here = (row.day == day) & (row.peer == peer) & (row.status == status) & (row.reason == reason)
                values = {"count": row.count + count, "last_at": now}
                if not connection.execute(update(tables.refusal).where(here).values(values)).rowcount:
                    connection.execute(
                        insert(tables.refusal).values(
                            day=day, peer=peer, status=status, reason=reason, count=count, last_at=now
                        )
                    )
            oldest = (now - timedelta(days=KEPT_D)).date().isoformat()
            connection.execute(delete(tables.refusal).where(row.day < oldest))

    def since(self, at: datetime) -> list[Refusal]:
        """The counts of the days from ``at`` on, newest first."""
        row = tables.refusal.c
        with self._database.reading() as connection:
            rows = connection.execute(
                select(tables.refusal).where(row.day >= at.date().isoformat()).order_by(row.last_at.desc())
            )
            return [Refusal(**one) for one in rows.mappings()]
