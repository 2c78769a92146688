"""Kept as long as needed: by class, never what is owed, and no partial revision after the purge."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from scp_node.domain.delivery import DeliveryEvent
from scp_node.domain.study import Reception, StudyEvent, StudyState
from scp_node.errors import StoreError
from scp_node.store.alarms import AlarmKind
from scp_node.store.database import Database
from scp_node.store.deliveries import DeliveryStore
from scp_node.store.jobs import JobStore
from scp_node.store.overview import Overview
from scp_node.store.quarantine import Quarantine, QuarantinedObject
from scp_node.store.retention import Retention, RetentionPeriods
from scp_node.store.studies import StudyStore
from tests.node.store_samples import JPEG_2000, OTHER_STUDY, STUDY, analyzed, at, encoded, received, routed

HOUR_S, DAY_S = 3600.0, 86_400.0
PERIODS = RetentionPeriods()


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = Database.open(tmp_path, migrate=True)
    yield opened
    opened.close()


@pytest.fixture
def studies(database: Database) -> StudyStore:
    return StudyStore(database)


@pytest.fixture
def retention(database: Database) -> Retention:
    return Retention(database)


def settle(studies: StudyStore, event: StudyEvent) -> None:
    studies.record(received(1), at(0))
    studies.apply(STUDY, StudyEvent.FOUND_COMPLETE, reason="quiet", now=at(1))
    studies.apply(STUDY, event, reason="because", now=at(2))


def commit_everything(database: Database, seconds: float) -> None:
    deliveries = DeliveryStore(database)
    while leased := deliveries.due("pacs", at(seconds), 10):
        for each in leased:
            deliveries.apply(each.delivery_id, DeliveryEvent.STORED, now=at(seconds), status=0)
            deliveries.apply(each.delivery_id, DeliveryEvent.COMMITTED, now=at(seconds))


def answer(database: Database, seconds: float = 300) -> None:
    routed(database)
    encoded(database, analyzed(database))
    commit_everything(database, seconds)


@pytest.mark.parametrize(
    ("event", "kept_s"), [(StudyEvent.ROUTE_IGNORE, 24 * HOUR_S), (StudyEvent.ROUTE_HOLD, 14 * DAY_S)]
)
def test_an_unanalysed_study_is_let_go_after_the_time_of_its_class(
    studies: StudyStore, retention: Retention, event: StudyEvent, kept_s: float
) -> None:
    settle(studies, event)
    (stored,) = studies.instances(STUDY)

    assert retention.purge(at(1 + kept_s), PERIODS).spool_keys == ()
    assert retention.purge(at(2 + kept_s), PERIODS).spool_keys == (stored.spool_key,)

    assert studies.get(STUDY).sources_purged
    (row,) = studies.instances(STUDY)
    assert row.spool_key is None
    assert retention.purge(at(3 + kept_s), PERIODS).spool_keys == ()


def test_a_receiving_study_is_never_let_go(studies: StudyStore, retention: Retention) -> None:
    studies.record(received(1), at(0))

    assert retention.purge(at(1000 * DAY_S), PERIODS).study_instance_uids == ()


def test_an_answered_study_is_let_go_a_week_after_its_last_commitment(
    database: Database, studies: StudyStore, retention: Retention
) -> None:
    answer(database, seconds=3 * DAY_S)
    keys = {each.spool_key for each in studies.instances(STUDY)}
    (job,) = JobStore(database).of_study(STUDY)

    assert retention.purge(at(10 * DAY_S - 1), PERIODS).spool_keys == ()
    purged = retention.purge(at(10 * DAY_S), PERIODS)

    assert (set(purged.spool_keys), purged.job_ids) == (keys, (job.job_id,))
    assert retention.purged_job_ids() == {job.job_id}
    assert len(JobStore(database).objects_of(job.job_id)) == 2


def test_a_study_with_anything_uncommitted_is_kept(database: Database, retention: Retention) -> None:
    routed(database)
    encoded(database, analyzed(database))
    deliveries = DeliveryStore(database)
    for each in deliveries.due("pacs", at(300), 10):
        deliveries.apply(each.delivery_id, DeliveryEvent.STORED, now=at(300), status=0)

    assert retention.purge(at(1000 * DAY_S), PERIODS).study_instance_uids == ()


@pytest.mark.parametrize("event", [StudyEvent.ROUTE_IGNORE, StudyEvent.ROUTE_HOLD])
def test_a_late_decision_lets_nothing_go_that_is_not_delivered_yet(
    database: Database, studies: StudyStore, retention: Retention, event: StudyEvent
) -> None:
    routed(database)
    encoded(database, analyzed(database))
    studies.record(received(3, after_s=300), at(300))
    studies.apply(STUDY, StudyEvent.FOUND_COMPLETE, reason="quiet", now=at(420))
    studies.apply(STUDY, event, reason="a late series", now=at(421))

    assert retention.purge(at(100 * DAY_S), PERIODS).job_ids == ()
    commit_everything(database, 100 * DAY_S)
    assert len(retention.purge(at(100 * DAY_S + 1), PERIODS).job_ids) == 1


def test_a_held_study_is_kept_while_a_failed_job_owes_its_report(
    database: Database, studies: StudyStore, retention: Retention
) -> None:
    routed(database)
    job = JobStore(database).lease(at(130), 60, 8)
    assert job is not None
    JobStore(database).attempt_failed(job.job_id, job.fence, at(140), "crashed", None)
    studies.record(received(1, pixels="other", after_s=200), at(200))
    assert studies.get(STUDY).state is StudyState.HELD

    assert retention.purge(at(100 * DAY_S), PERIODS).spool_keys == ()


def test_an_unanswered_or_failed_study_is_kept_until_a_later_revision_is_committed(
    database: Database, retention: Retention
) -> None:
    jobs = JobStore(database)
    routed(database)
    job = jobs.lease(at(130), 60, 8)
    assert job is not None
    assert retention.purge(at(1000 * DAY_S), PERIODS).study_instance_uids == ()

    jobs.attempt_failed(job.job_id, job.fence, at(140), "crashed", None)
    encoded(database, job)
    commit_everything(database, 300)
    assert retention.purge(at(1000 * DAY_S), PERIODS).study_instance_uids == ()

    jobs.requeue(STUDY, at(400))
    encoded(database, analyzed(database, after_s=500), after_s=600)
    commit_everything(database, 700)
    assert retention.purge(at(8 * DAY_S), PERIODS).study_instance_uids == (STUDY,)


def test_corrections_and_conflicting_objects_go_with_their_study(studies: StudyStore, retention: Retention) -> None:
    first, correction, conflicting = received(1), received(1, transfer_syntax=JPEG_2000), received(1, pixels="other")
    studies.record_many([first, correction, conflicting], at(0))

    purged = retention.purge(at(15 * DAY_S), PERIODS)

    assert set(purged.spool_keys) == {first.spool_key, correction.spool_key, conflicting.spool_key}


@pytest.mark.parametrize("released", [True, False])
def test_a_study_of_nothing_but_quarantine_comes_to_an_end(
    database: Database, studies: StudyStore, retention: Retention, released: bool
) -> None:
    studies.record(received(1), at(0))
    foreign = received(1, study=OTHER_STUDY, pixels="other", after_s=10)
    studies.record(foreign, at(10))
    assert studies.instances(OTHER_STUDY) == []
    until_s = 10 + 14 * DAY_S
    if released:
        studies.resolve_conflict(OTHER_STUDY, at(20))
        studies.apply(OTHER_STUDY, StudyEvent.RELEASED_TO_IGNORE, reason="a person", now=at(20))
        until_s = 20 + 24 * HOUR_S

    assert retention.purge(at(until_s - 1), PERIODS).spool_keys == ()
    assert retention.purge(at(until_s), PERIODS).spool_keys == (foreign.spool_key,)
    kinds = {alarm.kind for alarm in Overview(database, Path("/")).status(at(until_s)).alarms}
    assert AlarmKind.QUARANTINE not in kinds


def test_an_unreadable_object_is_kept_as_long_as_a_held_study(database: Database, retention: Retention) -> None:
    unreadable = QuarantinedObject(
        quarantine_id=0,
        sop_instance_uid="",
        study_instance_uid="",
        received_at=at(0),
        calling_ae="CT_SCANNER",
        calling_address="127.0.0.1",
        dataset_digest="d",
        reason="no data set could be read",
        spool_key="f" * 32,
        byte_count=10,
    )
    Quarantine(database).add(unreadable)

    assert [row.reason for row in Quarantine(database).of_study("")] == [unreadable.reason]
    assert StudyStore(database).spool_keys() == {"f" * 32}
    assert retention.purge(at(13 * DAY_S), PERIODS).spool_keys == ()
    assert retention.purge(at(14 * DAY_S), PERIODS).spool_keys == ("f" * 32,)


def test_a_late_image_after_the_purge_holds_the_study_and_makes_no_partial_revision(
    database: Database, studies: StudyStore, retention: Retention
) -> None:
    answer(database)
    retention.purge(at(8 * DAY_S), PERIODS)

    assert studies.record(received(3, after_s=9 * DAY_S), at(9 * DAY_S)) is Reception.NEW

    study = studies.get(STUDY)
    assert (study.state, study.conflict.split(":")[0]) == (StudyState.HELD, "sources gone")
    studies.resolve_conflict(STUDY, at(9 * DAY_S + 1))
    with pytest.raises(StoreError, match="purged"):
        JobStore(database).route(
            STUDY, ("cta",), ("pacs",), study.revision, "", at(9 * DAY_S + 2), StudyEvent.RELEASED_TO_ANALYZE
        )


def test_sending_a_purged_study_again_changes_no_answer(
    database: Database, studies: StudyStore, retention: Retention
) -> None:
    answer(database)
    retention.purge(at(8 * DAY_S), PERIODS)
    purged = studies.get(STUDY)

    again = [received(1, after_s=9 * DAY_S), received(2, after_s=9 * DAY_S)]
    assert studies.record_many(again, at(9 * DAY_S)) == [Reception.NEW, Reception.NEW]

    study = studies.get(STUDY)
    assert (study.state, study.revision) == (StudyState.ROUTED, purged.revision)
    assert not study.sources_purged
    assert [each.spool_key for each in studies.instances(STUDY)] == [each.spool_key for each in again]
    assert retention.purge(at(15 * DAY_S), PERIODS).spool_keys == ()
    assert len(retention.purge(at(16 * DAY_S + 1), PERIODS).spool_keys) == 2


def test_a_held_late_image_is_analysed_once_the_whole_study_came_again(
    database: Database, studies: StudyStore, retention: Retention
) -> None:
    answer(database)
    retention.purge(at(8 * DAY_S), PERIODS)
    studies.record(received(3, after_s=9 * DAY_S), at(9 * DAY_S))

    studies.record(received(1, headers="compressed", transfer_syntax=JPEG_2000), at(9 * DAY_S + 5))
    assert studies.get(STUDY).state is StudyState.HELD
    studies.record(received(2, after_s=9 * DAY_S + 6), at(9 * DAY_S + 6))

    study = studies.get(STUDY)
    assert (study.state, study.conflict, study.revision) == (StudyState.RECEIVING, "", 2)
    assert study.last_received_at == at(9 * DAY_S + 6)
    assert all(each.spool_key for each in studies.instances(STUDY))


def test_no_more_studies_are_let_go_at_once_than_allowed(studies: StudyStore, retention: Retention) -> None:
    for number in range(3):
        study = f"1.2.3.{number}"
        studies.record(received(number + 1, study=study), at(0))
        studies.apply(study, StudyEvent.FOUND_COMPLETE, reason="", now=at(1))
        studies.apply(study, StudyEvent.ROUTE_IGNORE, reason="", now=at(2))

    assert len(retention.purge(at(2 * DAY_S), PERIODS, limit=2).study_instance_uids) == 2
    assert len(retention.purge(at(2 * DAY_S), PERIODS, limit=2).study_instance_uids) == 1


def test_a_held_study_raises_an_alarm_before_it_is_let_go(
    database: Database, studies: StudyStore, tmp_path: Path
) -> None:
    settle(studies, StudyEvent.ROUTE_HOLD)
    overview = Overview(database, tmp_path)

    assert overview.status(at(10 * DAY_S)).alarms == ()
    (alarm,) = overview.status(at(12 * DAY_S)).alarms
    assert (alarm.kind, alarm.study_instance_uid) == (AlarmKind.HELD_LONG, STUDY)
    assert overview.status(at(12 * DAY_S), held_warning=timedelta(days=13)).alarms == ()
