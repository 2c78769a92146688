"""Results on their way to a PACS that behaves, and to one that does not."""

import contextlib
import re
import socket
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydicom import uid

from scp_node.demo.archive import Archive
from scp_node.demo.orthanc import Orthanc
from scp_node.demo.ports import free_port
from scp_node.demo.scanner import push
from scp_node.dimse.transactions import transaction_uid
from scp_node.domain.delivery import DeliveryEvent, DeliveryState, ObjectKind
from scp_node.domain.outcome import Done, Retry, Wait
from scp_node.outbound import commitment
from scp_node.outbound.cutoff import Cutoff
from scp_node.outbound.echo import echo
from scp_node.outbound.link import linked, terms_of
from scp_node.pipeline.deliver import DeliverToPeer
from scp_node.pipeline.stage import StageRunner
from scp_node.store.database import Database
from scp_node.store.studies import StudyStore
from tests.node.network import ct_slice, dataset_bytes, eventually, make_site, orthanc, part10, peers_toml, receiving
from tests.node.outbox import ENCODED_AT_S, IMPATIENT, Outbox, outbox
from tests.node.store_samples import STUDY, at, identity, received
from tests.system.misbehaving_pacs import Commitment, MisbehavingPacs, Misbehaviour, misbehaving_pacs

# Where nobody listens, the library drops its socket without closing it, and Python says so.
pytestmark = pytest.mark.filterwarnings("ignore:Exception ignored in. <socket:pytest.PytestUnraisableExceptionWarning")

NOW_S = ENCODED_AT_S + 10.0
COMMITTED = dict.fromkeys(ObjectKind, DeliveryState.COMMITTED)
SENT = dict.fromkeys(ObjectKind, DeliveryState.SENT)
QUEUED = dict.fromkeys(ObjectKind, DeliveryState.QUEUED)
SEGMENTATION, REPORT = ObjectKind.SEGMENTATION, ObjectKind.REPORT


@pytest.fixture(autouse=True)
def no_long_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    # The PACS of these tests reports after 0.2 s or never.
    monkeypatch.setattr(commitment, "SAME_ASSOCIATION_S", 0.8)


@contextlib.contextmanager
def scene(
    folder: Path, misbehaviour: Misbehaviour | None = None, *, pacs: str = "", **more: Any
) -> Iterator[tuple[Outbox, MisbehavingPacs]]:
    """An answered study and a PACS, without the node's own port."""
    with misbehaving_pacs("PACS", node_port=free_port()) as archive:
        archive.misbehaviour = misbehaviour or Misbehaviour(commitment=Commitment.SAME_ASSOCIATION)
        with outbox(folder, pacs_port=archive.port, pacs=pacs, **more) as box:
            yield box, archive


# --- the good case ------------------------------------------------------------------------------------------


def test_what_is_stored_at_the_peer_is_the_encoded_file_to_the_byte(tmp_path: Path) -> None:
    with scene(tmp_path) as (box, archive):
        assert isinstance(box.courier.deliver("pacs", at(NOW_S)), Done)

        assert box.states() == SENT
        for kind, path in box.files.items():
            assert archive.held[box.uids[kind]].content == dataset_bytes(path)


def test_reports_are_sent_after_everything_that_they_point_at(tmp_path: Path) -> None:
    with scene(tmp_path) as (box, archive):
        box.courier.deliver("pacs", at(NOW_S))

        kinds = {sop_instance_uid: kind for kind, sop_instance_uid in box.uids.items()}
        assert [kinds[arrived].send_rank for arrived in archive.arrived] == [0, 0, 1, 1]


def test_commitment_on_the_same_association_ends_the_delivery(tmp_path: Path) -> None:
    with scene(tmp_path) as (box, archive):
        box.courier.deliver("pacs", at(NOW_S))

        assert isinstance(box.courier.confirm("pacs", at(NOW_S)), Done)
        assert box.states() == COMMITTED
        assert len(archive.asked) == 1


