"""Tables of an earlier program: brought up to date with everything that is in them."""

from __future__ import annotations

from pathlib import Path

import pytest

from scp_node.domain.study import StudyState
from scp_node.errors import StoreError
from scp_node.store.database import Database
from scp_node.store.former_identities import former_identities
from scp_node.store.jobs import JobStore
from scp_node.store.studies import StudyStore
from tests.node.earlier_tables import take_back
from tests.node.store_samples import STUDY, analyzed, at, encoded, identity, received, routed


def test_names_that_corrections_brought_are_found_after_an_upgrade(tmp_path: Path) -> None:
    old = Database.open(tmp_path, migrate=True)
    studies = StudyStore(old)
    studies.record(received(1), at(0))
    for number in (2, 3):
        who = identity(f"P{number}", accession=f"A{number}")
        studies.record(received(1, who=who, headers=f"correction {number}", after_s=60.0 * number), at(60 * number))
    old.close()
    take_back(tmp_path, "0001")

    new = Database.open(tmp_path, migrate=True)

    assert [found.study_instance_uid for found in StudyStore(new).find("P2")] == [STUDY]
    assert [found.study_instance_uid for found in StudyStore(new).find("A3")] == [STUDY]
    with new.reading() as connection:
        (former,) = former_identities(connection, STUDY)
    assert (former.patient_id, former.accession_number, former.replaced_at) == ("P2", "A2", at(120))
    new.close()


def test_an_upgrade_keeps_studies_jobs_deliveries_and_events(tmp_path: Path) -> None:
    old = Database.open(tmp_path, migrate=True)
    routed(old)
    encoded(old, analyzed(old))
    events, jobs = StudyStore(old).events(STUDY), JobStore(old).of_study(STUDY)
    old.close()
    take_back(tmp_path, "0001")

    with pytest.raises(StoreError, match="start `serve` once"):
        Database.open(tmp_path, migrate=False)
    new = Database.open(tmp_path, migrate=True)

    assert StudyStore(new).get(STUDY).state is StudyState.ROUTED
    assert StudyStore(new).events(STUDY) == events
    assert JobStore(new).of_study(STUDY) == jobs
    new.close()


def test_a_program_refuses_the_tables_of_a_newer_one(tmp_path: Path) -> None:
    newer = Database.open(tmp_path, migrate=True)
    with newer.writing() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    newer.close()

    with pytest.raises(StoreError, match="newer program"):
        Database.open(tmp_path, migrate=True)
