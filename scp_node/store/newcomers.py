"""Rows of instances that nobody has seen before, one or many of a study, and what they do to the study."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, insert

from analyzers.wire import instance_to_json
from scp_node.domain.reception import pixel_form
from scp_node.domain.study import ReceivedInstance, Study, StudyEvent, StudyState
from scp_node.store import tables
from scp_node.store.job_rows import is_spent, supersede_unencoded
from scp_node.store.study_rows import find_study, identity_columns, require_study, subject_of
from scp_node.store.transitions import advance

_SETTLED = (StudyState.ROUTED, StudyState.IGNORED, StudyState.HELD)


def study_for(connection: Connection, received: ReceivedInstance) -> Study:
    """The study of an instance; made if it is the first."""
    study_instance_uid = received.summary.study_instance_uid
    found = find_study(connection, study_instance_uid)
    if found is not None:
        return found
    connection.execute(
        insert(tables.study).values(
            study_instance_uid=study_instance_uid,
            state=StudyState.RECEIVING.value,
            revision=1,
            first_received_at=received.received_at,
            last_received_at=received.received_at,
            state_since=received.received_at,
            instance_count=0,
            state_reason="",
            conflict="",
            sources_purged=False,
            **identity_columns(received.identity),
        )
    )
    return require_study(connection, study_instance_uid)


def insert_instances(connection: Connection, received: Sequence[ReceivedInstance]) -> None:
    """Write the rows of new instances."""
    connection.execute(insert(tables.instance), [_instance_row(one) for one in received])


def _instance_row(received: ReceivedInstance) -> dict[str, Any]:
    summary = received.summary
    patient_id, issuer_of_patient_id = patient_of(received)
    return {
        "sop_instance_uid": summary.sop_instance_uid,
        "study_instance_uid": summary.study_instance_uid,
        "series_instance_uid": summary.series_instance_uid,
        "sop_class_uid": summary.sop_class_uid,
        "called_ae": received.called_ae,
        "calling_ae": received.calling_ae,
        "calling_address": received.calling_address,
        "received_at": received.received_at,
        "newest_digest": received.dataset_digest,
        "usable_image": received.usable_image,
        "patient_id": patient_id,
        "issuer_of_patient_id": issuer_of_patient_id,
        **file_columns(received),
        "pixel_digests": {pixel_form(summary.transfer_syntax_uid): received.pixel_digest},
    }


def file_columns(received: ReceivedInstance) -> dict[str, Any]:
    """The columns of an instance that speak of its file."""
    return {
        "spool_key": received.spool_key,
        "spooled_at": received.received_at,
        "byte_count": received.byte_count,
        "dataset_digest": received.dataset_digest,
        "geometry_digest": received.geometry_digest,
        "summary": instance_to_json(received.summary),
    }


def patient_of(received: ReceivedInstance) -> tuple[str, str]:
    """Patient ID and its issuer."""
    return received.identity.patient_id.strip(), received.identity.issuer_of_patient_id.strip()


def images_arrived(connection: Connection, study: Study, images: Sequence[ReceivedInstance], now: datetime) -> None:
    """Reopen the study for new usable images of it, in the order of reception; at least one."""
    supersede_unencoded(connection, study.study_instance_uid, now, "a new image arrived before the answer was encoded")
    revision = study.revision + is_spent(connection, study.study_instance_uid, study.revision)
    starts_anew = study.state in _SETTLED or study.instance_count == 0
    first_at, last_at = images[0].received_at, max(image.received_at for image in images)
    values = {
        "revision": revision,
        "instance_count": study.instance_count + len(images),
        "first_received_at": first_at if starts_anew else study.first_received_at,
        "last_received_at": last_at if starts_anew else max(study.last_received_at, last_at),
        "state_reason": "",
    }
    detail = {"count": len(images)} if len(images) > 1 else None
    advance(connection, subject_of(study), StudyEvent.IMAGE_ARRIVED, now=now, detail=detail, values=values)