def test_commitment_on_an_association_of_the_peers_own_ends_the_delivery(tmp_path: Path) -> None:
    with scene(tmp_path) as (box, archive), receiving(box.site):
        archive._node = (box.site.port, "HAI_NODE")
        archive.misbehaviour = Misbehaviour(commitment=Commitment.NEW_ASSOCIATION)
        box.courier.deliver("pacs", at(NOW_S))
        box.courier.confirm("pacs", at(NOW_S))

        assert eventually(lambda: _confirmed(box) == COMMITTED)


def _confirmed(box: Outbox) -> dict[ObjectKind, DeliveryState]:
    box.courier.confirm("pacs", at(NOW_S + 1))
    return box.states()


def test_when_nothing_is_due_nothing_is_done(tmp_path: Path) -> None:
    with scene(tmp_path) as (box, archive):
        box.courier.deliver("pacs", at(NOW_S))
        box.courier.confirm("pacs", at(NOW_S))
        arrived = list(archive.arrived)

        assert isinstance(box.courier.deliver("pacs", at(NOW_S + 9)), Wait)
        assert isinstance(box.courier.confirm("pacs", at(NOW_S + 9)), Wait)
        assert archive.arrived == arrived


def test_messages_leave_without_waiting_for_an_acknowledgement(tmp_path: Path) -> None:
    with (
        scene(tmp_path) as (box, _),
        linked(terms_of(box.site.settings, "pacs"), [(uid.CTImageStorage, uid.ExplicitVRLittleEndian)]) as link,
    ):
        wire = link.association.dul.socket
        assert wire is not None
        assert wire.socket is not None
        assert wire.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0


# --- a peer that does not take it ---------------------------------------------------------------------------


def test_a_peer_that_is_away_is_tried_again_with_growing_patience_until_it_is_back(tmp_path: Path) -> None:
    with scene(tmp_path) as (box, archive):
        archive.go_away()
        waits_s, now_s = [], NOW_S
        for _ in range(4):
            outcome = box.courier.deliver("pacs", at(now_s))
            assert isinstance(outcome, Retry)
            assert "no connection" in outcome.cause
            delivery = box.of(SEGMENTATION)
            assert delivery.state is DeliveryState.QUEUED
            waits_s.append((delivery.not_before - at(now_s)).total_seconds())
            now_s += waits_s[-1]
        assert waits_s == [1.0, 2.0, 4.0, 8.0]

        archive.start()
        box.courier.deliver("pacs", at(now_s))
        assert box.states() == SENT


@pytest.mark.parametrize(
    ("rejects", "words"),
    [
        ((1, 1, 7), "called AE title"),
        ((1, 1, 3), "calling AE title"),
        ((2, 3, 2), "local limit"),
        ((2, 1, 1), "no reason"),
    ],
)
def test_a_rejection_is_told_in_words_and_tried_again(
    rejects: tuple[int, int, int], words: str, tmp_path: Path
) -> None:
    with scene(tmp_path, Misbehaviour(rejects=rejects)) as (box, archive):
        outcome = box.courier.deliver("pacs", at(NOW_S))

        assert isinstance(outcome, Retry)
        assert words in outcome.cause
        assert box.states() == QUEUED
        archive.misbehaviour = Misbehaviour()
        box.courier.deliver("pacs", at(NOW_S + 60))
        assert box.states() == SENT


def test_a_peer_that_stalls_is_left_and_tried_again(tmp_path: Path) -> None:
    with scene(tmp_path, Misbehaviour(stalls_s=30.0)) as (box, archive):
        assert isinstance(box.courier.deliver("pacs", at(NOW_S)), Retry)
        assert box.states() == QUEUED

        archive.misbehaviour = Misbehaviour()
        box.courier.deliver("pacs", at(NOW_S + 60))
        assert box.states() == SENT


