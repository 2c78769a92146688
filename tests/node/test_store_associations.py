"""An open association holds its studies for a while, and dies with its receiver."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from scp_node.store.associations import OpenAssociation
from scp_node.store.database import Database
from scp_node.store.studies import StudyStore
from tests.node.store_samples import OTHER_STUDY, STUDY, at, received

HOLD_S = 600.0


@pytest.fixture
def studies(tmp_path: Path) -> Iterator[StudyStore]:
    opened = Database.open(tmp_path, migrate=True)
    yield StudyStore(opened)
    opened.close()


def opened(studies: StudyStore, lease_until_s: float = 60) -> int:
    return studies.open_associations([open_association(lease_until_s)])[0]


def open_association(lease_until_s: float = 60) -> OpenAssociation:
    return OpenAssociation(
        association_id=0,
        calling_ae="CT_SCANNER",
        called_ae="HAI_NODE",
        calling_address="127.0.0.1",
        receiver="receiver-1",
        lease_until=at(lease_until_s),
    )


def test_a_study_is_held_by_the_association_that_brings_it(studies: StudyStore) -> None:
    association = opened(studies)
    assert studies.studies_held_open(at(1), HOLD_S) == set()

    studies.record(received(1), at(2), association_id=association)

    assert studies.studies_held_open(at(3), HOLD_S) == {STUDY}


def test_a_closed_association_holds_nothing(studies: StudyStore) -> None:
    association = opened(studies)
    studies.record(received(1), at(2), association_id=association)

    studies.close_associations([association])

    assert studies.studies_held_open(at(3), HOLD_S) == set()


def test_associations_that_are_opened_together_are_told_apart(studies: StudyStore) -> None:
    first, second, third = studies.open_associations([open_association() for _ in range(3)])
    for association in (first, third):
        studies.record(received(1), at(2), association_id=association)

    studies.close_associations([first, second])
    assert studies.studies_held_open(at(3), HOLD_S) == {STUDY}

    studies.close_associations([third])
    assert studies.studies_held_open(at(3), HOLD_S) == set()


def test_an_association_of_a_dead_receiver_holds_nothing_once_its_lease_ran_out(studies: StudyStore) -> None:
    association = opened(studies, lease_until_s=60)
    studies.record(received(1), at(2), association_id=association)

    assert studies.studies_held_open(at(59), HOLD_S) == {STUDY}
    assert studies.studies_held_open(at(60), HOLD_S) == set()
    assert studies.forget_dead_associations(at(60)) == 1
    assert studies.forget_dead_associations(at(60)) == 0


def test_a_silent_association_holds_a_study_only_for_a_while_after_its_last_instance(studies: StudyStore) -> None:
    association = opened(studies)
    studies.record(received(1), at(10), association_id=association)
    studies.renew_associations([association], at(10_000))

    assert studies.studies_held_open(at(10 + HOLD_S - 1), HOLD_S) == {STUDY}
    assert studies.studies_held_open(at(10 + HOLD_S), HOLD_S) == set()


def test_renewing_the_lease_alone_holds_no_study_longer(studies: StudyStore) -> None:
    association = opened(studies)
    studies.record(received(1), at(10), association_id=association)
    studies.renew_associations([association], at(10_000))

    assert studies.studies_held_open(at(10 + HOLD_S), HOLD_S) == set()


def test_two_interleaved_studies_are_both_held(studies: StudyStore) -> None:
    association = opened(studies)
    studies.record_many(
        [received(1), received(50, study=OTHER_STUDY), received(2)],
        at(5),
        association_ids=[association, association, association],
    )

    assert studies.studies_held_open(at(6), HOLD_S) == {STUDY, OTHER_STUDY}


def test_an_instance_of_an_association_that_was_forgotten_is_still_recorded(studies: StudyStore) -> None:
    association = opened(studies)
    studies.close_associations([association])

    studies.record(received(1), at(5), association_id=association)

    assert studies.get(STUDY).instance_count == 1
    assert studies.studies_held_open(at(6), HOLD_S) == set()
