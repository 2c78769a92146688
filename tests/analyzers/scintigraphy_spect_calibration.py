"""Fit the weights of the SPECT/CT focus detector on development phantoms and print them.

``python -m tests.analyzers.scintigraphy_spect_calibration`` draws patients as the accuracy measurement does, and
others with two sites that are often faint. The weights are then copied, rounded, into
``analyzers/scintigraphy/spect_likelihood.py``, and the operating point is read from ``python -m
tests.analyzers.scintigraphy_spect_accuracy --model development``.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from analyzers.contract import Accept
from analyzers.loading import open_study
from analyzers.phantoms.__main__ import make_phantom
from analyzers.phantoms.request import PhantomRequest
from analyzers.scintigraphy import ANALYZER
from analyzers.scintigraphy.spect import SpectReading
from analyzers.scintigraphy.spect_choice import read_best_spect
from analyzers.scintigraphy.spect_foci import Field, weighed_peaks
from analyzers.scintigraphy.spect_likelihood import COEFFICIENTS, signs
from analyzers.scintigraphy.thresholds import DEFAULTS
from tests.analyzers.scintigraphy_calibration import fitted
from tests.analyzers.scintigraphy_spect_cases import drawn_faint_case, drawn_spect_case
from tests.analyzers.scintigraphy_spect_matching import MATCH_MM, true_foci


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One peak: its signs, and whether an extrahepatic focus lies there."""

    signs: NDArray[np.float64]
    is_focus: bool


def samples_of(seed: int, case: tuple[str, ...], folder: Path) -> list[Sample]:
    """All peaks of a patient; what device or pertechnetate mark teaches nothing and is left out."""
    place = folder / f"development-{seed}"
    if not (place / "truth.json").is_file():
        make_phantom(PhantomRequest(kind="scintigraphy", seed=seed, variants=case, model="development"), place)
    images = open_study(place / "dicom")
    acceptance = ANALYZER.accepts(images.summary)
    assert isinstance(acceptance, Accept)
    reading = read_best_spect(images.with_roles(acceptance.roles), DEFAULTS)
    if not isinstance(reading, SpectReading) or reading.organs is None:
        return []
    true = true_foci(json.loads((place / "truth.json").read_text(encoding="utf-8")), place / "masks")
    field = Field.of(reading.volume, reading.organs.liver_zyx, reading.organs)
    samples = []
    for peak, evidence in weighed_peaks(field, DEFAULTS):
        near = [one for one in true if one.far_mm_zyx[peak] <= MATCH_MM]
        if near and all(one.group == "other" for one in near):
            continue
        samples.append(Sample(signs=signs(evidence), is_focus=bool(near)))
    return samples


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the weights."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.analyzers.scintigraphy_spect_calibration", description=__doc__
    )
    parser.add_argument("--usual", type=int, default=35, help="patients from seed 71001 on")
    parser.add_argument("--faint", type=int, default=40, help="patients with two sites from seed 72001 on")
    parser.add_argument("--phantoms", type=Path, help="folder that keeps the phantoms for another run")
    options = parser.parse_args(arguments)
    drawn = [(seed, drawn_spect_case(seed)) for seed in range(71_001, 71_001 + options.usual)]
    drawn += [(seed, drawn_faint_case(seed)) for seed in range(72_001, 72_001 + options.faint)]
    samples: list[Sample] = []
    with tempfile.TemporaryDirectory() as folder:
        for seed, case in drawn:
            samples += samples_of(seed, case, options.phantoms or Path(folder))
    rows = np.asarray([sample.signs for sample in samples], np.float64)
    is_focus = np.asarray([sample.is_focus for sample in samples], np.float64)
    print(f"{len(samples)} peaks, {int(is_focus.sum())} of them foci")
    for name, weight in zip(COEFFICIENTS, fitted(rows, is_focus), strict=True):
        print(f"{name:24s} {weight:+.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