def test_after_an_abort_only_what_was_not_answered_is_sent_again(tmp_path: Path) -> None:
    with scene(tmp_path, Misbehaviour(aborts_store_number=2)) as (box, archive):
        assert isinstance(box.courier.deliver("pacs", at(NOW_S)), Retry)
        assert sorted(box.states().values()) == ["queued", "queued", "queued", "sent"]

        box.courier.deliver("pacs", at(NOW_S + 60))
        assert box.states() == SENT
        assert len(archive.arrived) == 5


@pytest.mark.parametrize("status", [0xA700, 0x0110])
def test_a_peer_without_room_is_tried_again(status: int, tmp_path: Path) -> None:
    with scene(tmp_path, Misbehaviour(store_status=status)) as (box, _):
        assert isinstance(box.courier.deliver("pacs", at(NOW_S)), Retry)

        assert box.of(SEGMENTATION).state is DeliveryState.QUEUED
        assert box.of(SEGMENTATION).last_status == status


def test_an_object_that_is_blamed_every_time_is_left_to_a_person(tmp_path: Path) -> None:
    how = Misbehaviour(status_by_class={uid.BasicTextSRStorage: 0xC001})
    with scene(tmp_path, how) as (box, archive):
        for minute in range(5):
            box.courier.deliver("pacs", at(NOW_S + 60 * minute))

        assert box.states() == SENT | {ObjectKind.TEXT_REPORT: DeliveryState.FAILED}
        assert archive.arrived.count(box.uids[ObjectKind.TEXT_REPORT]) == 3
        assert "0xC001" in box.of(ObjectKind.TEXT_REPORT).last_cause


def test_an_object_without_an_accepted_context_fails_alone(tmp_path: Path) -> None:
    how = Misbehaviour(refuses_classes=frozenset({uid.SecondaryCaptureImageStorage}))
    with scene(tmp_path, how) as (box, _):
        box.courier.deliver("pacs", at(NOW_S))

        assert box.of(ObjectKind.SECONDARY_CAPTURE).state is DeliveryState.FAILED
        assert box.of(SEGMENTATION).state is DeliveryState.SENT


def test_a_peer_that_accepts_no_context_at_all_gets_words_and_no_traceback(tmp_path: Path) -> None:
    how = Misbehaviour(refuses_classes=frozenset({uid.SecondaryCaptureImageStorage, uid.SegmentationStorage}))
    with scene(tmp_path, how) as (box, _):
        box.courier.deliver("pacs", at(NOW_S))

        assert box.of(SEGMENTATION).state is DeliveryState.FAILED
        assert "does not accept" in box.of(SEGMENTATION).last_cause


def test_a_peer_that_takes_no_pictures_still_gets_the_reports(tmp_path: Path) -> None:
    how = Misbehaviour(refuses_classes=frozenset({uid.SecondaryCaptureImageStorage}))
    with scene(tmp_path, how) as (box, archive):
        box.courier.deliver("pacs", at(NOW_S))

        assert box.of(ObjectKind.SECONDARY_CAPTURE).state is DeliveryState.FAILED
        assert {box.uids[ObjectKind.REPORT], box.uids[ObjectKind.TEXT_REPORT]} <= set(archive.arrived)


def test_a_file_that_changed_since_it_was_made_never_leaves(tmp_path: Path) -> None:
    with scene(tmp_path) as (box, archive):
        content = bytearray(box.files[SEGMENTATION].read_bytes())
        content[-1] ^= 1
        box.files[SEGMENTATION].write_bytes(content)
        box.courier.deliver("pacs", at(NOW_S))

        assert box.of(SEGMENTATION).state is DeliveryState.FAILED
        assert box.uids[SEGMENTATION] not in archive.arrived


# --- sent is not stored -------------------------------------------------------------------------------------


def test_a_peer_that_says_success_and_holds_nothing_gets_it_again(tmp_path: Path) -> None:
    how = Misbehaviour(loses=True, commitment=Commitment.SAME_ASSOCIATION)
    with scene(tmp_path, how) as (box, archive):
        box.courier.deliver("pacs", at(NOW_S))
        box.courier.confirm("pacs", at(NOW_S))

        assert box.states() == QUEUED
        assert "does not hold it" in box.of(REPORT).last_cause
        archive.misbehaviour = Misbehaviour(commitment=Commitment.SAME_ASSOCIATION)
        box.courier.deliver("pacs", at(NOW_S + 60))
        box.courier.confirm("pacs", at(NOW_S + 60))
        assert box.states() == COMMITTED


