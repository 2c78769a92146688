"""Tumour-to-normal ratios on segmentations of others: which are used, where they lie, and what is said of the rest."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.sr.coding import Code as SrCode

from analyzers.contract import Accept, Assessed, Region
from analyzers.grid_mask import GridMask
from analyzers.loading import StudyFolderError, StudyOnDisk, open_study
from analyzers.scintigraphy import ANALYZER
from analyzers.scintigraphy.given_lesions import (
    GivenRatios,
    PresentLiver,
    Surroundings,
    kept_by_blur,
    ratios_on_given,
)
from analyzers.scintigraphy.spect_given import shown_lesions
from analyzers.scintigraphy.spect_legend import legend_lines
from analyzers.segmentations import GivenSegmentation
from analyzers.volume import Volume
from tests.analyzers.dicom_samples import ct_slice, uid, write
from tests.analyzers.outlined_patient import patient
from tests.analyzers.real_data import read_nrrd, write_spect
from tests.analyzers.scintigraphy_real_ratio import readers_masks
from tests.analyzers.segmentation_samples import (
    ANATOMY,
    LESION_CODES,
    LIVER_CODES,
    TISSUE_CODES,
    Codes,
    reference_image,
    segmentation,
)
from tests.analyzers.test_scintigraphy_tumor_ratio import LIVER, TUMOUR, affine, ball
from tests.analyzers.test_scintigraphy_tumor_ratio import volume as spect_volume

FINE = (66, 72, 80)
SECOND = ((30.0, -5.0, -20.0), 16.0)
SMALL = ((-10.0, -30.0, 0.0), 8.0)
FRAME, SPECT_SERIES = uid("frame of reference"), "1.2"
Ball = tuple[tuple[float, float, float], float]


def spect(ratios: tuple[float, float] = (4.0, 2.5)) -> Volume:
    counts = np.where(ball(*LIVER), 100.0, 1.0)
    for place, ratio in zip((TUMOUR, SECOND), ratios, strict=True):
        counts[ball(*place)] = 100.0 * ratio
    found = spect_volume(counts.astype(np.float32), affine())
    return replace(found, frame_of_reference_uid=FRAME)


def around(*, by_anatomy: bool = True, ct_series_uid: str = "", shift_up_mm: float = 0.0) -> Surroundings:
    mask = GridMask(label="liver", mask_zyx=ball(*LIVER), affine_lps=affine())
    return Surroundings(
        spect=spect(),
        liver=PresentLiver(mask=mask, words="the liver of the CT", by_anatomy=by_anatomy),
        ct_series_uid=ct_series_uid,
        shift_up_mm=shift_up_mm,
    )


def drawn(
    *what: tuple[str, Codes, Ball],
    shift: float = 0.0,
    frame: str = FRAME,
    series: str = "somewhere",
    name: str = "one",
    without: Ball | None = None,
) -> Dataset:
    """A segmentation on a grid of 3 mm, moved by ``shift`` along each axis; ``without`` is cut out of all segments."""
    gap = np.zeros(FINE, np.bool_) if without is None else ball(*without, FINE, 3.0)
    masks = [(label, codes, ball(*place, FINE, 3.0) & ~gap) for label, codes, place in what]
    image = reference_image(study=uid("study"), series=uid("series", series), frame_of_reference=frame)
    return segmentation(masks, affine(FINE, 3.0, shift=shift), image, name=name)


def read(folder: Path, *datasets: Dataset) -> tuple[GivenSegmentation, ...]:
    write([ct_slice(z) for z in (0.0, 2.5)], folder)
    for number, dataset in enumerate(datasets):
        dataset.save_as(folder / f"given{number}.dcm", enforce_file_format=True)
    return open_study(folder).segmentations


def given(folder: Path, *datasets: Dataset, surroundings: Surroundings | None = None) -> GivenRatios:
    return ratios_on_given(surroundings or around(), read(folder, *datasets))


CORE, OTHER_CORE = (TUMOUR[0], 13.0), (SECOND[0], 11.0)


def test_each_outlined_lesion_has_its_ratio_against_the_outlined_liver_without_all_lesions(tmp_path: Path) -> None:
    found = given(
        tmp_path,
        drawn(
            ("Tumor 1", LESION_CODES, (TUMOUR[0], 18.0)),
            ("Liver", LIVER_CODES, (LIVER[0], 62.0)),
            ("Tumor 2", LESION_CODES, (SECOND[0], 16.0)),
        ),
    )

    assert [one.label for one in found.ratios] == ["Tumor 1", "Tumor 2"]
    # The SPECT is read between its voxels of 5 mm: half a voxel of each border is shared with the other side.
    assert [one.ratio for one in found.ratios] == pytest.approx([4.0, 2.5], rel=0.15)
    assert [one.volume_ml for one in found.ratios] == pytest.approx([24.4, 17.2], rel=0.05)
    assert all("the outlined liver" in one.origin and "its coded type" in one.origin for one in found.ratios)
    assert all("blur" in text for one in found.ratios for text in one.cautions)
    assert [one.segment and one.segment.number for one in found.ratios] == [1, 3]
    assert found.remarks == ()


def test_without_an_outlined_liver_the_present_one_is_normal_liver_and_said_so(tmp_path: Path) -> None:
    by_ct = given(tmp_path / "a", drawn(("Tumor 1", LESION_CODES, CORE)))
    by_uptake = given(tmp_path / "b", drawn(("Tumor 1", LESION_CODES, CORE)), surroundings=around(by_anatomy=False))

    # The second tumour is part of what is taken for normal.
    level = (100.0 + 150.0 * (16.0 / 70.0) ** 3 + 300.0 * ((18.0**3 - 13.0**3) / 70.0**3)) / 100.0
    assert [one.ratio for one in (*by_ct.ratios, *by_uptake.ratios)] == pytest.approx([4.0 / level] * 2, rel=0.02)
    assert "the liver of the CT" in by_ct.ratios[0].origin
    assert not any("uptake alone" in text for text in by_ct.ratios[0].cautions)
    assert any("uptake alone" in text for text in by_uptake.ratios[0].cautions)


def test_a_small_lesion_is_limited_by_blur_and_a_large_one_is_not(tmp_path: Path) -> None:
    found = given(
        tmp_path,
        drawn(("Small", LESION_CODES, (TUMOUR[0], 10.0)), ("Large", LESION_CODES, ((20.0, -5.0, -15.0), 36.0))),
    )

    cautions = {one.label: one.cautions for one in found.ratios}
    assert any("blur" in text for text in cautions["Small"])
    assert cautions["Large"] == ()


@pytest.mark.parametrize("radius_mm", [10.0, 20.0, 30.0])
def test_what_blur_keeps_of_a_ball_is_what_a_convolution_of_the_ball_keeps(radius_mm: float) -> None:
    """Against the closed form: the overlap of a ball with itself moved, averaged over a Gaussian's moves."""
    coarse = GridMask(label="", mask_zyx=ball((0.0, 0.0, 0.0), radius_mm, (72, 72, 72), 1.0), affine_lps=np.eye(4))
    moves = np.linalg.norm(np.random.default_rng(3).normal(0.0, 15.0 / 2.355, (200_000, 3)), axis=1)
    apart = np.clip(moves / (2.0 * radius_mm), 0.0, 1.0)
    expected = float((1.0 - 1.5 * apart + 0.5 * apart**3).mean())

    assert kept_by_blur(coarse) == pytest.approx(expected, abs=0.02)


