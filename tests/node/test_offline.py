"""`analyze`: from a folder to an answer, as the README says it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from pydicom import dcmread

from scp_node.offline import study_files, study_identity
from tests.node.network import REPOSITORY

BURN = """
import sys
from pathlib import Path
from pydicom.fileset import FileSet
folder = Path(sys.argv[1])
files = FileSet()
for path in sorted((folder / "made" / "dicom").rglob("*")):
    if path.is_file():
        files.add(path)
files.write(folder / "cd")
"""


@pytest.fixture(scope="module")
def disc(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A synthetic study as it lies on a disc: images without extension, and a DICOMDIR that sorts first."""
    folder = tmp_path_factory.mktemp("disc")
    making = ["-m", "analyzers.phantoms", "scintigraphy", str(folder / "made"), "--seed", "3", "--size", "small"]
    subprocess.run([sys.executable, *making], cwd=REPOSITORY, check=True, capture_output=True)
    # In a process of its own: a FileSet leaves its temporary folder to the garbage collector, which warns of it.
    subprocess.run([sys.executable, "-c", BURN, str(folder)], check=True, capture_output=True)
    return folder


def test_the_command_of_the_readme_answers_a_disc_under_the_name_of_its_patient(disc: Path) -> None:
    command = [sys.executable, str(REPOSITORY / "run_node.py"), "analyze", "cd", "--out", "OUT"]
    ended = subprocess.run(
        [*command, "--analyzer", "scintigraphy"], cwd=disc, check=False, capture_output=True, text=True
    )

    assert ended.returncode == 0, ended.stderr
    image = dcmread(next(path for path in study_files(disc / "cd") if path.name != "DICOMDIR"))
    answers = [dcmread(path) for path in (disc / "OUT" / "scintigraphy").glob("*.dcm")]
    assert answers
    for answer in answers:
        assert (answer.PatientID, answer.StudyDate) == (image.PatientID, image.StudyDate)
        assert answer.PatientID


def test_what_lies_beside_the_study_names_nobody(disc: Path, tmp_path: Path) -> None:
    image = dcmread(next(path for path in study_files(disc / "cd") if path.name != "DICOMDIR"))
    (tmp_path / "a-broken").write_bytes(b"\0" * 128 + b"DICM" + b"\xff" * 40)
    foreign = dcmread(study_files(disc / "made" / "dicom")[0])
    foreign.StudyInstanceUID, foreign.PatientID = "1.2.3", "SOMEBODY-ELSE"
    foreign.save_as(tmp_path / "b-foreign")
    image.save_as(tmp_path / "c-image")
    files = study_files(tmp_path)
    assert len(files) == 3

    assert study_identity(files, image.StudyInstanceUID).patient_id == image.PatientID


def test_a_study_whose_files_lost_every_uid_of_their_data_sets_is_answered_all_the_same(
    disc: Path, tmp_path: Path
) -> None:
    (image,) = (dcmread(path) for path in study_files(disc / "cd") if path.name != "DICOMDIR")
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"):
        setattr(image, keyword, "")
    (tmp_path / "study").mkdir()
    image.save_as(tmp_path / "study" / "image.dcm")
    command = [sys.executable, str(REPOSITORY / "run_node.py"), "analyze", "study", "--out", "OUT"]
    ended = subprocess.run(
        [*command, "--analyzer", "scintigraphy"], cwd=tmp_path, check=False, capture_output=True, text=True
    )

    assert ended.returncode == 0, ended.stderr
    (report,) = (tmp_path / "OUT" / "scintigraphy").glob("report.dcm")
    assert dcmread(report).PatientID == image.PatientID