def test_of_a_partial_commitment_only_the_rest_is_sent_again(tmp_path: Path) -> None:
    how = Misbehaviour(disowns=frozenset({uid.SegmentationStorage}), commitment=Commitment.SAME_ASSOCIATION)
    with scene(tmp_path, how) as (box, archive):
        box.courier.deliver("pacs", at(NOW_S))
        box.courier.confirm("pacs", at(NOW_S))

        assert box.states() == COMMITTED | {SEGMENTATION: DeliveryState.QUEUED}
        archive.misbehaviour = Misbehaviour(commitment=Commitment.SAME_ASSOCIATION)
        box.courier.deliver("pacs", at(NOW_S + 60))
        box.courier.confirm("pacs", at(NOW_S + 60))
        assert box.states() == COMMITTED
        assert archive.arrived.count(box.uids[SEGMENTATION]) == 2
        assert archive.arrived.count(box.uids[REPORT]) == 1


@pytest.mark.parametrize("how", [Commitment.NEVER, Commitment.REFUSED])
def test_a_peer_that_never_reports_is_asked_again_and_never_given_up(how: Commitment, tmp_path: Path) -> None:
    with scene(tmp_path, Misbehaviour(commitment=how)) as (box, archive):
        box.courier.deliver("pacs", at(NOW_S))
        for seconds in (0, 30, 59):
            box.courier.confirm("pacs", at(NOW_S + seconds))
        assert len(archive.asked) == 1
        box.courier.confirm("pacs", at(NOW_S + 60))
        assert len(set(archive.asked)) == 2
        assert box.states() == SENT

        archive.misbehaviour = Misbehaviour(commitment=Commitment.SAME_ASSOCIATION)
        box.courier.confirm("pacs", at(NOW_S + 120))
        assert box.states() == COMMITTED


def test_a_report_that_answers_an_earlier_request_counts(tmp_path: Path) -> None:
    with scene(tmp_path, Misbehaviour(commitment=Commitment.NEVER)) as (box, archive):
        box.courier.deliver("pacs", at(NOW_S))
        box.courier.confirm("pacs", at(NOW_S))
        box.courier.confirm("pacs", at(NOW_S + 60))
        first, second = archive.asked
        assert first != second

        box.deliveries.commitment_reported(first, tuple(box.uids.values()), {}, at(NOW_S + 61))
        box.courier.confirm("pacs", at(NOW_S + 62))
        assert box.states() == COMMITTED


def test_a_refusal_that_answers_an_earlier_request_does_not_count(tmp_path: Path) -> None:
    with scene(tmp_path, Misbehaviour(commitment=Commitment.NEVER)) as (box, archive):
        box.courier.deliver("pacs", at(NOW_S))
        box.courier.confirm("pacs", at(NOW_S))
        box.courier.confirm("pacs", at(NOW_S + 60))

        refusals = dict.fromkeys(box.uids.values(), 0x0112)
        box.deliveries.commitment_reported(archive.asked[0], (), refusals, at(NOW_S + 61))
        box.courier.confirm("pacs", at(NOW_S + 62))
        assert box.states() == SENT


def test_a_report_of_a_transaction_that_we_never_made_changes_nothing(tmp_path: Path) -> None:
    with scene(tmp_path, Misbehaviour(commitment=Commitment.NEVER)) as (box, _):
        box.courier.deliver("pacs", at(NOW_S))
        box.deliveries.commitment_reported("1.2.3.4", tuple(box.uids.values()), {}, at(NOW_S))
        box.courier.confirm("pacs", at(NOW_S + 1))

        assert box.states() == SENT
        assert box.deliveries.commitment_reports() == []