def test_a_lesion_that_hangs_out_of_the_liver_is_limited_and_says_by_how_much(tmp_path: Path) -> None:
    (hanging,) = given(tmp_path / "a", drawn(("Tumor 1", LESION_CODES, ((-70.0, 0.0, 0.0), 18.0)))).ratios
    (within,) = given(tmp_path / "b", drawn(("Tumor 1", LESION_CODES, (TUMOUR[0], 16.0)))).ratios

    assert any(text.startswith("only 4") and "the liver of the CT" in text for text in hanging.cautions)
    assert not any("the liver of the CT" in text for text in within.cautions)


def test_masks_drawn_on_the_ct_move_with_its_liver(tmp_path: Path) -> None:
    dataset = drawn(("Tumor 1", LESION_CODES, CORE), series="ct")
    moved = Surroundings(spect=spect(), liver=around().liver, ct_series_uid=uid("series", "ct"), shift_up_mm=60.0)
    still = given(tmp_path / "a", dataset)
    found = given(tmp_path / "b", dataset, surroundings=moved)

    assert still.ratios[0].ratio > 3.0
    assert found.ratios == () or found.ratios[0].ratio < 1.5
    assert not still.ratios[0].origin.count("moved with its liver")
    near = Surroundings(spect=spect(), liver=around().liver, ct_series_uid=uid("series", "ct"), shift_up_mm=4.0)
    assert "moved with its liver by +4 mm" in given(tmp_path / "c", dataset, surroundings=near).ratios[0].origin


