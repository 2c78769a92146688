"""Fit the weights of the focus detector on development phantoms and print them with their calibration.

``python -m tests.analyzers.scintigraphy_calibration`` takes about seven minutes. The weights are then copied, rounded,
into ``analyzers/scintigraphy/likelihood.py``.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from analyzers.scintigraphy.expectations import Role
from analyzers.scintigraphy.landmarks import find_landmarks
from analyzers.scintigraphy.likelihood import COEFFICIENTS, signs
from analyzers.scintigraphy.peaks import find_peaks
from analyzers.scintigraphy.regions import NoLiver, find_regions
from analyzers.scintigraphy.thresholds import DEFAULTS
from analyzers.scintigraphy.views import NoPair, pair_views
from tests.analyzers.scintigraphy_patients import Patient, patient

_NEAR_MM = 20.0
_RIDGE = 1.0
_FOLDS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One peak: its signs, and whether a true focus of any origin lies there."""

    seed: int
    signs: NDArray[np.float64]
    is_focus: bool


def samples_of(one: Patient) -> list[Sample]:
    """All peaks of a patient."""
    views = [view for loaded in one.images.with_role(Role.PLANAR_MAA) for view in loaded.views]
    pair = pair_views(views, DEFAULTS)
    if isinstance(pair, NoPair):
        return []
    regions = find_regions(pair, DEFAULTS)
    if isinstance(regions, NoLiver):
        return []
    found = []
    for peak in find_peaks(pair, regions, find_landmarks(pair, regions), DEFAULTS):
        place = np.zeros(pair.field_yx.shape, np.bool_)
        place[peak.row_col] = True
        near = any(true.distance_mm(place) <= _NEAR_MM for true in one.foci)
        found.append(Sample(seed=one.seed, signs=signs(peak.evidence), is_focus=near))
    return found


def fitted(signs_by_row: NDArray[np.float64], is_focus: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weights of a ridge logistic regression by Newton's method; the constant is not shrunk."""
    ridge = _RIDGE * np.eye(signs_by_row.shape[1])
    ridge[0, 0] = 0.0
    weights = np.zeros(signs_by_row.shape[1])
    for _ in range(40):
        probability = _logistic(signs_by_row @ weights)
        slope = signs_by_row.T @ (probability - is_focus) + ridge @ weights
        curvature = (signs_by_row * (probability * (1.0 - probability))[:, None]).T @ signs_by_row + ridge
        weights = weights - np.linalg.solve(curvature, slope)
    return np.asarray(weights, np.float64)


def _logistic(score: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(1.0 / (1.0 + np.exp(-score)), np.float64)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print weights and calibration."""
    parser = argparse.ArgumentParser(prog="python -m tests.analyzers.scintigraphy_calibration", description=__doc__)
    parser.add_argument("--studies", type=int, default=360)
    parser.add_argument("--first-seed", type=int, default=20001)
    parser.add_argument("--phantoms", type=Path, help="folder that keeps the phantoms for another run")
    options = parser.parse_args(arguments)
    samples: list[Sample] = []
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(options.first_seed, options.first_seed + options.studies):
            samples += samples_of(patient(seed, "development", options.phantoms or Path(folder)))
    rows = np.asarray([sample.signs for sample in samples], np.float64)
    is_focus = np.asarray([sample.is_focus for sample in samples], np.float64)
    fold = np.asarray([sample.seed % _FOLDS for sample in samples])
    for name, weight in zip(COEFFICIENTS, fitted(rows, is_focus), strict=True):
        print(f"{name:34s} {weight:+.2f}")
    held_out = np.zeros(len(samples))
    for number in range(_FOLDS):
        left_out = fold == number
        held_out[left_out] = _logistic(rows[left_out] @ fitted(rows[~left_out], is_focus[~left_out]))
    print("probability (held out) | peaks | of them foci")
    for low, high in ((0.0, 0.1), (0.1, 0.3), (0.3, 0.5), (0.5, 0.7), (0.7, 0.9), (0.9, 1.0)):
        inside = (held_out >= low) & (held_out < high if high < 1.0 else held_out <= 1.0)
        if inside.any():
            print(f"{low:.1f} to {high:.1f} | {int(inside.sum())} | {100 * is_focus[inside].mean():.0f} %")
    return 0


if __name__ == "__main__":
    sys.exit(main())