def test_a_peer_that_cannot_be_asked_for_proof_is_asked_when_it_is_back(tmp_path: Path) -> None:
    with scene(tmp_path) as (box, archive):
        box.courier.deliver("pacs", at(NOW_S))
        archive.go_away()
        waits_s = []
        for second in range(3):
            outcome = box.courier.confirm("pacs", at(NOW_S + second))
            assert isinstance(outcome, Retry)
            waits_s.append(outcome.after_s)
        assert waits_s == [1.0, 2.0, 4.0]

        archive.start()
        # It was never asked, so there is no answer to wait for: it can be asked at once.
        box.courier.confirm("pacs", at(NOW_S + 4))
        assert box.states() == COMMITTED


def test_a_report_is_acted_on_while_the_peer_cannot_be_asked(tmp_path: Path) -> None:
    with scene(tmp_path, Misbehaviour(commitment=Commitment.NEVER)) as (box, archive):
        stage = StageRunner(DeliverToPeer(courier=box.courier, peer="pacs", stopping=lambda: False))
        stage.run(at(NOW_S))
        archive.go_away()
        for seconds in (60, 61, 63, 67):
            stage.run(at(NOW_S + seconds))  # it backs off further each time
        box.deliveries.commitment_reported(archive.asked[0], tuple(box.uids.values()), {}, at(NOW_S + 68))
        stage.run(at(NOW_S + 68))
        assert box.states() == COMMITTED


def test_a_peer_that_takes_objects_again_is_asked_for_proof_at_once(tmp_path: Path) -> None:
    with scene(tmp_path) as (box, archive):
        stage = StageRunner(DeliverToPeer(courier=box.courier, peer="pacs", stopping=lambda: False))
        box.courier.deliver("pacs", at(NOW_S))
        archive.go_away()
        for seconds in (1, 2, 4, 8, 16):
            stage.run(at(NOW_S + seconds))
        archive.start()
        stage.run(at(NOW_S + 17))
        assert box.states() == SENT, "its turn comes later"

        box.deliveries.apply(box.of(REPORT).delivery_id, DeliveryEvent.NOT_HELD, now=at(NOW_S + 17))
        stage.run(at(NOW_S + 18))
        stage.run(at(NOW_S + 18.5))
        assert box.states() == COMMITTED


def test_a_report_counts_although_the_peer_is_asked_in_another_way_by_now(tmp_path: Path) -> None:
    with scene(tmp_path, pacs=FIND) as (box, archive):
        box.courier.deliver("pacs", at(NOW_S))
        archive.go_away()
        asked = transaction_uid("pacs", bytes(16))
        box.deliveries.commitment_reported(asked, tuple(box.uids.values()), {}, at(NOW_S))
        box.courier.act("pacs", at(NOW_S + 1))
        assert box.states() == COMMITTED
        assert box.deliveries.commitment_reports() == []


def test_objects_that_a_peer_forwards_back_to_us_are_acknowledged_and_change_nothing(tmp_path: Path) -> None:
    with scene(tmp_path, pacs="may_send = true") as (box, archive), receiving(box.site) as receiver:
        archive._node = (box.site.port, "HAI_NODE")
        archive.misbehaviour = Misbehaviour(forwards_back=True)
        box.courier.deliver("pacs", at(NOW_S))

        assert eventually(lambda: receiver.log.count('"reception": "own"') == len(box.uids))
        assert box.site.spooled == []
        assert box.states() == SENT


# --- stop, and long batches ---------------------------------------------------------------------------------


def test_a_stop_lets_the_object_on_its_way_arrive_and_keeps_the_others_for_later(tmp_path: Path) -> None:
    arrived: list[str] = []
    with scene(tmp_path, stopping=lambda: bool(arrived)) as (box, archive):
        archive.arrived = arrived
        box.courier.deliver("pacs", at(NOW_S))

        assert len(arrived) == 1
        states = [delivery.state for delivery in box.all()]
        assert sorted(states) == [DeliveryState.QUEUED] * 3 + [DeliveryState.SENT]
        assert [one.attempts for one in box.all() if one.state is DeliveryState.QUEUED] == [0, 0, 0]
        assert isinstance(box.courier.deliver("pacs", at(NOW_S + 1)), Wait)
        assert len(arrived) == 1


