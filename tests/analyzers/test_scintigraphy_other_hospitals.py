"""Studies as hospitals that we have never seen make them: legal, unusual, and not to be misread."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as DicomSequence

from analyzers import vocabulary
from analyzers.contract import Accept, AnalysisResult, Assessed, Decline, Declined, Grade, NotAssessable, Presence
from analyzers.loading import open_study
from analyzers.phantoms.__main__ import make_phantom
from analyzers.phantoms.request import PhantomRequest
from analyzers.result_check import check_pictures
from analyzers.scintigraphy import ANALYZER

Study = list[Dataset]
Made = Callable[..., Study]
SHUNT = "lung_shunt_fraction_corrected"
SPECT = ("no-planar", "spect")
MACROAGGREGATES, COLLOID = "1", "11"
"""Series numbers of the phantom."""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Objects of a phantom, to be changed at will; each phantom is made once."""
    folders: dict[tuple[str, ...], Path] = {}

    def study(*variants: str) -> Study:
        if variants not in folders:
            folders[variants] = tmp_path_factory.mktemp("phantom") / "study"
            request = PhantomRequest(kind="scintigraphy", seed=71, variants=tuple(sorted(variants)))
            make_phantom(request, folders[variants])
        files = (folders[variants] / "dicom").rglob("*")
        return [pydicom.dcmread(file) for file in sorted(files) if file.is_file()]

    return study


def answered(study: Study, folder: Path) -> AnalysisResult:
    """The answer to a study, through everything that the analyzer's command goes through."""
    folder.mkdir()
    for number, dataset in enumerate(study):
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        dataset.save_as(folder / f"{number}.dcm", enforce_file_format=True)
    opened = open_study(folder)
    acceptance = ANALYZER.accepts(opened.summary)
    if isinstance(acceptance, Decline):
        return Declined(reason=acceptance.reason)
    assert isinstance(acceptance, Accept)
    images = opened.with_roles(acceptance.roles)
    result = ANALYZER.analyze(images, ())
    check_pictures(ANALYZER.illustrate(images, result))
    return result


def assessed(study: Study, folder: Path) -> Assessed:
    result = answered(study, folder)
    assert isinstance(result, Assessed), result
    return result


def reasons(study: Study, folder: Path) -> str:
    """The reasons of an answer that has no number."""
    result = answered(study, folder)
    assert isinstance(result, NotAssessable), result
    return " ".join(result.reasons)


def value(result: Assessed, key: str) -> float:
    return next(one.value for one in result.measurements if one.key == key)


def give(dataset: Dataset, counts: NDArray[np.generic]) -> None:
    dataset.PixelData = np.ascontiguousarray(counts).tobytes()


# --- tracers -----------------------------------------------------------------------------------------------


def without_names(study: Study) -> Study:
    """No header names a radiopharmaceutical or a route."""
    for dataset in study:
        item = dataset.RadiopharmaceuticalInformationSequence[0]
        item.Radiopharmaceutical = "Tc-99m"
        for keyword in (
            "RadiopharmaceuticalCodeSequence",
            "AdministrationRouteCodeSequence",
            "RadiopharmaceuticalRoute",
        ):
            if keyword in item:
                delattr(item, keyword)
        dataset.SeriesDescription = dataset.ProtocolName = "ANT/POST"
        dataset.StudyDescription = dataset.RequestedProcedureDescription = "LIVER PUMP"
    return study


def in_one_series(study: Study) -> Study:
    for dataset in study:
        dataset.SeriesInstanceUID = study[0].SeriesInstanceUID
    return study


def with_both_agents_in_every_header(study: Study) -> Study:
    items = [dataset.RadiopharmaceuticalInformationSequence[0] for dataset in study]
    for dataset in study:
        dataset.RadiopharmaceuticalInformationSequence = DicomSequence([copy.deepcopy(item) for item in items])
    return study


def known_by_route(study: Study) -> Study:
    for dataset in without_names(study):
        route = "IA" if str(dataset.SeriesNumber) == MACROAGGREGATES else "i.v."
        dataset.RadiopharmaceuticalInformationSequence[0].RadiopharmaceuticalRoute = route
    return study


@pytest.mark.parametrize("change", [in_one_series, with_both_agents_in_every_header, known_by_route])
def test_both_tracers_are_told_apart_however_the_headers_say_it(
    made: Made, tmp_path: Path, change: Callable[[Study], Study]
) -> None:
    plain = assessed(made("sulfur-colloid"), tmp_path / "plain")
    changed = assessed(change(made("sulfur-colloid")), tmp_path / "changed")

    assert value(changed, SHUNT) == value(plain, SHUNT)
    assert changed.conclusion == plain.conclusion


