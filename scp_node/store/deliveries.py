"""Deliveries: one queue for each peer, from queued to committed; nothing is given up silently."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Select, delete, func, insert, or_, select, update

from scp_node.domain.delivery import STOPPED, Delivery, DeliveryEvent, DeliveryState, Noted
from scp_node.domain.job import JobState
from scp_node.domain.study import StudyEvent
from scp_node.errors import IllegalTransitionError, StoreError
from scp_node.store import tables
from scp_node.store.database import Database
from scp_node.store.delivery_rows import (
    SELECT_DELIVERIES,
    advance_delivery,
    deliveries_of_study,
    delivery_of,
    due_deliveries,
    found_deliveries,
    is_stuck,
    require_delivery,
    resumed,
    stuck_before,
)
from scp_node.store.former_identities import corrections_of
from scp_node.store.job_rows import jobs_of
from scp_node.store.study_rows import require_study, subject_of
from scp_node.store.transitions import DELIVERY, advance

LEASE_S = 900.0
"""How long one sending may take: longer than any time-out of an association."""

MOST_UNREAD_REPORTS = 200
"""They are acted on within seconds; each answers a request for up to 500 objects."""
KEPT_REPORTS = 1000
"""Of those that were acted on, for whoever looks into what a peer said."""

_NOT_ASKED: dict[str, Any] = {"commitment_uid": None, "commitment_asked_at": None}


@dataclass(frozen=True, slots=True, kw_only=True)
class CommitmentReport:
    """What a peer reported about one storage commitment transaction (PS3.4 annex J)."""

    report_id: int
    transaction_uid: str
    received_at: datetime
    committed_uids: frozenset[str]
    failed: Mapping[str, int]
    """Failure reason (0008,1197) by SOP Instance UID."""


class DeliveryStore:
    """The queues of the peers."""

    def __init__(self, database: Database) -> None:
        self._database = database

    # --- reading ---

    def get(self, delivery_id: int) -> Delivery:
        """The delivery.

        Raises
        ------
        StoreError
            If there is none.
        """
        with self._database.reading() as connection:
            return require_delivery(connection, delivery_id)

    def of_job(self, job_id: int) -> list[Delivery]:
        """Every delivery of a job's objects."""
        return self._found(SELECT_DELIVERIES.where(tables.encoded_object.c.job_id == job_id))

    def of_study(self, study_instance_uid: str) -> list[Delivery]:
        """Every delivery of the results of a study."""
        return self._found(deliveries_of_study(study_instance_uid))

    def of_transaction(self, transaction_uid: str) -> list[Delivery]:
        """The deliveries whose commitment was asked for under a transaction."""
        return self._found(SELECT_DELIVERIES.where(tables.delivery.c.commitment_uid == transaction_uid))

    # --- sending ---

    def due(self, peer: str, now: datetime, limit: int, *, lease_s: float = LEASE_S) -> list[Delivery]:
        """Lease what is to be sent to one peer now: the oldest results first, images and segmentations before reports.

        A report waits until everything that it points at, of the same job and for the same peer, is stored there or
        was refused for good.
        """
        with self._database.writing() as connection:
            rows = connection.execute(due_deliveries(peer, now).limit(limit)).mappings().all()
            return [
                advance_delivery(
                    connection,
                    delivery_of(row),
                    DeliveryEvent.LEASED,
                    now=now,
                    values={
                        "attempts": row["attempts"] + 1,
                        "lease_expires_at": now + timedelta(seconds=lease_s),
                    },
                )
                for row in rows
            ]

    def apply(
        self,
        delivery_id: int,
        event: DeliveryEvent,
        *,
        now: datetime,
        cause: str = "",
        status: int | None = None,
        not_before: datetime | None = None,
        attempt: int | None = None,
    ) -> Delivery:
        """Apply what became of a delivery.

        Parameters
        ----------
        cause : str
            One sentence without patient data.
        status : int or None
            DIMSE status, where the peer answered one.
        not_before : datetime or None
            When it may be tried again, for an event that queues it again.
        attempt : int or None
            Of the sender that tells; one that slept for longer than its lease is heard unless another took it over.

        Raises
        ------
        IllegalTransitionError
            If the event is not legal in the state of the delivery, or the delivery is not that sender's any more.
        """
        with self._database.writing() as connection:
            found = require_delivery(connection, delivery_id)
            if attempt is not None:
                its = resumed(connection, delivery_id, attempt, now)
                if its is None:
                    raise IllegalTransitionError(DELIVERY.lifecycle.name, str(delivery_id), found.state, event)
                found = its
            values: dict[str, Any] = {"lease_expires_at": None, "last_cause": cause}
            if status is not None:
                values["last_status"] = status
            if DELIVERY.lifecycle.after(found.state, event) is DeliveryState.QUEUED:
                values |= _NOT_ASKED | {"not_before": not_before or now}
            detail = {"peer": found.peer, "status": status}
            moved = advance_delivery(connection, found, event, now=now, reason=cause, detail=detail, values=values)
            if moved.state is DeliveryState.COMMITTED and moved.encoded.kind.send_rank == 1:
                reason = "a later answer of the analyzer is held there"
                for former in found_deliveries(connection, stuck_before(moved)):
                    advance_delivery(connection, former, DeliveryEvent.DISMISSED, now=now, reason=reason)
            return moved

    def renew(self, delivery_ids: Sequence[int], now: datetime, lease_s: float) -> None:
        """Extend the leases of what still waits for its turn in a batch."""
        delivery = tables.delivery.c
        with self._database.writing() as connection:
            connection.execute(
                update(tables.delivery)
                .where(delivery.delivery_id.in_(delivery_ids), delivery.state == DeliveryState.SENDING.value)
                .values(lease_expires_at=now + timedelta(seconds=lease_s))
            )

    def keep(self, delivery_id: int, attempt: int, now: datetime, lease_s: float) -> bool:
        """Whether the delivery is still that of the sender of this attempt; if so its lease begins anew."""
        with self._database.writing() as connection:
            if resumed(connection, delivery_id, attempt, now) is None:
                return False
            connection.execute(
                update(tables.delivery)
                .where(tables.delivery.c.delivery_id == delivery_id)
                .values(lease_expires_at=now + timedelta(seconds=lease_s))
            )
            return True

    def handed_back(self, leased: Sequence[Delivery], now: datetime) -> None:
        """Queue again what was leased and not sent, because the node stops. It does not count as an attempt."""
        delivery = tables.delivery.c
        attempts = {each.delivery_id: each.attempts for each in leased}
        wanted = SELECT_DELIVERIES.where(
            delivery.delivery_id.in_(attempts), delivery.state == DeliveryState.SENDING.value
        )
        with self._database.writing() as connection:
            for each in found_deliveries(connection, wanted):
                if each.attempts != attempts[each.delivery_id]:
                    continue
                values = {"lease_expires_at": None, "not_before": now, "attempts": each.attempts - 1}
                reason = "stopped together with the node"
                advance_delivery(connection, each, DeliveryEvent.LEASE_EXPIRED, now=now, reason=reason, values=values)

    def expire_leases(self, now: datetime, *, as_of: datetime | None = None) -> int:
        """Queue again what a sender that died had leased; return how many. At start, ``as_of`` the far future."""
        delivery = tables.delivery.c
        with self._database.writing() as connection:
            rows = (
                connection.execute(
                    SELECT_DELIVERIES.where(
                        delivery.state == DeliveryState.SENDING.value,
                        or_(delivery.lease_expires_at.is_(None), delivery.lease_expires_at <= (as_of or now)),
                    )
                )
                .mappings()
                .all()
            )
            values = {"lease_expires_at": None, "not_before": now, "last_cause": "its lease ran out"}
            for row in rows:
                advance_delivery(connection, delivery_of(row), DeliveryEvent.LEASE_EXPIRED, now=now, values=values)
            return len(rows)

    def requeue(self, now: datetime, *, study_instance_uid: str | None = None, peer: str | None = None) -> int:
        """Send again what failed or was withheld, by a person's wish; return how many.

        At least one of study and peer is given; both narrow the choice.
        """
        if study_instance_uid is None and peer is None:
            msg = "name a study or a peer"
            raise ValueError(msg)
        wanted = SELECT_DELIVERIES.where(tables.delivery.c.state.in_(STOPPED))
        if study_instance_uid is not None:
            wanted = wanted.join(tables.job).where(tables.job.c.study_instance_uid == study_instance_uid)
        if peer is not None:
            wanted = wanted.where(tables.delivery.c.peer == peer)
        with self._database.writing() as connection:
            rows = connection.execute(wanted).mappings().all()
            values = {"not_before": now, "attempts": 0, **_NOT_ASKED}
            for row in rows:
                advance_delivery(connection, delivery_of(row), DeliveryEvent.REQUEUED, now=now, values=values)
            return len(rows)

    def dismiss(self, peer: str, now: datetime, *, gone: bool) -> int:
        """Give up, by a person's wish, what failed or was withheld for a peer; return how many.

        Of a peer that is ``gone`` from the configuration everything is given up that it did not prove to hold.
        """
        unproven = tables.delivery.c.state.in_((*STOPPED, DeliveryState.QUEUED, DeliveryState.SENT))
        wanted = SELECT_DELIVERIES.where(tables.delivery.c.peer == peer, unproven if gone else is_stuck())
        with self._database.writing() as connection:
            found = found_deliveries(connection, wanted)
            for each in found:
                advance_delivery(connection, each, DeliveryEvent.DISMISSED, now=now, reason="a person gave it up")
            return len(found)

    def dismiss_study(self, study_instance_uid: str, now: datetime) -> int:
        """Give up, by a person's wish, what failed or was withheld of a study, and its failed analyses.

        The study is ignored afterwards, until another image arrives; what still waits for a peer is sent.

        Raises
        ------
        IllegalTransitionError
            If the study is not routed.
        StoreError
            If something of it is still to be analysed or encoded.
        """
        with self._database.writing() as connection:
            study = require_study(connection, study_instance_uid)
            jobs = [job for job in jobs_of(connection, study_instance_uid) if job.state is not JobState.SUPERSEDED]
            if not all(job.answered for job in jobs):
                msg = f"study {study_instance_uid} is still being analysed: there is nothing to give up yet"
                raise StoreError(msg)
            advance(
                connection,
                subject_of(study),
                StudyEvent.DISMISSED,
                now=now,
                reason="given up by a person",
                values={"state_reason": "given up by a person"},
            )
            found = found_deliveries(connection, deliveries_of_study(study_instance_uid).where(is_stuck()))
            for each in found:
                advance_delivery(connection, each, DeliveryEvent.DISMISSED, now=now, reason="a person gave it up")
            return len(found)

    def named_otherwise(self, deliveries: Sequence[Delivery]) -> frozenset[int]:
        """Those of the deliveries whose study got another patient ID or accession number since they were made."""
        studies = {delivery.encoded.study_instance_uid for delivery in deliveries}
        with self._database.reading() as connection:
            corrected_at = {uid: corrections_of(connection, uid) for uid in studies}
        return frozenset(
            delivery.delivery_id
            for delivery in deliveries
            if any(at > delivery.queued_at for at in corrected_at[delivery.encoded.study_instance_uid])
        )

    # --- commitment ---

    def awaiting_commitment(self, peer: str) -> list[Delivery]:
        """What the peer accepted and has not proved to hold, the oldest first."""
        delivery = tables.delivery.c
        return self._found(SELECT_DELIVERIES.where(delivery.peer == peer, delivery.state == DeliveryState.SENT.value))

    def commitment_asked(self, delivery_ids: Sequence[int], transaction_uid: str, now: datetime) -> None:
        """Note the transaction, before the request leaves: the answer may come on another association at once."""
        delivery = tables.delivery.c
        with self._database.writing() as connection:
            connection.execute(
                update(tables.delivery)
                .where(delivery.delivery_id.in_(delivery_ids), delivery.state == DeliveryState.SENT.value)
                .values(commitment_uid=transaction_uid, commitment_asked_at=now)
            )

    def commitment_reported(
        self, transaction_uid: str, committed_uids: Sequence[str], failed: Mapping[str, int], now: datetime
    ) -> Noted:
        """Record a report that arrived at our port, unless it is there or too many are; outbound acts on it."""
        report = tables.commitment_report
        same = select(report.c.committed_uids, report.c.failed).where(report.c.transaction_uid == transaction_uid)
        told = (sorted(committed_uids), dict(failed))
        with self._database.writing() as connection:
            if any((row.committed_uids, row.failed) == told for row in connection.execute(same)):
                return Noted.AGAIN
            unread = select(func.count()).select_from(report).where(report.c.acted_on.is_(False))
            if connection.execute(unread).scalar_one() >= MOST_UNREAD_REPORTS:
                return Noted.FULL
            connection.execute(
                insert(tables.commitment_report).values(
                    transaction_uid=transaction_uid,
                    received_at=now,
                    committed_uids=sorted(committed_uids),
                    failed=dict(failed),
                    acted_on=False,
                )
            )
        return Noted.NEW

    def commitment_reports(self) -> list[CommitmentReport]:
        """Reports that nobody acted on yet, the oldest first."""
        report = tables.commitment_report
        with self._database.reading() as connection:
            rows = connection.execute(select(report).where(report.c.acted_on.is_(False)).order_by(report.c.report_id))
            return [
                CommitmentReport(
                    report_id=row["report_id"],
                    transaction_uid=row["transaction_uid"],
                    received_at=row["received_at"],
                    committed_uids=frozenset(row["committed_uids"]),
                    failed=row["failed"],
                )
                for row in rows.mappings()
            ]

    def report_acted_on(self, report_id: int) -> None:
        """Close a report; its row stays until it is one of many."""
        report = tables.commitment_report
        with self._database.writing() as connection:
            connection.execute(update(report).where(report.c.report_id == report_id).values(acted_on=True))
            old = report.c.acted_on.is_(True) & (report.c.report_id <= report_id - KEPT_REPORTS)
            connection.execute(delete(report).where(old))

    def _found(self, wanted: Select[Any]) -> list[Delivery]:
        with self._database.reading() as connection:
            return found_deliveries(connection, wanted)