def test_a_peer_that_does_not_answer_is_hung_up_on(tmp_path: Path) -> None:
    cutoff = Cutoff()
    patient = IMPATIENT.replace("= 3.0", "= 3000.0")
    with scene(tmp_path, Misbehaviour(stalls_s=3000.0), cutoff=cutoff, delivery=patient) as (box, archive):
        courier = threading.Thread(target=box.courier.deliver, args=("pacs", at(NOW_S)))
        courier.start()
        assert eventually(lambda: len(archive.arrived) == 1)
        cutoff.cut()
        courier.join(timeout=60)
        assert not courier.is_alive()
        assert {one.state for one in box.all()} == {DeliveryState.QUEUED}

        # Nobody is called any more, also not by whoever had not looked yet.
        outcome = box.courier.deliver("pacs", at(NOW_S + 600))
        assert isinstance(outcome, Retry)
        assert "stopping" in outcome.cause
        assert len(archive.arrived) == 1


def test_nothing_is_sent_twice_by_a_peer_that_takes_longer_for_an_object_than_a_lease_lasts(tmp_path: Path) -> None:
    slow = Misbehaviour(stalls_s=9.0)
    delivery = IMPATIENT.replace("= 3.0", "= 60.0") + "\nlease_s = 3.0"
    with scene(tmp_path, slow, clock=lambda: datetime.now(UTC), delivery=delivery) as (box, archive):
        courier = threading.Thread(target=box.courier.deliver, args=("pacs", datetime.now(UTC)))
        courier.start()
        assert eventually(lambda: len(archive.arrived) == 1)
        archive.misbehaviour = Misbehaviour()
        while courier.is_alive():
            # What the node does every few seconds.
            assert box.deliveries.expire_leases(datetime.now(UTC)) == 0
            courier.join(timeout=0.2)
        assert box.states() == SENT
        assert len(archive.arrived) == len(set(archive.arrived)) == 4


FAR_OFF = timedelta(days=1)


def asleep(box: Outbox) -> None:
    """What a node does first that was suspended for longer than its leases last."""
    now = datetime.now(UTC)
    assert box.deliveries.expire_leases(now, as_of=now + FAR_OFF) > 0


def test_a_sender_that_slept_longer_than_its_leases_sends_each_object_once(tmp_path: Path) -> None:
    slow = Misbehaviour(stalls_s=2.0)
    delivery = IMPATIENT.replace("= 3.0", "= 60.0")
    with scene(tmp_path, slow, clock=lambda: datetime.now(UTC), delivery=delivery) as (box, archive):
        courier = threading.Thread(target=box.courier.deliver, args=("pacs", datetime.now(UTC)))
        courier.start()
        for count in (1, 2):
            # One object is on its way, and of the first two another one waits for its turn.
            assert eventually(lambda: len(archive.arrived) == count)  # noqa: B023
            asleep(box)
        archive.misbehaviour = Misbehaviour()
        courier.join(timeout=60)
        assert box.states() == SENT
        assert len(archive.arrived) == len(set(archive.arrived)) == 4
        assert {one.attempts for one in box.all()} == {1}


def test_what_another_sender_took_over_is_neither_sent_nor_decided_by_the_one_before(tmp_path: Path) -> None:
    slow = Misbehaviour(stalls_s=2.0)
    delivery = IMPATIENT.replace("= 3.0", "= 60.0")
    with scene(tmp_path, slow, clock=lambda: datetime.now(UTC), delivery=delivery) as (box, archive):
        courier = threading.Thread(target=box.courier.deliver, args=("pacs", datetime.now(UTC)))
        courier.start()
        assert eventually(lambda: len(archive.arrived) == 1)
        asleep(box)
        taken = box.deliveries.due("pacs", datetime.now(UTC), 50)
        courier.join(timeout=60)
        assert len(taken) == 2
        assert [box.deliveries.get(one.delivery_id) for one in taken] == taken
        assert len(archive.arrived) == 1


