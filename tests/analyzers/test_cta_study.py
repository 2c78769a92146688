"""The CT analyzer on whole studies: a phantom of the model that it was not developed on, and real CT."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from analyzers import vocabulary
from analyzers.contract import Assessed, Grade, Measurement, NotAssessable, Presence
from analyzers.cta import ANALYZER
from analyzers.phantoms.__main__ import make_phantom
from analyzers.phantoms.request import PhantomRequest
from analyzers.result_check import check_pictures, check_result
from analyzers.volume import StudyImages, Volume
from tests.analyzers import cta_accuracy, real_data
from tests.analyzers.cta_samples import VolumesInMemory, study


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """A phantom's folder with the study as loaded and the answer."""

    folder: Path
    images: StudyImages
    result: Assessed
    row: cta_accuracy.Row

    def value(self, key: str) -> Measurement:
        """The one measurement with a key."""
        (found,) = [value for value in self.result.measurements if value.key == key]
        return found

    def presence(self, key: str) -> Presence:
        """The answer of the one finding with a key."""
        (found,) = [finding for finding in self.result.findings if finding.key == key]
        return found.presence


@pytest.fixture(scope="module")
def answered(tmp_path_factory: pytest.TempPathFactory) -> Answered:
    folder = tmp_path_factory.mktemp("cta") / "study"
    request = PhantomRequest(
        kind="cta", seed=733, variants=("feet-first", "portal-only", "post-op"), size="small", model="evaluation"
    )
    make_phantom(request, folder)
    images, result = cta_accuracy.analysed(folder / "dicom")
    assert isinstance(result, Assessed)
    return Answered(folder=folder, images=images, result=result, row=cta_accuracy.folder_row(folder, "phantom"))


def test_liver_is_outlined_and_its_volume_is_right_within_a_tenth(answered: Answered) -> None:
    assert answered.row.liver_dice is not None
    assert answered.row.liver_dice >= 0.9
    assert answered.value("liver_volume").value == pytest.approx(answered.row.truth["liver_volume"], rel=0.1)


def test_aorta_and_pump_are_measured_within_their_tolerances(answered: Answered) -> None:
    truth = answered.row.truth

    assert answered.value("aorta_diameter").value == pytest.approx(truth["aorta_diameter"], abs=2.0)
    assert answered.value("pump_diameter").value == pytest.approx(truth["pump_diameter"], abs=3.0)
    assert answered.value("pump_thickness").value == pytest.approx(truth["pump_thickness"], abs=3.0)
    assert answered.presence("pump_presence") is Presence.PRESENT


def test_whatever_is_said_of_the_pump_names_its_side_and_its_site(answered: Answered) -> None:
    result = answered.result
    (pump,) = [segment for segment in result.segments if segment.name == "pump"]
    (volume,) = answered.images.load(pump.series_instance_uid).volumes
    centre_zyx = np.argwhere(pump.mask_planes).mean(axis=0)
    left_of_scanner_mm = float((volume.affine_lps @ [*centre_zyx[::-1], 1.0])[0])
    side = vocabulary.LEFT if left_of_scanner_mm > 0.0 else vocabulary.RIGHT
    (presence,) = [finding for finding in result.findings if finding.key == "pump_presence"]
    measured = [value for value in result.measurements if value.subject == "pump"]

    assert measured
    places = [(pump.site, pump.laterality), (presence.site, presence.laterality)]
    places += [(value.site, value.laterality) for value in measured]
    assert set(places) == {(vocabulary.ABDOMINAL_WALL, side)}


def test_catheter_is_traced_where_it_runs_and_not_along_the_housing(answered: Answered) -> None:
    assert answered.row.catheter_covered_fraction is not None
    assert answered.row.catheter_covered_fraction >= 0.85
    length = answered.value("catheter_length")
    assert length.value == pytest.approx(answered.row.truth["catheter_length"], rel=0.1)
    assert length.grade is Grade.LIMITED


def test_what_thick_slices_or_late_contrast_blur_is_graded_limited_and_says_so(answered: Answered) -> None:
    diameter = answered.value("aorta_diameter")

    assert diameter.grade is Grade.LIMITED
    assert "slices 2.5 mm apart" in diameter.remark
    assert diameter.lines
    assert diameter.sources[0] == diameter.lines[0].frame


