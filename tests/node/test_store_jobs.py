"""Jobs: made once, leased with a fence, superseded when their inputs change, encoded once."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from scp_node.domain.delivery import ObjectKind
from scp_node.domain.job import JobState
from scp_node.domain.study import StudyEvent, StudyState
from scp_node.errors import IllegalTransitionError, LostRaceError, StoreError
from scp_node.store.database import Database
from scp_node.store.deliveries import DeliveryStore
from scp_node.store.jobs import JobStore
from scp_node.store.priors import PriorRow, newest_priors
from scp_node.store.studies import StudyStore
from tests.node.store_samples import (
    OTHER_STUDY,
    STUDY,
    analyzed,
    at,
    complete_and_route,
    encoded,
    identity,
    named,
    new_object,
    received,
    routed,
)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = Database.open(tmp_path, migrate=True)
    yield opened
    opened.close()


@pytest.fixture
def studies(database: Database) -> StudyStore:
    return StudyStore(database)


@pytest.fixture
def jobs(database: Database) -> JobStore:
    return JobStore(database)


def states(jobs: JobStore, study: str = STUDY) -> list[tuple[str, int, JobState]]:
    return [(job.analyzer, job.revision, job.state) for job in jobs.of_study(study)]


# --- making ---


def test_routing_moves_the_study_and_makes_one_job_for_each_analyzer(database: Database) -> None:
    made = routed(database, analyzers=("cta", "mri"), peers=("pacs", "research"))

    assert [(job.analyzer, job.peers, job.state) for job in made] == [
        ("cta", ("pacs", "research"), JobState.QUEUED),
        ("mri", ("pacs", "research"), JobState.QUEUED),
    ]
    assert StudyStore(database).get(STUDY).state is StudyState.ROUTED


def test_routing_again_after_a_crash_makes_no_second_job(database: Database, jobs: JobStore) -> None:
    made = routed(database)

    again = jobs.route(STUDY, ("cta",), ("pacs",), 1, "pump words", at(200), StudyEvent.ROUTE_ANALYZE)

    assert [job.job_id for job in again] == [job.job_id for job in made]
    assert len(jobs.of_study(STUDY)) == 1


def test_routing_a_revision_that_is_past_is_refused(studies: StudyStore, jobs: JobStore) -> None:
    studies.record(received(1), at(0))
    studies.apply(STUDY, StudyEvent.FOUND_COMPLETE, reason="quiet", now=at(120))

    with pytest.raises(LostRaceError, match="revision 1, not 7"):
        jobs.route(STUDY, ("cta",), ("pacs",), 7, "", at(121), StudyEvent.ROUTE_ANALYZE)
    assert studies.get(STUDY).state is StudyState.COMPLETE


def test_a_study_in_conflict_is_never_analysed_before_a_person_accepted_it(studies: StudyStore, jobs: JobStore) -> None:
    studies.record_many([received(1), received(2, who=identity("P2"))], at(0))

    with pytest.raises(StoreError, match="two patient IDs"):
        jobs.route(STUDY, ("cta",), ("pacs",), 1, "", at(1), StudyEvent.RELEASED_TO_ANALYZE)
    assert jobs.of_study(STUDY) == []

    studies.resolve_conflict(STUDY, at(2))
    jobs.route(STUDY, ("cta",), ("pacs",), 1, "", at(3), StudyEvent.RELEASED_TO_ANALYZE)
    assert states(jobs) == [("cta", 1, JobState.QUEUED)]


def test_a_route_that_cannot_be_taken_leaves_no_job_behind(studies: StudyStore, jobs: JobStore) -> None:
    studies.record(received(1), at(0))

    with pytest.raises(IllegalTransitionError, match="receiving"):
        jobs.route(STUDY, ("cta",), ("pacs",), 1, "", at(1), StudyEvent.ROUTE_ANALYZE)
    assert jobs.of_study(STUDY) == []


# --- leases and fences ---


def test_a_leased_job_is_not_leased_again(database: Database, jobs: JobStore) -> None:
    routed(database)

    first = jobs.lease(at(130), 60, 8)

    assert first is not None
    assert (first.state, first.fence, first.attempts) == (JobState.RUNNING, 1, 1)
    assert (first.analysis_started_at, first.lease_expires_at) == (at(130), at(190))
    assert jobs.lease(at(131), 60, 8) is None


def test_no_more_jobs_run_than_allowed(database: Database, jobs: JobStore) -> None:
    routed(database, analyzers=("cta", "mri", "scintigraphy"))

    assert jobs.lease(at(130), 60, 2) is not None
    assert jobs.lease(at(130), 60, 2) is not None
    assert jobs.lease(at(130), 60, 2) is None
    assert len(jobs.running()) == 2


def test_a_job_is_not_leased_before_its_time(database: Database, jobs: JobStore) -> None:
    routed(database)
    job = jobs.lease(at(130), 60, 8)
    assert job is not None
    jobs.attempt_failed(job.job_id, job.fence, at(140), "crashed", at(200))

    assert jobs.lease(at(199), 60, 8) is None
    again = jobs.lease(at(200), 60, 8)
    assert again is not None
    assert (again.attempts, again.fence, again.last_cause) == (2, 2, "crashed")


def test_every_attempt_keeps_the_start_of_the_first(database: Database, jobs: JobStore) -> None:
    routed(database)
    jobs.lease(at(130), 60, 8)
    jobs.expire_leases(at(191))

    again = jobs.lease(at(300), 60, 8)

    assert again is not None
    assert again.analysis_started_at == at(130)


def test_the_result_of_an_expired_attempt_is_not_taken(database: Database, jobs: JobStore) -> None:
    routed(database)
    first = jobs.lease(at(130), 60, 8)
    assert first is not None
    assert [job.job_id for job in jobs.expire_leases(at(190))] == [first.job_id]
    second = jobs.lease(at(191), 60, 8)
    assert second is not None

    with pytest.raises(LostRaceError):
        jobs.analysis_done(first.job_id, first.fence, at(192), "out-1")
    with pytest.raises(LostRaceError):
        jobs.attempt_failed(first.job_id, first.fence, at(192), "late", None)
    with pytest.raises(LostRaceError):
        jobs.renew(first.job_id, first.fence, at(192), 60)

    assert jobs.analysis_done(second.job_id, second.fence, at(193), "out-2").state is JobState.ANALYZED


def test_a_renewed_lease_does_not_expire(database: Database, jobs: JobStore) -> None:
    routed(database)
    job = jobs.lease(at(130), 60, 8)
    assert job is not None
    jobs.renew(job.job_id, job.fence, at(185), 60)

    assert jobs.expire_leases(at(244)) == []
    assert len(jobs.expire_leases(at(245))) == 1


def test_at_start_every_lease_is_void(database: Database, jobs: JobStore) -> None:
    routed(database)
    jobs.lease(at(130), 3600, 8)

    (requeued,) = jobs.expire_leases(at(131), as_of=at(10**6))

    assert (requeued.state, requeued.not_before, requeued.child_pid) == (JobState.QUEUED, at(131), None)


def test_a_child_is_remembered_until_its_attempt_ends(database: Database, jobs: JobStore) -> None:
    routed(database)
    job = jobs.lease(at(130), 60, 8)
    assert job is not None
    jobs.child_started(job.job_id, job.fence, 4711, 1234.5)

    (running,) = jobs.running()
    assert (running.child_pid, running.child_started_at) == (4711, 1234.5)
    assert jobs.attempt_failed(job.job_id, job.fence, at(140), "crashed", at(150)).child_pid is None


# --- changed inputs ---


def test_a_late_image_before_encoding_replaces_the_job_within_the_revision(
    database: Database, studies: StudyStore, jobs: JobStore
) -> None:
    routed(database)
    job = analyzed(database)

    studies.record(received(3, after_s=300), at(300))

    study = studies.get(STUDY)
    assert (study.state, study.revision) == (StudyState.RECEIVING, 1)
    with pytest.raises(LostRaceError, match="superseded"):
        encoded(database, job)
    complete_and_route(database, after_s=300)
    assert states(jobs) == [("cta", 1, JobState.SUPERSEDED), ("cta", 1, JobState.QUEUED)]
    assert jobs.superseded_ids() == {jobs.of_study(STUDY)[0].job_id}


def test_a_late_image_while_the_analyzer_runs_takes_its_lease_away(
    database: Database, studies: StudyStore, jobs: JobStore
) -> None:
    routed(database)
    job = jobs.lease(at(130), 60, 8)
    assert job is not None

    studies.record(received(3), at(140))

    with pytest.raises(LostRaceError):
        jobs.renew(job.job_id, job.fence, at(141), 60)
    with pytest.raises(LostRaceError):
        jobs.analysis_done(job.job_id, job.fence, at(141), "out")


def test_a_late_image_after_encoding_makes_exactly_one_new_revision(
    database: Database, studies: StudyStore, jobs: JobStore
) -> None:
    routed(database)
    encoded(database, analyzed(database))

    studies.record_many([received(3, after_s=900), received(4, after_s=901)], at(901))

    study = studies.get(STUDY)
    assert (study.state, study.revision) == (StudyState.RECEIVING, 2)
    assert (study.first_received_at, study.last_received_at) == (at(900), at(901))
    complete_and_route(database, after_s=901)
    assert states(jobs) == [("cta", 1, JobState.ENCODED), ("cta", 2, JobState.QUEUED)]


def test_the_echo_of_our_objects_and_a_late_dose_report_make_no_revision(
    database: Database, studies: StudyStore
) -> None:
    routed(database)
    own = encoded(database, analyzed(database))
    before = studies.get(STUDY)

    receptions = [studies.record(named(received(50), made.sop_instance_uid), at(900)) for made in own]
    receptions.append(studies.record(received(60, usable=False), at(901)))

    assert [reception.value for reception in receptions] == ["own", "own", "new"]
    assert studies.get(STUDY) == before
    assert studies.is_own(own[0].sop_instance_uid)
    assert not studies.is_own(STUDY)


def test_a_header_correction_after_the_answer_makes_no_revision(database: Database, studies: StudyStore) -> None:
    routed(database)
    encoded(database, analyzed(database))

    studies.record(received(1, headers="corrected", who=identity(name="NEW^NAME")), at(900))

    study = studies.get(STUDY)
    assert (study.state, study.revision, study.identity.patient_name) == (StudyState.ROUTED, 1, "NEW^NAME")


def test_a_conflict_stops_what_was_not_encoded_yet(database: Database, studies: StudyStore, jobs: JobStore) -> None:
    routed(database)
    job = analyzed(database)

    studies.record(received(1, pixels="other"), at(300))

    assert jobs.get(job.job_id).state is JobState.SUPERSEDED
    assert jobs.awaiting_encoding() == []


def test_a_job_that_gave_up_is_answered_for_its_revision_and_the_late_image_opens_the_next(
    database: Database, studies: StudyStore, jobs: JobStore
) -> None:
    routed(database)
    job = jobs.lease(at(130), 60, 8)
    assert job is not None
    jobs.attempt_failed(job.job_id, job.fence, at(140), "crashed", None)

    studies.record(received(3, after_s=300), at(300))

    assert studies.get(STUDY).revision == 2
    assert [waiting.job_id for waiting in jobs.awaiting_encoding()] == [job.job_id]


# --- encoding ---


def test_encoding_queues_every_object_for_its_peers_and_ends_the_job(database: Database, jobs: JobStore) -> None:
    routed(database, peers=("pacs", "research"))
    job = analyzed(database)

    objects = encoded(database, job)

    done = jobs.get(job.job_id)
    assert (done.state, done.answered) == (JobState.ENCODED, True)
    assert jobs.awaiting_encoding() == []
    assert [made.kind for made in jobs.objects_of(job.job_id)] == [ObjectKind.SEGMENTATION, ObjectKind.REPORT]
    queued = DeliveryStore(database).of_job(job.job_id)
    assert sorted((each.encoded.object_id, each.peer) for each in queued) == sorted(
        (made.object_id, peer) for made in objects for peer in ("pacs", "research")
    )


def test_a_job_is_encoded_once(database: Database, jobs: JobStore) -> None:
    routed(database)
    job = analyzed(database)
    encoded(database, job)

    with pytest.raises(LostRaceError):
        encoded(database, job)
    assert len(jobs.objects_of(job.job_id)) == 2


def test_an_encoding_that_breaks_a_row_leaves_nothing_behind(database: Database, jobs: JobStore) -> None:
    routed(database)
    job = analyzed(database)

    with pytest.raises(IndexError):
        jobs.encoded(job.job_id, at(200), [new_object(job, ObjectKind.REPORT)], [(5, "pacs")])

    assert jobs.get(job.job_id).state is JobState.ANALYZED
    assert jobs.objects_of(job.job_id) == []


def test_a_job_without_a_result_cannot_be_encoded(database: Database) -> None:
    (job,) = routed(database)

    with pytest.raises(IllegalTransitionError):
        encoded(database, job)


def test_a_job_that_gave_up_is_still_answered(database: Database, jobs: JobStore) -> None:
    routed(database)
    job = jobs.lease(at(130), 60, 8)
    assert job is not None
    jobs.attempt_failed(job.job_id, job.fence, at(140), "crashed", None)
    assert [waiting.state for waiting in jobs.awaiting_encoding()] == [JobState.FAILED]

    encoded(database, job, kinds=(ObjectKind.TEXT_REPORT,))

    answered = jobs.get(job.job_id)
    assert (answered.state, answered.answered) == (JobState.FAILED, True)
    assert jobs.awaiting_encoding() == []
    with pytest.raises(LostRaceError):
        encoded(database, job, kinds=(ObjectKind.TEXT_REPORT,))


def test_a_result_that_cannot_be_encoded_gives_up(database: Database, jobs: JobStore) -> None:
    routed(database)
    job = analyzed(database)

    failed = jobs.attempt_failed(job.job_id, job.fence, at(300), "cannot be encoded", None)

    assert (failed.state, failed.answered) == (JobState.FAILED, False)


# --- revisions ---


def test_requeue_makes_the_next_revision_with_the_same_analyzers_and_peers(
    database: Database, studies: StudyStore, jobs: JobStore
) -> None:
    routed(database, analyzers=("cta", "mri"), peers=("pacs", "research"))
    encoded(database, analyzed(database))
    encoded(database, analyzed(database))

    assert jobs.requeue(STUDY, at(1000)) == 2

    assert states(jobs)[2:] == [("cta", 2, JobState.QUEUED), ("mri", 2, JobState.QUEUED)]
    assert jobs.of_study(STUDY)[2].peers == ("pacs", "research")
    assert studies.get(STUDY).state is StudyState.ROUTED


def test_requeue_before_anything_was_encoded_stays_in_the_revision(database: Database, jobs: JobStore) -> None:
    routed(database)
    analyzed(database)

    assert jobs.requeue(STUDY, at(1000)) == 1
    assert states(jobs) == [("cta", 1, JobState.SUPERSEDED), ("cta", 1, JobState.QUEUED)]


def test_requeue_of_a_study_that_was_never_routed_is_refused(studies: StudyStore, jobs: JobStore) -> None:
    studies.record(received(1), at(0))

    with pytest.raises(IllegalTransitionError):
        jobs.requeue(STUDY, at(1))


def test_a_new_revision_names_the_reports_of_the_answer_before_it(database: Database, jobs: JobStore) -> None:
    routed(database)
    both = (ObjectKind.SEGMENTATION, ObjectKind.REPORT, ObjectKind.TEXT_REPORT)
    encoded(database, analyzed(database), kinds=both)
    jobs.requeue(STUDY, at(1000))
    second = analyzed(database, after_s=1001)
    encoded(database, second, after_s=1100, kinds=both)
    jobs.requeue(STUDY, at(2000))

    assert jobs.previous_reports(STUDY, "cta", 1) == []
    assert [made.kind for made in jobs.previous_reports(STUDY, "cta", 3)] == [
        ObjectKind.REPORT,
        ObjectKind.TEXT_REPORT,
    ]
    assert {made.job_id for made in jobs.previous_reports(STUDY, "cta", 3)} == {second.job_id}
    assert jobs.previous_reports(STUDY, "mri", 3) == []


def test_priors_are_earlier_answers_for_the_same_patient(
    database: Database, studies: StudyStore, jobs: JobStore
) -> None:
    routed(database)
    first = analyzed(database)
    encoded(database, first)
    jobs.requeue(STUDY, at(1000))

    (own,) = studies.priors(STUDY, identity(), "cta")
    assert (own.job_id, own.revision, own.out_folder) == (first.job_id, 1, f"jobs/{first.job_id}/1/out")
    (of_other,) = studies.priors(OTHER_STUDY, identity(), "cta")
    assert of_other.study_instance_uid == STUDY
    assert studies.priors(OTHER_STUDY, identity(), "mri") == []
    assert studies.priors(OTHER_STUDY, identity("P2"), "cta") == []
    assert studies.priors(OTHER_STUDY, identity(""), "cta") == []
    assert len(studies.priors(OTHER_STUDY, identity("P1", issuer="X"), "cta")) == 1


def test_of_many_priors_the_newest_are_kept_and_of_the_study_itself_its_last_answer_first() -> None:
    def prior(study: str, date: str, revision: int = 1) -> PriorRow:
        return PriorRow(
            job_id=int(date) + revision,
            study_instance_uid=study,
            revision=revision,
            analyzer="cta",
            study_date=date,
            out_folder="",
            analysis_started_at=None,
            sources_purged=False,
        )

    others = [prior("1.1", "20240101"), prior("1.2", "20250101"), prior("1.3", "20260101")]
    own = [prior(STUDY, "20260302", revision) for revision in (1, 2)]
    assert newest_priors([*others, *own], STUDY, 3) == [others[1], others[2], own[1]]
    assert newest_priors([*others, *own], STUDY, 1) == [own[1]]
    assert newest_priors([*others, *own], STUDY, 0) == []
    assert newest_priors([*others, *own], STUDY, 9) == [*others, *own]
    assert newest_priors(others, STUDY, 2) == others[1:]


def test_every_event_of_a_job_is_told_with_its_study(database: Database, studies: StudyStore) -> None:
    routed(database)
    encoded(database, analyzed(database))

    told = [(row.subject, row.event, row.state_before, row.state_after) for row in studies.events(STUDY)]
    assert told == [
        ("study", "image-arrived", "receiving", "receiving"),
        ("study", "found-complete", "receiving", "complete"),
        ("study", "route-analyze", "complete", "routed"),
        ("job", "leased", "queued", "running"),
        ("job", "analysis-done", "running", "analyzed"),
        ("job", "encoding-done", "analyzed", "encoded"),
    ]


def test_the_decision_is_kept_with_what_was_missing(studies: StudyStore) -> None:
    studies.record(received(1), at(0))
    studies.apply(
        STUDY,
        StudyEvent.FOUND_COMPLETE,
        reason="two hours passed",
        now=at(7200),
        detail={"missing": ["portal venous phase"]},
    )
    studies.save_decision(STUDY, {"route": "pump"}, at(7201))

    decision = studies.decision(STUDY)
    assert (decision.routed, decision.decided_at) == ({"route": "pump"}, at(7201))
    assert (decision.completion_reason, decision.missing) == ("two hours passed", ("portal venous phase",))