def test_another_frame_of_reference_is_registered_by_its_liver(tmp_path: Path) -> None:
    found = given(
        tmp_path,
        drawn(("Liver", LIVER_CODES, LIVER), ("Tumor 1", LESION_CODES, CORE), shift=37.0, frame=uid("another frame")),
    )

    (one,) = found.ratios
    assert one.ratio == pytest.approx(3.8, abs=0.4)
    assert "registered from another frame of reference" in one.origin
    assert any("registered" in text for text in one.cautions)


@pytest.mark.parametrize("liver_radius_mm", [None, 40.0], ids=["no liver", "another liver"])
def test_another_frame_of_reference_without_a_liver_that_fits_is_declined(
    liver_radius_mm: float | None, tmp_path: Path
) -> None:
    livers = [] if liver_radius_mm is None else [("Liver", LIVER_CODES, (LIVER[0], liver_radius_mm))]
    # A liver of less than 300 mL is none.
    found = given(tmp_path, drawn(*livers, ("Tumor 1", LESION_CODES, CORE), frame=uid("another frame")))

    assert found.ratios == ()
    assert any("another frame of reference" in text for text in found.remarks)


def test_a_frame_of_reference_left_out_is_no_match_unless_it_is_drawn_on_the_spect(tmp_path: Path) -> None:
    astray, on_it = (drawn(("Tumor 1", LESION_CODES, CORE), name=name) for name in ("a", "b"))
    for dataset in (astray, on_it):
        del dataset.FrameOfReferenceUID
    on_it.ReferencedSeriesSequence[0].SeriesInstanceUID = SPECT_SERIES

    assert given(tmp_path / "a", astray).ratios == ()
    assert len(given(tmp_path / "b", on_it).ratios) == 1


def test_a_lesion_away_from_the_liver_or_the_field_gives_no_number(tmp_path: Path) -> None:
    away = ((90.0, 10.0, 15.0), 12.0)
    partly = given(tmp_path / "a", drawn(("Tumor 1", LESION_CODES, CORE), ("Tumor 2", LESION_CODES, away)))
    outside = given(tmp_path / "b", drawn(("Tumor 1", LESION_CODES, CORE), shift=400.0))

    assert [one.label for one in partly.ratios] == ["Tumor 1"]
    assert any(text.startswith("Tumor 2: ") and "outside the liver" in text for text in partly.remarks)
    assert outside.ratios == ()
    assert outside.remarks


def test_of_two_outlines_of_one_lesion_the_newer_counts(tmp_path: Path) -> None:
    older = drawn(("Old", LESION_CODES, (TUMOUR[0], 13.5)), name="a")
    newer = drawn(("New", LESION_CODES, CORE), name="b")
    older.ContentDate, newer.ContentDate = "20200101", "20200103"

    found = given(tmp_path, older, newer)

    assert [one.label for one in found.ratios] == ["New"]
    assert any(text.startswith("Old: an older outline") for text in found.remarks)


def test_segments_that_are_neither_lesion_nor_liver_are_named_and_left(tmp_path: Path) -> None:
    found = given(tmp_path, drawn(("Segment_1", TISSUE_CODES, CORE), ("Perfused liver", LIVER_CODES, LIVER)))

    assert found.ratios == ()
    assert any("Segment_1" in text and "Perfused liver" in text for text in found.remarks)


def test_words_of_strangers_become_plain_and_short(tmp_path: Path) -> None:
    label = "Métastase géante ‹7› " + "x" * 40
    dataset = drawn(("Tumor 1", LESION_CODES, CORE))
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.SegmentSequence[0].SegmentLabel = label

    (one,) = given(tmp_path, dataset).ratios

    assert one.label.startswith("Metastase geante ?7?")
    assert one.label.isascii()
    assert len(one.label) <= 64


