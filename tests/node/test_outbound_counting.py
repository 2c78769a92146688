"""How many objects a peer holds of a study, asked of a real one, of one that leaves the number out, and of none."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from pydicom.uid import generate_uid

from scp_node.demo.orthanc import Orthanc
from scp_node.demo.ports import free_port
from scp_node.domain.completion import ArchivedSeries
from scp_node.errors import TransientDeliveryError
from scp_node.outbound.counting import FoundCounts
from tests.node.network import ct_slice, make_site, orthanc, part10, peers_toml, store
from tests.system.misbehaving_pacs import WELL_BEHAVED, misbehaving_pacs

# Where nobody listens, the library drops its socket without closing it, and Python says so.
pytestmark = pytest.mark.filterwarnings("ignore:Exception ignored in. <socket:pytest.PytestUnraisableExceptionWarning")
STUDY, SERIES, OTHER_SERIES = (f"1.2.826.0.1.3680043.10.9.{number}" for number in (1, 2, 3))
HELD = {
    ArchivedSeries(series_instance_uid=SERIES, modality="CT", instance_count=3),
    ArchivedSeries(series_instance_uid=OTHER_SERIES, modality="CT", instance_count=1),
}
ALLOWED = "may_send = true\ncounts_instances = true"


def images(folder: Path) -> list[Path]:
    """Three images in one series, one in another, and one of another study."""
    places = [(STUDY, SERIES, 1), (STUDY, SERIES, 2), (STUDY, SERIES, 3), (STUDY, OTHER_SERIES, 4)]
    made = []
    for study, series, number in [*places, (generate_uid(), generate_uid(), 5)]:
        image = ct_slice(number, study=study, series=series)
        made.append(part10(image, folder / f"{number}.dcm"))
    return made


@pytest.fixture
def asking(tmp_path: Path) -> tuple[FoundCounts, int]:
    """The question, and the port that it is asked at."""
    port = free_port()
    site = make_site(tmp_path, peers=peers_toml(pacs_port=port, pacs=ALLOWED), delivery="response_timeout_s = 5.0")
    return FoundCounts(settings=site.settings), port


@contextlib.contextmanager
def real_archive(folder: Path, port: int) -> Iterator[None]:
    home = folder / "orthanc"
    home.mkdir()
    archive = Orthanc(orthanc(), home, port=port, http_port=free_port(), node=("HAI_NODE", free_port()))
    try:
        archive.start()
        yield
    finally:
        archive.stop()


def test_a_real_archive_tells_its_counts(asking: tuple[FoundCounts, int], tmp_path: Path) -> None:
    question, port = asking
    with real_archive(tmp_path, port):
        assert question.series_of("pacs", STUDY) == ()
        assert store(port, images(tmp_path), calling="HAI_NODE", called="PACS") == [0] * 5

        assert set(question.series_of("pacs", STUDY)) == HELD


@pytest.mark.parametrize("counts", [True, False])
def test_instances_are_counted_where_an_archive_does_not_count_them(
    asking: tuple[FoundCounts, int], tmp_path: Path, counts: bool
) -> None:
    question, port = asking
    with misbehaving_pacs("PACS", node_port=free_port(), port=port) as pacs:
        store(port, images(tmp_path), called="PACS")
        pacs.misbehaviour = replace(WELL_BEHAVED, counts=counts)

        assert set(question.series_of("pacs", STUDY)) == HELD


def test_an_archive_that_is_away_or_rejects_is_a_failure_that_passes(
    asking: tuple[FoundCounts, int], tmp_path: Path
) -> None:
    question, port = asking
    with pytest.raises(TransientDeliveryError, match="no connection"):
        question.series_of("pacs", STUDY)
    with misbehaving_pacs("PACS", node_port=free_port(), port=port) as pacs:
        store(port, images(tmp_path), called="PACS")
        pacs.misbehaviour = replace(WELL_BEHAVED, rejects=(1, 1, 3))

        with pytest.raises(TransientDeliveryError, match="calling AE title not recognised"):
            question.series_of("pacs", STUDY)
