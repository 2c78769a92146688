"""Encoded objects and their deliveries, written together when a job is encoded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime

from sqlalchemy import Connection, insert, select

from scp_node.domain.delivery import DeliveryState, EncodedObject, ObjectKind
from scp_node.domain.job import AnalysisJob
from scp_node.store import tables
from scp_node.store.job_rows import object_of


@dataclass(frozen=True, slots=True, kw_only=True)
class NewObject:
    """One object whose file is durable and that has no row yet."""

    kind: ObjectKind
    sop_class_uid: str
    sop_instance_uid: str
    series_instance_uid: str
    study_instance_uid: str
    file: str
    """Path below the data folder."""
    digest: str


def insert_objects(
    connection: Connection,
    job: AnalysisJob,
    objects: Sequence[NewObject],
    deliveries: Sequence[tuple[int, str]],
    now: datetime,
) -> list[EncodedObject]:
    """Write the rows of the objects of a job, and a queued delivery for each (index of an object, peer)."""
    encoded = tables.encoded_object
    object_ids = [
        connection.execute(
            insert(encoded)
            .values({**asdict(made), "kind": made.kind.value, "job_id": job.job_id, "encoded_at": now})
            .returning(encoded.c.object_id)
        ).scalar_one()
        for made in objects
    ]
    for index, peer in deliveries:
        connection.execute(
            insert(tables.delivery).values(
                object_id=object_ids[index],
                peer=peer,
                state=DeliveryState.QUEUED.value,
                state_since=now,
                attempts=0,
                not_before=now,
                queued_at=now,
                last_cause="",
            )
        )
    rows = connection.execute(select(encoded).where(encoded.c.job_id == job.job_id).order_by(encoded.c.object_id))
    return [object_of(row) for row in rows.mappings()]
