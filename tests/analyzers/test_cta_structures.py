"""Aorta, pump and refusals on shapes whose size is known exactly."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from analyzers.contract import Finding, NotAssessable, Presence
from analyzers.ct_anatomy.body import find_body
from analyzers.ct_anatomy.patient_grid import mask_on_source, patient_grid
from analyzers.ct_anatomy.spine import find_spine
from analyzers.cta import ANALYZER
from analyzers.cta.answer import surveyed
from analyzers.cta.aorta import AortaCourse, follow_aorta
from analyzers.cta.aorta_answer import median_doubt_hu
from analyzers.cta.device_answer import device_part, find_device
from analyzers.cta.lumen import lumen_mask, lumen_sections
from analyzers.cta.pump import find_pump
from analyzers.cta.scan import Scan, survey
from analyzers.cta.thresholds import DEFAULT
from analyzers.volume import Volume
from tests.analyzers.cta_samples import VolumesInMemory, headers, study, trunk, volume

SPACING_MM = 2.0


def with_tube(diameter_mm: float, lumen_hu: float, slant: float = 0.0) -> NDArray[np.float32]:
    """The trunk with a tube in front of the spine, left of it; it leans sideways by ``slant`` mm per mm."""
    hu = trunk()
    z, y, x = np.indices(hu.shape, dtype=np.float32)
    y_mm, x_mm = (y - hu.shape[1] / 2) * SPACING_MM, (x - hu.shape[2] / 2) * SPACING_MM
    centre_x_mm = 12.0 + slant * (z - hu.shape[0] / 2) * SPACING_MM
    distance_mm = np.hypot(y_mm - 22.0, x_mm - centre_x_mm)
    share = np.clip((diameter_mm / 2 - distance_mm) / SPACING_MM + 0.5, 0.0, 1.0)
    return np.asarray(hu * (1 - share) + lumen_hu * share, np.float32)


def course_of(hu: NDArray[np.float32]) -> tuple[Volume, AortaCourse | None]:
    scan = volume(hu, (SPACING_MM, SPACING_MM, SPACING_MM))
    coarse = patient_grid(scan, 3.0)
    body = find_body(coarse, DEFAULT.tissue)
    assert body is not None
    spine = find_spine(coarse, body, DEFAULT.tissue)
    assert spine is not None
    return scan, follow_aorta(patient_grid(scan, 1.5), spine, coarse, DEFAULT.aorta)


@pytest.mark.parametrize("diameter_mm", [16.0, 22.0, 32.0])
@pytest.mark.parametrize("lumen_hu", [160.0, 350.0])
def test_aorta_diameter_is_found_within_one_voxel(diameter_mm: float, lumen_hu: float) -> None:
    scan, course = course_of(with_tube(diameter_mm, lumen_hu))

    assert course is not None
    sections = lumen_sections(scan, course)
    assert np.median([section.diameter_mm for section in sections]) == pytest.approx(diameter_mm, abs=1.5)
    assert course.mean_hu == pytest.approx(lumen_hu, abs=15.0)


def test_a_slanted_aorta_is_not_measured_too_wide() -> None:
    scan, course = course_of(with_tube(22.0, 300.0, slant=0.35))

    assert course is not None
    sections = lumen_sections(scan, course)[5:-5]
    assert np.median([section.diameter_mm for section in sections]) == pytest.approx(22.0, abs=1.5)


def test_the_interval_of_the_aortas_attenuation_is_of_the_median_and_not_of_the_planes() -> None:
    planes_hu = [300.0 + step for step in (-20.0, -10.0, 0.0, 10.0, 20.0)]

    few, many = median_doubt_hu(planes_hu), median_doubt_hu(planes_hu * 20)
    assert 5.0 < many < few < 1.96 * np.std(planes_hu, ddof=1)
    assert median_doubt_hu([300.0]) == pytest.approx(5.0), "one plane has no spread, yet its value is not exact"


def test_lumen_mask_has_the_volume_of_the_tube() -> None:
    scan, course = course_of(with_tube(24.0, 300.0))

    assert course is not None
    sections = lumen_sections(scan, course)
    mask = lumen_mask(scan, sections)
    expected_ml = np.pi * 12.0**2 * len(sections) * SPACING_MM / 1000
    assert mask.sum() * scan.voxel_ml == pytest.approx(expected_ml, rel=0.08)


def test_no_aorta_is_invented_in_a_trunk_without_one() -> None:
    _, course = course_of(trunk())

    assert course is None


def with_disc(diameter_mm: float, thickness_mm: float, tilt_deg: float) -> NDArray[np.float32]:
    """The trunk with a hollow metal disc under the front skin."""
    hu = trunk((90, 140, 180))
    z, y, x = np.indices(hu.shape, dtype=np.float32)
    points = np.stack(
        [(x - hu.shape[2] / 2) * SPACING_MM - 40.0, (y - hu.shape[1] / 2) * SPACING_MM + 66.0, (z - 45) * SPACING_MM]
    )
    tilt = np.radians(tilt_deg)
    normal = np.array([np.sin(tilt), -np.cos(tilt), 0.0])
    along = np.tensordot(normal, points, 1)
    across = np.sqrt(np.maximum((points**2).sum(axis=0) - along**2, 0.0))
    outer = (np.abs(along) <= thickness_mm / 2) & (across <= diameter_mm / 2)
    inner = (np.abs(along) <= thickness_mm / 2 - 3.0) & (across <= diameter_mm / 2 - 3.0)
    hu[outer] = 3071.0
    hu[inner] = 60.0
    return hu


@pytest.mark.parametrize(("diameter_mm", "thickness_mm", "tilt_deg"), [(78.0, 24.0, 20.0), (87.5, 19.5, -15.0)])
def test_pump_is_measured_within_three_millimetres(diameter_mm: float, thickness_mm: float, tilt_deg: float) -> None:
    scan = volume(with_disc(diameter_mm, thickness_mm, tilt_deg), (SPACING_MM, SPACING_MM, SPACING_MM))
    grid = patient_grid(scan, 3.0)
    body = find_body(grid, DEFAULT.tissue)
    assert body is not None

    pump = find_pump(scan, grid, body, DEFAULT.device).pump

    assert pump is not None
    assert pump.diameter_mm == pytest.approx(diameter_mm, abs=3.0)
    assert pump.thickness_mm == pytest.approx(thickness_mm, abs=3.0)
    normal = np.array([np.sin(np.radians(tilt_deg)), -np.cos(np.radians(tilt_deg)), 0.0])
    assert abs(float(pump.normal_lps @ normal)) > 0.99


def test_a_rod_of_metal_is_not_called_a_pump() -> None:
    hu = trunk((90, 140, 180))
    hu[10:80, 60:66, 60:66] = 3071.0
    scan = volume(hu, (SPACING_MM, SPACING_MM, SPACING_MM))
    grid = patient_grid(scan, 3.0)
    body = find_body(grid, DEFAULT.tissue)
    assert body is not None

    search = find_pump(scan, grid, body, DEFAULT.device)

    assert search.pump is None
    assert search.rejected


def test_mask_comes_back_to_its_place_on_a_sheared_grid() -> None:
    hu = trunk((40, 100, 120))
    scan = volume(hu, (3.0, SPACING_MM, SPACING_MM))
    scan.affine_lps[1, 2] = 0.7
    grid = patient_grid(scan, 3.0)

    back = mask_on_source(grid.hu_zyx > 150.0, grid, scan)

    truth = hu > 150.0
    inner = slice(4, -4)
    overlap = 2 * (back[inner] & truth[inner]).sum() / (back[inner].sum() + truth[inner].sum())
    assert overlap > 0.9


@pytest.mark.parametrize(
    ("what", "voxels"),
    [
        ("air", np.full((40, 64, 64), -1000.0)),
        ("noise", np.random.default_rng(1).normal(0.0, 900.0, (40, 64, 64))),
        ("a head", trunk((40, 100, 100), half_axes_mm=(95.0, 75.0))),
        ("a trunk without organs", trunk()),
        ("water everywhere", np.zeros((40, 64, 64))),
    ],
)
def test_images_without_a_liver_are_not_assessable_and_say_why(what: str, voxels: NDArray[np.float32]) -> None:
    images = VolumesInMemory(volumes=[volume(voxels, (3.0, SPACING_MM, SPACING_MM))])

    result = ANALYZER.analyze(images, ())

    assert isinstance(result, NotAssessable), what
    assert all(reason for reason in result.reasons)
    assert ANALYZER.illustrate(images, result)[0].rgb.any()


def test_a_limb_is_told_from_a_trunk_by_its_width() -> None:
    reason = survey(volume(trunk((40, 80, 80), half_axes_mm=(60.0, 60.0)), (3.0, 2.0, 2.0)), DEFAULT)

    assert not isinstance(reason, Scan)
    assert "mm wide" in reason


def scan_of(hu: NDArray[np.float32], right_cut: int = 0) -> Scan:
    """The survey of a trunk whose first columns are not in the field."""
    found = survey(volume(hu[:, :, right_cut:], (3.0, SPACING_MM, SPACING_MM)), DEFAULT)
    assert isinstance(found, Scan)
    return found


def pump_finding(scan: Scan) -> Finding:
    found, other = find_device([scan], DEFAULT.device)
    assert found is None
    # A liver far above the lower end, so that a pump's place is in the scan.
    high = np.array([[0.0, 0.0, 200.0]])
    part = device_part(found, other, [scan], high, np.zeros(scan.anatomy.grid.hu_zyx.shape, bool), DEFAULT)
    return part.findings[0]


def test_no_pump_is_absent_only_where_the_field_shows_the_whole_front() -> None:
    whole, cut = (pump_finding(scan_of(trunk((60, 140, 180)), columns)) for columns in (0, 60))

    assert whole.presence is Presence.ABSENT
    assert cut.presence is Presence.INDETERMINATE
    assert "the field of view cuts the trunk" in cut.sentence


@pytest.mark.parametrize(
    ("first_plane", "presence"), [(0, Presence.INDETERMINATE), (10, Presence.ABSENT)], ids=["cut", "whole"]
)
def test_metal_of_another_size_is_doubted_only_where_the_scan_cuts_it(first_plane: int, presence: Presence) -> None:
    hu = trunk((60, 140, 180))
    hu[first_plane : first_plane + 6, 30:40, 60:85] = 3071.0

    finding = pump_finding(scan_of(hu))

    assert finding.presence is presence
    assert ("part of a pump?" in finding.sentence) is (presence is Presence.INDETERMINATE)


def test_a_second_series_of_an_acquisition_is_read_where_the_first_cannot_be() -> None:
    head = volume(trunk((40, 100, 100), half_axes_mm=(95.0, 75.0)), (3.0, SPACING_MM, SPACING_MM))
    body = volume(trunk(), (3.0, SPACING_MM, SPACING_MM))
    thin, thick = headers("1.1", thickness_mm=1.0), headers("1.2", thickness_mm=3.0)
    volumes = [replace(head, series_instance_uid="1.1"), replace(body, series_instance_uid="1.2")]

    scans, said = surveyed(VolumesInMemory(volumes=volumes, summary=study(thin, thick)), DEFAULT)

    assert [scan.volume.series_instance_uid for scan in scans] == ["1.2"]
    assert any("mm wide" in text for text in said)


def test_only_the_best_series_of_an_acquisition_is_loaded_where_it_can_be_read() -> None:
    body = volume(trunk(), (3.0, SPACING_MM, SPACING_MM))
    volumes = [replace(body, series_instance_uid=uid) for uid in ("1.1", "1.2")]
    summary = study(headers("1.1", thickness_mm=1.0), headers("1.2", thickness_mm=3.0))

    scans, said = surveyed(VolumesInMemory(volumes=volumes, summary=summary), DEFAULT)

    assert [scan.volume.series_instance_uid for scan in scans] == ["1.1"]
    assert not said


def test_phases_beyond_two_of_one_series_are_named_as_not_read() -> None:
    body = volume(trunk(), (3.0, SPACING_MM, SPACING_MM))
    phases = [replace(body, label=f"phase {number}") for number in range(1, 5)]
    short = replace(body, voxels_zyx=body.voxels_zyx[:9], planes=body.planes[:9], label="phase 5")

    scans, said = surveyed(VolumesInMemory(volumes=[*phases, short]), DEFAULT)

    assert len(scans) == 2
    assert any("phase 3, phase 4" in text for text in said)
    assert any("9 images phase 5 not read" in text for text in said)


def test_slices_of_a_tilted_gantry_are_as_far_apart_as_along_their_normal() -> None:
    scan = survey(volume(trunk(), (SPACING_MM, SPACING_MM, SPACING_MM)), DEFAULT)
    assert isinstance(scan, Scan)
    sheared = scan.volume.affine_lps.copy()
    sheared[1, 2] = SPACING_MM * np.tan(np.radians(20.0))

    tilted = replace(scan, volume=replace(scan.volume, affine_lps=sheared))

    assert tilted.slice_step_mm == pytest.approx(SPACING_MM)