def test_what_is_said_of_damaged_segmentations_is_plain_and_nothing_breaks(tmp_path: Path) -> None:
    """Bytes changed, lost and added at random: whatever is read of them, a result must be able to say."""
    dataset = drawn(("Tumor 1", LESION_CODES, CORE), ("Liver", LIVER_CODES, LIVER))
    dataset.PixelData = dataset.PixelData[:2000]
    dataset.save_as(tmp_path / "given.dcm", enforce_file_format=True)
    whole = (tmp_path / "given.dcm").read_bytes()
    write([ct_slice(z) for z in (0.0, 2.5)], tmp_path)
    rng = np.random.default_rng(11)
    said = 0
    for _ in range(60):
        damaged = bytearray(whole)
        for place in rng.integers(400, len(whole), 12):
            damaged[place] = rng.integers(256)
        cut = int(rng.integers(400, len(whole)))
        del damaged[cut : cut + int(rng.integers(0, 30))]
        (tmp_path / "given.dcm").write_bytes(bytes(damaged))
        try:
            study = open_study(tmp_path)
        except StudyFolderError:
            # Its class was hit, and its study: it looks like an image of another patient.
            continue
        found = ratios_on_given(around(), study.segmentations)
        said += len(found.remarks)
        assert all(text.isascii() for text in found.remarks)
        assert all(np.isfinite(one.ratio) and one.label.isascii() and one.origin.isascii() for one in found.ratios)
    assert said


def test_the_lesion_is_shown_where_its_mask_lies_however_small(tmp_path: Path) -> None:
    (large,) = given(tmp_path / "a", drawn(("Tumor 1", LESION_CODES, CORE))).ratios
    (tiny,) = given(tmp_path / "b", drawn(("Tumor 1", LESION_CODES, (TUMOUR[0], 2.0)))).ratios

    assert np.array_equal(large.mask_zyx & ball(TUMOUR[0], 11.0), ball(TUMOUR[0], 11.0))
    assert not (large.mask_zyx & ~ball(TUMOUR[0], 16.0)).any()
    assert tiny.mask_zyx.any()
    assert not (tiny.mask_zyx & ~ball(TUMOUR[0], 7.0)).any()


def test_a_voxel_level_check_of_the_level(tmp_path: Path) -> None:
    """The ratio is that of means over the voxels of the masks: on voxels of one grid it can be computed by hand."""
    shape, matrix = spect().voxels_zyx.shape, affine()
    rng = np.random.default_rng(7)
    counts: NDArray[np.float32] = rng.poisson(50, shape).astype(np.float32)
    grid = spect_volume(counts, matrix)
    whole, one = ball(*LIVER), ball(*TUMOUR)
    image = reference_image(study=uid("study"), series=uid("series", "spect"), frame_of_reference=FRAME)
    dataset = segmentation([("Liver", LIVER_CODES, whole), ("Lesion", LESION_CODES, one)], matrix, image)
    surroundings = Surroundings(spect=replace(grid, frame_of_reference_uid=FRAME), liver=around().liver)

    (found,) = given(tmp_path, dataset, surroundings=surroundings).ratios

    assert found.ratio == pytest.approx(float(counts[one].mean() / counts[whole & ~one].mean()), rel=1e-5)
    assert np.array_equal(found.mask_zyx, one)


MUSCLE = SrCode("68455001", "SCT", "Iliopsoas muscle")


