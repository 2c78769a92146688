"""The command `python -m analyzers`, which is also the node's child process."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from analyzers.__main__ import ANALYZER_FAULT, ANSWERED, BAD_INPUT, NO_ROOM, main
from analyzers.contract import Assessed, Declined
from analyzers.registry import NotAnAnalyzerError, UnknownAnalyzerError, find_analyzer, registered
from analyzers.wire import PriorRecord, read_result, read_summary, write_prior
from tests.analyzers import dicom_samples as sample
from tests.small_disk import filled, mounted

BENCH_ANALYZER = """
from dataclasses import dataclass
import numpy as np
from analyzers import *
from analyzers import vocabulary

@dataclass(frozen=True)
class Threshold:
    water_hu: float = 0.0

def expects(study):
    print("words for people")
    return Complete(reason="slices") if study.series else Missing(what=("slices",))

def accepts(study):
    if "CT" not in study.modalities:
        return Decline(reason="no CT")
    return Accept(reason="CT", roles={s.series_instance_uid: "native" for s in study.series}, missing=("portal phase",))

def analyze(images, priors):
    (series,) = images.with_role("native")
    (volume,) = series.volumes
    segment = Segment(name="dense", label="Dense", category=vocabulary.ANATOMICAL_STRUCTURE, type=vocabulary.LIVER,
                      mask_planes=volume.voxels_zyx > Threshold().water_hu, planes=volume.planes,
                      series_instance_uid=volume.series_instance_uid)
    seen = [(p.study_date, p.revision, p.analyzer_version, dict(p.images.roles) if p.images else None) for p in priors]
    return Assessed(conclusion=f"priors {seen}", findings=(), measurements=(), segments=(segment,),
                    roles=(SeriesRole(series_instance_uid=volume.series_instance_uid, role="native", reason="only"),))

def illustrate(images, result):
    return [Picture(name="page", rgb=np.zeros((2, 2, 3), np.uint8))]

ANALYZER = Analyzer(name="bench", version="1.0.0", expects=expects, accepts=accepts, analyze=analyze,
                    illustrate=illustrate)
