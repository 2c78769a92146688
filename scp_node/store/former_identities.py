"""Patient IDs and accession numbers that a study had before: people go on asking by the number that they know."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, insert, or_, select

from scp_node.domain.study import Identity, Study
from scp_node.store import tables


@dataclass(frozen=True, slots=True, kw_only=True)
class FormerIdentity:
    """What a study was called until a newer header replaced it."""

    patient_id: str
    accession_number: str
    replaced_at: datetime


def remember_former(connection: Connection, study: Study, successor: Identity, now: datetime) -> None:
    """Keep the present patient ID and accession number of a study that is about to take those of ``successor``."""
    former = _named(study.identity)
    if former == _named(successor) or not any(former):
        return
    patient_id, accession_number = former
    row = tables.former_identity.c
    known = select(row.former_id).where(
        row.study_instance_uid == study.study_instance_uid,
        row.patient_id == patient_id,
        row.accession_number == accession_number,
    )
    if connection.execute(known).first() is None:
        connection.execute(
            insert(tables.former_identity).values(
                study_instance_uid=study.study_instance_uid,
                patient_id=patient_id,
                accession_number=accession_number,
                replaced_at=now,
            )
        )


def formerly(text: str) -> ColumnElement[bool]:
    """Condition on the study table: it was called so before."""
    row = tables.former_identity.c
    called = select(row.study_instance_uid).where(or_(row.patient_id == text, row.accession_number == text))
    return tables.study.c.study_instance_uid.in_(called)


def former_identities(connection: Connection, study_instance_uid: str) -> tuple[FormerIdentity, ...]:
    """What a study was called before, the oldest first."""
    row = tables.former_identity.c
    found = connection.execute(
        select(row.patient_id, row.accession_number, row.replaced_at)
        .where(row.study_instance_uid == study_instance_uid)
        .order_by(row.former_id)
    )
    return tuple(FormerIdentity(**each) for each in found.mappings())


def corrections_of(connection: Connection, study_instance_uid: str) -> tuple[datetime, ...]:
    """When a study gave up a name that contradicts its present one: an accession number given late does not."""
    study = tables.study.c
    identity = connection.execute(
        select(study.identity).where(study.study_instance_uid == study_instance_uid)
    ).scalar_one_or_none()
    if identity is None:
        return ()
    patient_id, accession_number = str(identity["patient_id"]).strip(), str(identity["accession_number"]).strip()
    return tuple(
        former.replaced_at
        for former in former_identities(connection, study_instance_uid)
        if former.patient_id != patient_id
        or (former.accession_number and accession_number and former.accession_number != accession_number)
    )


def _named(identity: Identity) -> tuple[str, str]:
    return identity.patient_id.strip(), identity.accession_number.strip()
