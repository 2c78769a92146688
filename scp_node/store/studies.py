"""Studies: recording what arrives, reading it back, and moving a study through its life-cycle."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, func, literal, or_, select, update

from scp_node.domain.routing import Sender
from scp_node.domain.study import Identity, ReceivedInstance, Reception, Study, StudyEvent, StudyState
from scp_node.errors import LostRaceError
from scp_node.store import associations, tables
from scp_node.store.among import is_among
from scp_node.store.arrivals import Conflict
from scp_node.store.associations import OpenAssociation
from scp_node.store.batches import take_many
from scp_node.store.database import Database
from scp_node.store.former_identities import formerly
from scp_node.store.priors import PriorRow, priors_of
from scp_node.store.repetitions import held_in_former_form, is_own
from scp_node.store.study_rows import StoredInstance, instance_of, require_study, study_of, subject_of
from scp_node.store.transitions import EventRow, advance, events_of, note

_PLAIN_EVENTS = frozenset(
    {StudyEvent.FOUND_COMPLETE, StudyEvent.ROUTE_IGNORE, StudyEvent.ROUTE_HOLD, StudyEvent.RELEASED_TO_IGNORE}
)
"""The others come with more rows: arrivals bring images and conflicts, ``JobStore.route`` brings jobs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """Why a study is where it is: the routing as it was decided, and how it was found complete before."""

    routed: Any
    """JSON value as it was saved; ``None`` before the first decision."""
    decided_at: datetime | None
    completion_reason: str
    missing: tuple[str, ...]
    """What had not come when the study was taken for complete."""