def test_a_reader_s_segmentation_of_a_real_spect_gives_the_ratios_measured_by_hand(
    real_data_dir: Path, tmp_path: Path
) -> None:
    folder = real_data_dir / "maa_spect"
    if not (folder / "maa_spect.nrrd").is_file():
        pytest.skip(f"{folder} holds no SPECT")
    path = tmp_path / "study" / "spect.dcm"
    write_spect(read_nrrd(folder / "maa_spect.nrrd"), path, "NM LIVER PERFUSION MAA SPECT")
    liver, *tumours = readers_masks(folder)
    planes = np.flatnonzero(liver.mask_zyx.any(axis=(1, 2)))
    kept = slice(int(planes[0]), int(planes[-1]) + 1)
    matrix = liver.affine_lps.copy()
    matrix[:3, 3] += kept.start * matrix[:3, 2]
    image = dcmread(path)
    # Not known of this SPECT; without it no ratio is given at all.
    image.CorrectedImage = ["ATTN"]
    image.save_as(path)
    on = reference_image(
        study=image.StudyInstanceUID,
        series=image.SeriesInstanceUID,
        frame_of_reference=image.FrameOfReferenceUID,
    )
    # The reader left on the tumours the code of another organ: their names tell.
    masks = [(liver.label, LIVER_CODES, liver.mask_zyx[kept])]
    masks += [(one.label, (ANATOMY, MUSCLE), one.mask_zyx[kept]) for one in tumours]
    segmentation(masks, matrix, on).save_as(tmp_path / "study" / "masks.dcm", enforce_file_format=True)
    _, result = analysed(tmp_path / "study")

    labels = {region.name: region.label for region in result.regions}
    ratios = {labels[one.subject or ""]: one.value for one in result.measurements if one.key == "tumor_to_normal_ratio"}
    assert ratios == {"Tumor 1": pytest.approx(6.9, rel=0.10), "Tumor 2": pytest.approx(5.8, rel=0.10)}
    assert "Tumor-to-normal ratio on outlined lesions: 6." in result.conclusion
    assert not any("Tumor" in text or "Segmentation" in text for text in result.limitations)
    volumes = [one.value for one in result.measurements if one.key == "lesion_volume"]
    assert volumes == pytest.approx([113.0, 129.0], rel=0.02)


def analysed(folder: Path) -> tuple[StudyOnDisk, Assessed]:
    study = open_study(folder)
    acceptance = ANALYZER.accepts(study.summary)
    assert isinstance(acceptance, Accept)
    images = study.with_roles(acceptance.roles)
    result = ANALYZER.analyze(images, ())
    assert isinstance(result, Assessed)
    return images, result


def test_the_page_names_the_ratio_and_shows_the_outline_where_it_was_measured(tmp_path: Path) -> None:
    (tmp_path / "study").mkdir()
    path, _, _ = patient(tmp_path / "study", "page")
    images, result = analysed(tmp_path / "study")
    (page,) = ANALYZER.illustrate(images, result)
    (tmp_path / "bare").mkdir()
    path.rename(tmp_path / "bare" / "spect.dcm")
    bare_images, bare = analysed(tmp_path / "bare")
    (bare_page,) = ANALYZER.illustrate(bare_images, bare)

    lines = [text for text, _ in legend_lines(result, fused=False)]
    ratio = next(one.value for one in result.measurements if one.key == "tumor_to_normal_ratio")
    assert any(text.startswith(f"T/N, T1 Tumor 1\t{ratio:.1f}") for text in lines)
    assert any("lesions that others outlined" in text for text in lines)
    scan = images.load(images.summary.series[0].series_instance_uid).volumes[0]
    (shown,) = shown_lesions(images, result, scan)
    (region,) = result.regions
    assert shown.mark == "T1"
    assert is_round(region, shown.mask, scan)
    assert page.rgb.shape[0] > bare_page.rgb.shape[0], "planes through the lesion are added"
    assert bare.regions == ()
    assert "ratio" not in bare.conclusion


def is_round(region: Region, mask: GridMask, scan: Volume) -> bool:
    """Whether the outline in the report lies round the mask: its middle is that of the mask on its plane."""
    (outline,) = region.outlines
    points = scan.to_indices_zyx(mask.points_lps_mm())
    on_plane = points[np.rint(points[:, 0]) == scan.planes.index(outline.frame)]
    middle = np.asarray(outline.points_col_row).mean(axis=0) - 0.5
    return bool(np.abs(middle - on_plane.mean(axis=0)[[2, 1]]).max() < 1.0)


def test_lesions_outlined_on_a_study_without_a_spect_to_measure_are_said_so(tmp_path: Path) -> None:
    (tmp_path / "study").mkdir()
    path, _, _ = patient(tmp_path / "study", "uncorrected")
    image = dcmread(path)
    image.CorrectedImage = []
    image.save_as(path)

    _, result = analysed(tmp_path / "study")

    assert any("Lesions were outlined" in text and "attenuation" in text for text in result.limitations)
    assert not any(one.key == "tumor_to_normal_ratio" for one in result.measurements)
