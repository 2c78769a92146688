"""What an arriving instance does to its study: nothing twice, nothing lost, nothing reopened by an echo."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any, assert_never

from sqlalchemy import Connection, RowMapping, insert, select, update

from scp_node.domain.reception import HeldInstance, compare, pixel_form
from scp_node.domain.study import ReceivedInstance, Reception, Study, StudyEvent, StudyState
from scp_node.store import tables
from scp_node.store.former_identities import remember_former
from scp_node.store.job_rows import supersede_unencoded
from scp_node.store.newcomers import file_columns, images_arrived, insert_instances, patient_of, study_for
from scp_node.store.repetitions import is_in_quarantine, is_leftover, is_own, is_recorded
from scp_node.store.study_rows import find_study, identity_columns, require_study, subject_of
from scp_node.store.transitions import advance, note

Patient = tuple[str, str]
"""Patient ID and its issuer."""


class Conflict(StrEnum):
    """What must hold a study until a person, or a correction, resolves it."""

    TWO_PATIENTS = "two patient IDs in one study"
    OTHER_PIXELS = "an object came again with other pixels or geometry; the second one is in quarantine"
    FOREIGN_OBJECT = "an object carries the SOP Instance UID of an object of another study; it is in quarantine"
    SOURCES_GONE = "sources gone: an image arrived after the others were purged; send the whole study again"


_SEPARATOR = " | "
_SETTLED = (StudyState.ROUTED, StudyState.IGNORED, StudyState.HELD)


def take(connection: Connection, received: ReceivedInstance, now: datetime) -> Reception:
    """Record one instance that lies durably in the spool.

    For ``SAME`` and ``OWN`` no row refers to the new file: the caller removes it. A file that is recorded a second time
    (two recorders may find it, one by a notice and one in the spool) changes nothing and is answered as ``NEW``.
    """
    reception = _taken(connection, received, now)
    if reception in (Reception.SAME, Reception.OWN) and is_recorded(connection, received.spool_key):
        return Reception.NEW
    return reception


def _taken(connection: Connection, received: ReceivedInstance, now: datetime) -> Reception:
    sop_instance_uid = received.summary.sop_instance_uid
    if is_own(connection, sop_instance_uid):
        _note_own(connection, received, now)
        return Reception.OWN
    if is_in_quarantine(connection, sop_instance_uid, received.dataset_digest):
        return Reception.SAME
    row = (
        connection.execute(select(tables.instance).where(tables.instance.c.sop_instance_uid == sop_instance_uid))
        .mappings()
        .one_or_none()
    )
    if row is None:
        _take_new(connection, received, now)
        return Reception.NEW
    if is_recorded(connection, received.spool_key):
        return Reception.NEW
    return _take_again(connection, row, received, now)


def without(conflict: str, resolved: Conflict) -> str:
    """The conflicts that remain."""
    return _SEPARATOR.join(part for part in conflict.split(_SEPARATOR) if part and part != resolved)


def _take_again(connection: Connection, row: RowMapping, received: ReceivedInstance, now: datetime) -> Reception:
    reception = compare(_held(row), received)
    match reception:
        case Reception.SAME if row["spool_key"] is None and not is_leftover(connection, row, received):
            # The same as ever, but its file was purged: this one is kept in its place.
            _restore(connection, received, now)
            return Reception.NEW
        case Reception.SAME:
            pass
        case Reception.CORRECTION:
            _correct(connection, row, received, now)
        case Reception.CONFLICT:
            _set_aside(connection, row["study_instance_uid"], received, now)
        case Reception.NEW | Reception.OWN:
            msg = "an instance that is held is neither new nor ours"
            raise AssertionError(msg)
        case _:
            assert_never(reception)
    return reception


def _held(row: RowMapping) -> HeldInstance:
    return HeldInstance(
        study_instance_uid=row["study_instance_uid"],
        series_instance_uid=row["series_instance_uid"],
        sop_class_uid=row["sop_class_uid"],
        dataset_digest=row["newest_digest"],
        geometry_digest=row["geometry_digest"],
        pixel_digests=row["pixel_digests"],
    )


# --- a new instance ---------------------------------------------------------------------------------------


def _take_new(connection: Connection, received: ReceivedInstance, now: datetime) -> None:
    study = study_for(connection, received)
    second_patient = _is_second_patient(connection, study, received)
    insert_instances(connection, [received])
    # An image of another patient corrects nothing, neither the first one nor those after it, and also not once a
    # person has accepted both: the identity that the study had stands.
    if _is_of_its_patient(study, received) and (study.instance_count == 0 or received.usable_image):
        _adopt_identity(connection, study, received)
    if received.usable_image:
        images_arrived(connection, study, [received], now)
        if study.sources_purged:
            _hold(connection, study.study_instance_uid, Conflict.SOURCES_GONE, now)
    if second_patient:
        _hold(connection, study.study_instance_uid, Conflict.TWO_PATIENTS, now)


# --- a known instance again -------------------------------------------------------------------------------


def _restore(connection: Connection, received: ReceivedInstance, now: datetime) -> None:
    """Keep a file in place of the purged one."""
    digests = {pixel_form(received.summary.transfer_syntax_uid): received.pixel_digest}
    connection.execute(
        update(tables.instance)
        .where(tables.instance.c.sop_instance_uid == received.summary.sop_instance_uid)
        .values(**file_columns(received), pixel_digests=digests)
    )
    _file_returned(connection, received.summary.study_instance_uid, now)


def _file_returned(connection: Connection, study_instance_uid: str, now: datetime) -> None:
    """When the last purged image has come back, the study has its sources again."""
    study = require_study(connection, study_instance_uid)
    instance = tables.instance.c
    gone = select(instance.sop_instance_uid).where(
        instance.study_instance_uid == study_instance_uid,
        instance.usable_image.is_(True),
        instance.spool_key.is_(None),
    )
    if not study.sources_purged or connection.execute(gone.limit(1)).first() is not None:
        return
    connection.execute(
        update(tables.study).where(tables.study.c.study_instance_uid == study_instance_uid).values(sources_purged=False)
    )
    note(connection, subject_of(study), "sources-restored", now=now, reason="every purged image was sent again")
    _resolve(connection, study, Conflict.SOURCES_GONE, now)


def _correct(connection: Connection, row: RowMapping, received: ReceivedInstance, now: datetime) -> None:
    """Keep the newest headers; the pixels received first stay the ones that are analysed."""
    summary = received.summary
    study = require_study(connection, summary.study_instance_uid)
    others = _patients(connection, study.study_instance_uid, besides=summary.sop_instance_uid)
    patient_id, issuer_of_patient_id = patient = patient_of(received)
    values: dict[str, Any] = {
        "newest_digest": received.dataset_digest,
        "patient_id": patient_id,
        "issuer_of_patient_id": issuer_of_patient_id,
        "pixel_digests": {**row["pixel_digests"], pixel_form(summary.transfer_syntax_uid): received.pixel_digest},
    }
    kept_as_correction = row["spool_key"] is not None
    if not kept_as_correction:
        values |= file_columns(received)
    connection.execute(
        update(tables.instance).where(tables.instance.c.sop_instance_uid == summary.sop_instance_uid).values(values)
    )
    _insert_correction(connection, received, received.spool_key if kept_as_correction else None)
    detail = {"sop_instance_uid": summary.sop_instance_uid, "transfer_syntax_uid": summary.transfer_syntax_uid}
    note(connection, subject_of(study), "header-corrected", now=now, detail=detail)
    _adopt_identity(connection, study, received)
    if others and not any(_same_patient(patient, other) for other in others):
        _hold(connection, study.study_instance_uid, Conflict.TWO_PATIENTS, now)
    elif all(_same_patient(patient, other) for other in others):
        _resolve(connection, study, Conflict.TWO_PATIENTS, now)
    if not kept_as_correction:
        _file_returned(connection, study.study_instance_uid, now)


def _insert_correction(connection: Connection, received: ReceivedInstance, spool_key: str | None) -> None:
    connection.execute(
        insert(tables.correction).values(
            sop_instance_uid=received.summary.sop_instance_uid,
            received_at=received.received_at,
            transfer_syntax_uid=received.summary.transfer_syntax_uid,
            dataset_digest=received.dataset_digest,
            identity=identity_columns(received.identity)["identity"],
            spool_key=spool_key,
            byte_count=received.byte_count,
        )
    )


def _set_aside(connection: Connection, holder_uid: str, received: ReceivedInstance, now: datetime) -> None:
    """Quarantine the second object and hold the study that it says it belongs to."""
    summary = received.summary
    foreign = holder_uid != summary.study_instance_uid
    conflict = Conflict.FOREIGN_OBJECT if foreign else Conflict.OTHER_PIXELS
    connection.execute(
        insert(tables.quarantine).values(
            sop_instance_uid=summary.sop_instance_uid,
            study_instance_uid=summary.study_instance_uid,
            received_at=received.received_at,
            calling_ae=received.calling_ae,
            calling_address=received.calling_address,
            dataset_digest=received.dataset_digest,
            reason=conflict.value,
            spool_key=received.spool_key,
            byte_count=received.byte_count,
        )
    )
    study = study_for(connection, received)
    detail = {"sop_instance_uid": summary.sop_instance_uid, "held_by_study": holder_uid}
    _hold(connection, study.study_instance_uid, conflict, now, detail)


# --- identity and conflicts -------------------------------------------------------------------------------


def _same_patient(one: Patient, other: Patient) -> bool:
    """Silence contradicts nothing: many devices write no issuer, some no ID."""
    same_id = one[0] == other[0] or not one[0] or not other[0]
    return same_id and (one[1] == other[1] or not one[1] or not other[1])


def _patients(connection: Connection, study_instance_uid: str, *, besides: str = "") -> set[Patient]:
    instance = tables.instance.c
    rows = connection.execute(
        select(instance.patient_id, instance.issuer_of_patient_id)
        .where(instance.study_instance_uid == study_instance_uid, instance.sop_instance_uid != besides)
        .distinct()
    )
    return {(row.patient_id, row.issuer_of_patient_id) for row in rows}


def _is_second_patient(connection: Connection, study: Study, received: ReceivedInstance) -> bool:
    if _is_of_its_patient(study, received):
        return False
    # A person may have accepted both; only one that is unknown in this study is news.
    patient = patient_of(received)
    known = _patients(connection, study.study_instance_uid)
    return not any(_same_patient(patient, other) for other in known)


def _is_of_its_patient(study: Study, received: ReceivedInstance) -> bool:
    its = (study.identity.patient_id.strip(), study.identity.issuer_of_patient_id.strip())
    return _same_patient(patient_of(received), its)


def _adopt_identity(connection: Connection, study: Study, received: ReceivedInstance) -> None:
    """The newest identity wins, unless it names nobody where the present one names somebody."""
    if received.identity == study.identity or (study.identity.patient_id and not received.identity.patient_id):
        return
    remember_former(connection, study, received.identity, received.received_at)
    connection.execute(
        update(tables.study)
        .where(tables.study.c.study_instance_uid == study.study_instance_uid)
        .values(identity_columns(received.identity))
    )


def _hold(
    connection: Connection,
    study_instance_uid: str,
    conflict: Conflict,
    now: datetime,
    detail: dict[str, Any] | None = None,
) -> None:
    study = require_study(connection, study_instance_uid)
    supersede_unencoded(connection, study_instance_uid, now, conflict.value)
    parts = [part for part in study.conflict.split(_SEPARATOR) if part]
    text = _SEPARATOR.join(dict.fromkeys([*parts, conflict.value]))
    values = {"conflict": text, "state_reason": text}
    subject = subject_of(study)
    advance(
        connection, subject, StudyEvent.CONFLICT_FOUND, now=now, reason=conflict.value, detail=detail, values=values
    )


def _resolve(connection: Connection, study: Study, conflict: Conflict, now: datetime) -> None:
    """Take one conflict away; a study held by nothing else is received on, and so decided again."""
    if conflict not in study.conflict:
        return
    remaining = without(study.conflict, conflict)
    reopens = study.state is StudyState.HELD and not remaining
    reason = f"resolved: {conflict.value}"
    values: dict[str, Any] = {"conflict": remaining, "state_reason": remaining}
    if reopens:
        values |= {"first_received_at": now, "last_received_at": now}
        advance(connection, subject_of(study), StudyEvent.IMAGE_ARRIVED, now=now, reason=reason, values=values)
        return
    connection.execute(
        update(tables.study).where(tables.study.c.study_instance_uid == study.study_instance_uid).values(values)
    )
    note(connection, subject_of(study), "conflict-resolved", now=now, reason=reason)


def _note_own(connection: Connection, received: ReceivedInstance, now: datetime) -> None:
    study = find_study(connection, received.summary.study_instance_uid)
    if study is not None:
        detail = {"sop_instance_uid": received.summary.sop_instance_uid, "calling_ae": received.calling_ae}
        note(connection, subject_of(study), "own-object-returned", now=now, detail=detail)
