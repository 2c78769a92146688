"""What the demonstration leaves to look at: objects, reports as text, pictures and one page that shows them all."""

from __future__ import annotations

import io
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydicom
from jinja2 import Environment, PackageLoader, StrictUndefined

from scp_node.demo.comparison import Compared
from scp_node.objects.text import sr_text

SR_MODALITY = "SR"
TITLES: Mapping[str, str] = {
    "cta": "CT angiography",
    "mri": "MRI",
    "scintigraphy": "Perfusion scintigraphy",
}
"""The kinds of study as a reader says them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """One study of the demonstration with everything that came of it."""

    kind: str
    study_instance_uid: str
    outcome: str
    conclusion: str
    compared: tuple[Compared, ...]
    limitations: tuple[str, ...]
    stored: int
    """Objects fetched back from the PACS."""
    committed: bool
    seconds: float
    """From the first image sent to the last object committed."""
    passed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A study with the files that the page links to, all relative to the page."""

    answered: Answered
    pictures: tuple[str, ...]
    reports: tuple[tuple[str, str], ...]
    """File and text of each structured report."""
    objects: tuple[str, ...]


def leave_objects(folder: Path, fetched: Sequence[bytes]) -> tuple[tuple[str, ...], tuple[tuple[str, str], ...]]:
    """Write what the PACS holds as ``.dcm``, and each SR as text beside it; the names of both."""
    folder.mkdir(parents=True, exist_ok=True)
    names, reports = list[str](), list[tuple[str, str]]()
    for content in sorted(fetched):
        dataset = pydicom.dcmread(io.BytesIO(content))
        stem = f"{dataset.Modality}-{dataset.get('SeriesNumber', 0)}-{len(names) + 1}".lower()
        (folder / f"{stem}.dcm").write_bytes(content)
        names.append(f"{stem}.dcm")
        if dataset.Modality == SR_MODALITY:
            text = sr_text(dataset)
            (folder / f"{stem}.txt").write_text(text, encoding="utf-8")
            reports.append((f"{stem}.txt", text))
    return tuple(names), tuple(reports)


def leave_result(folder: Path, out_folder: Path, truth: Path) -> tuple[str, ...]:
    """Copy the analyzer's result, its pictures and the truth; the names of the pictures."""
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(out_folder / "result.json", folder / "result.json")
    shutil.copyfile(truth, folder / "truth.json")
    pictures = sorted(path.name for path in out_folder.glob("*.png"))
    for name in pictures:
        shutil.copyfile(out_folder / name, folder / name)
    return tuple(pictures)


def write_page(out: Path, shown: Sequence[Shown], *, pacs: str, facts: Mapping[str, Any]) -> Path:
    """Write ``index.html``; every text from a header is escaped."""
    environment = Environment(loader=PackageLoader("scp_node.demo"), autoescape=True, undefined=StrictUndefined)
    page = environment.get_template("index.html.j2").render(shown=shown, titles=TITLES, pacs=pacs, facts=facts)
    path = out / "index.html"
    path.write_text(page, encoding="utf-8")
    return path
