"""The demonstration compares honestly, shows safely, and leaves nothing running behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from analyzers.phantoms.nuclear_uptake import draw_lung_shunt
from analyzers.phantoms.request import PhantomRequest
from scp_node.demo.archive import Archive
from scp_node.demo.comparison import KEY_MEASUREMENTS, Compared, compare, passed
from scp_node.demo.lesions import PlanePlace, drawn_on, largest_lesion
from scp_node.demo.orthanc import Orthanc
from scp_node.demo.page import Answered, Shown, write_page
from scp_node.demo.play import KINDS, MARKER, VARIANTS, prepare
from scp_node.demo.world import free_ports, write_configuration
from scp_node.errors import NodeError
from tests.bench.receivers import Node
from tests.node.command_line import run
from tests.node.network import REPOSITORY


def truth(*entries: tuple[str, float, float, str]) -> dict[str, Any]:
    return {
        "measurements": [
            {
                "key": key, "site": "", "value": value, "unit": "mL", "tolerance": tolerance, "tolerance_unit": unit,
                "tolerance_reason": "partial volume",
            }
            for key, value, tolerance, unit in entries
        ]
    }  # fmt: skip


def result(**values: float) -> dict[str, Any]:
    return {"result": {"measurements": [{"key": key, "value": value} for key, value in values.items()]}}


@pytest.mark.parametrize(("measured", "within"), [(1000.0, True), (1100.0, True), (900.0, True), (1101.0, False)])
def test_a_measurement_is_within_its_tolerance_or_off(measured: float, within: bool) -> None:
    compared = compare("mri", result(liver_volume=measured), truth(("liver_volume", 1000.0, 10.0, "%")))

    assert [line.within for line in compared] == [within]
    assert passed(compared, "mri") is within


def test_a_key_measurement_that_was_not_made_fails_the_study() -> None:
    compared = compare("mri", result(), truth(("liver_volume", 1000.0, 100.0, "mL")))

    assert [(line.measured, line.within) for line in compared] == [(None, False)]
    assert not passed(compared, "mri")


def test_an_answer_without_any_measurement_does_not_pass() -> None:
    assert not any(passed([], kind) for kind in KINDS)
    assert all(KEY_MEASUREMENTS[kind] for kind in KINDS)


PLANE = PlanePlace(
    origin_lps_mm=(-100.0, -100.0, 50.0), column_step_lps_mm=(2.0, 0.0, 0.0), row_step_lps_mm=(0.0, 2.0, 0.0)
)


def lesion_truth(long_axis_mm: float) -> dict[str, Any]:
    """One lesion with its middle at (-40, 0, 50), and a smaller one."""
    axes = {"L1": long_axis_mm, "L2": 0.6 * long_axis_mm}
    return {
        "lesions": [
            {"name": "L2", "centroid_lps_mm": [40.0, 0.0, 50.0], "long_axis_mm": axes["L2"]},
            {"name": "L1", "centroid_lps_mm": [-40.0, 0.0, 50.0], "long_axis_mm": axes["L1"]},
        ],
        "measurements": [
            {"key": "lesion_long_axis", "site": name, "value": value, "unit": "mm", "tolerance": 5.0,
             "tolerance_unit": "mm", "tolerance_reason": "a voxel at either end"}
            for name, value in axes.items()
        ],
    }  # fmt: skip


def lesion_result(*candidates: tuple[float, float]) -> dict[str, Any]:
    """Candidates by the x of their middle in mm and their long axis in mm, all on one plane at y = 0."""
    return {
        "result": {
            "measurements": [
                {"key": "lesion_long_axis", "value": value, "lines": [{
                    "frame": {"sop_instance_uid": "1.2"},
                    "points_col_row": [[(x + 100.0) / 2.0 + 0.5, 46.5], [(x + 100.0) / 2.0 + 0.5, 54.5]],
                }]}
                for x, value in candidates
            ]
        }
    }  # fmt: skip


def test_the_largest_lesion_is_judged_by_the_candidate_that_lies_on_it() -> None:
    found = lesion_result((40.0, 30.0), (-37.0, 27.0))
    compared = largest_lesion(found, lesion_truth(30.0), dict.fromkeys(drawn_on(found), PLANE))

    assert compared is not None
    assert (compared.measured, compared.truth, compared.within, compared.required) == (27.0, 30.0, True, True)
    assert passed([*compare("mri", result(liver_volume=1.0), truth(("liver_volume", 1.0, 0.1, "mL"))), compared], "mri")


@pytest.mark.parametrize("candidates", [(), ((40.0, 30.0),), ((-40.0, 22.0),), ((-20.0, 30.0),)])
def test_a_missed_or_badly_measured_largest_lesion_fails_the_study(candidates: tuple[tuple[float, float], ...]) -> None:
    compared = largest_lesion(lesion_result(*candidates), lesion_truth(30.0), {"1.2": PLANE})

    assert compared is not None
    assert not compared.within
    known = compare("mri", result(liver_volume=1.0), truth(("liver_volume", 1.0, 0.1, "mL")))
    assert not passed([*known, compared], "mri")


def test_lesions_below_the_size_that_must_be_found_are_not_judged() -> None:
    assert largest_lesion(lesion_result(), lesion_truth(14.0), {}) is None
    assert largest_lesion(lesion_result(), {"lesions": [], "measurements": []}, {}) is None


@pytest.mark.parametrize(("measured", "within"), [(0.0, False), (0.08, True), (0.064, True), (0.13, False)])
def test_the_lung_shunt_is_held_to_what_the_benchmark_supports(measured: float, within: bool) -> None:
    known = truth(("lung_shunt_fraction_corrected", 0.08, 0.04, "1"), ("extrahepatic_focus_count", 0.0, 0.0, "1"))

    compared = compare(
        "scintigraphy", result(lung_shunt_fraction_corrected=measured, extrahepatic_focus_count=0.0), known
    )

    assert passed(compared, "scintigraphy") is within
    assert "95 % limits" in compared[0].tolerance_reason


def test_the_shunt_of_the_demonstration_is_large_enough_for_the_comparison_to_fail() -> None:
    for seed in range(1, 20):
        request = PhantomRequest(kind="scintigraphy", seed=seed, variants=VARIANTS["scintigraphy"][1:])
        assert 0.07 <= draw_lung_shunt(request) <= 0.10


def test_what_is_not_required_is_shown_and_does_not_decide() -> None:
    known = truth(("liver_volume", 1000.0, 100.0, "mL"), ("spleen_volume", 200.0, 10.0, "mL"))

    compared = compare("mri", result(liver_volume=1000.0, spleen_volume=500.0), known)

    assert [(line.key, line.required, line.within) for line in compared] == [
        ("liver_volume", True, True),
        ("spleen_volume", False, False),
    ]
    assert passed(compared, "mri")


@pytest.mark.parametrize(("measured", "shown"), [(1000.0, 0.0), (1050.0, 0.5), (900.0, -1.0), (5000.0, 1.5)])
def test_the_deviation_is_shown_in_tolerances(measured: float, shown: float) -> None:
    (line,) = compare("mri", result(liver_volume=measured), truth(("liver_volume", 1000.0, 100.0, "mL")))

    assert line.deviation_fraction == pytest.approx(shown)


@pytest.mark.parametrize("pacs", [Archive, Orthanc])
def test_the_configuration_of_the_demonstration_has_no_fault(pacs: type[Archive | Orthanc], tmp_path: Path) -> None:
    config, data = tmp_path / "scratch" / "config", tmp_path / "scratch" / "data"
    write_configuration(config, data, free_ports(), pacs.ae_title)
    checked = run("check-config", config=config)

    assert (checked.exit_code, checked.complained) == (0, "")
    assert "nothing wrong" in checked.said
    assert str(data) in checked.said


def test_the_page_takes_no_markup_from_a_header(tmp_path: Path) -> None:
    line = Compared(
        key="liver_volume", measured=1.0, truth=1.0, unit="mL", tolerance=0.0, tolerance_reason="", required=True
    )
    answered = Answered(
        kind="mri", study_instance_uid="1.2.3", outcome="assessed", conclusion="<script>alert(1)</script>",
        compared=(line,), limitations=("<b>",), stored=1, committed=True, seconds=1.0, passed=True,
    )  # fmt: skip
    shown = Shown(answered=answered, pictures=(), reports=(("r.txt", "<img src=x>"),), objects=("mri/a.dcm",))

    page = write_page(tmp_path, [shown], pacs="Orthanc", facts={"seed": 1, "seconds": 60.0}).read_text(encoding="utf-8")

    assert "<script" not in page
    assert "<img src=x" not in page
    assert "&lt;script&gt;" in page


def test_its_own_folder_is_emptied_and_a_foreign_one_is_refused(tmp_path: Path) -> None:
    out = tmp_path / "out"
    prepare(out)
    (out / "index.html").write_text("old", encoding="utf-8")

    prepare(out)

    assert [path.name for path in out.iterdir()] == [MARKER]
    with pytest.raises(NodeError, match="choose another --out"):
        prepare(tmp_path)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_nothing_is_left_running_when_it_is_ended(number: signal.Signals, tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    # A shell that runs the tests in the background lets them ignore SIGINT, and a child would inherit that.
    command = ["env", "--default-signal=INT", sys.executable, str(REPOSITORY / "run_node.py"), "demo"]
    command += ["--out", str(tmp_path / "out")]
    environment = {**os.environ, "TMPDIR": str(scratch)}
    said = tmp_path / "said"
    with (
        said.open("wb") as log,
        subprocess.Popen(command, stdout=log, stderr=log, env=environment, start_new_session=True) as demo,
    ):
        try:
            family = wait_for_family(demo, said, size=3)
            demo.send_signal(number)
            demo.wait(timeout=60)
        finally:
            demo.kill()

    gone, alive = psutil.wait_procs(family, timeout=30)
    assert alive == []
    assert gone
    assert list(scratch.glob("hai-demo-*")) == []
    assert "Traceback" not in said.read_text(encoding="utf-8")
    assert demo.returncode != 0


def wait_for_family(demo: subprocess.Popen[bytes], said: Path, *, size: int) -> list[psutil.Process]:
    """Its children and theirs, as soon as there are so many."""
    deadline_s = time.monotonic() + 180
    while time.monotonic() < deadline_s and demo.poll() is None:
        family = psutil.Process(demo.pid).children(recursive=True)
        if len(family) >= size:
            return family
        time.sleep(0.1)
    raise AssertionError(f"exit code {demo.poll()}, no {size} processes; it said:\n{said.read_text(encoding='utf-8')}")


def test_the_configuration_of_the_benchmarks_node_has_no_fault(tmp_path: Path) -> None:
    node = Node(folder=tmp_path, port=11112)
    checked = run("check-config", config=Path(node.command()[-1]))

    assert (checked.exit_code, checked.complained) == (0, "")
