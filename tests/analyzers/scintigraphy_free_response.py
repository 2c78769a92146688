"""Free response of the scintigraphy analyzer's focus detector: sensitivity against false foci per study.

A reported focus belongs to a true one if their outlines come within 20 mm; what belongs to none is false. The module's
command is for development: it lists what was missed and what was false. ``make bench-accuracy`` writes the table.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from analyzers.scintigraphy.answer import is_extrahepatic
from analyzers.scintigraphy.planar import PlanarReading
from analyzers.scintigraphy.reading import read_study
from analyzers.scintigraphy.thresholds import DEFAULTS
from analyzers.scintigraphy.whereabouts import Origin
from tests.analyzers.scintigraphy_patients import Patient, TrueFocus, patient

MATCH_MM = 20.0
THRESHOLDS = (0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.85, 0.95)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reported:
    """A focus that the analyzer called extrahepatic, possible ones included."""

    probability: float
    ambiguous: bool
    matches: frozenset[str]
    """Names of true foci near it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """One study."""

    foci: tuple[TrueFocus, ...]
    reported: tuple[Reported, ...]
    assessed: bool


def read(one: Patient, least_probability: float) -> Read:
    """Read a patient with the operating point moved down, so that the curve can be drawn above it."""
    reading = read_study(one.images, replace(DEFAULTS, focus_probability=least_probability)).planar
    if not isinstance(reading, PlanarReading):
        return Read(foci=one.foci, reported=(), assessed=False)
    return Read(
        foci=one.foci,
        assessed=True,
        reported=tuple(
            Reported(
                probability=item.focus.probability,
                ambiguous=item.whereabouts.origin is Origin.AMBIGUOUS,
                matches=frozenset(true.name for true in one.foci if true.distance_mm(item.focus.mask_yx) <= MATCH_MM),
            )
            for item in reading.foci
            if is_extrahepatic(item)
        ),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One operating point."""

    threshold: float
    found: int
    targets: int
    found_hidden: int
    hidden: int
    false_per_study: float
    misnamed_per_study: float


def point_at(reads: Sequence[Read], threshold: float) -> Point:
    """Count at one threshold of the probability."""
    found = targets = found_hidden = hidden = false = misnamed = 0
    for one in reads:
        kept = [item for item in one.reported if item.probability >= threshold]
        seen = frozenset().union(*(item.matches for item in kept))
        for true in one.foci:
            if true.is_target:
                targets, found = targets + 1, found + (true.name in seen)
            elif true.origin == "extrahepatic":
                hidden, found_hidden = hidden + 1, found_hidden + (true.name in seen)
        origins = {true.name: true.origin for true in one.foci}
        false += sum(not item.matches for item in kept)
        misnamed += sum(
            bool(item.matches)
            and not item.ambiguous
            and all(origins[name] != "extrahepatic" for name in item.matches)
            for item in kept
        )  # fmt: skip
    return Point(
        threshold=threshold,
        found=found,
        targets=targets,
        found_hidden=found_hidden,
        hidden=hidden,
        false_per_study=false / len(reads),
        misnamed_per_study=misnamed / len(reads),
    )


def interval(found: int, count: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a proportion."""
    if not count:
        return 0.0, 1.0
    z, share = 1.96, found / count
    middle = (share + z**2 / (2 * count)) / (1 + z**2 / count)
    half = z * np.sqrt(share * (1 - share) / count + z**2 / (4 * count**2)) / (1 + z**2 / count)
    return float(middle - half), float(middle + half)


def proportion(found: int, count: int) -> str:
    """For a table."""
    low, high = interval(found, count)
    return f"{found} of {count} ({100 * found / max(count, 1):.0f} %, {100 * low:.0f} to {100 * high:.0f} %)"


def names_seen(one: Read, threshold: float) -> frozenset[str]:
    """Names of true foci near a reported one."""
    return frozenset().union(*(item.matches for item in one.reported if item.probability >= threshold))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(prog="python -m tests.analyzers.scintigraphy_free_response", description=__doc__)
    parser.add_argument("--model", choices=["development", "evaluation"], default="development")
    parser.add_argument("--studies", type=int, default=96)
    parser.add_argument("--first-seed", type=int, default=20001)
    parser.add_argument("--phantoms", type=Path, help="folder that keeps the phantoms for another run")
    options = parser.parse_args(arguments)
    reads = []
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(options.first_seed, options.first_seed + options.studies):
            one = patient(seed, options.model, options.phantoms or Path(folder))
            reads.append(read(one, min(THRESHOLDS)))
            _print_misses(one, reads[-1])
    for threshold in THRESHOLDS:
        point = point_at(reads, threshold)
        print(f"{threshold:.2f}: {proportion(point.found, point.targets)}, {point.false_per_study:.3f} false per study")
    return 0


def _print_misses(one: Patient, outcome: Read) -> None:
    seen = names_seen(outcome, DEFAULTS.focus_probability)
    for true in outcome.foci:
        if true.is_target and true.name not in seen:
            print(f"missed {one.seed} {true.name} {true.liver_share_fraction:.3f} clear {true.clear_fraction:.2f}")
    for item in outcome.reported:
        if item.probability >= DEFAULTS.focus_probability and not item.matches:
            print(f"false {one.seed} probability {item.probability:.2f} {' '.join(one.case)}")


if __name__ == "__main__":
    sys.exit(main())