"""


@pytest.fixture
def bench(tmp_path: Path) -> str:
    path = tmp_path / "bench.py"
    path.write_text(BENCH_ANALYZER)
    return str(path)


@pytest.fixture
def study(tmp_path: Path) -> Path:
    return sample.write([sample.ct_slice(z) for z in (-5.0, 0.0, 5.0, 10.0)], tmp_path / "study")


def changed(bench: str, old: str, new: str) -> str:
    path = Path(bench)
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    return bench


def test_a_file_is_an_analyzer_at_once(bench: str, study: Path, tmp_path: Path) -> None:
    assert main([bench, str(study), str(tmp_path / "out")]) == ANSWERED

    answered = read_result(tmp_path / "out")
    assert (answered.analyzer.name, answered.analyzer.version) == ("bench", "1.0.0")
    assert (answered.study.study_date, answered.study.instances) == ("20200102", 4)
    assert isinstance(answered.result, Assessed)
    assert answered.result.limitations == ("Not received: portal phase",)
    assert answered.segments[0].nifti == "segments/dense.nii.gz"
    assert read_summary(tmp_path / "out" / "summary.json").modalities == {"CT"}
    assert (tmp_path / "out" / "page.png").is_file()


def test_the_same_study_gives_the_same_bytes_and_is_left_alone(bench: str, study: Path, tmp_path: Path) -> None:
    before = {path: path.read_bytes() for path in study.rglob("*")}
    renamed = tmp_path / "renamed"
    renamed.mkdir()
    for number, path in enumerate(sorted(study.iterdir(), reverse=True)):
        shutil.copy(path, renamed / f"{number}.dcm")

    assert main([bench, str(study), str(tmp_path / "a")]) == main([bench, str(renamed), str(tmp_path / "b")]) == 0

    first = {path.relative_to(tmp_path / "a"): path.read_bytes() for path in (tmp_path / "a").rglob("*.*")}
    second = {path.relative_to(tmp_path / "b"): path.read_bytes() for path in (tmp_path / "b").rglob("*.*")}
    assert len(first) == 5
    assert first == second
    assert {path: path.read_bytes() for path in study.rglob("*")} == before


def test_declining_is_an_answer(bench: str, study: Path, tmp_path: Path) -> None:
    assert main([changed(bench, '"CT" not in', '"CT" in'), str(study), str(tmp_path / "out")]) == ANSWERED

    assert read_result(tmp_path / "out").result == Declined(reason="no CT")


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("(volume,) = series.volumes", "raise RuntimeError('lost')", "RuntimeError: lost"),
        ("(volume,) = series.volumes", "open('/nonexistent/file')", "FileNotFoundError"),
        ('name="dense"', 'name="Dense one"', "ContractBrokenError"),
    ],
    ids=["raises", "raises-os-error", "breaks-the-contract"],
)
def test_an_analyzer_that_fails_leaves_a_traceback_and_no_result(
    bench: str, study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], old: str, new: str, named: str
) -> None:
    assert main([changed(bench, old, new), str(study), str(tmp_path / "out")]) == ANALYZER_FAULT

    assert named in capsys.readouterr().err
    assert not (tmp_path / "out" / "result.json").exists()


def test_without_room_to_write_the_analyzer_is_not_to_blame_and_leaves_no_result(
    bench: str, study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with mounted(tmp_path / "disk", size_mib=4) as disk:
        with filled(disk):
            assert main([bench, str(study), str(disk / "out")]) == NO_ROOM
        assert "No space left on device" in capsys.readouterr().err
        assert not (disk / "out" / "result.json").exists()
        shutil.rmtree(disk / "out", ignore_errors=True)
        assert main([bench, str(study), str(disk / "out")]) == ANSWERED


def test_bad_input_is_told_in_a_sentence_without_traceback(
    bench: str, study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "done").mkdir()
    (tmp_path / "done" / "result.json").write_text("{}")
    (tmp_path / "broken.json").write_text("{}")
    out = str(tmp_path / "out")
    commands = {
        "name an analyzer": [],
        "no analyzer is called 'nobody'": ["nobody", str(study), out],
        "there is no file": ["absent.py", str(study), out],
        "name the folder to read": [bench],
        "is not a folder": [bench, str(tmp_path / "absent"), out],
        "holds no DICOM instance": [bench, str(tmp_path / "empty"), out],
        "already holds a result": [bench, str(study), str(tmp_path / "done")],
        "only read": [bench, str(study), str(study / "out")],
        "name the folder of earlier results": [bench, str(study), out, "--priors", str(tmp_path / "absent")],
        "folders named 1, 2, 3": [bench, str(study), out, "--priors", str(tmp_path)],
        "summary.schema": [bench, "--expects", str(tmp_path / "broken.json")],
        "No such file": [bench, "--expects", str(tmp_path / "absent.json")],
    }

    for words, arguments in commands.items():
        assert main(arguments) == BAD_INPUT, words
        told = capsys.readouterr().err
        assert words in told
        assert "Traceback" not in told
    assert not (tmp_path / "out" / "result.json").exists()


def test_expects_prints_its_answer_alone(
    bench: str, study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--summary", str(study)]) == ANSWERED
    (tmp_path / "summary.json").write_text(capsys.readouterr().out)

    assert main([bench, "--expects", str(tmp_path / "summary.json")]) == ANSWERED

    assert json.loads(capsys.readouterr().out) == {"answer": "complete", "reason": "slices"}


def test_priors_arrive_in_order_with_their_images_and_roles(bench: str, study: Path, tmp_path: Path) -> None:
    priors = tmp_path / "priors"
    for number, date in ((2, "20210101"), (10, "20220101")):
        assert main([bench, str(study), str(priors / str(number))]) == ANSWERED
        write_prior(priors / str(number) / "prior.json", PriorRecord(study_date=date, revision=number))
    shutil.copytree(study, priors / "2" / "study")

    assert main([bench, str(study), str(tmp_path / "out"), "--priors", str(priors)]) == ANSWERED

    result = read_result(tmp_path / "out").result
    assert isinstance(result, Assessed)
    roles = {sample.uid("series", "a"): "native"}
    assert result.conclusion == f"priors {[('20210101', 2, '1.0.0', roles), ('20220101', 10, '1.0.0', None)]}"


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        ("prior.json", "Earlier result 1 cannot be read and was left out."),
        ("result.json", "Earlier result 1, study of 20210101, cannot be read and was left out."),
    ],
)
def test_a_prior_that_cannot_be_read_is_left_out_and_the_report_says_so(
    bench: str, study: Path, tmp_path: Path, damage: str, said: str
) -> None:
    priors = tmp_path / "priors"
    for number, date in ((1, "20210101"), (2, "20220101")):
        assert main([bench, str(study), str(priors / str(number))]) == ANSWERED
        write_prior(priors / str(number) / "prior.json", PriorRecord(study_date=date, revision=number))
    (priors / "1" / damage).write_text('{"schema": "hai-other/7"}')

    assert main([bench, str(study), str(tmp_path / "out"), "--priors", str(priors)]) == ANSWERED

    result = read_result(tmp_path / "out").result
    assert isinstance(result, Assessed)
    assert result.conclusion == f"priors {[('20220101', 2, '1.0.0', None)]}"
    assert said in result.limitations


def test_the_child_process_answers_by_its_status(bench: str, study: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "analyzers", bench, str(study), str(tmp_path / "out")]

    first = subprocess.run(command, capture_output=True, text=True, check=False)
    again = subprocess.run(command, capture_output=True, text=True, check=False)

    assert (first.returncode, again.returncode) == (ANSWERED, BAD_INPUT)
    assert first.stdout == ""
    assert "assessed: priors []" in first.stderr


def test_the_three_analyzers_are_registered() -> None:
    assert {"cta", "mri", "scintigraphy"} <= set(registered())


def test_what_is_no_analyzer_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.py").write_text("ANALYZER = 3\n")

    with pytest.raises(NotAnAnalyzerError, match="is a int"):
        find_analyzer(str(tmp_path / "empty.py"))
    with pytest.raises(UnknownAnalyzerError, match="cta"):
        find_analyzer("doppler")