def test_a_tracer_by_vein_alone_is_not_taken_for_colloid(made: Made, tmp_path: Path) -> None:
    study = without_names(made())
    study[0].RadiopharmaceuticalInformationSequence[0].RadiopharmaceuticalRoute = "Intravenous"

    assert value(assessed(study, tmp_path / "vein"), SHUNT) > 0.0


def test_two_scans_whose_tracer_no_header_names_leave_spleen_and_completeness_open(made: Made, tmp_path: Path) -> None:
    result = assessed(without_names(made("sulfur-colloid")), tmp_path / "unnamed")

    assert result.findings[0].value == vocabulary.PERFUSION_INDETERMINATE
    assert "no header names the tracer" in result.conclusion
    (spleen,) = (finding for finding in result.findings if finding.site == vocabulary.SPLEEN)
    assert spleen.presence is Presence.INDETERMINATE
    assert next(one.grade for one in result.measurements if one.key == SHUNT) is Grade.LIMITED


def test_one_scan_in_two_objects_is_not_taken_for_two_scans(made: Made, tmp_path: Path) -> None:
    result = assessed(without_names(made("separate-views")), tmp_path / "separate")

    assert result.findings[0].value == vocabulary.PERFUSION_COMPLETE


def with_colloid_later(made: Made, *variants: str) -> Study:
    """A colloid scan two hours after the macroaggregates, which still shine under it."""
    (front,) = made(*variants)
    scan = next(dataset for dataset in made("sulfur-colloid") if str(dataset.SeriesNumber) == COLLOID)
    scan.StudyInstanceUID, scan.AcquisitionTime = front.StudyInstanceUID, "173000"
    left = 0.5 ** ((17.5 - (15 + 28 / 60 + 11 / 3600)) / 6.0067)
    give(scan, (scan.pixel_array + np.rint(left * front.pixel_array)).astype(np.uint16))
    return [front, scan]


def test_a_colloid_scan_after_the_macroaggregates_leaves_no_residue_in_them(made: Made, tmp_path: Path) -> None:
    alone = assessed(made(), tmp_path / "alone")
    result = assessed(with_colloid_later(made), tmp_path / "later")

    assert result.findings[0].value == vocabulary.PERFUSION_COMPLETE
    assert value(result, SHUNT) == value(alone, SHUNT)
    assert next(one.grade for one in result.measurements if one.key == SHUNT) is Grade.GOOD
    assert value(result, "perfused_outline_share_10") > 0.9


def test_a_colloid_scan_after_the_macroaggregates_shows_a_lobe_that_these_did_not_reach(
    made: Made, tmp_path: Path
) -> None:
    result = assessed(with_colloid_later(made, "missing-left-lobe"), tmp_path / "later")

    assert result.findings[0].value == vocabulary.PERFUSION_INCOMPLETE
    assert "the colloid scan shows liver there" in result.conclusion


def test_a_later_colloid_scan_that_holds_nothing_but_macroaggregates_is_not_compared(
    made: Made, tmp_path: Path
) -> None:
    front, scan = with_colloid_later(made)
    give(scan, (0.8 * front.pixel_array).astype(np.uint16))
    result = assessed([front, scan], tmp_path / "nothing")

    assert any("was not compared" in text for text in result.limitations)
    assert not any(one.key.startswith("perfused_outline") for one in result.measurements)


# --- what lies beside the views ----------------------------------------------------------------------------


def test_a_transmission_image_is_not_measured(made: Made, tmp_path: Path) -> None:
    study = made()
    study[0].ImageType = ["ORIGINAL", "PRIMARY", "STATIC", "TRANSMISSION"]
    result = answered(study, tmp_path / "transmission")

    assert isinstance(result, Declined)
    assert "transmission" in result.reason


@pytest.mark.parametrize("name", ["MU MAP", "Attenuation_Map", "CT AC map"])
def test_a_map_of_attenuation_is_not_read_as_a_spect(made: Made, tmp_path: Path, name: str) -> None:
    study = made(*SPECT)
    study[0].SeriesDescription = name
    result = answered(study, tmp_path / "map")

    assert isinstance(result, Declined)
    assert "attenuation map" in result.reason


def test_a_screen_or_an_infusion_in_the_same_series_hides_no_views(made: Made, tmp_path: Path) -> None:
    plain = assessed(made(), tmp_path / "plain")
    for name, order in (("derived-inside", -1), ("dynamic", 1), ("dynamic", -1)):
        study = in_one_series(made(name)[::order])
        for number, dataset in enumerate(study, start=1):
            dataset.InstanceNumber, dataset.Modality = number, "NM"
            dataset.SOPInstanceUID = f"2.25.{1000 + number}"
        result = assessed(study, tmp_path / f"{name}{order}")

        assert value(result, SHUNT) == pytest.approx(value(plain, SHUNT), abs=0.005)


