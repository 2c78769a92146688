"""The OUT folder: same bytes for the same result, nothing read back that was not written so."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import SimpleITK
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from matplotlib.image import imread
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from analyzers import nifti, png, vocabulary
from analyzers.contract import (
    Assessed,
    Declined,
    Finding,
    FrameRef,
    Gate,
    Interval,
    Measurement,
    NotAssessable,
    Outline,
    Picture,
    Presence,
    Region,
    Segment,
    SeriesRole,
)
from analyzers.wire import (
    AnalysedStudy,
    AnalyzerIdentity,
    ContractBrokenError,
    read_result,
    write_result,
)

IDENTITY = AnalyzerIdentity(name="test", version="1.2.3")
STUDY = AnalysedStudy(study_instance_uid="1.2.3", study_date="20200102", instances=4)
PLANES = tuple(FrameRef(sop_instance_uid=f"1.2.{number}") for number in range(4))
MASK = np.random.default_rng(1).random((4, 5, 7)) > 0.5
OUTLINE = Outline(frame=PLANES[0], points_col_row=((0.5, 0.5), (3.0, 0.5), (3.0, 2.5)))
SEGMENT = Segment(
    name="liver",
    label="Liver",
    category=vocabulary.ANATOMICAL_STRUCTURE,
    type=vocabulary.LIVER,
    mask_planes=MASK,
    planes=PLANES,
    series_instance_uid="1.2.9",
)
MEASUREMENT = Measurement(
    key="liver_volume",
    concept=vocabulary.VOLUME,
    value=1500.5,
    unit=vocabulary.MILLILITRE,
    subject="liver",
    interval=Interval(low=1480.5, high=1540.5),
    lines=(OUTLINE,),
    sources=PLANES[:1],
)
FINDING = Finding(
    key="extrahepatic_perfusion",
    concept=vocabulary.EXTRAHEPATIC_PERFUSION,
    presence=Presence.INDETERMINATE,
    sentence="Cannot be told.",
    evidence=("liver_volume",),
)
ASSESSED = Assessed(
    conclusion="Liver of 1501 mL.",
    findings=(FINDING,),
    measurements=(MEASUREMENT,),
    segments=(SEGMENT,),
    regions=(Region(name="lung-right", label="Right lung", type=vocabulary.LUNG, outlines=(OUTLINE,)),),
    gates=(Gate(name="slice spacing", passed=True, seen="2.00 mm", wanted="at most 5 mm"),),
    roles=(SeriesRole(series_instance_uid="1.2.9", role="portal", reason="text"),),
    limitations=("No lungs.",),
)


def write(out: Path, result: Any, **more: Any) -> Path:
    write_result(out, result, analyzer=IDENTITY, study=STUDY, **more)
    return out


def without_masks(result: Assessed) -> Assessed:
    return replace(result, segments=())


def test_an_assessed_result_comes_back_with_its_masks(tmp_path: Path) -> None:
    picture = Picture(name="page-1", rgb=np.zeros((4, 6, 3), np.uint8), frame=PLANES[1])

    back = read_result(write(tmp_path, ASSESSED, pictures=[picture]))

    assert isinstance(back.result, Assessed)
    assert without_masks(back.result) == without_masks(ASSESSED)
    assert np.array_equal(back.result.segments[0].mask_planes, MASK)
    assert back.result.segments[0].planes == PLANES
    assert (back.analyzer, back.study) == (IDENTITY, STUDY)
    assert [(one.file, one.frame) for one in back.pictures] == [("page-1.png", PLANES[1])]


@pytest.mark.parametrize("result", [NotAssessable(reasons=("No portal phase.",)), Declined(reason="No CT.")])
def test_other_outcomes_come_back(tmp_path: Path, result: NotAssessable | Declined) -> None:
    assert read_result(write(tmp_path, result)).result == result


@pytest.mark.parametrize(
    "interval",
    [Interval(low=1501.0, high=1600.0), Interval(low=1400.0, high=1500.0), Interval(low=float("nan"), high=None)],
)
def test_an_interval_beside_its_value_is_refused(tmp_path: Path, interval: Interval) -> None:
    beside = replace(MEASUREMENT, interval=interval)

    with pytest.raises(ContractBrokenError, match=r"measurements\[0\]\.interval"):
        write(tmp_path, replace(ASSESSED, measurements=(beside,)))


def test_the_interval_of_a_lower_limit_comes_back_open(tmp_path: Path) -> None:
    open_above = replace(MEASUREMENT, interval=Interval(low=1480.5, high=None))

    back = read_result(write(tmp_path, replace(ASSESSED, measurements=(open_above,)))).result

    assert isinstance(back, Assessed)
    assert back.measurements[0].interval == open_above.interval


UNDECIDED = replace(FINDING, value=vocabulary.PERFUSION_INDETERMINATE, undecided=True)


def test_an_answer_that_says_that_nothing_was_decided_comes_back_and_an_older_result_knew_no_such(
    tmp_path: Path,
) -> None:
    file = write(tmp_path, replace(ASSESSED, findings=(UNDECIDED,))) / "result.json"

    def found() -> bool:
        back = read_result(tmp_path).result
        assert isinstance(back, Assessed)
        return back.findings[0].undecided

    assert found()
    entries = json.loads(file.read_text())
    del entries["result"]["findings"][0]["undecided"]
    file.write_text(json.dumps(entries))
    assert not found()


@pytest.mark.parametrize("finding", [replace(UNDECIDED, value=None), replace(UNDECIDED, presence=Presence.PRESENT)])
def test_nothing_but_the_value_of_an_indeterminate_finding_says_that_nothing_was_decided(
    tmp_path: Path, finding: Finding
) -> None:
    with pytest.raises(ContractBrokenError, match=r"findings\[0\]\.undecided"):
        write(tmp_path, replace(ASSESSED, findings=(finding,)))


@given(mask=arrays(np.bool_, array_shapes(min_dims=3, max_dims=3, max_side=6)))
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_mask_comes_back_bit_for_bit(tmp_path: Path, mask: NDArray[np.bool_]) -> None:
    planes = tuple(FrameRef(sop_instance_uid="1.2.3", frame=number + 1) for number in range(len(mask)))
    segment = replace(SEGMENT, mask_planes=mask, planes=planes)

    back = read_result(write(tmp_path, replace(ASSESSED, segments=(segment,)))).result

    assert isinstance(back, Assessed)
    assert np.array_equal(back.segments[0].mask_planes, mask)


def test_the_same_result_is_the_same_bytes(tmp_path: Path) -> None:
    more = {
        "pictures": [Picture(name="page", rgb=np.full((3, 3, 3), 7, np.uint8))],
        "affines_lps": {"liver": np.diag([1.0, 2.0, 3.0, 1.0])},
    }
    folders = [write(tmp_path / name, ASSESSED, **more) for name in "ab"]

    files = [sorted(path.relative_to(folder) for path in folder.rglob("*.*")) for folder in folders]

    assert files[0] == files[1]
    assert len(files[0]) == 4
    assert all((folders[0] / name).read_bytes() == (folders[1] / name).read_bytes() for name in files[0])


def test_nothing_stands_under_the_final_name_until_all_is_there(tmp_path: Path) -> None:
    broken = replace(ASSESSED, segments=(replace(SEGMENT, planes=PLANES[:2]),))

    with pytest.raises(ContractBrokenError):
        write(tmp_path / "out", broken)

    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"segments": (replace(SEGMENT, planes=PLANES[:2]),)}, r"segments\[0\].planes: 2 planes"),
        ({"segments": (replace(SEGMENT, planes=(PLANES[0],) * 4),)}, "named twice"),
        ({"segments": (replace(SEGMENT, name="../liver"),)}, r"segments\[0\].name"),
        ({"segments": (SEGMENT, SEGMENT)}, r"segments\[1\].name: 'liver' is used twice"),
        ({"segments": (replace(SEGMENT, label="Lebér"),)}, "plain ASCII"),
        ({"segments": (replace(SEGMENT, label="x" * 65),)}, "1 to 64 characters"),
        ({"segments": (replace(SEGMENT, mask_planes=MASK.astype(np.uint8)),)}, "expected bool"),
        ({"measurements": (replace(MEASUREMENT, subject="spleen"),)}, "no segment or region is called 'spleen'"),
        ({"measurements": (replace(MEASUREMENT, value=float("nan")),)}, "not a finite number"),
        ({"measurements": (replace(MEASUREMENT, unit=vocabulary.LIVER),)}, "expected UCUM"),
        ({"measurements": (replace(MEASUREMENT, lines=(replace(OUTLINE, points_col_row=()),)),)}, "fewer than 3"),
        ({"findings": (replace(FINDING, evidence=("absent_key",)),)}, "no measurement has the key"),
        ({"conclusion": "Große Leber"}, "conclusion"),
    ],
)
def test_a_result_that_breaks_the_contract_is_refused_by_its_field(
    tmp_path: Path, change: dict[str, Any], named: str
) -> None:
    with pytest.raises(ContractBrokenError, match=named):
        write(tmp_path, replace(ASSESSED, **change))


def _set(*path: Any, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(entries: dict[str, Any]) -> None:
        place: Any = entries
        for step in path[:-1]:
            place = place[step]
        place[path[-1]] = value

    return change


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (_set("schema", value="hai-result/9"), "result.json.schema"),
        (_set("outcome", value="fine"), "result.json.outcome"),
        (_set("result", "measurements", 0, "value", value="12"), r"measurements\[0\].value: expected a number"),
        (_set("result", "findings", 0, "presence", value="no"), r"findings\[0\].presence: expected one of"),
        (_set("result", "segments", 0, "mask", value="../../etc/passwd"), "not the file of that segment"),
        (_set("result", "segments", 0, "shape", value=[4, 5, 8]), "shape: .* does not match"),
        (_set("result", "segments", 0, "voxels", value=1), "voxels: 1 does not match"),
        (_set("result", "surprise", value=1), "surprise: no such key"),
    ],
)
def test_a_file_that_was_changed_is_refused_by_its_key(
    tmp_path: Path, change: Callable[[dict[str, Any]], None], named: str
) -> None:
    path = write(tmp_path, ASSESSED) / "result.json"
    entries = json.loads(path.read_text())
    change(entries)
    path.write_text(json.dumps(entries))

    with pytest.raises(ContractBrokenError, match=named):
        read_result(tmp_path)


@given(
    turns_deg=st.tuples(*[st.floats(-180.0, 180.0)] * 3),
    spacing_mm=st.tuples(*[st.floats(0.3, 8.0)] * 3),
    mirrored=st.booleans(),
)
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_other_readers_find_the_nifti_mask_where_it_was(
    tmp_path: Path,
    turns_deg: tuple[float, float, float],
    spacing_mm: tuple[float, float, float],
    *,
    mirrored: bool,
) -> None:
    rotation = Rotation.from_euler("xyz", turns_deg, degrees=True).as_matrix()
    affine_lps = np.eye(4)
    affine_lps[:3, :3] = rotation * np.array(spacing_mm) * np.array([1.0, 1.0, -1.0 if mirrored else 1.0])
    affine_lps[:3, 3] = (-120.0, 35.5, 800.25)
    path = tmp_path / "mask.nii.gz"

    nifti.write_mask(path, MASK, affine_lps)

    image: Any = nibabel.nifti1.Nifti1Image.from_filename(path)
    ras = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine_lps
    assert np.allclose(image.get_sform(), ras, atol=1e-3)
    # A quaternion in single precision turns the grid by up to 0.05 degree.
    assert np.allclose(image.get_qform(), ras, atol=0.01)
    assert np.array_equal(np.asarray(image.dataobj).T, MASK)
    read: Any = SimpleITK.ReadImage(str(path))
    assert np.allclose(
        read.TransformIndexToPhysicalPoint((6, 4, 3)), (affine_lps @ [6.0, 4.0, 3.0, 1.0])[:3], atol=0.05
    )


def test_a_sheared_grid_gets_no_nifti(tmp_path: Path) -> None:
    sheared = np.eye(4)
    sheared[1, 2] = 0.2

    back = read_result(write(tmp_path, ASSESSED, affines_lps={"liver": sheared}))

    assert back.segments[0].nifti is None
    assert not list(tmp_path.rglob("*.nii.gz"))
    with pytest.raises(ValueError, match="sheared"):
        nifti.write_mask(tmp_path / "x.nii.gz", MASK, sheared)


@given(arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9), st.just(3))))
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_another_reader_sees_the_picture_as_it_was(tmp_path: Path, rgb: NDArray[np.uint8]) -> None:
    png.write_rgb(tmp_path / "a.png", rgb)

    assert np.array_equal(np.rint(imread(tmp_path / "a.png") * 255.0).astype(np.uint8), rgb)
