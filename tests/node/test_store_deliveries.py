"""Deliveries: due by peer and rank, proved by commitment, never given up silently."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from scp_node.domain.delivery import STOPPED, Delivery, DeliveryEvent, DeliveryState, ObjectKind
from scp_node.errors import IllegalTransitionError, StoreError
from scp_node.store.alarms import AlarmKind
from scp_node.store.database import Database
from scp_node.store.deliveries import DeliveryStore
from scp_node.store.jobs import JobStore
from scp_node.store.overview import Overview
from scp_node.store.retention import Retention, RetentionPeriods
from scp_node.store.studies import StudyStore
from tests.node.store_samples import STUDY, analyzed, at, encoded, routed

ALL_KINDS = (ObjectKind.TEXT_REPORT, ObjectKind.REPORT, ObjectKind.SECONDARY_CAPTURE, ObjectKind.SEGMENTATION)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = Database.open(tmp_path, migrate=True)
    yield opened
    opened.close()


@pytest.fixture
def deliveries(database: Database) -> DeliveryStore:
    return DeliveryStore(database)


def queue(database: Database, *, peers: tuple[str, ...] = ("pacs",)) -> None:
    """One job with every kind of object, queued at 200 s."""
    routed(database, peers=peers)
    encoded(database, analyzed(database), kinds=ALL_KINDS)


def kinds(leased: list[Delivery]) -> list[ObjectKind]:
    return [each.encoded.kind for each in leased]


def store_all(deliveries: DeliveryStore, peer: str, seconds: float) -> list[Delivery]:
    leased = deliveries.due(peer, at(seconds), 10)
    return [deliveries.apply(each.delivery_id, DeliveryEvent.STORED, now=at(seconds), status=0) for each in leased]


def test_reports_wait_until_what_they_point_at_is_stored(database: Database, deliveries: DeliveryStore) -> None:
    queue(database)

    first = deliveries.due("pacs", at(200), 10)
    assert kinds(first) == [ObjectKind.SECONDARY_CAPTURE, ObjectKind.SEGMENTATION]
    assert deliveries.due("pacs", at(201), 10) == []

    deliveries.apply(first[0].delivery_id, DeliveryEvent.STORED, now=at(202), status=0)
    assert deliveries.due("pacs", at(203), 10) == []

    deliveries.apply(first[1].delivery_id, DeliveryEvent.STORED, now=at(204), status=0xB000)
    assert kinds(deliveries.due("pacs", at(205), 10)) == [ObjectKind.TEXT_REPORT, ObjectKind.REPORT]


def test_reports_no_longer_wait_when_a_segmentation_is_refused_for_good(
    database: Database, deliveries: DeliveryStore
) -> None:
    queue(database)
    capture, segmentation = deliveries.due("pacs", at(200), 10)
    deliveries.apply(capture.delivery_id, DeliveryEvent.STORED, now=at(201), status=0)
    deliveries.apply(segmentation.delivery_id, DeliveryEvent.PERMANENT_FAULT, now=at(201), status=0x0122)

    due = deliveries.due("pacs", at(10_000), 10)
    assert {delivery.encoded.kind for delivery in due} == {ObjectKind.TEXT_REPORT, ObjectKind.REPORT}


def test_one_peer_waits_for_nobody_else(database: Database, deliveries: DeliveryStore) -> None:
    queue(database, peers=("dead", "pacs"))
    for each in deliveries.due("dead", at(200), 10):
        deliveries.apply(
            each.delivery_id, DeliveryEvent.TRANSIENT_FAULT, now=at(201), cause="refused", not_before=at(9000)
        )

    assert len(store_all(deliveries, "pacs", 202)) == 2
    assert len(store_all(deliveries, "pacs", 203)) == 2
    assert deliveries.due("dead", at(8999), 10) == []
    assert len(deliveries.due("dead", at(9000), 10)) == 2


def test_a_leased_delivery_is_not_leased_again_until_its_lease_runs_out(
    database: Database, deliveries: DeliveryStore
) -> None:
    queue(database)
    (leased, _) = deliveries.due("pacs", at(200), 10, lease_s=60)
    assert (leased.state, leased.attempts, leased.lease_expires_at) == (DeliveryState.SENDING, 1, at(260))

    assert deliveries.expire_leases(at(259)) == 0
    assert deliveries.expire_leases(at(260)) == 2
    again = deliveries.due("pacs", at(261), 10)
    assert [each.attempts for each in again] == [2, 2]


def test_at_start_every_sending_is_queued_again(database: Database, deliveries: DeliveryStore) -> None:
    queue(database)
    deliveries.due("pacs", at(200), 10, lease_s=3600)

    assert deliveries.expire_leases(at(201), as_of=at(10**6)) == 2
    assert len(deliveries.due("pacs", at(201), 10)) == 2


def test_no_more_is_leased_than_asked_for(database: Database, deliveries: DeliveryStore) -> None:
    queue(database)

    assert len(deliveries.due("pacs", at(200), 1)) == 1
    assert len(deliveries.due("pacs", at(200), 1)) == 1
    assert deliveries.due("pacs", at(200), 1) == []


def test_what_a_peer_accepted_awaits_proof_until_it_is_committed(database: Database, deliveries: DeliveryStore) -> None:
    queue(database)
    sent = store_all(deliveries, "pacs", 201)
    ids = [each.delivery_id for each in sent]
    assert [each.delivery_id for each in deliveries.awaiting_commitment("pacs")] == ids

    deliveries.commitment_asked(ids, "2.25.77", at(202))

    asked = deliveries.of_transaction("2.25.77")
    assert [(each.delivery_id, each.commitment_asked_at) for each in asked] == [(each, at(202)) for each in ids]
    for each in ids:
        deliveries.apply(each, DeliveryEvent.COMMITTED, now=at(203))
    assert deliveries.awaiting_commitment("pacs") == []
    assert {each.state for each in deliveries.of_transaction("2.25.77")} == {DeliveryState.COMMITTED}


def test_an_object_that_the_peer_does_not_hold_is_sent_again_and_asked_about_anew(
    database: Database, deliveries: DeliveryStore
) -> None:
    queue(database)
    (sent, _) = store_all(deliveries, "pacs", 201)
    deliveries.commitment_asked([sent.delivery_id], "2.25.77", at(202))

    again = deliveries.apply(
        sent.delivery_id, DeliveryEvent.NOT_HELD, now=at(203), cause="no such object", not_before=at(300)
    )

    assert (again.state, again.not_before) == (DeliveryState.QUEUED, at(300))
    assert (again.commitment_uid, again.commitment_asked_at) == (None, None)
    assert deliveries.of_transaction("2.25.77") == []


def test_a_commitment_report_is_a_row_until_somebody_acted_on_it(deliveries: DeliveryStore) -> None:
    deliveries.commitment_reported("2.25.77", ["2.25.1", "2.25.2"], {"2.25.3": 0x0112}, at(300))

    (report,) = deliveries.commitment_reports()
    assert (report.transaction_uid, report.received_at) == ("2.25.77", at(300))
    assert report.committed_uids == {"2.25.1", "2.25.2"}
    assert report.failed == {"2.25.3": 0x0112}

    deliveries.report_acted_on(report.report_id)
    assert deliveries.commitment_reports() == []


def test_failed_and_withheld_are_sent_again_when_a_person_asks(database: Database, deliveries: DeliveryStore) -> None:
    queue(database, peers=("pacs", "research"))
    failed, withheld = deliveries.due("pacs", at(200), 10)
    deliveries.apply(failed.delivery_id, DeliveryEvent.PERMANENT_FAULT, now=at(201), cause="0xA900", status=0xA900)
    deliveries.apply(withheld.delivery_id, DeliveryEvent.WITHHELD, now=at(201), cause="patient ID differs")
    (other, _) = deliveries.due("research", at(200), 10)
    deliveries.apply(other.delivery_id, DeliveryEvent.PERMANENT_FAULT, now=at(201))

    assert deliveries.requeue(at(300), peer="pacs") == 2
    renewed = deliveries.get(failed.delivery_id)
    assert (renewed.state, renewed.attempts, renewed.last_status) == (DeliveryState.QUEUED, 0, 0xA900)
    assert deliveries.requeue(at(301), study_instance_uid=STUDY) == 1
    assert deliveries.requeue(at(302), study_instance_uid=STUDY, peer="pacs") == 0


def test_requeue_without_a_choice_is_refused(deliveries: DeliveryStore) -> None:
    with pytest.raises(ValueError, match="study or a peer"):
        deliveries.requeue(at(0))


def test_the_answer_of_a_dead_sender_does_not_move_what_was_queued_again(
    database: Database, deliveries: DeliveryStore
) -> None:
    queue(database)
    (leased, _) = deliveries.due("pacs", at(200), 10, lease_s=60)
    deliveries.expire_leases(at(261))

    with pytest.raises(IllegalTransitionError):
        deliveries.apply(leased.delivery_id, DeliveryEvent.STORED, now=at(262), status=0)
    assert deliveries.get(leased.delivery_id).state is DeliveryState.QUEUED


def test_each_event_of_a_delivery_is_told_with_its_study_and_peer(
    database: Database, deliveries: DeliveryStore
) -> None:
    queue(database)
    (sent, _) = store_all(deliveries, "pacs", 201)

    told = [row for row in StudyStore(database).events(STUDY) if row.subject == "delivery"]
    mine = [row for row in told if row.subject_key == str(sent.delivery_id)]
    assert [(row.event, row.state_after, row.detail["peer"]) for row in mine] == [
        ("leased", "sending", "pacs"),
        ("stored", "sent", "pacs"),
    ]
    assert mine[1].detail["status"] == 0
    assert len(deliveries.of_study(STUDY)) == 4


def test_what_stopped_of_an_earlier_answer_is_dismissed_once_the_later_report_is_held(
    database: Database, deliveries: DeliveryStore, tmp_path: Path
) -> None:
    routed(database)
    encoded(database, analyzed(database))
    (old,) = deliveries.due("pacs", at(300), 10)
    assert old.encoded.kind is ObjectKind.SEGMENTATION
    deliveries.apply(old.delivery_id, DeliveryEvent.WITHHELD, now=at(300), cause="old")
    JobStore(database).requeue(STUDY, at(400))
    encoded(database, analyzed(database, after_s=500), after_s=600, kinds=(ObjectKind.REPORT,))
    (new,) = [each for each in deliveries.due("pacs", at(700), 10) if each.encoded.job_id != old.encoded.job_id]
    deliveries.apply(new.delivery_id, DeliveryEvent.STORED, now=at(700))
    assert deliveries.get(old.delivery_id).state in STOPPED

    deliveries.apply(new.delivery_id, DeliveryEvent.COMMITTED, now=at(701))

    assert {each.state for each in deliveries.of_job(old.encoded.job_id)} == {DeliveryState.DISMISSED}
    status = Overview(database, tmp_path).status(at(702))
    assert (status.alarms, status.oldest_unanswered_at) == ((), None)
    assert Retention(database).purge(at(30 * 86_400), RetentionPeriods()).study_instance_uids == (STUDY,)


def test_what_waits_for_a_peer_that_is_gone_alarms_until_a_person_gives_it_up(
    database: Database, deliveries: DeliveryStore, tmp_path: Path
) -> None:
    routed(database, peers=("pacs", "old-pacs"))
    encoded(database, analyzed(database))
    overview = Overview(database, tmp_path)

    (alarm,) = overview.status(at(300), receiving={"pacs"}).alarms
    assert alarm.kind is AlarmKind.PEER_GONE
    assert "old-pacs" in alarm.sentence

    assert deliveries.dismiss("pacs", at(301), gone=False) == 0
    assert deliveries.dismiss("old-pacs", at(301), gone=True) == 2
    assert overview.status(at(302), receiving={"pacs"}).alarms == ()


def test_a_person_ends_a_study_whose_failed_analysis_and_object_nobody_wants(
    database: Database, deliveries: DeliveryStore, tmp_path: Path
) -> None:
    jobs = JobStore(database)
    routed(database)
    job = jobs.lease(at(130), 60, 8)
    assert job is not None
    jobs.attempt_failed(job.job_id, job.fence, at(140), "crashed", None)
    with pytest.raises(StoreError, match="still being analysed"):
        deliveries.dismiss_study(STUDY, at(141))
    encoded(database, job, kinds=(ObjectKind.REPORT,))
    (report,) = deliveries.due("pacs", at(300), 10)
    deliveries.apply(report.delivery_id, DeliveryEvent.PERMANENT_FAULT, now=at(300), cause="refused")

    assert deliveries.dismiss_study(STUDY, at(400)) == 1

    assert Overview(database, tmp_path).status(at(401)).alarms == ()
    assert Retention(database).purge(at(2 * 86_400), RetentionPeriods()).study_instance_uids == (STUDY,)