# --- values of the pixels ----------------------------------------------------------------------------------


def test_a_rescale_intercept_is_applied_to_views(made: Made, tmp_path: Path) -> None:
    plain, study = assessed(made(), tmp_path / "plain"), made()
    give(study[0], study[0].pixel_array + np.uint16(50))
    study[0].RescaleSlope, study[0].RescaleIntercept = "1", "-50"

    assert value(assessed(study, tmp_path / "rescaled"), SHUNT) == value(plain, SHUNT)


def test_counts_that_a_rescale_made_negative_are_none(made: Made, tmp_path: Path) -> None:
    plain, study = assessed(made(), tmp_path / "plain"), made()
    study[0].RescaleSlope, study[0].RescaleIntercept = "1", "-1"

    assert value(assessed(study, tmp_path / "negative"), SHUNT) == pytest.approx(value(plain, SHUNT), abs=0.01)


@pytest.mark.parametrize("signed", [False, True])
def test_few_pixels_at_the_end_of_the_scale_are_saturated_whatever_the_rescale(
    made: Made, tmp_path: Path, signed: bool
) -> None:
    (dataset,) = made()
    counts, greatest = dataset.pixel_array.astype(np.int64), 2**15 - 1 if signed else 2**16 - 1
    third = int(np.sort(counts.ravel())[-3])
    give(dataset, np.minimum(counts * greatest // third, greatest).astype(np.int16 if signed else np.uint16))
    dataset.PixelRepresentation = int(signed)
    dataset.RescaleSlope, dataset.RescaleIntercept = str(third / greatest)[:16], "0"

    assert "saturated" in reasons([dataset], tmp_path / "full")


def with_matrix(study: Study, factor: float) -> Study:
    """The same field on another matrix: counts of a finer one are spread by chance, as a camera does."""
    (dataset,) = study
    counts = dataset.pixel_array
    frames, rows, columns = counts.shape
    if factor < 1:
        block = round(1 / factor)
        counts = counts.reshape(frames, rows // block, block, columns // block, block).sum(axis=(2, 4), dtype=np.int64)
    else:
        rng, parts = np.random.default_rng(1), int(factor) ** 2
        split = rng.multinomial(counts.astype(np.int64).ravel(), [1 / parts] * parts)
        side = int(factor)
        counts = split.reshape(frames, rows, columns, side, side).transpose(0, 1, 3, 2, 4)
        counts = counts.reshape(frames, rows * side, columns * side)
    give(dataset, counts.astype(np.uint16))
    dataset.Rows, dataset.Columns = counts.shape[1:]
    dataset.PixelSpacing = [str(round(float(edge) / factor, 6)) for edge in dataset.PixelSpacing]
    return study


@pytest.mark.parametrize("factor", [0.5, 2, 8])
def test_the_matrix_changes_no_answer(made: Made, tmp_path: Path, factor: float) -> None:
    plain = assessed(made(), tmp_path / "plain")
    result = assessed(with_matrix(made(), factor), tmp_path / "matrix")

    assert value(result, SHUNT) == pytest.approx(value(plain, SHUNT), abs=0.015)
    assert result.findings[0].value == plain.findings[0].value


def posterior_first(study: Study) -> Study:
    give(study[0], study[0].pixel_array[::-1])
    study[0].DetectorVector = [2, 1]
    return study


def detectors_exchanged(study: Study) -> Study:
    give(study[0], study[0].pixel_array[::-1])
    study[0].DetectorInformationSequence = DicomSequence(study[0].DetectorInformationSequence[::-1])
    return study


@pytest.mark.parametrize("change", [posterior_first, detectors_exchanged])
def test_the_order_of_the_views_changes_no_answer(made: Made, tmp_path: Path, change: Callable[[Study], Study]) -> None:
    plain = assessed(made(), tmp_path / "plain")

    assert value(assessed(change(made()), tmp_path / "changed"), SHUNT) == value(plain, SHUNT)


def test_views_in_series_of_their_own_with_durations_of_their_own_are_compared(made: Made, tmp_path: Path) -> None:
    plain, study = assessed(made(), tmp_path / "plain"), made("separate-views")
    study[1].SeriesInstanceUID = "2.25.77"
    study[1].ActualFrameDuration = 2 * int(study[1].ActualFrameDuration)
    give(study[1], (2 * study[1].pixel_array).astype(np.uint16))
    result = assessed(study, tmp_path / "long")

    assert value(result, SHUNT) == pytest.approx(value(plain, SHUNT), abs=0.005)
    assert any("durations of 300 and 600 s" in text for text in result.limitations)


def test_views_with_the_head_below_are_refused(made: Made, tmp_path: Path) -> None:
    study = made()
    give(study[0], study[0].pixel_array[:, ::-1, ::-1])
    study[0].PatientOrientation = ["R", "H"]

    assert "upside down" in reasons(study, tmp_path / "turned")


# --- energy windows ----------------------------------------------------------------------------------------


def without_limits(dataset: Dataset, *names: str) -> None:
    for item, name in zip(dataset.EnergyWindowInformationSequence, names, strict=True):
        item.EnergyWindowName = name
        del item.EnergyWindowRangeSequence


def scatter_first(dataset: Dataset) -> None:
    dataset.EnergyWindowInformationSequence = DicomSequence(dataset.EnergyWindowInformationSequence[::-1])
    frames = dataset.pixel_array
    give(dataset, np.concatenate([frames[2:], frames[:2]]))


def test_of_windows_without_limits_a_scatter_window_is_known_by_its_name(made: Made, tmp_path: Path) -> None:
    plain, study = assessed(made("scatter-window"), tmp_path / "plain"), made("scatter-window")
    scatter_first(study[0])
    without_limits(study[0], "Streustrahlung", "Tc-99m")

    assert value(assessed(study, tmp_path / "named"), SHUNT) == value(plain, SHUNT)


def test_windows_that_nothing_tells_apart_give_no_number(made: Made, tmp_path: Path) -> None:
    study = made("scatter-window")
    scatter_first(study[0])
    without_limits(study[0], "EW1", "EW2")

    assert "which of them holds the photopeak" in reasons(study, tmp_path / "unnamed")


def with_range(dataset: Dataset, low_kev: str, high_kev: str) -> None:
    ranges = dataset.EnergyWindowInformationSequence[0].EnergyWindowRangeSequence
    ranges.append(copy.deepcopy(ranges[0]))
    ranges[-1].EnergyWindowLowerLimit, ranges[-1].EnergyWindowUpperLimit = low_kev, high_kev


@pytest.mark.parametrize("kind", [(), SPECT])
@pytest.mark.parametrize("limits", [("90", "120"), ("220", "270")])
def test_a_window_that_adds_up_other_energies_gives_no_number(
    made: Made, tmp_path: Path, kind: tuple[str, ...], limits: tuple[str, str]
) -> None:
    study = made(*kind)
    with_range(study[0], *limits)

    assert f"{limits[0]} to {limits[1]} keV" in reasons(study, tmp_path / "added")


def test_a_photopeak_window_in_two_halves_is_one(made: Made, tmp_path: Path) -> None:
    plain, study = assessed(made(), tmp_path / "plain"), made()
    study[0].EnergyWindowInformationSequence[0].EnergyWindowRangeSequence[0].EnergyWindowUpperLimit = "140"
    with_range(study[0], "140", "154")

    assert value(assessed(study, tmp_path / "halves"), SHUNT) == value(plain, SHUNT)


# --- SPECT -------------------------------------------------------------------------------------------------


def with_scatter_volume(study: Study) -> Study:
    """One object that holds the scatter window's volume before the photopeak's."""
    (dataset,) = study
    counts = dataset.pixel_array
    planes = len(counts)
    give(dataset, np.concatenate([counts[:, ::-1] // 3, counts]))
    dataset.NumberOfFrames, dataset.NumberOfEnergyWindows = 2 * planes, 2
    dataset.EnergyWindowVector = [1] * planes + [2] * planes
    dataset.DetectorVector = dataset.RotationVector = [1] * (2 * planes)
    dataset.SliceVector = [*range(1, planes + 1)] * 2
    peak = dataset.EnergyWindowInformationSequence[0]
    scatter = copy.deepcopy(peak)
    scatter.EnergyWindowRangeSequence[0].EnergyWindowLowerLimit = "108"
    scatter.EnergyWindowRangeSequence[0].EnergyWindowUpperLimit = "126"
    dataset.EnergyWindowInformationSequence = DicomSequence([scatter, peak])
    return study


def test_of_two_windows_of_a_spect_the_photopeak_is_read(made: Made, tmp_path: Path) -> None:
    plain = assessed(made(*SPECT), tmp_path / "plain")
    result = assessed(with_scatter_volume(made(*SPECT)), tmp_path / "both")

    assert value(result, "liver_activity_share") == value(plain, "liver_activity_share")
    assert any("1 further reconstruction was not read" in text for text in result.limitations)


def test_two_windows_of_a_spect_that_nothing_tells_apart_give_no_number(made: Made, tmp_path: Path) -> None:
    study = with_scatter_volume(made(*SPECT))
    without_limits(study[0], "1", "2")

    assert "which of them holds the photopeak" in reasons(study, tmp_path / "unnamed")


def as_coronal(study: Study) -> Study:
    """The same volume in coronal planes, as workstations store it beside the transverse ones."""
    (dataset,) = study
    detector = dataset.DetectorInformationSequence[0]
    counts, step_mm = dataset.pixel_array[::-1].transpose(1, 0, 2), float(dataset.SpacingBetweenSlices)
    x, y, z = (float(one) for one in detector.ImagePositionPatient)
    detector.ImagePositionPatient = [x, y, z + step_mm * (counts.shape[1] - 1)]
    detector.ImageOrientationPatient = [1, 0, 0, 0, 0, -1]
    dataset.NumberOfFrames, dataset.Rows, dataset.Columns = counts.shape
    dataset.SliceVector = [*range(1, len(counts) + 1)]
    for keyword in ("EnergyWindowVector", "DetectorVector", "RotationVector"):
        setattr(dataset, keyword, [1] * len(counts))
    give(dataset, counts)
    return study


def test_coronal_planes_are_refused_and_transverse_ones_beside_them_read(made: Made, tmp_path: Path) -> None:
    assert "transverse" in reasons(as_coronal(made(*SPECT)), tmp_path / "coronal")

    (coronal,), (transverse,) = as_coronal(made(*SPECT)), made(*SPECT)
    coronal.SeriesInstanceUID, coronal.SOPInstanceUID = "2.25.5", "2.25.6"
    plain = assessed(made(*SPECT), tmp_path / "plain")
    both = assessed([coronal, transverse], tmp_path / "both")
    assert [one.value for one in both.measurements] == [one.value for one in plain.measurements]


@pytest.mark.parametrize("uids", [("2.25.8", "2.25.9"), ("2.25.9", "2.25.8")])
def test_of_both_reconstructions_in_one_series_each_is_known_for_what_it_is(
    made: Made, tmp_path: Path, uids: tuple[str, str]
) -> None:
    study = made("no-planar", "spect", "spect-nac")
    plain = assessed(made("no-planar", "spect"), tmp_path / "plain")
    for number, (dataset, uid) in enumerate(zip(in_one_series(study), uids, strict=True), start=1):
        dataset.SOPInstanceUID, dataset.InstanceNumber = uid, number
    result = assessed(study, tmp_path / "one")

    assert value(result, "liver_activity_share") == value(plain, "liver_activity_share")
    assert not any("not known to be corrected for attenuation" in text for text in result.limitations)


def test_a_spect_without_a_distance_between_its_planes_says_what_it_lacks(made: Made, tmp_path: Path) -> None:
    study = made(*SPECT)
    del study[0].SpacingBetweenSlices
    del study[0].SliceThickness

    assert "lack a valid position" in reasons(study, tmp_path / "nowhere")


def test_negative_voxels_of_a_reconstruction_are_no_activity(made: Made, tmp_path: Path) -> None:
    plain, study = assessed(made(*SPECT), tmp_path / "plain"), made(*SPECT)
    (dataset,) = study
    give(dataset, np.where(dataset.pixel_array == 0, -7, dataset.pixel_array).astype(np.int16))
    dataset.PixelRepresentation = 1
    result = assessed(study, tmp_path / "negative")

    assert value(result, "liver_activity_share") == pytest.approx(value(plain, "liver_activity_share"), abs=0.002)


def test_a_tilted_spect_keeps_its_volumes(made: Made, tmp_path: Path) -> None:
    plain, study = assessed(made(*SPECT), tmp_path / "plain"), made(*SPECT)
    cosine, sine = np.cos(0.2), np.sin(0.2)
    study[0].DetectorInformationSequence[0].ImageOrientationPatient = [1, 0, 0, 0, f"{cosine:.6f}", f"{sine:.6f}"]

    result = assessed(study, tmp_path / "tilted")
    assert value(result, "perfused_volume") == pytest.approx(value(plain, "perfused_volume"), rel=1e-4)


def test_a_large_spill_round_the_pump_on_a_spect_ct_is_non_diagnostic(made: Made, tmp_path: Path) -> None:
    result = assessed(made("no-planar", "spect-ct", "pocket-extravasation"), tmp_path / "spilt")

    assert result.findings[0].value == vocabulary.PERFUSION_NON_DIAGNOSTIC
    assert "pump pocket" in result.conclusion
