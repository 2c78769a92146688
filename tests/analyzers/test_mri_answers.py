"""Whole studies: what a phantom holds is found, what is no liver is refused, the same input gives the same answer."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from analyzers.contract import Assessed, Grade, NotAssessable, Presence
from analyzers.loading import StudyOnDisk, open_study
from analyzers.mri import ANALYZER
from analyzers.mri.answer import assessed
from analyzers.mri.findings import Reading
from analyzers.mri.reading import read_study
from analyzers.mri.roles import Role
from analyzers.mri.stacks import read_stacks
from analyzers.mri.thresholds import DEFAULT
from analyzers.priors import Prior
from analyzers.quality import plane_distance_mm
from analyzers.result_check import check_pictures, check_result
from analyzers.volume import LoadedSeries, Volume
from tests.analyzers.mri_accuracy import Row, dice, make_phantom, phantom_row, run, true_mask
from tests.analyzers.real_data import read_nifti, write_slices

SEED = 31
EXTRACELLULAR_SEED = 42


@pytest.fixture(scope="module")
def phantom(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mri") / "phantom"
    make_phantom(folder, SEED)
    return folder


@pytest.fixture(scope="module")
def study(phantom: Path) -> StudyOnDisk:
    opened = open_study(phantom / "dicom")
    return opened.with_roles(getattr(ANALYZER.accepts(opened.summary), "roles", {}))


@pytest.fixture(scope="module")
def result(study: StudyOnDisk) -> Assessed:
    answer = ANALYZER.analyze(study, ())
    assert isinstance(answer, Assessed)
    return answer


def value(result: Assessed, key: str) -> float:
    return next(one.value for one in result.measurements if one.key == key)


def test_liver_and_large_lesions_of_an_unseen_phantom_are_measured(phantom: Path) -> None:
    row: Row = phantom_row(phantom, "test")
    assert row.dice >= 0.85
    assert row.liver_ml == pytest.approx(row.true_ml, rel=0.10)
    assert row.hit >= 0.8 * len(row.targets) > 0
    assert row.extra <= 2


def test_liver_is_outlined_in_the_hepatobiliary_phase_and_the_answer_keeps_the_contract(
    study: StudyOnDisk, result: Assessed, phantom: Path
) -> None:
    liver = result.segments[0]
    roles = {role.series_instance_uid: role.role for role in result.roles}
    assert roles[liver.series_instance_uid] == "t1-hbp"
    assert dice(liver.mask_planes, true_mask(phantom / "masks" / "liver.nii.gz")) > 0.85
    check_result(result)
    check_pictures(ANALYZER.illustrate(study, result))


def test_axes_are_drawn_on_the_lesion_they_measure(result: Assessed) -> None:
    segments = {segment.name: segment for segment in result.segments}
    axes = [one for one in result.measurements if one.key == "lesion_long_axis"]
    assert len(axes) == value(result, "lesion_count") > 0
    for one in axes:
        lesion = segments[one.subject or ""]
        section = lesion.mask_planes[lesion.planes.index(one.lines[0].frame)]
        column, row = np.mean(np.asarray(one.lines[0].points_col_row), axis=0)
        rows, columns = np.nonzero(section)
        assert rows.min() <= row <= rows.max() + 1
        assert columns.min() <= column <= columns.max() + 1


def test_axes_state_half_a_pixel_and_half_a_slice_as_their_doubt(study: StudyOnDisk, result: Assessed) -> None:
    volume = study.with_role("t1-hbp")[0].volumes[0]
    half_mm = 0.5 * (volume.spacing_zyx_mm[0] + volume.spacing_zyx_mm[2])
    axes = [one for one in result.measurements if one.key in ("lesion_long_axis", "lesion_short_axis")]
    assert axes
    for one in axes:
        assert one.interval is not None
        bounds_mm = (one.interval.low, one.interval.high)
        assert bounds_mm == pytest.approx((one.value - half_mm, one.value + half_mm))


def test_lesions_are_candidates_with_a_score_and_not_a_diagnosis(result: Assessed) -> None:
    finding = result.findings[0]
    assert finding.presence in {Presence.PRESENT, Presence.INDETERMINATE}
    assert "not characterised" in finding.sentence
    assert all("score" in one.remark for one in result.measurements if one.key == "lesion_volume")


def test_the_same_study_measures_the_same_and_an_earlier_result_gives_the_change(
    study: StudyOnDisk, result: Assessed
) -> None:
    prior = prior_of(result, value=value(result, "liver_volume") / 2)
    again = ANALYZER.analyze(study, (prior,))
    assert isinstance(again, Assessed)
    assert again.measurements == result.measurements
    assert np.array_equal(again.segments[0].mask_planes, result.segments[0].mask_planes)
    assert "20250102" in again.conclusion
    assert "+100 %" in again.conclusion


def prior_of(result: Assessed, **volume: object) -> Prior:
    """An earlier answer with another liver volume."""
    liver = replace(result.measurements[0], **volume)  # type: ignore[arg-type]
    return Prior(
        study_instance_uid="1.2", study_date="20250102", analyzer_name="mri", analyzer_version="0.1.0", revision=1,
        result=replace(result, measurements=(liver, *result.measurements[1:])), images=None,
    )  # fmt: skip


def test_a_volume_that_was_a_lower_limit_is_not_compared(study: StudyOnDisk, result: Assessed) -> None:
    cut = prior_of(result, value=600.0, remark="the liver reaches the end of the scan: at least this volume")
    answer = ANALYZER.analyze(study, (cut,))
    assert isinstance(answer, Assessed)
    assert "cannot be compared with the MR result of 20250102 (at least 600 mL)" in answer.conclusion
    assert "not wholly in the scan then" in answer.conclusion
    assert "%" not in answer.conclusion


def test_a_change_names_both_sequences_where_they_differ(study: StudyOnDisk, result: Assessed) -> None:
    other = prior_of(result, method="Outlined in T2")
    answer = ANALYZER.analyze(study, (other,))
    assert isinstance(answer, Assessed)
    assert "+0 %" in answer.conclusion
    assert "outlined in T2; now outlined in T1 hepatobiliary" in answer.conclusion


def test_lesions_that_enhance_like_parenchyma_are_found_in_diffusion_and_the_limits_are_said(tmp_path: Path) -> None:
    make_phantom(tmp_path, EXTRACELLULAR_SEED, "extracellular", model="development")
    row = phantom_row(tmp_path, "test", "extracellular")
    assert row.hit == len(row.targets) > 0
    assert row.extra <= 2
    answer = run(tmp_path / "dicom")
    assert isinstance(answer, Assessed)
    axes = [one for one in answer.measurements if one.key == "lesion_long_axis"]
    assert any("measured in Diffusion" in one.remark and one.grade is Grade.LIMITED for one in axes)
    assert any("Without a hepatobiliary phase" in said for said in answer.limitations)
    assert any("slices" in said and "can be missed" in said for said in answer.limitations)
    check_result(answer)


def test_nothing_found_without_diffusion_or_a_hepatobiliary_phase_excludes_nothing(study: StudyOnDisk) -> None:
    roles = {uid: role for uid, role in study.roles.items() if role == "t1-portal"}
    answer = ANALYZER.analyze(study.with_roles(roles), ())
    assert isinstance(answer, Assessed)
    assert answer.findings[0].presence is not Presence.ABSENT
    assert "No diffusion in the study." in answer.limitations


@pytest.mark.parametrize(
    ("step_mm", "presence", "sentence"),
    [
        (3.0, Presence.ABSENT, "No lesion candidate of 15 mm or more detected in {}; smaller ones can be missed."),
        (8.0, Presence.INDETERMINATE, "No lesion candidate of 20 mm or more detected in {}; that does not exclude"),
    ],
)
def test_what_no_candidate_means_follows_from_the_slices(
    study: StudyOnDisk, step_mm: float, presence: Presence, sentence: str
) -> None:
    stacks = read_stacks(study, DEFAULT)
    reading = read_study(stacks, DEFAULT)
    assert isinstance(reading, Reading)
    empty = replace(reading, search=replace(reading.search, candidates=(), coarsest_step_mm=step_mm))
    answer = assessed(study, stacks, empty, (), DEFAULT)
    assert answer.findings[0].presence is presence
    assert answer.findings[0].sentence.startswith(sentence.format("T1 hepatobiliary"))
    check_result(answer)


def test_the_floor_is_that_of_the_sequence_that_lesions_must_show_in(study: StudyOnDisk) -> None:
    stacks = read_stacks(study, DEFAULT)
    coarsest = {}
    for role in (Role.T1_HBP, Role.T1_PRE):
        kept = tuple(one for one in stacks.stacks if one.role in (role, Role.DWI))
        reading = read_study(replace(stacks, stacks=kept), DEFAULT)
        assert isinstance(reading, Reading)
        assert reading.reference.role is role
        coarsest[role] = reading.search.coarsest_step_mm
    steps_mm = {one.role: plane_distance_mm(one.volume) for one in stacks.stacks}
    assert steps_mm[Role.DWI] > steps_mm[Role.T1_HBP]
    assert coarsest[Role.T1_PRE] == pytest.approx(steps_mm[Role.DWI])


class Altered:
    """A study of the hepatobiliary phase alone, changed after loading."""

    def __init__(self, study: StudyOnDisk, kind: str) -> None:
        self._study, self._kind = study, kind
        self.summary = study.summary
        self.roles = {uid: role for uid, role in study.roles.items() if role == "t1-hbp"}
        self.segmentations = study.segmentations

    def load(self, series_instance_uid: str) -> LoadedSeries:
        loaded = self._study.load(series_instance_uid)
        return replace(loaded, volumes=tuple(self._changed(volume) for volume in loaded.volumes))

    def with_role(self, role: str) -> tuple[LoadedSeries, ...]:
        return tuple(self.load(uid) for uid, own in self.roles.items() if own == role)

    def _changed(self, volume: Volume) -> Volume:
        voxels, affine = volume.voxels_zyx, volume.affine_lps.copy()
        if self._kind == "small body":
            affine[:3, :3] *= 0.55
        elif self._kind == "mirrored":
            voxels = voxels[:, :, ::-1].copy()
        elif self._kind == "symmetric":
            voxels = np.maximum(voxels, voxels[:, :, ::-1])
        elif self._kind == "noise":
            voxels = np.random.default_rng(1).normal(100, 20, voxels.shape).astype(np.float32)
        elif self._kind == "low":
            quarter = len(volume.planes) // 6
            return replace(volume, voxels_zyx=voxels[:quarter], planes=volume.planes[:quarter])
        elif self._kind in ("narrow field", "filled field"):
            first = np.flatnonzero(voxels.max(axis=(0, 1)) > 0.2 * voxels.max())[0] + voxels.shape[2] // 5
            if self._kind == "filled field":
                voxels = voxels.copy()
                voxels[:, :, :first] = 0.0
            else:
                affine[:3, 3] += first * affine[:3, 0]
                voxels = voxels[:, :, first:].copy()
        return replace(volume, voxels_zyx=voxels, affine_lps=affine)


@pytest.fixture(scope="module")
def alone(study: StudyOnDisk) -> Assessed:
    """What the hepatobiliary phase alone gives."""
    answer = ANALYZER.analyze(Altered(study, "unchanged"), ())
    assert isinstance(answer, Assessed)
    return answer


@pytest.mark.parametrize("kind", ["small body", "mirrored", "symmetric", "noise", "low"])
def test_what_shows_no_believable_liver_is_refused_with_reasons(study: StudyOnDisk, kind: str) -> None:
    altered = Altered(study, kind)
    answer = ANALYZER.analyze(altered, ())
    assert isinstance(answer, NotAssessable)
    assert answer.reasons
    check_result(answer)
    check_pictures(ANALYZER.illustrate(altered, answer))


@pytest.mark.parametrize("kind", ["narrow field", "filled field"])
def test_a_liver_that_the_field_of_view_cuts_sideways_is_a_lower_limit(
    study: StudyOnDisk, alone: Assessed, kind: str
) -> None:
    answer = ANALYZER.analyze(Altered(study, kind), ())
    assert isinstance(answer, Assessed)
    assert value(answer, "liver_volume") < 0.9 * value(alone, "liver_volume")
    assert answer.conclusion.startswith("Liver volume at least")
    assert answer.measurements[0].grade is Grade.LIMITED
    assert answer.measurements[0].remark == "the liver reaches the border of the field: at least this volume"
    assert [gate.name for gate in answer.gates if not gate.passed] == ["liver inside the field of view"]


def test_dark_places_of_the_hepatobiliary_phase_alone_may_be_vessels(alone: Assessed, result: Assessed) -> None:
    assert alone.findings[0].presence is Presence.INDETERMINATE
    assert "vessels cannot be told apart" in alone.findings[0].sentence
    lesions = [one for one in alone.measurements if one.key.startswith("lesion_")]
    assert len(lesions) > 1
    assert {one.grade for one in lesions} == {Grade.LIMITED}
    assert "vessels" not in result.findings[0].sentence


def test_a_liver_behind_wall_and_skin_keeps_clear_of_the_field(result: Assessed, alone: Assessed) -> None:
    for answer in (result, alone):
        gate = next(one for one in answer.gates if one.name == "liver inside the field of view")
        assert gate.passed
        assert gate.seen.startswith("0.0%")
        assert "at least" not in answer.conclusion


def test_a_real_t1_weighted_liver_that_the_scan_cuts_is_outlined_as_a_lower_limit(
    real_data_dir: Path, tmp_path: Path
) -> None:
    labels = read_nifti(real_data_dir / "organs" / "mr_labels.nii.gz")
    write_slices(read_nifti(real_data_dir / "organs" / "mr.nii.gz"), tmp_path, "MR", "MR LIVER")
    opened = open_study(tmp_path)
    answer = ANALYZER.analyze(opened.with_roles(getattr(ANALYZER.accepts(opened.summary), "roles", {})), ())
    assert isinstance(answer, Assessed)
    assert dice(answer.segments[0].mask_planes, np.asarray(labels.values_zyx == 5)) > 0.8
    assert answer.measurements[0].grade is Grade.LIMITED
    assert answer.conclusion.startswith("Liver volume at least")
    # Vessels and lesions are equally dark in it, and nothing else is there to tell them apart.
    assert [finding.presence for finding in answer.findings] == [Presence.INDETERMINATE]
    assert [segment.name for segment in answer.segments] == ["liver"]
    assert "lesion_count" not in {measurement.key for measurement in answer.measurements}
