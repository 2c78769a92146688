"""Rows of studies and instances, to and from the types of the domain."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, RowMapping, select

from analyzers.contract import InstanceSummary
from analyzers.wire import instance_from_json
from scp_node.domain.reception import pixel_form
from scp_node.domain.study import Identity, Study, StudyEvent, StudyState
from scp_node.errors import UnknownStudyError
from scp_node.store import tables
from scp_node.store.transitions import STUDY, Subject

StudySubject = Subject[StudyState, StudyEvent]


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredInstance:
    """One SOP instance of a study as the store holds it."""

    summary: InstanceSummary
    spool_key: str | None
    """The file that is analysed, received first whatever was corrected later; ``None`` once purged."""
    received_at: datetime
    byte_count: int
    dataset_digest: str
    """Of that file."""
    pixel_digest: str
    """Of the pixels of that file."""
    geometry_digest: str
    usable_image: bool
    called_ae: str
    calling_ae: str


def identity_columns(identity: Identity) -> dict[str, Any]:
    """The columns of a study that hold its identity."""
    return {
        "identity": asdict(identity),
        "patient_id": identity.patient_id.strip(),
        "issuer_of_patient_id": identity.issuer_of_patient_id.strip(),
        "accession_number": identity.accession_number.strip(),
    }


def study_of(row: RowMapping) -> Study:
    """The domain's study of a row of the study table."""
    return Study(
        study_instance_uid=row["study_instance_uid"],
        state=StudyState(row["state"]),
        revision=row["revision"],
        identity=Identity(**row["identity"]),
        first_received_at=row["first_received_at"],
        last_received_at=row["last_received_at"],
        instance_count=row["instance_count"],
        state_reason=row["state_reason"],
        conflict=row["conflict"],
        sources_purged=row["sources_purged"],
    )


def find_study(connection: Connection, study_instance_uid: str) -> Study | None:
    """The study, or ``None``."""
    row = (
        connection.execute(select(tables.study).where(tables.study.c.study_instance_uid == study_instance_uid))
        .mappings()
        .one_or_none()
    )
    return None if row is None else study_of(row)


def require_study(connection: Connection, study_instance_uid: str) -> Study:
    """The study.

    Raises
    ------
    UnknownStudyError
        If there is none.
    """
    found = find_study(connection, study_instance_uid)
    if found is None:
        msg = f"no study {study_instance_uid} was ever received"
        raise UnknownStudyError(msg)
    return found


def subject_of(study: Study) -> StudySubject:
    """The study as something that events happen to."""
    return Subject(
        kind=STUDY, key=study.study_instance_uid, state=study.state, study_instance_uid=study.study_instance_uid
    )


def instance_of(row: RowMapping) -> StoredInstance:
    """The stored instance of a row of the instance table."""
    summary = instance_from_json(row["summary"])
    digests: Mapping[str, str] = row["pixel_digests"]
    return StoredInstance(
        summary=summary,
        spool_key=row["spool_key"],
        received_at=row["received_at"],
        byte_count=row["byte_count"],
        dataset_digest=row["dataset_digest"],
        pixel_digest=digests[pixel_form(summary.transfer_syntax_uid)],
        geometry_digest=row["geometry_digest"],
        usable_image=row["usable_image"],
        called_ae=row["called_ae"],
        calling_ae=row["calling_ae"],
    )
