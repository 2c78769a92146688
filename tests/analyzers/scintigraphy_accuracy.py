"""How near the scintigraphy analyzer comes to the truth of phantoms it was not developed on.

``make bench-accuracy`` draws evaluation phantoms by seed, reads them in two processes, and writes
docs/benchmarks/scintigraphy.md and .json. One study in eight has lateral views. Rows of a SPECT benchmark are taken in
where it left docs/benchmarks/scintigraphy-spect.json.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from analyzers.scintigraphy.lobes import LobeUptake
from analyzers.scintigraphy.planar import PlanarReading
from analyzers.scintigraphy.reading import read_study
from analyzers.scintigraphy.shunt import LungShunt
from analyzers.scintigraphy.shunt_words import shunt_limits
from analyzers.scintigraphy.thresholds import DEFAULTS
from tests.analyzers.scintigraphy_free_response import THRESHOLDS, Read, read
from tests.analyzers.scintigraphy_patients import Model, Patient, patient
from tests.analyzers.scintigraphy_report import one_study_costs, write_report

LATERALS_EVERY = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """A fraction: what was true, what was said, and its stated interval."""

    true: float
    said: float
    low: float
    high: float

    @property
    def error(self) -> float:
        """Said less true."""
        return self.said - self.true

    @property
    def held(self) -> bool:
        """Whether the interval holds the truth."""
        return self.low <= self.true <= self.high


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One study: what was true, what was said.

    Attributes
    ----------
    reasons : tuple of str
        Why nothing was measured; empty where it was.
    shunt : Measured or None
        Lung shunt fraction, corrected; ``None`` where it was not measured.
    raw_shunt : float or None
    shunt_limited : bool
        It was said to be limited.
    left_share : Measured or None
        Share left of the dividing line.
    missing_lobe, said_missing : str
        ``left``, ``right`` or empty.
    free_response : Read
        With the operating point moved down.
    """

    seed: int
    case: tuple[str, ...]
    reasons: tuple[str, ...]
    shunt: Measured | None
    raw_shunt: float | None
    shunt_limited: bool
    left_share: Measured | None
    missing_lobe: str
    said_missing: str
    free_response: Read


def assess(seed: int, model: Model, folder: Path | None) -> Outcome:
    """Make one phantom (kept where a folder is given), read it, compare."""
    extra = ("laterals",) if seed % LATERALS_EVERY == 0 else ()
    with tempfile.TemporaryDirectory() as own:
        one = patient(seed, model, folder or Path(own), extra)
        low = min(THRESHOLDS)
        reading = read_study(one.images, DEFAULTS).planar
        return compared(one, reading, read(one, low))


def compared(one: Patient, reading: object, free_response: Read) -> Outcome:
    """Compare a reading with the truth of its phantom."""
    missing = next((side for side in ("left", "right") if f"missing-{side}-lobe" in one.case), "")
    outcome = Outcome(
        seed=one.seed,
        case=one.case,
        reasons=tuple(getattr(reading, "reasons", ("no planar views",))),
        shunt=None,
        raw_shunt=None,
        shunt_limited=False,
        left_share=None,
        missing_lobe=missing,
        said_missing="",
        free_response=free_response,
    )
    if not isinstance(reading, PlanarReading):
        return outcome
    split, shunt = reading.split, reading.shunt
    said = {LobeUptake.NO_LEFT: "left", LobeUptake.NO_RIGHT: "right", LobeUptake.BOTH: ""}[split.uptake]
    outcome = replace(
        outcome,
        reasons=(),
        said_missing=said,
        left_share=Measured(
            true=one.left_share_fraction,
            said=split.left_share_fraction,
            low=split.left_share_low,
            high=split.left_share_high,
        ),
    )
    if not isinstance(shunt, LungShunt):
        return outcome
    measured = Measured(
        true=one.lung_shunt_fraction, said=shunt.corrected, low=shunt.corrected_low, high=shunt.corrected_high
    )
    return replace(outcome, shunt=measured, raw_shunt=shunt.raw, shunt_limited=bool(shunt_limits(reading, shunt)))


def printed(outcome: Outcome) -> str:
    """One line for each study."""
    if outcome.reasons:
        return f"{outcome.seed} {'+'.join(outcome.case)} NOT ASSESSED {'; '.join(outcome.reasons)}"
    parts = [f"{outcome.seed} {'+'.join(outcome.case)}"]
    for name, value in (("LSF", outcome.shunt), ("left", outcome.left_share)):
        if value is not None:
            outside = "" if value.held else " OUTSIDE"
            parts.append(f"{name} {value.true:.3f} -> {value.said:.3f} ({value.low:.3f} to {value.high:.3f}){outside}")
    parts.append(f"missing '{outcome.missing_lobe}' said '{outcome.said_missing}'")
    return " | ".join(parts)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(prog="python -m tests.analyzers.scintigraphy_accuracy", description=__doc__)
    parser.add_argument("--model", choices=["development", "evaluation"], default="evaluation")
    parser.add_argument("--studies", type=int, default=512)
    parser.add_argument("--first-seed", type=int, default=80001)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path, help="folder for scintigraphy.md and scintigraphy.json")
    parser.add_argument("--phantoms", type=Path, help="folder that keeps the phantoms for another run")
    options = parser.parse_args(arguments)
    seeds = range(options.first_seed, options.first_seed + options.studies)
    outcomes = []
    with ProcessPoolExecutor(max_workers=options.workers) as pool:
        count = len(seeds)
        for outcome in pool.map(assess, seeds, [options.model] * count, [options.phantoms] * count):
            outcomes.append(outcome)
            print(printed(outcome), flush=True)
    write_report(outcomes, options.model, one_study_costs(), options.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
