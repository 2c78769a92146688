"""Free response of the scintigraphy analyzer's focus detector: sensitivity against false foci per study.

``make bench-scintigraphy`` runs 512 evaluation phantoms and writes docs/benchmarks/scintigraphy-foci.md. A reported
focus belongs to a true one if their outlines come within 20 mm; what belongs to none is false.
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
from tests.analyzers.scintigraphy_cases import SITE_WEIGHTS
from tests.analyzers.scintigraphy_patients import CLEAR_MM, Model, Patient, TrueFocus, patient

MATCH_MM = 20.0
_THRESHOLDS = (0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.85, 0.95)


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


def page(reads: Sequence[Read], model: Model, first_seed: int) -> str:
    """The table as docs/benchmarks/scintigraphy-foci.md holds it."""
    chosen = DEFAULTS.focus_probability
    at = point_at(reads, chosen)
    lines = [
        "| quantity | value | must | holds |",
        "|---|---|---|---|",
        f"| studies ({model} model, seeds {first_seed} to {first_seed + len(reads) - 1}) | {len(reads)} | >= 500 |"
        f" {'yes' if len(reads) >= 500 else 'no'} |",
        f"| not assessed | {sum(not one.assessed for one in reads)} | | |",
        f"| foci >= 1 % of the liver's activity, clear of the liver: found | {proportion(at.found, at.targets)} |"
        f" >= 90 % | {'yes' if at.found >= 0.9 * at.targets else 'no'} |",
        f"| false foci per study | {at.false_per_study:.3f} | <= 0.5 |"
        f" {'yes' if at.false_per_study <= 0.5 else 'no'} |",
        f"| fainter or hidden foci: found | {proportion(at.found_hidden, at.hidden)} | reported | |",
        f"| device or pertechnetate called extrahepatic, per study | {at.misnamed_per_study:.3f} | reported | |",
    ]
    for site in SITE_WEIGHTS:
        count = sum(true.is_target and true.name == site for one in reads for true in one.foci)
        found = count - sum(
            true.is_target and true.name == site and true.name not in _seen(one, chosen)
            for one in reads
            for true in one.foci
        )
        lines.append(f"| ... {site} | {proportion(found, count)} | reported | |")
    lines += [
        "",
        "| probability at least | sensitivity | false foci per study | misnamed per study |",
        "|---|---|---|---|",
    ]
    for threshold in _THRESHOLDS:
        point = point_at(reads, threshold)
        mark = " (chosen)" if threshold == chosen else ""
        lines.append(
            f"| {threshold:.2f}{mark} | {proportion(point.found, point.targets)} | {point.false_per_study:.3f} |"
            f" {point.misnamed_per_study:.3f} |"
        )
    return "\n".join(lines) + "\n"


def document(reads: Sequence[Read], model: Model, first_seed: int) -> str:
    """The whole page: what was measured how, then the table."""
    return f"""# Scintigraphy: foci on planar views

Written by `make bench-scintigraphy`. Patients are drawn by seed (`tests/analyzers/scintigraphy_cases.py`): none to two
extrahepatic sites with the published frequencies, strength log-uniform from 0.5 to 15 % of the liver's activity, hot
catheter tips, free pertechnetate, high lung shunts and lobes without uptake besides; small matrices (128 x 128). The
evaluation phantoms have another blur, scatter and anatomy than the development phantoms on which every weight and
threshold was chosen (`tests/analyzers/scintigraphy_calibration.py`).

A target is a focus with at least 1 % of the liver's activity of whose brighter half (the pixels with at least half of
its highest projected uptake) one half or more lies {CLEAR_MM:.0f} mm or more from the projected liver. Found means
that a focus called extrahepatic, certain or possible, comes within {MATCH_MM:.0f} mm of it; one called a device or
physiologic does not count. False is what is near no true focus of any kind. Shares have their 95 % intervals (Wilson).

{page(reads, model, first_seed)}"""


def _seen(one: Read, threshold: float) -> frozenset[str]:
    return frozenset().union(*(item.matches for item in one.reported if item.probability >= threshold))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(prog="python -m tests.analyzers.scintigraphy_free_response", description=__doc__)
    parser.add_argument("--model", choices=["development", "evaluation"], default="evaluation")
    parser.add_argument("--studies", type=int, default=512)
    parser.add_argument("--first-seed", type=int, default=50001)
    parser.add_argument("--out", type=Path, help="write the page here")
    parser.add_argument("--phantoms", type=Path, help="folder that keeps the phantoms for another run")
    parser.add_argument(
        "--misses", action="store_true", help="print each target that was not found, and each false focus"
    )
    options = parser.parse_args(arguments)
    reads = []
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(options.first_seed, options.first_seed + options.studies):
            one = patient(seed, options.model, options.phantoms or Path(folder))
            reads.append(read(one, min(_THRESHOLDS)))
            if options.misses:
                _print_misses(one, reads[-1])
    if options.out is not None:
        options.out.write_text(document(reads, options.model, options.first_seed), encoding="utf-8")
    print(page(reads, options.model, options.first_seed), end="")
    return 0


def _print_misses(one: Patient, outcome: Read) -> None:
    seen = _seen(outcome, DEFAULTS.focus_probability)
    for true in outcome.foci:
        if true.is_target and true.name not in seen:
            print(f"missed {one.seed} {true.name} {true.liver_share_fraction:.3f} clear {true.clear_fraction:.2f}")
    for item in outcome.reported:
        if item.probability >= DEFAULTS.focus_probability and not item.matches:
            print(f"false {one.seed} probability {item.probability:.2f} {' '.join(one.case)}")


if __name__ == "__main__":
    sys.exit(main())