def test_the_same_study_gives_the_same_answer(answered: Answered) -> None:
    said = {value.key: value.value for value in answered.result.measurements if value.key in cta_accuracy.KEYS}

    assert said == dict(answered.row.said)


def test_answer_keeps_the_contract_and_speaks_known_codes(answered: Answered) -> None:
    check_result(answered.result)

    codes = [value.concept for value in answered.result.measurements]
    codes += [finding.concept for finding in answered.result.findings]
    codes += [segment.type for segment in answered.result.segments]
    assert all(vocabulary.is_known(code) for code in codes)
    assert {value.key for value in answered.result.measurements} <= set(vocabulary.QUANTITIES)


def test_segments_lie_on_the_planes_of_their_series_and_devices_overlap_nothing(answered: Answered) -> None:
    masks = {segment.name: segment.mask_planes for segment in answered.result.segments}

    assert {"liver", "aorta", "bones", "pump"} <= masks.keys()
    for segment in answered.result.segments:
        (volume,) = answered.images.load(segment.series_instance_uid).volumes
        assert segment.planes == volume.planes
        assert segment.mask_planes.shape == volume.voxels_zyx.shape
        assert segment.mask_planes.any()
    for device in masks.keys() & {"pump", "catheter"}:
        for other in masks.keys() - {device}:
            assert not (masks[device] & masks[other]).any(), (device, other)


def test_montage_shows_planes_and_projections(answered: Answered) -> None:
    pictures = ANALYZER.illustrate(answered.images, answered.result)

    check_pictures(pictures)
    assert [picture.name for picture in pictures] == ["planes-1", "projections-1"]
    assert all(picture.rgb.std() > 10 for picture in pictures)


def test_pages_of_two_series_have_names_of_their_own(answered: Answered, cropped: Volume) -> None:
    other = replace(cropped, series_instance_uid="1.2.3")
    (whole,) = answered.images.load(cropped.series_instance_uid).volumes
    (liver,) = [segment for segment in answered.result.segments if segment.name == "liver"]
    part = slice(whole.planes.index(cropped.planes[0]), whole.planes.index(cropped.planes[-1]) + 1)
    on_other = replace(
        liver, mask_planes=liver.mask_planes[part], planes=other.planes, series_instance_uid=other.series_instance_uid
    )
    rest = tuple(segment for segment in answered.result.segments if segment.name != "liver")
    images = VolumesInMemory(volumes=[other, whole], summary=answered.images.summary)

    pictures = ANALYZER.illustrate(images, replace(answered.result, segments=(on_other, *rest)))

    check_pictures(pictures)
    assert [picture.name for picture in pictures] == ["planes-1", "planes-2", "projections-2"]


@pytest.fixture(scope="module")
def cropped(answered: Answered) -> Volume:
    """The upper half of the scan: the liver is cut below, the pump is not in it."""
    (volume,) = answered.images.load(answered.result.segments[0].series_instance_uid).volumes
    heights = volume.to_lps_mm(np.array([[z, 0, 0] for z in range(len(volume.planes))], float))[:, 2]
    liver = answered.result.segments[0].mask_planes.any(axis=(1, 2))
    above = np.flatnonzero(heights > np.percentile(heights[liver], 35))
    part = slice(int(above.min()), int(above.max()) + 1)
    affine = volume.affine_lps.copy()
    affine[:3, 3] += part.start * affine[:3, 2]
    return replace(volume, voxels_zyx=volume.voxels_zyx[part], planes=volume.planes[part], affine_lps=affine)


@pytest.fixture(scope="module")
def cropped_result(answered: Answered, cropped: Volume) -> Assessed:
    result = ANALYZER.analyze(in_memory(cropped, answered.images), ())
    assert isinstance(result, Assessed)
    return result


def in_memory(volume: Volume, images: StudyImages) -> VolumesInMemory:
    (series,) = [one for one in images.summary.series if one.series_instance_uid == volume.series_instance_uid]
    return VolumesInMemory(volumes=[volume], summary=study(series))


def test_a_liver_cut_by_the_end_of_the_scan_is_at_least_so_large(answered: Answered, cropped_result: Assessed) -> None:
    (volume,) = [value for value in cropped_result.measurements if value.key == "liver_volume"]
    assert volume.grade is Grade.LIMITED
    assert volume.remark.startswith("at least")
    assert volume.value < answered.value("liver_volume").value
    assert "at least" in cropped_result.conclusion