class StudyStore:
    """Studies, their instances, and the associations that bring them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    # --- arrivals ---

    def record(self, instance: ReceivedInstance, now: datetime, *, association_id: int | None = None) -> Reception:
        """Record one instance that lies durably in the spool; see :meth:`record_many`."""
        return self.record_many([instance], now, association_ids=[association_id])[0]

    def held_in_former_form(self, sop_instance_uids: Collection[str]) -> set[str]:
        """Those of the UIDs whose next arrival must be digested as an earlier version did."""
        with self._database.reading() as connection:
            return held_in_former_form(connection, sop_instance_uids)

    def record_many(
        self, instances: Sequence[ReceivedInstance], now: datetime, *, association_ids: Sequence[int | None] = ()
    ) -> list[Reception]:
        """Record instances in one transaction: rows of instance and study, conflicts, superseded jobs, events.

        A second arrival in the same batch is seen as one. For ``SAME`` and ``OWN`` no row refers to the new file: the
        caller removes it from the spool. Every other file is from now on the store's.

        Parameters
        ----------
        instances : sequence of ReceivedInstance
            Durable in the spool.
        now : datetime
            Aware UTC.
        association_ids : sequence of int or None
            For each instance the association that brought it; empty for none.
        """
        with self._database.writing() as connection:
            receptions = take_many(connection, instances, now)
            last = {
                (association_id, instance.summary.study_instance_uid): now
                for association_id, instance in zip(association_ids, instances, strict=False)
                if association_id is not None
            }
            for (association_id, study_instance_uid), at in last.items():
                associations.carried(connection, association_id, study_instance_uid, at)
        return receptions

    def is_own(self, sop_instance_uid: str) -> bool:
        """Whether this node encoded the object."""
        with self._database.reading() as connection:
            return is_own(connection, sop_instance_uid)

    def spool_keys(self) -> set[str]:
        """All keys that a row refers to; a file under any other is nobody's, or still to be recorded."""
        keys: set[str] = set()
        with self._database.reading() as connection:
            for table in (tables.instance, tables.correction, tables.quarantine):
                column = table.c.spool_key
                keys.update(connection.execute(select(column).where(column.is_not(None))).scalars())
        return keys

    def studies_of(self, spool_keys: Collection[str]) -> dict[str, str]:
        """Study Instance UID for each of a few keys that a row refers to; empty for what was set aside."""
        instance, correction, aside = tables.instance.c, tables.correction.c, tables.quarantine.c
        corrected = select(correction.spool_key, instance.study_instance_uid).join_from(
            tables.correction, tables.instance
        )
        queries = (
            select(instance.spool_key, instance.study_instance_uid).where(is_among(instance.spool_key, spool_keys)),
            corrected.where(is_among(correction.spool_key, spool_keys)),
            select(aside.spool_key, literal("")).where(is_among(aside.spool_key, spool_keys)),
        )
        with self._database.reading() as connection:
            return {key: study for query in queries for key, study in connection.execute(query)}

    # --- reading ---

    def get(self, study_instance_uid: str) -> Study:
        """The study.

        Raises
        ------
        UnknownStudyError
            If there is none.
        """
        with self._database.reading() as connection:
            return require_study(connection, study_instance_uid)

    def find(self, text: str) -> list[Study]:
        """Studies by Study Instance UID, accession number or patient ID, present or former, newest first."""
        study = tables.study.c
        wanted = text.strip()
        if not wanted:
            return []
        with self._database.reading() as connection:
            rows = connection.execute(
                select(tables.study)
                .where(
                    or_(
                        study.study_instance_uid == wanted,
                        study.accession_number == wanted,
                        study.patient_id == wanted,
                        formerly(wanted),
                    )
                )
                .order_by(study.last_received_at.desc())
            )
            return [study_of(row) for row in rows.mappings()]

    def in_state(self, state: StudyState) -> list[Study]:
        """Studies in one state, the longest waiting first."""
        with self._database.reading() as connection:
            rows = connection.execute(
                select(tables.study)
                .where(tables.study.c.state == state.value)
                .order_by(tables.study.c.first_received_at)
            )
            return [study_of(row) for row in rows.mappings()]

    def instances(self, study_instance_uid: str, *, usable_only: bool = True) -> list[StoredInstance]:
        """The instances of a study in the order of their UIDs."""
        instance = tables.instance.c
        wanted = select(tables.instance).where(instance.study_instance_uid == study_instance_uid)
        if usable_only:
            wanted = wanted.where(instance.usable_image.is_(True))
        with self._database.reading() as connection:
            rows = connection.execute(wanted.order_by(instance.sop_instance_uid)).mappings().all()
        return [instance_of(row) for row in rows]

    def instances_of_classes(self, study_instance_uid: str, sop_class_uids: Collection[str]) -> list[StoredInstance]:
        """The instances of some SOP classes of a study, usable or not, in the order of their UIDs."""
        instance = tables.instance.c
        wanted = select(tables.instance).where(
            instance.study_instance_uid == study_instance_uid, instance.sop_class_uid.in_(sorted(sop_class_uids))
        )
        with self._database.reading() as connection:
            rows = connection.execute(wanted.order_by(instance.sop_instance_uid)).mappings().all()
        return [instance_of(row) for row in rows]

    def senders(self, study_instance_uid: str) -> dict[str, Sender]:
        """By series UID: the AE titles by which its instances came."""
        instance = tables.instance.c
        called: dict[str, set[str]] = {}
        calling: dict[str, set[str]] = {}
        with self._database.reading() as connection:
            rows = connection.execute(
                select(instance.series_instance_uid, instance.called_ae, instance.calling_ae)
                .where(instance.study_instance_uid == study_instance_uid)
                .distinct()
            )
            for row in rows:
                called.setdefault(row.series_instance_uid, set()).add(row.called_ae)
                calling.setdefault(row.series_instance_uid, set()).add(row.calling_ae)
        return {
            series: Sender(called_aes=frozenset(titles), calling_aes=frozenset(calling[series]))
            for series, titles in called.items()
        }

    def series_counts(self, study_instance_uid: str) -> dict[str, int]:
        """By series UID: how many images that an analyzer could use came of a study."""
        instance = tables.instance.c
        with self._database.reading() as connection:
            rows = connection.execute(
                select(instance.series_instance_uid, func.count().label("number"))
                .where(instance.study_instance_uid == study_instance_uid, instance.usable_image.is_(True))
                .group_by(instance.series_instance_uid)
            )
            return {row.series_instance_uid: row.number for row in rows}

    def events(self, study_instance_uid: str) -> list[EventRow]:
        """Everything that happened to a study, its jobs and its deliveries, oldest first."""
        with self._database.reading() as connection:
            return events_of(connection, study_instance_uid)

    def priors(self, study_instance_uid: str, identity: Identity, analyzer: str) -> list[PriorRow]:
        """Earlier answers of one analyzer for the same patient; see :func:`scp_node.store.priors.priors_of`."""
        with self._database.reading() as connection:
            return priors_of(connection, study_instance_uid, identity, analyzer)

    # --- life-cycle ---

    def apply(
        self,
        study_instance_uid: str,
        event: StudyEvent,
        *,
        reason: str,
        now: datetime,
        expect_revision: int | None = None,
        expect_count: int | None = None,
        detail: Mapping[str, Any] | None = None,
    ) -> Study:
        """Apply an event that concerns the study alone.

        With ``FOUND_COMPLETE``, ``detail={"missing": [...]}`` says what had not come.

        Raises
        ------
        LostRaceError
            If the study is at another revision than expected, or has another number of objects.
        IllegalTransitionError
            If the event is not legal in its state.
        ValueError
            If the event comes with images or jobs, which this method does not write.
        """
        if event not in _PLAIN_EVENTS:
            msg = f"{event} comes with other rows: use StudyStore.record, JobStore.route or JobStore.requeue"
            raise ValueError(msg)
        with self._database.writing() as connection:
            study = require_study(connection, study_instance_uid)
            require_revision(study, expect_revision)
            if expect_count is not None and study.instance_count != expect_count:
                msg = f"study {study_instance_uid} has {study.instance_count} objects by now, not {expect_count}"
                raise LostRaceError(msg)
            values = {"state_reason": reason}
            advance(connection, subject_of(study), event, now=now, reason=reason, detail=detail, values=values)
            return require_study(connection, study_instance_uid)

    def save_decision(self, study_instance_uid: str, routed: Any, now: datetime) -> None:
        """Keep the routing with everything that explains it, as a JSON value."""
        with self._database.writing() as connection:
            require_study(connection, study_instance_uid)
            connection.execute(
                update(tables.study)
                .where(tables.study.c.study_instance_uid == study_instance_uid)
                .values(routed=routed, routed_at=now)
            )

    def decision(self, study_instance_uid: str) -> Decision:
        """The newest routing, and how the study was last found complete."""
        with self._database.reading() as connection:
            require_study(connection, study_instance_uid)
            study = tables.study.c
            row = connection.execute(
                select(study.routed, study.routed_at).where(study.study_instance_uid == study_instance_uid)
            ).one()
            completion = _last_completion(connection, study_instance_uid)
        return Decision(
            routed=row.routed,
            decided_at=row.routed_at,
            completion_reason=completion.reason if completion else "",
            missing=tuple(completion.detail.get("missing", ())) if completion else (),
        )

    def note_archive_count(self, study_instance_uid: str, told: str, now: datetime) -> None:
        """Note what an archive's count said while the study waited."""
        with self._database.writing() as connection:
            note(
                connection,
                subject_of(require_study(connection, study_instance_uid)),
                "archive-counted",
                now=now,
                reason=told,
            )

    def resolve_conflict(self, study_instance_uid: str, now: datetime) -> None:
        """A person accepts the study as it is. It stays held until it is released; purged sources stay purged."""
        with self._database.writing() as connection:
            study = require_study(connection, study_instance_uid)
            remaining = Conflict.SOURCES_GONE.value if study.sources_purged and study.conflict else ""
            connection.execute(
                update(tables.study)
                .where(tables.study.c.study_instance_uid == study_instance_uid)
                .values(conflict=remaining)
            )
            note(connection, subject_of(study), "conflict-accepted", now=now, reason=study.conflict)

    # --- associations ---

    def open_associations(self, rows: Iterable[OpenAssociation]) -> list[int]:
        """Note that a receiver holds associations open, in one transaction; return their new numbers."""
        with self._database.writing() as connection:
            return [associations.opened(connection, row) for row in rows]

    def renew_associations(self, association_ids: Iterable[int], lease_until: datetime) -> None:
        """Extend leases."""
        with self._database.writing() as connection:
            for association_id in association_ids:
                associations.renewed(connection, association_id, lease_until)

    def close_associations(self, association_ids: Iterable[int]) -> None:
        """Forget associations, in one transaction; their studies are no longer held by them."""
        with self._database.writing() as connection:
            for association_id in association_ids:
                associations.closed(connection, association_id)

    def note_carried(self, carried: Iterable[tuple[int, str]], now: datetime) -> None:
        """Note pairs of an association and a study of which it carried an instance that is recorded already."""
        with self._database.writing() as connection:
            for association_id, study_instance_uid in carried:
                associations.carried(connection, association_id, study_instance_uid, now)

    def forget_dead_associations(self, now: datetime) -> int:
        """Forget associations whose lease ran out; return how many."""
        with self._database.writing() as connection:
            return associations.forget_expired(connection, now)

    def studies_held_open(self, now: datetime, hold_s: float) -> set[str]:
        """Studies of which an open association carried an instance within the last ``hold_s`` seconds."""
        with self._database.reading() as connection:
            return associations.held_open(connection, now, hold_s)


def require_revision(study: Study, expected: int | None) -> None:
    """Refuse to go on with a study that changed since it was read.

    Raises
    ------
    LostRaceError
        If its revision is another.
    """
    if expected is not None and study.revision != expected:
        msg = f"study {study.study_instance_uid} is at revision {study.revision}, not {expected}"
        raise LostRaceError(msg)


def _last_completion(connection: Connection, study_instance_uid: str) -> EventRow | None:
    event = tables.event.c
    row = (
        connection.execute(
            select(tables.event)
            .where(event.study_instance_uid == study_instance_uid, event.event == StudyEvent.FOUND_COMPLETE.value)
            .order_by(event.event_id.desc())
            .limit(1)
        )
        .mappings()
        .one_or_none()
    )
    return None if row is None else EventRow(**row)
