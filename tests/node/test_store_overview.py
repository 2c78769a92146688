"""What `status` and `explain` are given to print."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from scp_node.domain.delivery import DeliveryEvent, DeliveryState, ObjectKind
from scp_node.domain.job import JobState
from scp_node.domain.study import StudyEvent, StudyState
from scp_node.errors import UnknownStudyError
from scp_node.store.alarms import AlarmKind
from scp_node.store.database import Database
from scp_node.store.deliveries import DeliveryStore
from scp_node.store.jobs import JobStore
from scp_node.store.overview import Overview
from scp_node.store.studies import StudyStore
from tests.node.store_samples import (
    JPEG_2000,
    OTHER_STUDY,
    STUDY,
    analyzed,
    at,
    encoded,
    identity,
    in_series,
    received,
    routed,
)

HOUR_S = 3600.0


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = Database.open(tmp_path, migrate=True)
    yield opened
    opened.close()


@pytest.fixture
def overview(database: Database, tmp_path: Path) -> Overview:
    return Overview(database, tmp_path)


def test_an_empty_node_has_nothing_to_say(overview: Overview) -> None:
    status = overview.status(at(0))

    assert set(status.studies.values()) == set(status.jobs.values()) == {0}
    assert set(status.studies) == set(StudyState)
    assert (status.oldest_unanswered_at, status.peers, status.failed_jobs, status.alarms) == (None, (), (), ())
    assert status.spool.byte_count == status.quarantine_count == 0
    assert status.spool.disk_free_bytes > 0


def test_status_counts_states_files_and_deliveries(database: Database, overview: Overview) -> None:
    routed(database, peers=("pacs", "research"))
    encoded(database, analyzed(database))
    StudyStore(database).record(received(50, study=OTHER_STUDY), at(300))

    status = overview.status(at(301))

    assert (status.studies[StudyState.ROUTED], status.studies[StudyState.RECEIVING]) == (1, 1)
    assert status.jobs[JobState.ENCODED] == 1
    assert [(queue.peer, queue.counts[DeliveryState.QUEUED]) for queue in status.peers] == [
        ("pacs", 2),
        ("research", 2),
    ]
    assert status.peers[0].oldest_undelivered_at == at(200)
    assert (status.spool.file_count, status.spool.byte_count) == (3, 3 * 525_000)


def test_a_study_is_unanswered_until_its_answer_is_committed(database: Database, overview: Overview) -> None:
    routed(database)
    assert overview.status(at(125)).oldest_unanswered_at == at(0)
    encoded(database, analyzed(database), kinds=(ObjectKind.REPORT,))
    deliveries = DeliveryStore(database)
    (only,) = deliveries.due("pacs", at(200), 10)
    deliveries.apply(only.delivery_id, DeliveryEvent.STORED, now=at(201), status=0)
    assert overview.status(at(202)).oldest_unanswered_at == at(0)

    deliveries.apply(only.delivery_id, DeliveryEvent.COMMITTED, now=at(203))

    status = overview.status(at(204))
    assert (status.oldest_unanswered_at, status.alarms) == (None, ())


def test_a_failed_job_is_shown_and_alarms_until_a_later_revision_replaces_it(
    database: Database, overview: Overview
) -> None:
    jobs = JobStore(database)
    routed(database)
    job = jobs.lease(at(130), 60, 8)
    assert job is not None
    jobs.attempt_failed(job.job_id, job.fence, at(140), "used more memory than its limit", None)

    status = overview.status(at(150))
    (failed,) = status.failed_jobs
    assert (failed.analyzer, failed.attempts, failed.answered, failed.failed_at) == ("cta", 1, False, at(140))
    (alarm,) = status.alarms
    assert (alarm.kind, alarm.study_instance_uid) == (AlarmKind.JOB_FAILED, STUDY)
    assert "used more memory than its limit" in alarm.sentence

    jobs.requeue(STUDY, at(200))
    renewed = overview.status(at(201))
    assert (renewed.failed_jobs, renewed.alarms) == ((), ())


def test_conflicts_quarantine_and_stopped_deliveries_alarm(database: Database, overview: Overview) -> None:
    routed(database)
    encoded(database, analyzed(database))
    deliveries = DeliveryStore(database)
    (segmentation,) = deliveries.due("pacs", at(200), 10)
    deliveries.apply(
        segmentation.delivery_id, DeliveryEvent.WITHHELD, now=at(201), cause="the PACS has another patient ID"
    )
    StudyStore(database).record(received(1, pixels="other"), at(300))

    status = overview.status(at(301))

    assert status.quarantine_count == 1
    assert {alarm.kind for alarm in status.alarms} == {
        AlarmKind.CONFLICT,
        AlarmKind.QUARANTINE,
        AlarmKind.DELIVERY_STOPPED,
    }
    (stopped,) = [alarm for alarm in status.alarms if alarm.kind is AlarmKind.DELIVERY_STOPPED]
    assert stopped.study_instance_uid == STUDY
    (quarantine,) = [alarm for alarm in status.alarms if alarm.kind is AlarmKind.QUARANTINE]
    assert quarantine.study_instance_uid == STUDY
    assert quarantine.sentence.startswith("1 object from CT_SCANNER in quarantine: an object came again with other")
    assert "the PACS has another patient ID" in stopped.sentence


def test_a_peer_that_takes_nothing_for_an_hour_alarms(database: Database, overview: Overview) -> None:
    routed(database)
    encoded(database, analyzed(database), kinds=(ObjectKind.REPORT,))
    deliveries = DeliveryStore(database)
    (only,) = deliveries.due("pacs", at(200), 10)
    deliveries.apply(
        only.delivery_id, DeliveryEvent.TRANSIENT_FAULT, now=at(201), cause="no connection", not_before=at(9000)
    )

    assert overview.status(at(200 + HOUR_S - 1)).alarms == ()
    (alarm,) = overview.status(at(200 + HOUR_S)).alarms
    assert alarm.kind is AlarmKind.PEER_BEHIND
    assert overview.status(at(201)).peers[0].last_cause == "no connection"


def test_a_peer_that_never_confirms_alarms(database: Database, overview: Overview) -> None:
    routed(database)
    encoded(database, analyzed(database), kinds=(ObjectKind.REPORT,))
    deliveries = DeliveryStore(database)
    (only,) = deliveries.due("pacs", at(200), 10)
    deliveries.apply(only.delivery_id, DeliveryEvent.STORED, now=at(201), status=0)

    assert overview.status(at(200 + HOUR_S)).alarms == ()
    assert [alarm.kind for alarm in overview.status(at(201 + HOUR_S)).alarms] == [AlarmKind.UNPROVEN]


def test_no_alarm_names_a_patient(database: Database, overview: Overview) -> None:
    secret = identity("SECRET-ID", name="SECRET^NAME", accession="SECRET-ACC")
    studies = StudyStore(database)
    studies.record_many([received(1, who=secret), received(2, who=identity("SECRET-2"))], at(0))
    studies.record(received(1, who=secret, pixels="other"), at(1))

    told = repr(overview.status(at(2)))
    assert "two patient IDs" in told
    assert "SECRET" not in told
    assert "SECRET" not in repr(studies.events(STUDY))


def test_an_explanation_holds_everything_about_one_study(database: Database, overview: Overview) -> None:
    studies = StudyStore(database)
    studies.record(in_series(received(3, usable=False), f"{STUDY}.9"), at(0))
    routed(database, after_s=10)
    studies.save_decision(STUDY, {"route": "pump"}, at(131))
    encoded(database, analyzed(database, after_s=140), after_s=250)
    studies.record(received(1, transfer_syntax=JPEG_2000), at(300))

    told = overview.explanation(STUDY)

    assert told.study == studies.get(STUDY)
    assert (told.decision.routed, told.decision.completion_reason) == ({"route": "pump"}, "quiet")
    assert [(line.series_instance_uid, line.modality, line.usable_count, line.other_count) for line in told.series] == [
        (f"{STUDY}.9", "SR", 0, 1),
        (f"{STUDY}.1", "CT", 2, 0),
    ]
    assert (told.series[1].called_aes, told.series[1].calling_aes) == (("HAI_NODE",), ("CT_SCANNER",))
    assert told.series[1].last_received_at == at(10)
    assert told.correction_count == 1
    (line,) = told.jobs
    assert (line.job.state, line.out_folder) == (JobState.ENCODED, f"jobs/{line.job.job_id}/1/out")
    assert (len(line.objects), len(line.deliveries)) == (2, 2)
    assert told.events[-1].event == "header-corrected"
    assert told.quarantined == ()


def test_an_explanation_of_a_study_that_never_came_is_refused(overview: Overview) -> None:
    with pytest.raises(UnknownStudyError):
        overview.explanation("9.9.9")


def test_a_held_study_is_explained_with_what_was_set_aside(database: Database, overview: Overview) -> None:
    studies = StudyStore(database)
    studies.record(received(1), at(0))
    conflicting = received(1, geometry="other")
    studies.record(conflicting, at(1))

    told = overview.explanation(STUDY)
    assert [row.spool_key for row in told.quarantined] == [conflicting.spool_key]
    assert told.events[-1].event == StudyEvent.CONFLICT_FOUND
