"""What of a study an analyzer is shown besides its images, and what that does not disturb."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from scp_node.domain.study import ReceivedInstance, StudyState
from scp_node.objects.provenance import MANUFACTURER
from scp_node.pipeline.complete import summary_of
from scp_node.pipeline.inputs import given_masks, input_digest, note_inputs, noted_inputs
from scp_node.store.database import Database
from scp_node.store.spool import Spool
from scp_node.store.studies import StudyStore
from tests.node.store_samples import STUDY, at, received, routed

SEGMENTATION, LABEL_MAP = "1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7"


def outlined(number: int, *, sop_class: str = SEGMENTATION, maker: str = "Workstation") -> ReceivedInstance:
    instance = received(number, usable=False, after_s=5.0)
    attributes = {**instance.summary.attributes, "Manufacturer": (maker,)}
    return replace(
        instance,
        summary=replace(instance.summary, sop_class_uid=sop_class, modality="SEG", attributes=attributes),
    )


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    found = Database.open(tmp_path, migrate=True)
    yield found
    found.close()


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path / "spool", quota_gib=1.0, keep_free_gib=0.0)


def take(database: Database, spool: Spool, instance: ReceivedInstance) -> None:
    StudyStore(database).record(instance, at(6.0))
    path = spool.path(instance.spool_key)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"a segmentation")


def uids(database: Database, spool: Spool) -> list[str]:
    return [each.summary.sop_instance_uid for each in given_masks(StudyStore(database), spool, STUDY)]


def test_segmentations_of_others_are_shown_and_own_ones_are_not(database: Database, spool: Spool) -> None:
    StudyStore(database).record(received(1), at(1.0))
    own = outlined(12, maker=MANUFACTURER)
    for instance in (outlined(10), outlined(11, sop_class=LABEL_MAP), own, received(13, usable=False)):
        take(database, spool, instance)

    assert uids(database, spool) == [f"{STUDY}.1.10", f"{STUDY}.1.11"]


def test_a_segmentation_whose_file_is_gone_is_left_out(database: Database, spool: Spool) -> None:
    StudyStore(database).record(received(1), at(1.0))
    instance = outlined(10)
    take(database, spool, instance)
    spool.path(instance.spool_key).unlink()

    assert uids(database, spool) == []


def test_a_segmentation_changes_neither_state_nor_times_nor_what_routes_see(database: Database, spool: Spool) -> None:
    routed(database)
    studies = StudyStore(database)
    before, seen = studies.get(STUDY), summary_of(studies, STUDY)

    take(database, spool, outlined(10))

    assert studies.get(STUDY) == before
    assert before.state is StudyState.ROUTED
    assert summary_of(studies, STUDY) == seen
    assert studies.series_counts(STUDY) == {f"{STUDY}.1": 2}


def test_what_came_after_the_analysis_is_not_told_as_seen(database: Database, spool: Spool, tmp_path: Path) -> None:
    routed(database)
    studies = StudyStore(database)
    take(database, spool, outlined(10))
    images = studies.instances(STUDY)
    shown = [*images, *given_masks(studies, spool, STUDY)]
    note_inputs(tmp_path, shown)

    take(database, spool, outlined(11))

    assert noted_inputs(tmp_path, images) == input_digest(shown)
    assert input_digest(shown) != input_digest(images)
    assert input_digest(reversed(shown)) == input_digest(shown)


def test_an_attempt_of_an_earlier_version_counts_by_its_images(database: Database, tmp_path: Path) -> None:
    routed(database)
    images = StudyStore(database).instances(STUDY)

    assert noted_inputs(tmp_path, images) == input_digest(images)
