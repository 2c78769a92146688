"""CT and MR phantoms as whole studies: same bytes, honest truth, valid headers."""

import gzip
import json
import os
import shutil
import struct
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray

from analyzers.phantoms.__main__ import main, make_phantom
from analyzers.phantoms.request import PhantomRequest
from analyzers.phantoms.shapes import Lattice, chain

REPOSITORY = Path(__file__).parents[2]
SEED = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """A phantom on disk."""

    folder: Path

    @property
    def truth(self) -> dict[str, Any]:
        loaded: dict[str, Any] = json.loads((self.folder / "truth.json").read_text(encoding="utf-8"))
        return loaded

    def headers(self) -> list[pydicom.Dataset]:
        files = sorted((self.folder / "dicom").rglob("*.dcm"))
        return [pydicom.dcmread(path, stop_before_pixels=True) for path in files]

    def mask(self, name: str) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
        """Mask (z, y, x) and its affine in RAS, read without the code that wrote it."""
        raw = gzip.decompress((self.folder / "masks" / f"{name}.nii.gz").read_bytes())
        nx, ny, nz = struct.unpack_from("<3h", raw, 42)
        affine = np.vstack([np.array(struct.unpack_from("<12f", raw, 280)).reshape(3, 4), [0, 0, 0, 1]])
        return np.frombuffer(raw, dtype=np.uint8, offset=352).reshape(nz, ny, nx), affine


def value_of(truth: dict[str, Any], key: str, site: str | None = None) -> float:
    """The one true value of a key."""
    found = [m["value"] for m in truth["measurements"] if m["key"] == key and site in {None, m["site"]}]
    assert len(found) == 1, (key, site, found)
    return float(found[0])


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def volume_hu(made: Made, series_uid: str) -> NDArray[np.float64]:
    """One CT series as (z, y, x) in HU, ascending."""
    files = sorted((made.folder / "dicom").rglob("*.dcm"))
    images = [image for image in map(pydicom.dcmread, files) if image.SeriesInstanceUID == series_uid]
    images.sort(key=lambda image: float(image.ImagePositionPatient[2]))
    pixels = np.stack([image.pixel_array for image in images]).astype(np.float64)
    return pixels * float(images[0].RescaleSlope) + float(images[0].RescaleIntercept)


