"""Instances recorded together leave what they leave when they are recorded one by one."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from scp_node.domain.study import ReceivedInstance, Reception, StudyEvent
from scp_node.store import tables
from scp_node.store.database import Database
from scp_node.store.studies import StudyStore
from tests.node.store_samples import IMPLICIT, OTHER_STUDY, STUDY, at, identity, named, received

FIRST = received(1)
BATCHES: dict[str, list[ReceivedInstance]] = {
    "images of one study": [received(2, after_s=9), received(3, after_s=7), received(4, after_s=8)],
    "images of two studies": [received(2), named(received(9, study=OTHER_STUDY), "2.25.9"), received(3)],
    "an image and a report": [received(2), received(3, usable=False)],
    "only a report": [received(2, usable=False)],
    "the same again": [received(2), received(1), received(3)],
    "one twice in the batch": [received(2), received(2), received(3)],
    "a corrected header": [received(2), received(1, headers="new", who=identity(name="TWO^PATIENT")), received(3)],
    "another name": [received(2), received(3, who=identity(name="TWO^PATIENT")), received(4)],
    "a second patient": [received(2), received(3, who=identity("P2")), received(4)],
    "other pixels": [received(2), received(1, pixels="other"), received(3)],
    "an object of another study": [received(2), received(1, study=OTHER_STUDY)],
    "another transfer syntax": [received(2, transfer_syntax=IMPLICIT), received(3)],
}


def rows_of(database: Database) -> dict[str, Any]:
    """What matters of all rows; how many events tell of the images does not."""
    with database.reading() as connection:
        rows = {
            table.name: sorted(map(repr, connection.execute(select(table)).all()))
            for table in (tables.study, tables.instance, tables.correction, tables.quarantine, tables.job)
        }
        events = connection.execute(select(tables.event).order_by(tables.event.c.event_id)).mappings()
        told = [(row["study_instance_uid"], row["event"], row["state_after"]) for row in events]
    return {**rows, "event": sorted(set(told))}


def recorded(folder: Path, batch: Sequence[ReceivedInstance], *, together: bool) -> tuple[list[Reception], Any]:
    folder.mkdir()
    with closing(Database.open(folder, migrate=True)) as database:
        studies = StudyStore(database)
        studies.record(FIRST, at(500))
        studies.apply(STUDY, StudyEvent.FOUND_COMPLETE, reason="quiet", now=at(550))
        if together:
            receptions = studies.record_many(batch, at(600))
        else:
            receptions = [studies.record(instance, at(600)) for instance in batch]
        return receptions, rows_of(database)


@pytest.mark.parametrize("what", BATCHES)
def test_a_batch_leaves_the_same_rows_as_its_instances_one_by_one(tmp_path: Path, what: str) -> None:
    together = recorded(tmp_path / "together", BATCHES[what], together=True)
    one_by_one = recorded(tmp_path / "one-by-one", BATCHES[what], together=False)

    assert together == one_by_one
