"""Rows of deliveries, with the objects that they carry: to the domain's type, and which of them are meant."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, RowMapping, Select, and_, exists, or_, select

from scp_node.domain.delivery import ENDED, STOPPED, Delivery, DeliveryEvent, DeliveryState, ObjectKind
from scp_node.errors import StoreError
from scp_node.store import tables
from scp_node.store.job_rows import object_of
from scp_node.store.transitions import DELIVERY, Subject, advance

FIRST_KINDS = [kind.value for kind in ObjectKind if kind.send_rank == 0]
SETTLED = [state.value for state in (DeliveryState.SENT, *ENDED, DeliveryState.FAILED)]
"""What no report waits for any longer. A peer that refuses a segmentation for good is still owed the answer."""

SELECT_DELIVERIES = select(
    tables.delivery,
    *(column for column in tables.encoded_object.c if column.name != "object_id"),
).select_from(tables.delivery.join(tables.encoded_object))


def found_deliveries(connection: Connection, wanted: Select[Any]) -> list[Delivery]:
    """The deliveries of a selection, the oldest first."""
    rows = connection.execute(wanted.order_by(tables.delivery.c.delivery_id)).mappings().all()
    return [delivery_of(row) for row in rows]


def deliveries_of_study(study_instance_uid: str) -> Select[Any]:
    """Every delivery of the results of a study."""
    return SELECT_DELIVERIES.join(tables.job).where(tables.job.c.study_instance_uid == study_instance_uid)


def is_stuck() -> ColumnElement[bool]:
    """What is stopped, or queued behind what stopped: a report waits for the images of its job that were withheld."""
    delivery, encoded = tables.delivery.c, tables.encoded_object.c
    other, other_object = tables.delivery.alias(), tables.encoded_object.alias()
    behind_it = exists().where(
        other.c.object_id == other_object.c.object_id,
        other_object.c.job_id == encoded.job_id,
        other.c.peer == delivery.peer,
        other.c.state.in_(STOPPED),
    )
    return or_(delivery.state.in_(STOPPED), and_(delivery.state == DeliveryState.QUEUED.value, behind_it))


def stuck_before(later: Delivery) -> Select[Any]:
    """What is stuck on its way to the same peer, of earlier revisions of the same analyzer's answer."""
    job, newer = tables.job.c, tables.job.alias()
    return (
        SELECT_DELIVERIES.join(tables.job)
        .join(newer, newer.c.job_id == later.encoded.job_id)
        .where(tables.delivery.c.peer == later.peer, is_stuck())
        .where(job.study_instance_uid == newer.c.study_instance_uid, job.analyzer == newer.c.analyzer)
        .where(job.revision < newer.c.revision)
    )


def due_deliveries(peer: str, now: datetime) -> Select[Any]:
    """What may be sent to a peer now: no report whose images and segmentations are still on their way."""
    delivery, encoded = tables.delivery.c, tables.encoded_object.c
    other, other_object = tables.delivery.alias(), tables.encoded_object.alias()
    unstored = exists().where(
        other.c.object_id == other_object.c.object_id,
        other_object.c.job_id == encoded.job_id,
        other.c.peer == peer,
        other_object.c.kind.in_(FIRST_KINDS),
        other.c.state.not_in(SETTLED),
    )
    return (
        SELECT_DELIVERIES.where(delivery.peer == peer)
        .where(delivery.state == DeliveryState.QUEUED.value, delivery.not_before <= now)
        .where(or_(encoded.kind.in_(FIRST_KINDS), ~unstored))
        .order_by(encoded.job_id, encoded.kind.not_in(FIRST_KINDS), delivery.delivery_id)
    )


def delivery_of(row: RowMapping) -> Delivery:
    """The domain's delivery of a row of :data:`SELECT_DELIVERIES`."""
    return Delivery(
        delivery_id=row["delivery_id"],
        encoded=object_of(row),
        peer=row["peer"],
        state=DeliveryState(row["state"]),
        attempts=row["attempts"],
        not_before=row["not_before"],
        queued_at=row["queued_at"],
        lease_expires_at=row["lease_expires_at"],
        last_status=row["last_status"],
        last_cause=row["last_cause"],
        commitment_uid=row["commitment_uid"],
        commitment_asked_at=row["commitment_asked_at"],
    )


def require_delivery(connection: Connection, delivery_id: int) -> Delivery:
    """The delivery.

    Raises
    ------
    StoreError
        If there is none.
    """
    row = (
        connection.execute(SELECT_DELIVERIES.where(tables.delivery.c.delivery_id == delivery_id))
        .mappings()
        .one_or_none()
    )
    if row is None:
        msg = f"there is no delivery {delivery_id}"
        raise StoreError(msg)
    return delivery_of(row)


def resumed(connection: Connection, delivery_id: int, attempt: int, now: datetime) -> Delivery | None:
    """The delivery, for the sender of one attempt; ``None`` if it is not that sender's any more.

    A sender that slept for longer than its lease, because the machine was paused, finds its delivery queued. As long as
    nobody else took it, it is still the sender's.
    """
    found = require_delivery(connection, delivery_id)
    if found.attempts != attempt:
        return None
    if found.state is DeliveryState.QUEUED:
        return advance_delivery(connection, found, DeliveryEvent.LEASED, now=now, reason="its sender goes on")
    return found if found.state is DeliveryState.SENDING else None


def advance_delivery(
    connection: Connection,
    found: Delivery,
    event: DeliveryEvent,
    *,
    now: datetime,
    reason: str = "",
    detail: Mapping[str, Any] | None = None,
    values: Mapping[str, Any] | None = None,
) -> Delivery:
    """Let an event happen to a delivery; see :func:`scp_node.store.transitions.advance`."""
    subject = Subject(
        kind=DELIVERY,
        key=found.delivery_id,
        state=found.state,
        study_instance_uid=found.encoded.study_instance_uid,
    )
    told = detail or {"peer": found.peer}
    advance(connection, subject, event, now=now, reason=reason, detail=told, values=values)
    return require_delivery(connection, found.delivery_id)