# --- archives without commitment ----------------------------------------------------------------------------

FIND = 'verification = "find"'


def test_where_there_is_no_commitment_finding_the_instance_is_the_proof(tmp_path: Path) -> None:
    with scene(tmp_path, pacs=FIND) as (box, archive):
        box.courier.deliver("pacs", at(NOW_S))

        assert isinstance(box.courier.confirm("pacs", at(NOW_S)), Done)
        assert box.states() == COMMITTED
        assert archive.asked == []


def test_what_is_not_found_gets_time_to_be_filed_and_is_then_sent_again(tmp_path: Path) -> None:
    with scene(tmp_path, Misbehaviour(loses=True), pacs=FIND) as (box, archive):
        box.courier.deliver("pacs", at(NOW_S))
        outcome = box.courier.confirm("pacs", at(NOW_S))
        assert isinstance(outcome, Wait)
        assert outcome.until > at(NOW_S)
        box.courier.confirm("pacs", at(NOW_S + 59))
        assert box.states() == SENT
        box.courier.confirm("pacs", at(NOW_S + 61))
        assert box.states() == QUEUED

        archive.misbehaviour = Misbehaviour()
        box.courier.deliver("pacs", at(NOW_S + 120))
        box.courier.confirm("pacs", at(NOW_S + 121))
        assert box.states() == COMMITTED


# --- identity -----------------------------------------------------------------------------------------------

CHECKED = "check_identity = true"


def test_a_result_of_a_patient_who_was_renamed_at_the_peer_is_withheld(tmp_path: Path) -> None:
    with scene(tmp_path, pacs=CHECKED) as (box, archive):
        _file_source(archive, tmp_path)
        archive.misbehaviour = Misbehaviour(files_under={STUDY: ("OTHER-PATIENT", "A-1")})
        box.courier.deliver("pacs", at(NOW_S))

        assert set(box.states().values()) <= {DeliveryState.WITHHELD, DeliveryState.QUEUED}
        assert box.of(SEGMENTATION).state is DeliveryState.WITHHELD
        reason = box.of(SEGMENTATION).last_cause
        assert "patient ID" in reason
        assert not re.search("OTHER-PATIENT|TEST-1", reason)
        assert set(box.uids.values()).isdisjoint(archive.arrived)


def test_a_result_whose_study_the_peer_files_alike_is_delivered(tmp_path: Path) -> None:
    with scene(tmp_path, pacs=CHECKED) as (box, archive):
        _file_source(archive, tmp_path)
        box.courier.deliver("pacs", at(NOW_S))

        assert box.states() == SENT


def test_a_result_whose_study_the_peer_does_not_know_is_delivered(tmp_path: Path) -> None:
    with scene(tmp_path, pacs=CHECKED) as (box, _):
        box.courier.deliver("pacs", at(NOW_S))

        assert box.states() == SENT


@pytest.mark.parametrize("damage", ["gone", "no DICOM", "cut short"])
def test_an_encoded_file_that_cannot_be_read_stops_nothing_else(tmp_path: Path, damage: str) -> None:
    with scene(tmp_path, pacs=CHECKED) as (box, archive):
        _file_source(archive, tmp_path)
        path = box.files[SEGMENTATION]
        if damage == "gone":
            path.unlink()
        else:
            path.write_bytes(b"\0" * 500 if damage == "no DICOM" else path.read_bytes()[:150])
        box.courier.deliver("pacs", at(NOW_S))

        assert box.states() == {**SENT, SEGMENTATION: DeliveryState.FAILED}
        assert "the encoded file" in box.of(SEGMENTATION).last_cause


