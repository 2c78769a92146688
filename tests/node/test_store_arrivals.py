"""What an arriving instance does to its study: nothing twice, nothing lost, nothing reopened by an echo."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scp_node.domain.study import ReceivedInstance, Reception, StudyEvent, StudyState
from scp_node.errors import UnknownStudyError
from scp_node.store.database import Database
from scp_node.store.former_identities import former_identities
from scp_node.store.quarantine import Quarantine
from scp_node.store.studies import StudyStore
from tests.node.store_samples import (
    EXPLICIT,
    IMPLICIT,
    JPEG_2000,
    OTHER_STUDY,
    STUDY,
    at,
    identity,
    in_series,
    received,
    summary,
)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = Database.open(tmp_path, migrate=True)
    yield opened
    opened.close()


@pytest.fixture
def studies(database: Database) -> StudyStore:
    return StudyStore(database)


def test_a_new_image_makes_a_study_that_is_receiving(studies: StudyStore) -> None:
    assert studies.record(received(1, after_s=5), at(6)) is Reception.NEW

    study = studies.get(STUDY)
    assert (study.state, study.revision, study.instance_count) == (StudyState.RECEIVING, 1, 1)
    assert study.first_received_at == study.last_received_at == at(5)
    assert study.identity == identity()
    assert [row.event for row in studies.events(STUDY)] == ["image-arrived"]


def test_a_study_that_was_never_received_is_named_as_unknown(studies: StudyStore) -> None:
    with pytest.raises(UnknownStudyError, match=STUDY):
        studies.get(STUDY)


def test_a_stored_instance_equals_what_was_received(studies: StudyStore) -> None:
    first = received(1)
    studies.record(first, at(0))

    (stored,) = studies.instances(STUDY)
    assert stored.summary == summary(1)
    assert stored.spool_key == first.spool_key
    assert (stored.dataset_digest, stored.pixel_digest, stored.geometry_digest) == (
        first.dataset_digest,
        first.pixel_digest,
        first.geometry_digest,
    )


def test_the_same_data_set_again_changes_nothing(studies: StudyStore) -> None:
    first = received(1)
    studies.record(first, at(0))
    before = (studies.get(STUDY), studies.instances(STUDY), studies.events(STUDY))

    again = received(1, after_s=300)
    assert studies.record(again, at(300)) is Reception.SAME

    assert (studies.get(STUDY), studies.instances(STUDY), studies.events(STUDY)) == before
    assert again.spool_key not in studies.spool_keys()


def test_the_same_data_set_twice_in_one_batch_is_kept_once(studies: StudyStore) -> None:
    receptions = studies.record_many([received(1), received(1), received(2)], at(0))

    assert receptions == [Reception.NEW, Reception.SAME, Reception.NEW]
    assert studies.get(STUDY).instance_count == 2


@pytest.mark.parametrize("transfer_syntax", [IMPLICIT, JPEG_2000])
def test_another_transfer_syntax_is_a_correction_and_the_first_pixels_stay(
    studies: StudyStore, transfer_syntax: str
) -> None:
    first, second = received(1), received(1, transfer_syntax=transfer_syntax, after_s=60)
    studies.record(first, at(0))

    assert studies.record(second, at(60)) is Reception.CORRECTION

    (stored,) = studies.instances(STUDY)
    assert (stored.spool_key, stored.summary.transfer_syntax_uid) == (first.spool_key, EXPLICIT)
    assert stored.pixel_digest == first.pixel_digest
    assert second.spool_key in studies.spool_keys()
    study = studies.get(STUDY)
    assert (study.state, study.revision, study.instance_count, study.last_received_at) == (
        StudyState.RECEIVING,
        1,
        1,
        at(0),
    )


def test_the_same_correction_again_changes_nothing(studies: StudyStore) -> None:
    studies.record(received(1), at(0))
    studies.record(received(1, transfer_syntax=JPEG_2000), at(1))

    assert studies.record(received(1, transfer_syntax=JPEG_2000), at(2)) is Reception.SAME


def test_a_corrected_name_becomes_the_identity_of_the_study(studies: StudyStore) -> None:
    studies.record(received(1), at(0))

    corrected = identity(name="RIGHT^NAME", accession="A2")
    assert studies.record(received(1, who=corrected, headers="corrected"), at(60)) is Reception.CORRECTION

    study = studies.get(STUDY)
    assert study.identity == corrected
    assert not study.conflict
    assert [found.study_instance_uid for found in studies.find("A2")] == [STUDY]
    assert [row.event for row in studies.events(STUDY)] == ["image-arrived", "header-corrected"]


@pytest.mark.parametrize(
    ("pixels", "geometry", "transfer_syntax"),
    [("other", "g", EXPLICIT), ("other", "g", IMPLICIT), ("p", "other", EXPLICIT), ("p", "other", JPEG_2000)],
)
def test_other_pixels_or_geometry_are_set_aside_and_hold_the_study(
    database: Database, studies: StudyStore, pixels: str, geometry: str, transfer_syntax: str
) -> None:
    first = received(1)
    studies.record(first, at(0))

    second = received(1, pixels=pixels, geometry=geometry, transfer_syntax=transfer_syntax)
    assert studies.record(second, at(60)) is Reception.CONFLICT

    study = studies.get(STUDY)
    assert study.state is StudyState.HELD
    assert "other pixels" in study.conflict
    (stored,) = studies.instances(STUDY)
    assert stored.spool_key == first.spool_key
    (set_aside,) = Quarantine(database).of_study(STUDY)
    assert set_aside.spool_key == second.spool_key
    assert second.spool_key in studies.spool_keys()


def test_pixels_are_compared_with_those_that_came_in_the_same_transfer_syntax(studies: StudyStore) -> None:
    studies.record(received(1), at(0))
    studies.record(received(1, transfer_syntax=JPEG_2000), at(1))

    assert studies.record(received(1, transfer_syntax=JPEG_2000, pixels="other"), at(2)) is Reception.CONFLICT


def test_a_conflicting_object_sent_again_is_set_aside_once(database: Database, studies: StudyStore) -> None:
    studies.record(received(1), at(0))
    studies.record(received(1, pixels="other"), at(1))

    assert studies.record(received(1, pixels="other"), at(2)) is Reception.SAME
    assert len(Quarantine(database).of_study(STUDY)) == 1


def test_an_object_in_another_series_under_the_same_uid_is_a_conflict(studies: StudyStore) -> None:
    studies.record(received(1), at(0))

    moved = in_series(received(1, headers="moved"), f"{STUDY}.99")
    assert studies.record(moved, at(1)) is Reception.CONFLICT


def test_a_uid_of_another_study_holds_the_newcomer_and_leaves_the_holder_alone(studies: StudyStore) -> None:
    studies.record(received(1), at(0))

    assert studies.record(received(1, study=OTHER_STUDY, headers="x"), at(1)) is Reception.CONFLICT

    assert studies.get(STUDY).state is StudyState.RECEIVING
    newcomer = studies.get(OTHER_STUDY)
    assert newcomer.state is StudyState.HELD
    assert "another study" in newcomer.conflict


def test_two_patient_ids_in_one_study_hold_it(studies: StudyStore) -> None:
    studies.record(received(1), at(0))
    assert studies.record(received(2, who=identity("P2")), at(1)) is Reception.NEW

    study = studies.get(STUDY)
    assert study.state is StudyState.HELD
    assert study.conflict == "two patient IDs in one study"
    assert study.instance_count == 2


def test_the_images_of_a_second_patient_never_rename_the_study(studies: StudyStore) -> None:
    first, stray = identity("P1"), identity("P2", name="STRAY^ONE")
    studies.record_many([received(1, who=first), received(2, who=stray), received(3, who=stray)], at(0))
    assert studies.get(STUDY).identity == first

    studies.resolve_conflict(STUDY, at(10))
    studies.record(received(4, who=stray), at(20))

    assert studies.get(STUDY).identity == first


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (identity("P1"), identity("P1", issuer="HOSPITAL")),
        (identity("P1", issuer="HOSPITAL"), identity("P1")),
        (identity("P1"), identity("")),
        (identity(""), identity("P1")),
        (identity("P1"), identity(" P1 ")),
    ],
    ids=["issuer later", "issuer first", "no ID later", "no ID first", "padded"],
)
def test_silence_about_the_patient_contradicts_nothing(studies: StudyStore, first: object, second: object) -> None:
    studies.record(received(1, who=first), at(0))  # type: ignore[arg-type]
    studies.record(received(2, who=second), at(1))  # type: ignore[arg-type]

    study = studies.get(STUDY)
    assert not study.conflict
    assert study.identity.patient_id.strip() == "P1"


def test_the_same_id_from_two_issuers_is_two_patients(studies: StudyStore) -> None:
    studies.record(received(1, who=identity("P1", issuer="A")), at(0))
    studies.record(received(2, who=identity("P1", issuer="B")), at(1))

    assert studies.get(STUDY).state is StudyState.HELD


def test_a_study_whose_every_instance_was_corrected_to_one_patient_is_received_on(studies: StudyStore) -> None:
    studies.record_many([received(1), received(2)], at(0))
    right = identity("RIGHT")

    studies.record(received(1, who=right), at(60))
    halfway = studies.get(STUDY)
    studies.record(received(2, who=right), at(61))

    assert (halfway.state, halfway.conflict) == (StudyState.HELD, "two patient IDs in one study")
    study = studies.get(STUDY)
    assert (study.state, study.conflict, study.identity) == (StudyState.RECEIVING, "", right)


def test_two_patients_that_a_person_accepted_are_not_news_with_the_next_image(studies: StudyStore) -> None:
    studies.record_many([received(1), received(2, who=identity("P2"))], at(0))
    studies.resolve_conflict(STUDY, at(10))
    assert studies.get(STUDY).state is StudyState.HELD

    studies.record_many([received(3), received(4, who=identity("P2"))], at(20))

    study = studies.get(STUDY)
    assert (study.state, study.conflict) == (StudyState.RECEIVING, "")


def test_an_unresolved_conflict_survives_the_next_image(studies: StudyStore) -> None:
    studies.record_many([received(1), received(2, who=identity("P2")), received(3)], at(0))

    study = studies.get(STUDY)
    assert study.state is StudyState.RECEIVING
    assert study.conflict == "two patient IDs in one study"


def test_a_late_dose_report_is_recorded_and_reopens_nothing(studies: StudyStore) -> None:
    studies.record(received(1), at(0))
    studies.apply(STUDY, StudyEvent.FOUND_COMPLETE, reason="quiet", now=at(120))
    before = studies.get(STUDY)

    assert studies.record(received(9, usable=False), at(200)) is Reception.NEW

    assert studies.get(STUDY) == before
    assert len(studies.instances(STUDY)) == 1
    assert len(studies.instances(STUDY, usable_only=False)) == 2


@pytest.mark.parametrize("event", [StudyEvent.ROUTE_IGNORE, StudyEvent.ROUTE_HOLD])
def test_a_late_image_reopens_an_ignored_or_held_study(studies: StudyStore, event: StudyEvent) -> None:
    studies.record(received(1), at(0))
    studies.apply(STUDY, StudyEvent.FOUND_COMPLETE, reason="quiet", now=at(120))
    studies.apply(STUDY, event, reason="because", now=at(121))

    studies.record(received(2, after_s=9000), at(9000))

    study = studies.get(STUDY)
    assert (study.state, study.revision, study.first_received_at) == (StudyState.RECEIVING, 1, at(9000))


def test_senders_are_told_by_series(studies: StudyStore) -> None:
    studies.record_many([received(1), in_series(received(2), f"{STUDY}.7")], at(0))

    senders = studies.senders(STUDY)
    assert set(senders) == {f"{STUDY}.1", f"{STUDY}.7"}
    assert senders[f"{STUDY}.7"].called_aes == frozenset({"HAI_NODE"})
    assert senders[f"{STUDY}.7"].calling_aes == frozenset({"CT_SCANNER"})


@pytest.mark.parametrize("text", ["A1", "P1", "A2", "P2"])
def test_a_study_is_found_by_what_it_was_called_before_a_correction(studies: StudyStore, text: str) -> None:
    studies.record(received(1), at(0))
    studies.record(received(1, who=identity("P2", accession="A2"), headers="corrected"), at(60))

    assert [found.study_instance_uid for found in studies.find(text)] == [STUDY]
    assert studies.find("") == []


def test_names_that_come_back_are_kept_once(studies: StudyStore, database: Database) -> None:
    studies.record(received(1), at(0))
    for number in range(1, 5):
        who = identity("P2") if number % 2 else identity("P1")
        studies.record(received(1, who=who, headers=f"correction {number}", after_s=60.0 * number), at(60 * number))

    with database.reading() as connection:
        former = former_identities(connection, STUDY)

    assert [(each.patient_id, each.accession_number) for each in former] == [("P1", "A1"), ("P2", "A1")]
    assert former[0].replaced_at == at(60)


def test_a_name_that_nobody_had_is_not_remembered(studies: StudyStore, database: Database) -> None:
    studies.record(received(1, who=identity("", accession="")), at(0))
    studies.record(received(1, who=identity(), headers="named"), at(60))

    with database.reading() as connection:
        assert former_identities(connection, STUDY) == ()


@pytest.mark.parametrize("text", [STUDY, "A1", "P1", " P1 "])
def test_a_study_is_found_by_uid_accession_number_or_patient_id(studies: StudyStore, text: str) -> None:
    studies.record(received(1), at(0))

    assert [found.study_instance_uid for found in studies.find(text)] == [STUDY]


def test_empty_text_finds_nothing_even_where_headers_are_empty(studies: StudyStore) -> None:
    studies.record(received(1, who=identity("", accession="")), at(0))

    assert studies.find(" ") == []


# --- many at once ---------------------------------------------------------------------------------------


def test_many_new_images_of_a_study_are_one_event_that_tells_how_many(studies: StudyStore) -> None:
    assert studies.record_many([received(number) for number in range(1, 6)], at(0)) == [Reception.NEW] * 5

    assert studies.get(STUDY).instance_count == 5
    assert [(row.event, row.detail) for row in studies.events(STUDY)] == [("image-arrived", {"count": 5})]


BATCH = st.lists(
    st.builds(
        received,
        st.integers(1, 4),
        study=st.sampled_from([STUDY, STUDY, "1.2.9"]),
        pixels=st.sampled_from(["p", "p", "other"]),
        headers=st.sampled_from(["h", "h", "corrected"]),
        who=st.sampled_from([identity("P1"), identity("P1"), identity("P2")]),
        usable=st.sampled_from([True, True, False]),
    ),
    max_size=8,
)


@settings(max_examples=25, deadline=None)
@given(batch=BATCH)
def test_many_at_once_leave_the_same_as_one_after_the_other(
    batch: list[ReceivedInstance], tmp_path_factory: pytest.TempPathFactory
) -> None:
    batch = [
        dataclasses.replace(one, received_at=at(number), spool_key=f"{number:032x}") for number, one in enumerate(batch)
    ]
    left = []
    for together in (True, False):
        folder = tmp_path_factory.mktemp("store")
        database = Database.open(folder, migrate=True)
        studies = StudyStore(database)
        if together:
            receptions = studies.record_many(batch, at(100))
        else:
            receptions = [studies.record(one, at(100)) for one in batch]
        found = {uid: studies.find(uid) for uid in (STUDY, "1.2.9")}
        instances = {uid: studies.instances(uid, usable_only=False) for uid in found}
        left.append((receptions, found, instances, studies.spool_keys()))
        database.close()
    assert left[0] == left[1]
