"""Open associations: leased rows, because an image that is still on its way makes a study incomplete."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, delete, insert, select, update

from scp_node.store.tables import association, association_study


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenAssociation:
    """One association that a receiver holds open."""

    association_id: int
    calling_ae: str
    called_ae: str
    calling_address: str
    receiver: str
    lease_until: datetime


def opened(connection: Connection, row: OpenAssociation) -> int:
    """Write the row (its number is ignored); return its number."""
    values = {
        "calling_ae": row.calling_ae,
        "called_ae": row.called_ae,
        "calling_address": row.calling_address,
        "receiver": row.receiver,
        "lease_until": row.lease_until,
    }
    return int(
        connection.execute(insert(association).values(values).returning(association.c.association_id)).scalar_one()
    )


def renewed(connection: Connection, association_id: int, lease_until: datetime) -> None:
    """Extend the lease."""
    connection.execute(
        update(association).where(association.c.association_id == association_id).values(lease_until=lease_until)
    )


def carried(connection: Connection, association_id: int, study_instance_uid: str, at: datetime) -> None:
    """Note that an instance of the study came through the association; one that is closed already is fine."""
    here = (association_study.c.association_id == association_id) & (
        association_study.c.study_instance_uid == study_instance_uid
    )
    if connection.execute(update(association_study).where(here).values(last_instance_at=at)).rowcount:
        return
    still_open = select(association.c.association_id).where(association.c.association_id == association_id)
    if connection.execute(still_open).first() is not None:
        connection.execute(
            insert(association_study).values(
                association_id=association_id, study_instance_uid=study_instance_uid, last_instance_at=at
            )
        )


def closed(connection: Connection, association_id: int) -> None:
    """Forget the association; its studies go with it."""
    connection.execute(delete(association).where(association.c.association_id == association_id))


def forget_expired(connection: Connection, now: datetime) -> int:
    """Forget associations whose receiver died; return how many."""
    return connection.execute(delete(association).where(association.c.lease_until <= now)).rowcount


def held_open(connection: Connection, now: datetime, hold_s: float) -> set[str]:
    """Studies of which an open association carried an instance within the last ``hold_s`` seconds."""
    rows = connection.execute(
        select(association_study.c.study_instance_uid)
        .join(association)
        .where(association.c.lease_until > now)
        .where(association_study.c.last_instance_at > now - timedelta(seconds=hold_s))
    )
    return set(rows.scalars())