def test_a_result_under_an_identity_that_was_corrected_since_is_withheld_without_asking_the_peer(
    tmp_path: Path,
) -> None:
    with scene(tmp_path) as (box, archive):
        database = Database.open(box.site.data, migrate=False)
        corrected = received(1, headers="merged", who=identity("P1-MERGED"), after_s=NOW_S - 5)
        StudyStore(database).record(corrected, at(NOW_S - 5))
        database.close()
        box.courier.deliver("pacs", at(NOW_S))

        # The reports wait for the images that they point at, and so are not looked at yet.
        assert {box.states()[kind] for kind in (SEGMENTATION, ObjectKind.SECONDARY_CAPTURE)} == {DeliveryState.WITHHELD}
        assert "another patient ID" in box.of(SEGMENTATION).last_cause
        assert not archive.arrived


def _file_source(archive: MisbehavingPacs, folder: Path) -> None:
    """Let the PACS have an image of the study."""
    source = folder / "source"
    source.mkdir()
    part10(ct_slice(9, study=STUDY), source / "a.dcm")
    pushed = push(source, host="127.0.0.1", port=archive.port, calling_ae="CT_1", called_ae="PACS")
    assert pushed.stored == 1


# --- echo, the archive of the demonstration, Orthanc --------------------------------------------------------


def test_an_echo_says_in_words_how_the_peer_stands(tmp_path: Path) -> None:
    with scene(tmp_path) as (box, archive):
        settings = box.site.settings
        answered = echo(settings, "pacs")
        archive.misbehaviour = Misbehaviour(rejects=(1, 1, 3))
        rejected = echo(settings, "pacs")
        archive.go_away()
        silent = echo(settings, "pacs")

    assert answered.answered
    assert "PACS at 127.0.0.1" in answered.sentence
    assert not rejected.answered
    assert "calling AE title not recognised" in rejected.sentence
    assert not silent.answered
    assert "no connection" in silent.sentence


def test_the_built_in_archive_stores_and_commits(tmp_path: Path) -> None:
    port = free_port()
    with outbox(tmp_path, pacs_port=port) as box, receiving(box.site):
        archive = Archive(tmp_path / "archive", port=port, node=("HAI_NODE", box.site.port))
        archive.start()
        try:
            box.courier.deliver("pacs", at(NOW_S))
            box.courier.confirm("pacs", at(NOW_S))
            assert eventually(lambda: _confirmed(box) == COMMITTED)
            assert len(archive.fetch(STUDY)) == len(box.files)
        finally:
            archive.stop()


def test_the_scanner_of_the_demonstration_sends_a_folder(tmp_path: Path) -> None:
    site = make_site(tmp_path, peers=peers_toml())
    study = tmp_path / "study"
    study.mkdir()
    for number in range(3):
        part10(ct_slice(number), study / f"{number}.dcm")
    (study / "notes.txt").write_text("no DICOM")
    seen: list[tuple[int, int]] = []
    with receiving(site) as receiver:
        pushed = push(
            study,
            host="127.0.0.1",
            port=receiver.port,
            calling_ae="CT_1",
            called_ae="HAI_NODE",
            progress=lambda sent, of: seen.append((sent, of)),
        )

    assert (pushed.stored, pushed.refused) == (3, ())
    assert seen == [(1, 3), (2, 3), (3, 3)]


def test_orthanc_stores_and_commits(tmp_path: Path) -> None:
    program = orthanc()
    port = free_port()
    with outbox(tmp_path, pacs_port=port, delivery=IMPATIENT.replace("= 3.0", "= 20.0")) as box, receiving(box.site):
        home = tmp_path / "orthanc"
        home.mkdir()
        archive = Orthanc(program, home, port=port, http_port=free_port(), node=("HAI_NODE", box.site.port))
        archive.start()
        try:
            now = datetime.now(UTC)
            box.courier.deliver("pacs", now)
            assert box.states() == SENT
            box.courier.confirm("pacs", now)
            assert eventually(lambda: _confirmed(box) == COMMITTED)
            assert len(archive.fetch(STUDY)) == len(box.files)
        finally:
            archive.stop()
