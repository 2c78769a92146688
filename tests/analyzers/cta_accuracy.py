"""How near the CT analyzer comes to the truth of phantoms it was not developed on, and to the labels of real CT.

``python -m tests.analyzers.cta_accuracy --first-seed 9101`` makes the phantoms in a temporary folder, analyses them and
prints the tables of ``docs/benchmarks/cta-first.md``; real CT is added where the folder of real data is at hand.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from analyzers.contract import Accept, Assessed, Interval, NotAssessable, Segment
from analyzers.cta import ANALYZER
from analyzers.loading import open_study
from analyzers.phantoms.__main__ import make_phantom
from analyzers.phantoms.request import PhantomRequest
from analyzers.volume import StudyImages, Volume
from tests.analyzers import real_data

KEYS = ("liver_volume", "aorta_diameter", "pump_diameter", "pump_thickness", "catheter_length")
VARIANTS: tuple[tuple[str, ...], ...] = (
    ("post-op",),
    ("portal-only", "post-op"),
    ("pre-op",),
    ("feet-first", "portal-only", "post-op"),
    ("gantry-tilt", "portal-only", "post-op"),
    ("no-pump", "portal-only"),
    ("arterial-only", "post-op"),
    ("native-only", "post-op"),
    ("overlapping", "portal-only", "post-op"),
    ("missing-slice", "portal-only", "post-op"),
    ("post-op", "two-phases-in-one-series"),
    ("native-only", "pre-op"),
    ("gantry-tilt", "portal-only", "pump-flipped"),
    ("no-frame-of-reference", "no-patient-position", "padding", "portal-only", "post-op"),
    ("descending", "duplicate-slice", "localizer-inside", "portal-only", "post-op"),
    ("enhanced", "portal-only", "post-op"),
)
"""A case mix, repeated over the seeds of small phantoms; the full ones are post-operative."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One study: what was true, what was said."""

    name: str
    truth: Mapping[str, float]
    said: Mapping[str, float]
    liver_dice: float | None
    limited: frozenset[str] = frozenset()
    intervals: Mapping[str, Interval] = field(default_factory=dict)
    catheter_covered_fraction: float | None = None
    """Share of the true centre line within 3 mm of the traced path: a right length on a wrong way is worth nothing."""
    words: str = ""
    refused: tuple[str, ...] = field(default=())


def analysed(folder: Path) -> tuple[StudyImages, Assessed | NotAssessable]:
    """Run the analyzer on a folder."""
    study = open_study(folder)
    acceptance = ANALYZER.accepts(study.summary)
    if not isinstance(acceptance, Accept):
        return study, NotAssessable(reasons=(acceptance.reason,))
    images = study.with_roles(acceptance.roles)
    return images, ANALYZER.analyze(images, ())


def phantom_row(request: PhantomRequest, folder: Path) -> Row:
    """Make one phantom and compare."""
    make_phantom(request, folder)
    label = f"{request.size} {request.model} {request.seed} {' '.join(request.variants)}"
    return folder_row(folder, label)


def folder_row(folder: Path, label: str) -> Row:
    """Compare the answer to a phantom that lies in a folder with its truth."""
    images, result = analysed(folder / "dicom")
    truth = json.loads((folder / "truth.json").read_text(encoding="utf-8"))
    values = {entry["key"]: float(entry["value"]) for entry in truth["measurements"] if entry["key"] in KEYS}
    row = _row(label, values, images, result, folder / "masks" / "liver.nii.gz", None)
    line = truth["structures"].get("catheter", {}).get("centre_line_lps_mm")
    return replace(row, catheter_covered_fraction=_covered(images, result, line)) if line else row


def _covered(images: StudyImages, result: Assessed | NotAssessable, line_lps_mm: list[list[float]]) -> float | None:
    """Share of a true centre line that lies within 3 mm of a traced voxel."""
    segments = result.segments if isinstance(result, Assessed) else ()
    traced = next((segment for segment in segments if segment.name == "catheter"), None)
    if traced is None:
        return None
    corners = np.array(line_lps_mm)
    along = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(corners, axis=0), axis=1))])
    every_mm = np.arange(0.0, along[-1], 1.0)
    line = np.column_stack([np.interp(every_mm, along, corners[:, axis]) for axis in range(3)])
    voxels = _volume_of(images, traced).to_lps_mm(np.argwhere(traced.mask_planes).astype(float))
    return float(np.mean(cKDTree(voxels).query(line)[0] <= 3.0))


