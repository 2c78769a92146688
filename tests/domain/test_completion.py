"""When a study is complete: never later than its quiet time, never earlier than an open association allows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analyzers.contract import Complete, Expectation, Missing
from scp_node.domain.completion import (
    ArchiveCount,
    ArchivedSeries,
    NotYet,
    Patience,
    Ready,
    Reception,
    compared,
    completeness,
)

FIRST = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
PATIENCE = Patience(
    quiet_ct_s=120, quiet_mr_s=600, quiet_nm_s=600, quiet_other_s=600, quiet_when_complete_s=20, cap_s=7200
)


def reception(
    *, last_s: float = 60.0, modalities: frozenset[str] = frozenset({"CT"}), association_open: bool = False
) -> Reception:
    return Reception(
        first_received_at=FIRST,
        last_received_at=FIRST + timedelta(seconds=last_s),
        modalities=modalities,
        association_open=association_open,
    )


def at(seconds: float) -> datetime:
    return FIRST + timedelta(seconds=seconds)


def test_silence_for_the_quiet_time_completes() -> None:
    assert isinstance(completeness(at(179), reception(), None, PATIENCE), NotYet)
    assert isinstance(completeness(at(180), reception(), None, PATIENCE), Ready)


def test_the_longest_quiet_time_of_the_modalities_counts() -> None:
    mixed = reception(modalities=frozenset({"CT", "NM"}))
    assert isinstance(completeness(at(300), mixed, None, PATIENCE), NotYet)
    assert isinstance(completeness(at(660), mixed, None, PATIENCE), Ready)


def test_an_analyzer_that_finds_everything_shortens_the_wait() -> None:
    verdict = completeness(at(80), reception(), Complete(reason="two views"), PATIENCE)
    assert isinstance(verdict, Ready)
    assert "two views" in verdict.reason


def test_a_study_is_not_complete_while_an_association_is_open() -> None:
    held = reception(association_open=True)
    assert isinstance(completeness(at(500), held, Complete(reason="all"), PATIENCE), NotYet)


def test_what_is_missing_does_not_lengthen_the_wait_and_is_told() -> None:
    verdict = completeness(at(180), reception(), Missing(what=("posterior view",)), PATIENCE)
    assert verdict == Ready(reason="no image for the quiet time; quiet for 120 s", missing=("posterior view",))


def test_the_cap_ends_every_wait() -> None:
    busy = reception(last_s=7199, association_open=True)
    verdict = completeness(at(7200), busy, Missing(what=("portal phase",)), PATIENCE)
    assert isinstance(verdict, Ready)
    assert verdict.missing == ("portal phase",)


EXPECTATIONS = st.one_of(
    st.none(),
    st.builds(Complete, reason=st.just("all there")),
    st.builds(Missing, what=st.tuples(st.just("a phase"))),
)


@given(
    now_s=st.floats(0, 10_000),
    last_s=st.floats(0, 7200),
    modality=st.sampled_from(["CT", "MR", "NM", "PT"]),
    expectation=EXPECTATIONS,
    association_open=st.booleans(),
)
def test_no_expectation_lengthens_the_wait(
    now_s: float, last_s: float, modality: str, expectation: Expectation | None, association_open: bool
) -> None:
    known = reception(last_s=last_s, modalities=frozenset({modality}), association_open=association_open)
    unasked = completeness(at(now_s), known, None, PATIENCE)
    asked = completeness(at(now_s), known, expectation, PATIENCE)
    if isinstance(unasked, Ready):
        assert isinstance(asked, Ready)
    if isinstance(asked, NotYet):
        assert asked.until > at(now_s)
        assert asked.until <= FIRST + timedelta(seconds=PATIENCE.cap_s)


def archived(**counts: int) -> list[ArchivedSeries]:
    """Series by UID; what begins with ``sr`` is a report."""
    return [
        ArchivedSeries(series_instance_uid=uid, modality="SR" if uid.startswith("sr") else "CT", instance_count=count)
        for uid, count in counts.items()
    ]


ALL_CAME = ArchiveCount(holds_no_more=True, sentence="pacs holds no more than the 40 images that came")
MORE_TO_COME = ArchiveCount(holds_no_more=False, sentence="pacs holds 60 images")


@pytest.mark.parametrize("held", [{"a": 40, "b": 20}, {"a": 40, "b": 20, "sr1": 3}])
def test_an_archive_that_holds_what_came_and_reports_holds_no_more(held: dict[str, int]) -> None:
    count = compared("pacs", {"a": 40, "b": 20}, archived(**held))

    assert count == ArchiveCount(holds_no_more=True, sentence="pacs holds no more than the 60 images that came")


@pytest.mark.parametrize(
    ("held", "told"),
    [
        ({"a": 41, "b": 20}, "pacs holds 61 images in 2 series; 60 in 2 series came"),
        ({"a": 40, "b": 20, "c": 7}, "pacs holds 67 images in 3 series; 60 in 2 series came"),
        ({"a": 39, "b": 20}, "pacs holds 59 images in 2 series; 60 in 2 series came"),
        ({"a": 40}, "pacs holds 40 images in 1 series; 60 in 2 series came"),
        ({}, "pacs does not hold the study"),
        ({"sr1": 3}, "pacs does not hold the study"),
    ],
)
def test_any_other_count_proves_nothing(held: dict[str, int], told: str) -> None:
    count = compared("pacs", {"a": 40, "b": 20}, archived(**held))

    assert count == ArchiveCount(holds_no_more=False, sentence=told)


def test_nothing_received_is_never_everything() -> None:
    assert not compared("pacs", {}, archived(a=1)).holds_no_more


@pytest.mark.parametrize("expectation", [None, Missing(what=("posterior view",))])
def test_an_archive_that_holds_no_more_shortens_the_wait(expectation: Missing | None) -> None:
    verdict = completeness(at(80), reception(), expectation, PATIENCE, ALL_CAME)

    assert isinstance(verdict, Ready)
    assert verdict.reason == "pacs holds no more than the 40 images that came; quiet for 20 s"
    assert verdict.missing == (expectation.what if expectation else ())


def test_a_study_waits_for_its_association_whatever_the_archive_holds() -> None:
    held = reception(association_open=True)

    assert isinstance(completeness(at(500), held, None, PATIENCE, ALL_CAME), NotYet)


@given(
    seconds=st.floats(0.0, 10_000.0),
    last_s=st.floats(0.0, 7000.0),
    is_open=st.booleans(),
    expectation=st.sampled_from([None, Complete(reason="all"), Missing(what=("views",))]),
    archive=st.sampled_from([ALL_CAME, MORE_TO_COME]),
)
def test_an_archive_never_prolongs_the_wait(
    seconds: float, last_s: float, is_open: bool, expectation: Expectation | None, archive: ArchiveCount
) -> None:
    how = reception(last_s=last_s, association_open=is_open)

    without = completeness(at(seconds), how, expectation, PATIENCE)
    with_count = completeness(at(seconds), how, expectation, PATIENCE, archive)

    if isinstance(without, Ready):
        assert isinstance(with_count, Ready)
    if archive is MORE_TO_COME:
        assert with_count == without
