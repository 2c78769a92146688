"""Objects that were kept without being taken: unreadable, hostile, or contradicting what is held."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import insert, select

from scp_node.store import tables
from scp_node.store.database import Database


@dataclass(frozen=True, slots=True, kw_only=True)
class QuarantinedObject:
    """One object set aside, durable like any other."""

    quarantine_id: int
    sop_instance_uid: str
    """Empty where it could not be read, like the study's UID."""
    study_instance_uid: str
    received_at: datetime
    calling_ae: str
    calling_address: str
    dataset_digest: str
    reason: str
    """Without patient data."""
    spool_key: str | None
    """``None`` once purged."""
    byte_count: int


class Quarantine:
    """The rows of what was set aside; the files lie in the spool under their keys."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, found: QuarantinedObject) -> int:
        """Record an object that lies durably in the spool (its number is ignored); return the number."""
        columns = [column for column in tables.quarantine.c if column.name != "quarantine_id"]
        values = {column.name: getattr(found, column.name) for column in columns}
        with self._database.writing() as connection:
            return int(
                connection.execute(
                    insert(tables.quarantine).values(values).returning(tables.quarantine.c.quarantine_id)
                ).scalar_one()
            )

    def has(self, spool_key: str) -> bool:
        """Whether a file was set aside."""
        held = tables.quarantine.c
        with self._database.reading() as connection:
            found = connection.execute(select(held.quarantine_id).where(held.spool_key == spool_key))
            return found.first() is not None

    def of_study(self, study_instance_uid: str) -> list[QuarantinedObject]:
        """What was set aside for one study, oldest first; an empty UID gives what could not be read."""
        with self._database.reading() as connection:
            rows = connection.execute(
                select(tables.quarantine)
                .where(tables.quarantine.c.study_instance_uid == study_instance_uid)
                .order_by(tables.quarantine.c.quarantine_id)
            )
            return [QuarantinedObject(**row) for row in rows.mappings()]