def labelled_rows(data: Path) -> Iterator[Row]:
    """Compare with the labels of the real contrast CT (made by a model, not drawn by hand)."""
    yield _labelled(
        "contrast CT, 20 slices of 2 mm", data, data / "ct_j2k" / "dicom", data / "ct_j2k" / "labels.nii.gz"
    )


def real_rows(data: Path, folder: Path) -> Iterator[Row]:
    """All real CT, labelled or not; the NIfTI volumes are wrapped into DICOM below a folder."""
    yield from labelled_rows(data)
    for name, source, labels in (
        ("upper abdomen without contrast, 3 mm", "organs/ct.nii.gz", data / "organs" / "ct_labels.nii.gz"),
        ("trunk without contrast, hip implant, 3 mm", "organs/ct_trunk.nii.gz", None),
        ("cropped chest CTA, dissection, 1.5 mm", "cta_aorta/ct_cropped.nii.gz", None),
    ):
        out = folder / Path(source).name.split(".")[0]
        real_data.write_slices(real_data.read_nifti(data / source), out, "CT", "CT ABDOMEN")
        yield _labelled(name, data, out, labels)
    for series in sorted((data / "petct").glob("CT_*")):
        yield _labelled("CT of a PET/CT without contrast, 3.3 mm, or its scout", data, series, None)


def _labelled(name: str, data: Path, study: Path, labels: Path | None) -> Row:
    names = json.loads((data / "organs" / "label_names.json").read_text(encoding="utf-8"))["ct"]
    liver = next(int(number) for number, label in names.items() if label == "liver")
    images, result = analysed(study)
    return _row(name, {}, images, result, labels, liver)


def _row(
    label: str,
    truth: dict[str, float],
    images: StudyImages,
    result: Assessed | NotAssessable,
    labels: Path | None,
    number: int | None,
) -> Row:
    if isinstance(result, NotAssessable):
        words = "not assessable: " + " ".join(result.reasons)
        return Row(name=label, truth=truth, said={}, liver_dice=None, words=words)
    said = {value.key: value.value for value in result.measurements if value.key in KEYS}
    limited = frozenset(value.key for value in result.measurements if value.remark)
    dice = None
    liver = next((segment for segment in result.segments if segment.name == "liver"), None)
    if liver is not None and labels is not None:
        true_mask = mask_on_volume(labels, _volume_of(images, liver), number)
        dice = _dice(liver.mask_planes, true_mask)
        if number is not None:
            volume = _volume_of(images, liver)
            truth = {"liver_volume": float(true_mask.sum()) * volume.voxel_ml}
    return Row(
        name=label,
        truth=truth,
        said=said,
        liver_dice=dice,
        limited=limited,
        intervals={value.key: value.interval for value in result.measurements if value.interval is not None},
        words=result.conclusion,
        refused=result.limitations,
    )


def mask_on_volume(labels: Path, volume: Volume, number: int | None) -> NDArray[np.bool_]:
    """The label (or everything above zero) at the voxels of a volume, by nearest neighbour: (z, y, x)."""
    image: Any = nibabel.nifti1.Nifti1Image.from_filename(labels)
    values = np.asarray(image.dataobj)
    wanted = values == number if number is not None else values > 0
    to_label = np.linalg.inv(np.asarray(image.affine)) @ np.diag([-1.0, -1.0, 1.0, 1.0]) @ volume.affine_lps
    mask = np.zeros(volume.voxels_zyx.shape, bool)
    rows, columns = np.indices(mask.shape[1:])
    for z in range(len(mask)):
        places = np.stack([columns.ravel(), rows.ravel(), np.full(rows.size, z), np.ones(rows.size)])
        index = np.rint(to_label[:3] @ places).astype(int)
        inside = np.all((index >= 0) & (index < np.array(wanted.shape)[:, None]), axis=0)
        plane = np.zeros(rows.size, bool)
        plane[inside] = wanted[tuple(index[:, inside])]
        mask[z] = plane.reshape(rows.shape)
    return mask


def _volume_of(images: StudyImages, segment: Segment) -> Volume:
    volumes = images.load(segment.series_instance_uid).volumes
    return next(volume for volume in volumes if volume.planes == segment.planes)


