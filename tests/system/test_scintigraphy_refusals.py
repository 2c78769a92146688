"""Scintigraphy that allows no number, by the command of the product: the report says why, and holds none."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from pydicom import Dataset, dcmread
from pydicom.uid import BasicTextSRStorage

from analyzers.phantoms.__main__ import make_phantom
from analyzers.phantoms.request import PhantomRequest
from scp_node.objects.text import sr_text
from tests.node.network import REPOSITORY

pytestmark = pytest.mark.timeout(280)


def reports(folder: Path, *variants: str) -> list[Dataset]:
    """Objects that answer a phantom study."""
    request = PhantomRequest(kind="scintigraphy", seed=71, variants=tuple(sorted(variants)))
    make_phantom(request, folder / "made")
    command = [sys.executable, str(REPOSITORY / "run_node.py"), "analyze", "made/dicom", "--out", "OUT"]
    ended = subprocess.run(
        [*command, "--analyzer", "scintigraphy"], cwd=folder, check=False, capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stderr
    return [dcmread(path) for path in sorted((folder / "OUT" / "scintigraphy").glob("*.dcm"))]


@pytest.mark.parametrize(
    ("variants", "reason"),
    [
        (("no-posterior",), "The posterior view is missing"),
        (("low-counts",), "wanted at least 300 kcounts"),
        (("dual-isotope",), "Two nuclides were imaged together"),
        (("no-planar", "spect", "field-cuts-liver"), "The field of the SPECT cuts the liver"),
    ],
)
def test_the_report_says_why_nothing_was_measured(tmp_path: Path, variants: tuple[str, ...], reason: str) -> None:
    made = reports(tmp_path, *variants)

    (words,) = (one for one in made if one.SOPClassUID == BasicTextSRStorage)
    assert "NOT ASSESSABLE" in sr_text(words)
    assert reason in sr_text(words)
    assert {one.SOPClassUID for one in made if one.Modality == "SR"} == {BasicTextSRStorage}


def test_the_report_says_what_is_limited_where_the_patient_moved_between_the_views(tmp_path: Path) -> None:
    (words,) = (one for one in reports(tmp_path, "motion-between-views") if one.SOPClassUID == BasicTextSRStorage)

    assert "The patient moved between the anterior and the posterior view" in sr_text(words)
    assert "Indeterminate: whether the whole liver is perfused is not judged" in sr_text(words)