def small(kind: str, tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder = tmp_path_factory.mktemp(kind)
    make_phantom(PhantomRequest(kind=kind, seed=SEED), folder)
    return Made(folder=folder)


@pytest.fixture(scope="module")
def ct(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return small("cta", tmp_path_factory)


@pytest.fixture(scope="module")
def mr(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return small("mri", tmp_path_factory)


@pytest.fixture(params=["ct", "mr"])
def made(request: pytest.FixtureRequest) -> Made:
    """Both kinds, one after the other."""
    study = request.getfixturevalue(request.param)
    assert isinstance(study, Made)
    return study


@pytest.fixture(scope="module")
def validator() -> str:
    """Path of dciodvfy, beside the interpreter or on the path."""
    beside = Path(sys.executable).with_name("dciodvfy")
    found = str(beside) if beside.is_file() else shutil.which("dciodvfy")
    if found is None:
        pytest.skip("dciodvfy is not installed")
    return found


def errors_of(validator: str, path: Path) -> list[str]:
    told = subprocess.run([validator, "-new", str(path)], capture_output=True, text=True, check=False)
    return [line for line in (told.stdout + told.stderr).splitlines() if line.startswith("Error")]


def test_another_process_makes_the_same_bytes(made: Made, tmp_path: Path) -> None:
    kind = made.truth["kind"]
    command = [sys.executable, "-m", "analyzers.phantoms", kind, str(tmp_path / "again"), "--seed", str(SEED)]
    environment = {**os.environ, "PYTHONHASHSEED": "17"}
    subprocess.run(command, check=True, capture_output=True, cwd=REPOSITORY, env=environment)
    first, second = files_of(made.folder), files_of(tmp_path / "again")
    assert first.keys() == second.keys()
    assert [name for name in first if first[name] != second[name]] == []


def test_one_object_of_each_series_is_valid(made: Made, validator: str) -> None:
    series = sorted((made.folder / "dicom").iterdir())
    assert len(series) >= 3
    for folder in series:
        assert errors_of(validator, min(folder.iterdir())) == []


def test_every_object_has_its_own_uid_and_one_patient_and_study(made: Made) -> None:
    headers = made.headers()
    assert len({header.SOPInstanceUID for header in headers}) == len(headers)
    assert {header.StudyInstanceUID for header in headers} == {made.truth["study_instance_uid"]}
    assert len({(header.PatientID, header.PatientName, header.AccessionNumber) for header in headers}) == 1


def test_volume_of_each_mask_is_the_true_volume(made: Made) -> None:
    volumes_ml = made.truth["structures"]["volumes_ml"]
    assert {"liver", "liver_right", "spleen", "kidneys"} <= volumes_ml.keys()
    for name, volume_ml in volumes_ml.items():
        mask, affine = made.mask(name)
        measured_ml = mask.sum() * abs(np.linalg.det(affine[:3, :3])) / 1000
        if volume_ml < 5:
            continue  # so few voxels carry no volume
        assert measured_ml == pytest.approx(volume_ml, rel=0.12), name


def test_true_lesions_lie_in_the_liver_where_the_truth_says(made: Made) -> None:
    truth = made.truth
    liver, affine = made.mask("liver")
    assert truth["lesions"]
    for lesion in truth["lesions"]:
        x, y, z = lesion["centroid_lps_mm"]
        i, j, k = np.rint(np.linalg.solve(affine, [-x, -y, z, 1.0])[:3]).astype(int)
        assert liver[k, j, i]
        sphere_mm = (6 * lesion["volume_ml"] * 1000 / np.pi) ** (1 / 3)
        assert lesion["short_axis_mm"] <= lesion["long_axis_mm"]
        assert 0.75 * sphere_mm < lesion["long_axis_mm"] < 1.7 * sphere_mm


def test_liver_volume_is_that_of_an_adult(made: Made) -> None:
    assert 900 < value_of(made.truth, "liver_volume") < 2300


def test_masks_lie_on_the_slices_of_the_series_that_the_truth_names(made: Made) -> None:
    uid = made.truth["structures"]["masks_series_instance_uid"]
    images = sorted(
        (header for header in made.headers() if header.SeriesInstanceUID == uid),
        key=lambda header: float(header.ImagePositionPatient[2]),
    )
    mask, affine = made.mask("liver")
    assert mask.shape == (len(images), images[0].Rows, images[0].Columns)
    first = np.array([float(value) for value in images[0].ImagePositionPatient])
    assert affine[:3, 3] == pytest.approx(first * (-1, -1, 1), abs=1e-3)
    last = np.array([float(value) for value in images[-1].ImagePositionPatient])
    assert (affine @ [0, 0, len(images) - 1, 1])[:3] == pytest.approx(last * (-1, -1, 1), abs=1e-2)


def test_ct_shows_the_true_attenuation_and_saturated_metal(ct: Made) -> None:
    truth = ct.truth
    hu = volume_hu(ct, truth["structures"]["masks_series_instance_uid"])
    masks = {name: ct.mask(name)[0].astype(bool) for name in ("liver", "aorta", "pump", "portal_vein")}
    shrunk = masks["liver"] & ~masks["portal_vein"]
    assert np.median(hu[shrunk]) == pytest.approx(value_of(truth, "liver_attenuation", "portal"), abs=6)
    assert hu[masks["pump"]].max() == 3071
    assert hu.min() >= -1024


def test_ct_catheter_runs_from_the_pump_to_the_gastroduodenal_origin(ct: Made) -> None:
    structures = ct.truth["structures"]
    line = np.array(structures["catheter"]["centre_line_lps_mm"])
    assert np.linalg.norm(line[-1] - structures["gda_origin_lps_mm"]) < 0.1
    radius_mm = value_of(ct.truth, "pump_diameter") / 2
    assert np.linalg.norm(line[0] - structures["pump"]["centre_lps_mm"]) == pytest.approx(radius_mm, abs=4)
    steps_mm = np.linalg.norm(np.diff(line, axis=0), axis=1)
    assert steps_mm.sum() == pytest.approx(value_of(ct.truth, "catheter_length"), rel=0.01)
    assert steps_mm.max() < 3


def test_mr_lesions_stay_dark_while_the_liver_takes_up_the_agent(mr: Made) -> None:
    uid = mr.truth["structures"]["masks_series_instance_uid"]
    files = sorted((mr.folder / "dicom").rglob("*.dcm"))
    images = [image for image in map(pydicom.dcmread, files) if image.SeriesInstanceUID == uid]
    images.sort(key=lambda image: float(image.ImagePositionPatient[2]))
    signal = np.stack([image.pixel_array for image in images]).astype(float)
    liver = mr.mask("liver")[0].astype(bool)
    largest = max(mr.truth["lesions"], key=lambda lesion: lesion["volume_ml"])["name"]
    lesion = mr.mask(f"lesion_{largest}")[0].astype(bool)
    assert np.median(signal[lesion]) < 0.75 * np.median(signal[liver & ~lesion])


def test_mr_series_tell_echoes_b_values_and_phases_apart(mr: Made) -> None:
    headers = mr.headers()
    by_series: dict[int, list[pydicom.Dataset]] = {}
    for header in headers:
        by_series.setdefault(int(header.SeriesNumber), []).append(header)
    assert {float(header.EchoTime) for header in by_series[3]} == {2.38, 4.76}
    assert {float(header.DiffusionBValue) for header in by_series[4]} == {50.0, 400.0, 800.0}
    assert {tuple(header.ImageType[2:]) for header in by_series[5]} == {("DIFFUSION", "ADC")}
    dynamic = [by_series[number][0] for number in range(6, 11)]
    times = [header.AcquisitionTime for header in dynamic]
    assert times == sorted(times)
    assert [bool(header.get("ContrastBolusAgent")) for header in dynamic] == [False, True, True, True, True]


def test_the_evaluation_model_is_another_study_of_the_same_patient(ct: Made, tmp_path: Path) -> None:
    request = PhantomRequest(kind="cta", seed=SEED, variants=("native-only", "pre-op"), model="evaluation")
    make_phantom(request, tmp_path / "out")
    evaluation = Made(folder=tmp_path / "out")
    assert evaluation.headers()[0].PatientID == ct.headers()[0].PatientID
    assert evaluation.truth["study_instance_uid"] != ct.truth["study_instance_uid"]
    assert value_of(evaluation.truth, "liver_volume") == pytest.approx(value_of(ct.truth, "liver_volume"), rel=0.05)
    assert not np.array_equal(evaluation.mask("liver")[0].sum(axis=(1, 2)), ct.mask("liver")[0].sum(axis=(1, 2)))
    assert "pump" not in evaluation.truth["structures"]
    assert evaluation.mask("gallbladder")[0].any()
    assert {header.SeriesDescription for header in evaluation.headers()} == {"Liver native 5.0"}


def test_a_full_folder_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine.txt").write_text("keep", encoding="utf-8")
    assert main(["cta", str(tmp_path)]) == 2
    assert "not an empty folder" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["cta", "OUT", "--variant", "no-such"], "Variants: arterial-only, "),
        (["cta", "OUT", "--variant", "pre-op", "pump"], "exclude each other"),
        (["mri", "OUT", "--seed", "-1"], "must not be negative"),
    ],
)
def test_an_impossible_request_is_refused_with_what_would_be_right(
    arguments: list[str], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert main([str(out) if argument == "OUT" else argument for argument in arguments]) == 2
    assert told in capsys.readouterr().err
    assert not out.exists()


def test_a_gut_that_stands_still_for_a_link_has_no_hole() -> None:
    at = Lattice.spanning((-20.0, -20.0, -20.0), (40.0, 20.0, 20.0), 2.0)

    still = chain(at, [(0.0, 0.0, 0.0), (0.0, 0.0, 0.0), (20.0, 0.0, 0.0)], [9.0, 9.0, 9.0])

    assert still == pytest.approx(chain(at, [(0.0, 0.0, 0.0), (20.0, 0.0, 0.0)], [9.0, 9.0]))