def _dice(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> float:
    return 2 * float((first & second).sum()) / max(1.0, float(first.sum() + second.sum()))


def table(rows: list[Row]) -> str:
    """The rows in Markdown: said / true, ``(l)`` where the value is graded limited."""
    lines = [
        "| study | liver Dice | liver mL | aorta mm | pump diameter mm | pump thickness mm | catheter mm "
        "| catheter path covered |",
        "|---|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for row in rows:
        cells = [_cell(row, key) for key in KEYS]
        dice = "-" if row.liver_dice is None else f"{row.liver_dice:.3f}"
        share = row.catheter_covered_fraction
        covered = "-" if share is None else f"{100 * share:.0f} %"
        lines.append(f"| {row.name} | {dice} | {' | '.join(cells)} | {covered} |")
    return "\n".join(lines)


def _cell(row: Row, key: str) -> str:
    digits = 0 if key in ("liver_volume", "catheter_length") else 1
    said = f"{row.said[key]:.{digits}f}" if key in row.said else "none"
    true = f" / {row.truth[key]:.{digits}f}" if key in row.truth else ""
    return said + true + (" (l)" if key in row.limited else "") if said != "none" or true else "-"


def summary(rows: list[Row]) -> str:
    """Errors over all phantoms in Markdown: how many have a value, median and worst error, how many are limited.

    The last column counts the truths that lie in the 95 % interval of the value, of those that have one.
    """
    lines = [
        "| quantity | measured | median error | worst error | graded limited | truth in the interval |",
        "|---|--:|--:|--:|--:|--:|",
    ]
    for key in KEYS:
        wanted = [row for row in rows if key in row.truth]
        measured = [row for row in wanted if key in row.said]
        if not measured:
            continue
        relative = key in ("liver_volume", "catheter_length")
        errors = np.array(
            [(row.said[key] - row.truth[key]) * (100 / row.truth[key] if relative else 1.0) for row in measured]
        )
        unit = "%" if relative else "mm"
        worst = float(errors[np.argmax(np.abs(errors))])
        limited = sum(key in row.limited for row in measured)
        lines.append(
            f"| {key.replace('_', ' ')} | {len(measured)} of {len(wanted)} | {np.median(errors):+.1f} {unit} "
            f"| {worst:+.1f} {unit} | {limited} | {_held(measured, key)} |"
        )
    dice = np.array([row.liver_dice for row in rows if row.liver_dice is not None])
    if dice.size:
        lines.append(f"| liver Dice | {dice.size} of {len(rows)} | {np.median(dice):.3f} | {dice.min():.3f} | | |")
    return "\n".join(lines)


def _held(rows: list[Row], key: str) -> str:
    """How many truths lie in the intervals of a quantity."""
    stated = [row for row in rows if key in row.intervals]
    held = 0
    for row in stated:
        low, high = row.intervals[key].low, row.intervals[key].high
        held += low <= row.truth[key] and (high is None or row.truth[key] <= high)
    return f"{held} of {len(stated)}"


def _requests(options: argparse.Namespace) -> Iterator[PhantomRequest]:
    for index in range(options.small):
        yield PhantomRequest(
            kind="cta",
            seed=options.first_seed + index,
            variants=tuple(sorted(VARIANTS[index % len(VARIANTS)])),
            size="small",
            model="evaluation",
        )
    for index in range(options.full):
        seed = options.first_seed + 100 + index
        yield PhantomRequest(
            kind="cta", seed=seed, variants=("portal-only", "post-op"), size="full", model="evaluation"
        )


def main() -> int:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", type=int, default=len(VARIANTS))
    parser.add_argument("--full", type=int, default=1)
    parser.add_argument("--first-seed", type=int, default=401)
    options = parser.parse_args()
    rows = []
    for request in _requests(options):
        with tempfile.TemporaryDirectory() as folder:
            rows.append(phantom_row(request, Path(folder) / "study"))
            print(rows[-1].name, rows[-1].words, file=sys.stderr)
    data = Path(os.environ.get("HAI_REAL_DATA", str(Path(__file__).parents[3] / "shared" / "data")))
    real = []
    if data.is_dir():
        with tempfile.TemporaryDirectory() as folder:
            for row in real_rows(data, Path(folder)):
                real.append(row)
                print(row.name, row.words, *row.refused, file=sys.stderr)
    peak_gib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(summary(rows))
    print("\n" + table(rows))
    print("\n" + table(real) if real else "\nReal CT was not at hand.")
    for row in (*rows, *real):
        if row.words.startswith("not assessable") or row.refused:
            print(f"\n* {row.name}: {' '.join((row.words, *row.refused))}")
    print(f"\nPeak memory of the process that makes and measures: {peak_gib:.1f} GiB.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