def test_a_cut_liver_without_contrast_is_incomplete_but_no_lower_bound(answered: Answered, cropped: Volume) -> None:
    # Blood and organs at the attenuation they have without contrast; what is dark or bone stays.
    hu = cropped.voxels_zyx
    unenhanced = np.where((hu > 70.0) & (hu < 200.0), 58.0 + 0.3 * (hu - hu[hu > 70.0].mean()), hu)
    native = replace(cropped, voxels_zyx=unenhanced.astype(np.float32))

    result = ANALYZER.analyze(in_memory(native, answered.images), ())

    assert isinstance(result, Assessed)
    (volume,) = [value for value in result.measurements if value.key == "liver_volume"]
    assert volume.grade is Grade.LIMITED
    assert volume.remark.startswith("incomplete")
    assert volume.interval is None
    assert "at least" not in result.conclusion


def test_a_scan_that_ends_below_the_liver_cannot_exclude_a_pump(cropped_result: Assessed) -> None:
    (finding,) = [finding for finding in cropped_result.findings if finding.key == "pump_presence"]
    assert finding.presence is Presence.INDETERMINATE


def test_a_pump_cut_by_the_end_of_the_scan_is_not_called_absent(answered: Answered) -> None:
    (pump,) = [segment for segment in answered.result.segments if segment.name == "pump"]
    (volume,) = answered.images.load(pump.series_instance_uid).volumes
    planes = np.flatnonzero(pump.mask_planes.any(axis=(1, 2)))
    affine = volume.affine_lps.copy()
    middle = int(planes.mean())
    kept = slice(middle, None) if affine[2, 2] > 0 else slice(None, middle)
    affine[:3, 3] += (kept.start or 0) * affine[:3, 2]
    above = replace(volume, voxels_zyx=volume.voxels_zyx[kept], planes=volume.planes[kept], affine_lps=affine)

    result = ANALYZER.analyze(in_memory(above, answered.images), ())

    assert isinstance(result, Assessed)
    (finding,) = [finding for finding in result.findings if finding.key == "pump_presence"]
    assert finding.presence is Presence.INDETERMINATE
    assert "at the edge of the scan: part of a pump?" in finding.sentence


def test_planes_in_reverse_order_give_the_same_millilitres(
    answered: Answered, cropped: Volume, cropped_result: Assessed
) -> None:
    affine = cropped.affine_lps.copy()
    affine[:3, 3] += (len(cropped.planes) - 1) * affine[:3, 2]
    affine[:3, 2] *= -1
    flipped = replace(
        cropped, voxels_zyx=cropped.voxels_zyx[::-1].copy(), planes=cropped.planes[::-1], affine_lps=affine
    )

    result = ANALYZER.analyze(in_memory(flipped, answered.images), ())

    assert isinstance(result, Assessed)
    before, after = (
        next(value.value for value in one.measurements if value.key == "liver_volume")
        for one in (cropped_result, result)
    )
    assert after == pytest.approx(before, rel=0.01)


def test_liver_of_a_real_contrast_ct_agrees_with_its_labels(real_data_dir: Path) -> None:
    rows = {row.name: row for row in cta_accuracy.labelled_rows(real_data_dir)}

    dice = rows["contrast CT, 20 slices of 2 mm"].liver_dice
    assert dice is not None
    assert dice >= 0.85


def test_hip_implant_of_a_real_ct_is_no_pump_and_bone_is_no_aorta(real_data_dir: Path, tmp_path: Path) -> None:
    scan = real_data.read_nifti(real_data_dir / "organs" / "ct_trunk.nii.gz")
    real_data.write_slices(scan, tmp_path / "study", "CT", "CT ABDOMEN")

    _, result = cta_accuracy.analysed(tmp_path / "study")

    assert isinstance(result, Assessed)
    assert "pump" not in {segment.name for segment in result.segments}
    (pump,) = [finding for finding in result.findings if finding.key == "pump_presence"]
    assert pump.presence is Presence.ABSENT
    assert "aorta_diameter" not in {value.key for value in result.measurements}


def test_cropped_chest_of_a_real_cta_is_not_assessable(real_data_dir: Path, tmp_path: Path) -> None:
    scan = real_data.read_nifti(real_data_dir / "cta_aorta" / "ct_cropped.nii.gz")
    real_data.write_slices(scan, tmp_path / "study", "CT", "CTA")

    _, result = cta_accuracy.analysed(tmp_path / "study")

    assert isinstance(result, NotAssessable)
