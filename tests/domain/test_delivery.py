"""Back-off between attempts, and the order in which kinds of objects are sent."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scp_node.domain.delivery import BackOff, ObjectKind

PLAIN = BackOff(jitter_fraction=0.0)
DAY_S = 86_400.0


def seeded(seed: int) -> Random:
    return Random(seed)  # noqa: S311 - jitter, no secret


@pytest.mark.parametrize(
    ("attempts", "wait_s"), [(1, 5.0), (2, 10.0), (3, 20.0), (4, 40.0), (11, 5120.0), (12, 10_240.0), (13, 14_400.0)]
)
def test_each_wait_is_twice_the_one_before_up_to_four_hours(attempts: int, wait_s: float) -> None:
    assert PLAIN.wait_s(attempts, seeded(0)) == wait_s


@pytest.mark.parametrize("attempts", [14, 65, 66, 10_000])
def test_a_peer_that_stays_away_is_tried_again_every_four_hours_without_end(attempts: int) -> None:
    assert PLAIN.wait_s(attempts, seeded(0)) == 14_400.0


def test_no_failed_attempt_counts_like_the_first() -> None:
    assert PLAIN.wait_s(0, seeded(0)) == PLAIN.wait_s(1, seeded(0)) == 5.0


def test_a_dead_peer_is_asked_ten_times_in_the_first_hour_and_seventeen_times_in_the_first_day() -> None:
    waits_s = [PLAIN.wait_s(attempt, seeded(0)) for attempt in range(1, 40)]
    starts_s = [sum(waits_s[:number]) for number in range(len(waits_s))]

    assert len([start for start in starts_s if start < 3600]) == 10
    assert len([start for start in starts_s if start < DAY_S]) == 17


@given(attempts=st.integers(1, 100), seed=st.integers())
def test_jitter_stays_within_its_fraction(attempts: int, seed: int) -> None:
    plain_s, varied_s = PLAIN.wait_s(attempts, seeded(seed)), BackOff().wait_s(attempts, seeded(seed))

    assert 0.8 * plain_s <= varied_s <= 1.2 * plain_s


def test_jitter_keeps_peers_from_being_tried_in_step() -> None:
    random = seeded(3)

    assert len({BackOff().wait_s(5, random) for _ in range(50)}) > 40


@given(
    first_s=st.floats(0.1, 60),
    factor=st.floats(1.0, 4.0),
    cap_s=st.floats(60, 14_400),
    attempts=st.integers(1, 100),
)
def test_a_wait_never_shrinks_and_never_passes_the_cap(
    first_s: float, factor: float, cap_s: float, attempts: int
) -> None:
    back_off = BackOff(first_s=first_s, factor=factor, cap_s=cap_s, jitter_fraction=0.0)

    wait_s, next_s = back_off.wait_s(attempts, seeded(0)), back_off.wait_s(attempts + 1, seeded(0))
    assert first_s <= wait_s <= next_s <= cap_s


def test_images_and_segmentations_are_sent_before_the_reports_that_point_at_them() -> None:
    assert {kind: kind.send_rank for kind in ObjectKind} == {
        ObjectKind.SEGMENTATION: 0,
        ObjectKind.SECONDARY_CAPTURE: 0,
        ObjectKind.REPORT: 1,
        ObjectKind.TEXT_REPORT: 1,
    }
