"""Whether an arriving instance is really a new one: what was recorded, set aside, purged or made by us before."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import Connection, RowMapping, select

from scp_node.domain.digest import DigestForm, form_of
from scp_node.domain.study import ReceivedInstance
from scp_node.store import tables
from scp_node.store.among import is_among


def is_own(connection: Connection, sop_instance_uid: str) -> bool:
    """Whether this node encoded the object."""
    own = tables.encoded_object.c
    return connection.execute(select(own.object_id).where(own.sop_instance_uid == sop_instance_uid)).first() is not None


def held_in_former_form(connection: Connection, sop_instance_uids: Collection[str]) -> set[str]:
    """Those of the UIDs of which a row holds digests that an earlier version took."""
    found: set[str] = set()
    for table, digest in (
        (tables.instance, tables.instance.c.newest_digest),
        (tables.quarantine, tables.quarantine.c.dataset_digest),
    ):
        uid = table.c.sop_instance_uid
        rows = connection.execute(select(uid, digest).where(is_among(uid, sop_instance_uids)))
        # What could not be read was set aside without a digest.
        found.update(row[0] for row in rows if row[1] and form_of(row[1]) is DigestForm.SHA256)
    return found


def is_recorded(connection: Connection, spool_key: str) -> bool:
    """Whether a row refers to the file already."""
    return any(
        connection.execute(select(table.c.spool_key).where(table.c.spool_key == spool_key)).first() is not None
        for table in (tables.instance, tables.correction, tables.quarantine)
    )


def is_leftover(connection: Connection, row: RowMapping, received: ReceivedInstance) -> bool:
    """A purge that was cut short leaves files whose rows have let them go; the moment of reception gives them away."""
    if received.received_at == row["spooled_at"]:
        return True
    correction = tables.correction.c
    found = select(correction.correction_id).where(
        correction.sop_instance_uid == received.summary.sop_instance_uid,
        correction.received_at == received.received_at,
    )
    return connection.execute(found).first() is not None


def is_in_quarantine(connection: Connection, sop_instance_uid: str, dataset_digest: str) -> bool:
    """Whether this very data set was set aside before."""
    held = tables.quarantine.c
    found = connection.execute(
        select(held.quarantine_id).where(
            held.sop_instance_uid == sop_instance_uid, held.dataset_digest == dataset_digest
        )
    )
    return found.first() is not None
