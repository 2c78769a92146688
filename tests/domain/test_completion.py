"""When a study is complete: never later than its quiet time, never earlier than an open association allows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from analyzers.contract import Complete, Expectation, Missing
from scp_node.domain.completion import NotYet, Patience, Ready, Reception, completeness

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
