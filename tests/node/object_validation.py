"""Strangers that read our objects: dicom3tools and dcmqi, and the one list of what their checks may say."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from pydicom.dataset import Dataset

from scp_node.objects.encoding import file_bytes

# Gaps of the tool, not of the objects: it does not know that the Contributing Equipment macro has a Device UID, nor
# any private coding scheme (which the object declares), nor that one-part person names are still in use. The last is
# true of a study that came without these: nothing is invented for it.
ALLOWED = (
    r"ContributingEquipmentSequence.*DeviceUID.*Attribute is not present in standard DICOM IOD",
    r"Unrecognized defined term = <99HAIPUMP>",
    r"Retired Person Name form",
    r"(PatientID|StudyID|StudyDate|StudyTime).*Missing attribute or value that would be needed to build DICOMDIR",
)


def tool(name: str) -> str:
    """Path of a peer's program; without it the test is skipped, in CI it fails."""
    found = shutil.which(name, path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
    if found is None:
        message = f"{name} is not installed (it comes with requirements/dev.lock)"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    return found


def complaints(dataset: Dataset, folder: Path) -> list[str]:
    """Lines of `dciodvfy -new` that are neither the name of the IOD nor on the list above."""
    path = folder / "checked.dcm"
    path.write_bytes(file_bytes(dataset))
    run = subprocess.run([tool("dciodvfy"), "-new", str(path)], capture_output=True, text=True, check=False)
    lines = [line for line in (run.stderr + run.stdout).splitlines() if line.strip()]
    assert lines, "dciodvfy said nothing, not even the name of the IOD"
    return [
        line
        for line in lines
        if re.match(r"(Error|Warning)", line) and not any(re.search(allowed, line) for allowed in ALLOWED)
    ]


def masks_read_by_dcmqi(dataset: Dataset, folder: Path) -> list[Path]:
    """One NRRD file per segment, as dcmqi decodes them."""
    path, out = folder / "read.dcm", folder / "masks"
    path.write_bytes(file_bytes(dataset))
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    command = [tool("segimage2itkimage"), "--inputDICOM", str(path), "--outputDirectory", str(out), "-t", "nrrd"]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    return sorted(out.glob("*.nrrd"), key=lambda each: int(each.stem.split("-")[-1]))


def report_read_by_dcmqi(dataset: Dataset, folder: Path) -> str:
    """JSON text of a TID 1500 report as dcmqi understands it."""
    path, out = folder / "report.dcm", folder / "report.json"
    path.write_bytes(file_bytes(dataset))
    command = [tool("tid1500reader"), "--inputDICOM", str(path), "--outputMetadata", str(out)]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    return out.read_text(encoding="utf-8")
