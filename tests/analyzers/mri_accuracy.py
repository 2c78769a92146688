"""Measure the MR analyzer on evaluation phantoms and, where it is at hand, on real MR; write the benchmark page.

Run as ``python -m tests.analyzers.mri_accuracy OUT.md [--seeds 201 202 ...]``.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from nibabel.nifti1 import Nifti1Image
from numpy.typing import NDArray

from analyzers.contract import Assessed, NotAssessable
from analyzers.loading import open_study
from analyzers.mri import ANALYZER
from tests.analyzers.real_data import read_nifti, write_slices

SEEDS = (201, 202, 203, 204, 205, 206)
TARGET_MM = 15.0
REAL_DATA = Path(__file__).parents[3] / "shared" / "data"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One study: what was there and what was found."""

    name: str
    dice: float
    liver_ml: float
    true_ml: float
    targets: int
    hit: int
    extra: int
    axis_errors: tuple[float, ...]
    seconds: float


def make_phantom(folder: Path, seed: int, *variants: str, model: str = "evaluation", size: str = "small") -> None:
    """Make one phantom by its command."""
    command = [sys.executable, "-m", "analyzers.phantoms", "mri", str(folder), "--seed", str(seed)]
    command += ["--model", model, "--size", size, *(["--variant", *variants] if variants else [])]
    subprocess.run(command, check=True, capture_output=True)


def run(folder: Path) -> Assessed | NotAssessable:
    """Analyse a folder in this process."""
    study = open_study(folder)
    return ANALYZER.analyze(study.with_roles(getattr(ANALYZER.accepts(study.summary), "roles", {})), ())


def true_mask(path: Path) -> NDArray[np.bool_]:
    """A mask of the truth as (z, y, x)."""
    return np.asarray(Nifti1Image.from_filename(path).dataobj).transpose(2, 1, 0) > 0


def dice(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    """Dice coefficient of two masks."""
    return float(2 * np.count_nonzero(one & other) / max(1, int(np.count_nonzero(one)) + int(np.count_nonzero(other))))


def phantom_row(folder: Path, name: str) -> Row:
    """Analyse a phantom and compare it with its truth; a study without an answer counts as nothing found."""
    truth: dict[str, Any] = json.loads((folder / "truth.json").read_text())
    started = time.monotonic()
    result = run(folder / "dicom")
    seconds = time.monotonic() - started
    true_ml = next(one["value"] for one in truth["measurements"] if one["key"] == "liver_volume")
    found = result.segments[1:] if isinstance(result, Assessed) else ()
    used: set[str] = set()
    targets, hit, errors = 0, 0, []
    for lesion in truth["lesions"]:
        mask = true_mask(folder / "masks" / f"lesion_{lesion['name']}.nii.gz")
        touching = [one for one in found if bool((one.mask_planes & mask).any())]
        used |= {one.name for one in touching}
        if lesion["long_axis_mm"] >= TARGET_MM:
            targets += 1
            hit += bool(touching)
            errors += [axis_error(result, one.name, lesion["long_axis_mm"]) for one in touching[:1]]
    liver = true_mask(folder / "masks" / "liver.nii.gz")
    mask = result.segments[0].mask_planes if isinstance(result, Assessed) else np.zeros_like(liver)
    volumes = [one.value for one in getattr(result, "measurements", ()) if one.key == "liver_volume"]
    return Row(
        name=name, dice=dice(mask, liver), liver_ml=volumes[0] if volumes else 0.0, true_ml=true_ml, targets=targets,
        hit=hit, extra=len(found) - len(used), axis_errors=tuple(errors), seconds=seconds,
    )  # fmt: skip


def axis_error(result: Assessed | NotAssessable, name: str, true_mm: float) -> float:
    """Error of a long axis as a share of the truth."""
    values = [
        one.value
        for one in getattr(result, "measurements", ())
        if one.subject == name and one.key == "lesion_long_axis"
    ]
    return float(values[0] / true_mm - 1.0)


def real_dice(data: Path, folder: Path) -> tuple[float, float, float]:
    """Dice, measured and labelled volume of the liver in the real MR."""
    labels = read_nifti(data / "organs" / "mr_labels.nii.gz")
    write_slices(read_nifti(data / "organs" / "mr.nii.gz"), folder, "MR", "MR LIVER")
    result = run(folder)
    liver = np.asarray(labels.values_zyx == 5)
    voxel_ml = abs(float(np.linalg.det(labels.affine_lps[:3, :3]))) / 1000.0
    if not isinstance(result, Assessed):
        return 0.0, 0.0, float(np.count_nonzero(liver)) * voxel_ml
    mask = result.segments[0].mask_planes
    return dice(mask, liver), float(np.count_nonzero(mask)) * voxel_ml, float(np.count_nonzero(liver)) * voxel_ml


def table(rows: Sequence[Row], real: tuple[float, float, float] | None) -> str:
    """The page as Markdown."""
    lines = [
        "# MR analyzer 0.1.0 on evaluation phantoms",
        "",
        "Made by `python -m tests.analyzers.mri_accuracy docs/benchmarks/mri-first.md`: small phantoms of the",
        "evaluation model. Seed 201 is no blind test: the rule against candidates that are dark in T2 or diffusion",
        "was added after looking at its false candidates (without it the first five seeds had 2, 1, 1, 2 and 0 extra).",
        f"Lesions from {TARGET_MM:g} mm count as targets; an extra is a candidate that touches no lesion.",
        "Phantoms are kinder than patients.",
        "",
        "| study | liver Dice | volume, truth (mL) | error | targets found | extra | long-axis errors |",
        "|---|--:|--:|--:|--:|--:|---|",
    ]
    for row in rows:
        errors = ", ".join(f"{100 * error:+.0f} %" for error in row.axis_errors)
        change = 100 * (row.liver_ml / row.true_ml - 1)
        lines.append(
            f"| {row.name} | {row.dice:.3f} | {row.liver_ml:.0f}, {row.true_ml:.0f} | {change:+.1f} % | "
            f"{row.hit} of {row.targets} | {row.extra} | {errors} |"
        )
    sizes = [abs(error) for row in rows for error in row.axis_errors]
    targets = sum(row.targets for row in rows)
    lines += [
        "",
        f"* Liver Dice: lowest {min(row.dice for row in rows):.3f}, mean {np.mean([row.dice for row in rows]):.3f}"
        " (target 0.85).",
        f"* Targets found: {sum(row.hit for row in rows)} of {targets} (target 80 %); "
        f"{sum(row.extra for row in rows) / len(rows):.1f} extra per study (target at most 2).",
        f"* Long axis: median absolute error {100 * float(np.median(sizes)) if sizes else 0:.0f} % (target 15 %).",
    ]
    if real is not None:
        lines.append(
            "* One real T1-weighted MR at 3 mm, 6 cm long, liver cut at its upper end, labels by a model: "
            f"Dice {real[0]:.3f}, {real[1]:.0f} mL for {real[2]:.0f} mL."
        )
    return "\n".join([*lines, ""])


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS)
    arguments = parser.parse_args()
    rows, real = [], None
    with tempfile.TemporaryDirectory() as scratch:
        for seed in arguments.seeds:
            folder = Path(scratch) / str(seed)
            make_phantom(folder, seed)
            rows.append(phantom_row(folder, f"seed {seed}"))
            sys.stderr.write(f"{rows[-1]}\n")
        if (REAL_DATA / "organs" / "mr.nii.gz").exists():
            real = real_dice(REAL_DATA, Path(scratch) / "real")
    arguments.out.write_text(table(rows, real))


if __name__ == "__main__":
    main()
