"""Measure the MR analyzer on evaluation phantoms and, where it is at hand, on real MR; write the benchmark page.

Run as ``python -m tests.analyzers.mri_accuracy OUT.md [--gadoxetate SEED ...] [--extracellular SEED ...]``.
"""

from __future__ import annotations

import argparse
import json
import shutil
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

SEEDS = {"gadoxetate": tuple(range(541, 549)), "extracellular": tuple(range(561, 569))}
"""Looked at by nobody before the page was made; whoever looks at one to mend the analyzer takes others here."""
BY_HAND = "<!-- What follows is written by hand and kept. -->"
TARGET_MM = 15.0
SIZES_MM = ((0.0, 10.0), (10.0, 15.0), (15.0, 20.0), (20.0, 30.0), (30.0, 200.0))
REAL_DATA = Path(__file__).parents[3] / "shared" / "data"


@dataclass(frozen=True, slots=True, kw_only=True)
class LesionRow:
    """Long axis of a true lesion, and of the candidate that touches it; ``None`` when there is none."""

    true_mm: float
    measured_mm: float | None

    @property
    def error(self) -> float | None:
        """Error of the long axis as a share of the truth."""
        return None if self.measured_mm is None else self.measured_mm / self.true_mm - 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One study: what was there and what was found."""

    name: str
    agent: str
    dice: float
    liver_ml: float
    true_ml: float
    lesions: tuple[LesionRow, ...]
    extra: int
    seconds: float

    @property
    def targets(self) -> tuple[LesionRow, ...]:
        """Lesions that must be found."""
        return tuple(lesion for lesion in self.lesions if lesion.true_mm >= TARGET_MM)

    @property
    def hit(self) -> int:
        """Targets that were found."""
        return sum(lesion.measured_mm is not None for lesion in self.targets)


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


def phantom_row(folder: Path, name: str, agent: str = "gadoxetate") -> Row:
    """Analyse a phantom and compare it with its truth; a study without an answer counts as nothing found."""
    truth: dict[str, Any] = json.loads((folder / "truth.json").read_text())
    started = time.monotonic()
    result = run(folder / "dicom")
    seconds = time.monotonic() - started
    true_ml = next(one["value"] for one in truth["measurements"] if one["key"] == "liver_volume")
    found = result.segments[1:] if isinstance(result, Assessed) else ()
    used: set[str] = set()
    lesions = []
    for lesion in truth["lesions"]:
        mask = true_mask(folder / "masks" / f"lesion_{lesion['name']}.nii.gz")
        touching = [one for one in found if bool((one.mask_planes & mask).any())]
        used |= {one.name for one in touching}
        measured_mm = long_axis_mm(result, touching[0].name) if touching else None
        lesions.append(LesionRow(true_mm=lesion["long_axis_mm"], measured_mm=measured_mm))
    liver = true_mask(folder / "masks" / "liver.nii.gz")
    mask = result.segments[0].mask_planes if isinstance(result, Assessed) else np.zeros_like(liver)
    volumes = [one.value for one in getattr(result, "measurements", ()) if one.key == "liver_volume"]
    return Row(
        name=name, agent=agent, dice=dice(mask, liver), liver_ml=volumes[0] if volumes else 0.0, true_ml=true_ml,
        lesions=tuple(lesions), extra=len(found) - len(used), seconds=seconds,
    )  # fmt: skip


def long_axis_mm(result: Assessed | NotAssessable, name: str) -> float:
    """Long axis of a candidate."""
    measurements = getattr(result, "measurements", ())
    return float(next(one.value for one in measurements if one.subject == name and one.key == "lesion_long_axis"))


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
        "evaluation model, seeds that nobody looked at before. An extra is a candidate that touches no lesion.",
        "Phantoms are kinder than patients.",
        "",
        "| study | liver Dice | volume, truth (mL) | error | long axes in mm: truth → measured | extra |",
        "|---|--:|--:|--:|---|--:|",
    ]
    for row in rows:
        pairs = ", ".join(
            f"{lesion.true_mm:.0f} → " + ("missed" if lesion.measured_mm is None else f"{lesion.measured_mm:.0f}")
            for lesion in sorted(row.lesions, key=lambda lesion: -lesion.true_mm)
        )
        change = 100 * (row.liver_ml / row.true_ml - 1)
        lines.append(
            f"| {row.name}, {row.agent} | {row.dice:.3f} | {row.liver_ml:.0f}, {row.true_ml:.0f} | {change:+.1f} % | "
            f"{pairs} | {row.extra} |"
        )
    dices = [row.dice for row in rows]
    lines += [
        "",
        *by_size(rows),
        "",
        f"* Liver Dice: lowest {min(dices):.3f}, mean {np.mean(dices):.3f} (target 0.85).",
    ]
    lines += [summary(agent, [row for row in rows if row.agent == agent]) for agent in SEEDS]
    if real is not None:
        lines.append(
            "* One real T1-weighted MR at 3 mm, 6 cm long, liver cut at its upper end, labels by a model: "
            f"Dice {real[0]:.3f}, {real[1]:.0f} mL for {real[2]:.0f} mL."
        )
    return "\n".join([*lines, ""])


def by_size(rows: Sequence[Row]) -> list[str]:
    """How many lesions of each size were found, and how well measured."""
    lines = [
        "| true long axis | " + " | ".join(f"found, {agent} | axis error, median (range)" for agent in SEEDS) + " |",
        "|---|" + "--:|---|" * len(SEEDS),
    ]
    for low, high in SIZES_MM:
        cells = []
        for agent in SEEDS:
            own = [one for row in rows if row.agent == agent for one in row.lesions if low <= one.true_mm < high]
            errors = [100 * one.error for one in own if one.error is not None]
            spread = f"{np.median(errors):+.0f} % ({min(errors):+.0f} to {max(errors):+.0f})" if errors else ""
            cells.append(f"{len(errors)} of {len(own)} | {spread}")
        size = f"{low:.0f} to {high:.0f} mm" if high < SIZES_MM[-1][1] else f"over {low:.0f} mm"
        lines.append(f"| {size} | {' | '.join(cells)} |")
    return lines


def summary(agent: str, rows: Sequence[Row]) -> str:
    """One line: targets, extra candidates, axes."""
    targets = sum(len(row.targets) for row in rows)
    errors = [abs(one.error) for row in rows for one in row.targets if one.error is not None]
    return (
        f"* {agent.capitalize()}: {sum(row.hit for row in rows)} of {targets} lesions from {TARGET_MM:g} mm found "
        f"(target 80 %); {sum(row.extra for row in rows) / max(1, len(rows)):.1f} extra per study (target at most 2); "
        f"their long axis: median absolute error {100 * float(np.median(errors)) if errors else 0:.0f} % (target 15 %)."
    )


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    for agent, seeds in SEEDS.items():
        parser.add_argument(f"--{agent}", type=int, nargs="*", default=seeds)
    arguments = parser.parse_args()
    rows, real = [], None
    with tempfile.TemporaryDirectory() as scratch:
        for agent in SEEDS:
            for seed in getattr(arguments, agent):
                folder = Path(scratch) / str(seed)
                make_phantom(folder, seed, *(["extracellular"] if agent == "extracellular" else []))
                rows.append(phantom_row(folder, f"seed {seed}", agent))
                sys.stderr.write(f"{rows[-1]}\n")
                shutil.rmtree(folder)
        if (REAL_DATA / "organs" / "mr.nii.gz").exists():
            real = real_dice(REAL_DATA, Path(scratch) / "real")
    kept = arguments.out.read_text().partition(BY_HAND)[2] if arguments.out.exists() else "\n"
    arguments.out.write_text(f"{table(rows, real)}\n{BY_HAND}{kept}")


if __name__ == "__main__":
    main()
