"""Opposite views brought onto one grid."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from analyzers.contract import FrameRef
from analyzers.scintigraphy.thresholds import DEFAULTS
from analyzers.scintigraphy.views import NoPair, PlanarPair, direction_by_liver, pair_views, polygons_of, simplified
from tests.analyzers.scintigraphy_samples import SHAPE, Scene, ellipse, view, views_of


def paired(*views: object) -> PlanarPair:
    pair = pair_views(views)  # type: ignore[arg-type]  # views, of course
    assert isinstance(pair, PlanarPair)
    return pair


def test_counts_survive_the_working_grid() -> None:
    front, back = views_of(Scene(pixel_mm=1.2))
    pair = paired(front, back)

    assert pair.binning == 4
    assert pair.anterior_yx.sum() == pytest.approx(float(front.counts.sum(dtype=np.float64)))
    assert pair.posterior_yx.sum() == pytest.approx(float(back.counts.sum(dtype=np.float64)))


@pytest.mark.parametrize("rows_cut", [0, 1, 3])
def test_counts_survive_a_matrix_that_does_not_divide(rows_cut: int) -> None:
    front, back = (
        replace(v, counts=v.counts[: SHAPE[0] - rows_cut, : SHAPE[1] - rows_cut]) for v in views_of(Scene(pixel_mm=2.4))
    )
    pair = paired(front, back)

    assert pair.anterior_yx.sum() == pytest.approx(float(front.counts.sum(dtype=np.float64)))


def test_the_posterior_view_is_mirrored() -> None:
    pair = paired(*views_of(Scene()))

    hot = [int(np.argmax(image.sum(axis=0))) for image in pair.counts_yx]

    assert abs(hot[0] - hot[1]) <= 3


def test_outlines_come_back_to_the_pixels_of_both_frames() -> None:
    front, back = views_of(Scene())
    pair = paired(front, back)
    mask = np.zeros(pair.anterior_yx.shape, np.bool_)
    mask[70:95, 35:55] = True

    anterior, posterior = pair.outlines(mask)

    assert (anterior.frame, posterior.frame) == (front.frame, back.frame)
    columns = [column for column, _ in anterior.points_col_row]
    mirrored = [column for column, _ in posterior.points_col_row]
    assert (min(columns), max(columns)) == (35.0, 55.0)
    assert (min(mirrored), max(mirrored)) == (SHAPE[1] - 55.0, SHAPE[1] - 35.0)
    assert len(anterior.points_col_row) > 5


def test_a_polygon_encloses_the_area_of_its_mask() -> None:
    mask = ellipse(60, 60, 20, 12, 1.0) > 0
    polygon = polygons_of(mask)[0]
    x, y = polygon[:, 0], polygon[:, 1]
    area = 0.5 * abs(float(x @ np.roll(y, 1) - y @ np.roll(x, 1)))

    assert area == pytest.approx(float(mask.sum()), rel=0.04)


def test_without_a_posterior_view_there_is_no_pair() -> None:
    front, _ = views_of(Scene())
    answer = pair_views((front,))

    assert isinstance(answer, NoPair)
    assert "posterior" in answer.reasons[0]


def test_a_scatter_window_is_not_taken_for_a_view() -> None:
    front, back = views_of(Scene())
    scatter = [replace(v, window_kev=(108.0, 126.0), energy_window=2, counts=v.counts * 9) for v in (front, back)]

    pair = paired(*scatter, front, back)

    assert pair.anterior.window_kev == (126.0, 154.0)


def test_views_without_the_photopeak_are_refused() -> None:
    scatter = [replace(v, window_kev=(108.0, 126.0)) for v in views_of(Scene())]

    assert isinstance(pair_views(scatter), NoPair)


def test_views_of_unknown_direction_are_told_by_the_side_of_the_liver() -> None:
    front, back = (replace(v, direction="", direction_from="") for v in views_of(Scene()))
    pair = paired(back, front)

    assert pair.anterior.frame == front.frame
    assert pair.anterior.direction_from == "side of the liver"
    assert pair.remarks


def test_angles_counted_from_the_front_are_put_right_and_said() -> None:
    front, back = views_of(Scene())
    exchanged = (
        replace(front, direction="posterior", direction_from="start angle"),
        replace(back, direction="anterior", direction_from="start angle"),
    )
    pair = paired(*exchanged)

    assert pair.anterior.frame == front.frame
    assert any("start angle" in remark for remark in pair.remarks)


def test_a_left_lobe_alone_does_not_exchange_the_views() -> None:
    scene = Scene(right_lobe_counts=0.0, left_lobe_counts=600_000.0, left_lobe_column=80.0)
    front, back = views_of(scene)
    moved = replace(front, direction_from="start angle")
    behind = replace(back, counts=back.counts * 0.3, direction_from="start angle")

    pair = paired(moved, behind)

    assert direction_by_liver(moved) == "posterior"  # by its side alone it would be
    assert pair.anterior.frame == front.frame


def test_view_codes_are_believed_against_the_picture() -> None:
    front, back = views_of(Scene())
    mirrored = [replace(v, counts=v.counts[:, ::-1].copy()) for v in (front, back)]

    pair = paired(*mirrored)

    assert pair.anterior.frame == front.frame
    assert pair.remarks == ()


def test_missing_pixel_spacing_is_assumed_and_said() -> None:
    front, back = (replace(v, spacing_row_col_mm=None) for v in views_of(Scene()))
    pair = paired(front, back)

    assert pair.pixel_mm == pytest.approx(DEFAULTS.assumed_field_mm / SHAPE[1])
    assert any("spacing" in remark for remark in pair.remarks)


def test_pixels_that_are_not_square_are_refused() -> None:
    views = [replace(v, spacing_row_col_mm=(4.8, 2.4)) for v in views_of(Scene())]

    assert isinstance(pair_views(views), NoPair)


def test_empty_views_are_refused() -> None:
    blank = np.zeros(SHAPE, np.float32)

    assert isinstance(pair_views((view(blank, "anterior"), view(blank, "posterior", frame=2))), NoPair)


def test_views_of_one_object_are_paired_before_brighter_ones_of_others() -> None:
    front, back = views_of(Scene())
    brighter = replace(back, counts=back.counts * 2, frame=FrameRef(sop_instance_uid="9.9", frame=None))

    assert paired(front, back, brighter).posterior.frame == back.frame


def test_a_left_lobe_alone_in_the_middle_shows_by_its_brightness_that_the_angles_were_exchanged() -> None:
    scene = Scene(right_lobe_counts=0.0, left_lobe_counts=600_000.0, left_lobe_column=64.0)
    front, back = views_of(scene)
    exchanged = (
        replace(front, direction="posterior", direction_from="start angle"),
        replace(back, counts=back.counts * 0.4, direction="anterior", direction_from="start angle"),
    )
    assert [direction_by_liver(one) for one in exchanged] == ["", ""]  # the side tells nothing

    pair = paired(*exchanged)

    assert (pair.anterior.frame, pair.posterior.frame) == (front.frame, back.frame)
    assert any("brightness" in remark for remark in pair.remarks)


@pytest.mark.parametrize("tolerance", [0.3, 1.5])
def test_a_simplified_outline_is_shorter_and_leaves_no_point_further_off_than_it_may(tolerance: float) -> None:
    angle = np.linspace(0.0, 2.0 * np.pi, 200)
    outline = np.column_stack([40.0 + 20.0 * np.cos(angle), 30.0 + 9.0 * np.sin(3 * angle)])
    simple = simplified(outline, tolerance)

    assert 6 < len(simple) < 100
    assert {tuple(point) for point in simple} <= {tuple(point) for point in outline}
    np.testing.assert_array_equal(simple[[0, -1]], outline[[0, -1]])
    between = [a + share * (b - a) for a, b in pairwise(simple) for share in np.linspace(0.0, 1.0, 50)]
    far = np.hypot(*(outline[:, None] - np.asarray(between)[None]).transpose(2, 0, 1)).min(axis=1)
    assert far.max() <= tolerance + 0.1
