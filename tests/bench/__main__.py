"""The benchmark of receiving: ``python -m tests.bench [--runs N] [--out FOLDER]``, or ``make bench``.

A run that fails, or whose check afterwards does, is noted and in no ratio; the others go on.

Exit status: 0, 1 if a row does not hold what it must, 2 if the bench could not be run or a run failed.
"""

from __future__ import annotations

import argparse
import os
import platform
import random
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import psutil
from rich.console import Console

from tests.bench.images import ImageSet, image_sets
from tests.bench.measuring import REST_S, SAMPLE, Case, Tools, measure
from tests.bench.plan import STOCK_OBJECTS, Round, cases
from tests.bench.programs import BenchError, compiled, versions
from tests.bench.receivers import ReferenceReceiver
from tests.bench.tables import Setting, failing, show, write
from tests.node.network import REPOSITORY

EXIT_OK, EXIT_TOO_SLOW, EXIT_FAILED = 0, 1, 2


def main() -> int:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--runs", type=int, default=7, help="interleaved runs (default 7)")
    parser.add_argument("--only", default="", help="only the cases with these words in their name; writes nothing")
    parser.add_argument("--out", type=Path, default=REPOSITORY / "docs" / "benchmarks", help="folder of the tables")
    parser.add_argument("--work", type=Path, help="existing folder on a local disk for what the receivers store")
    options = parser.parse_args()
    console = Console(width=160)
    with tempfile.TemporaryDirectory(prefix="hai-bench-", dir=options.work) as work:
        try:
            setting = _setting(Path(work))
            rounds, faults = _measure_all(options.runs, options.only, Path(work), console)
        except BenchError as fault:
            console.print(f"the bench failed: {fault}", style="red", markup=False)
            return EXIT_FAILED
    for failed in faults:
        console.print(f"failed: {failed}", style="red", markup=False)
    if options.only:
        return EXIT_FAILED if faults else EXIT_OK
    show(rounds, console)
    write(rounds, replace(setting, faults=tuple(faults)), options.out)
    for name in failing(rounds):
        console.print(f"does not hold: {name}", markup=False)
    if faults:
        return EXIT_FAILED
    return EXIT_TOO_SLOW if failing(rounds) else EXIT_OK


def _measure_all(runs: int, only: str, work: Path, console: Console) -> tuple[list[Round], list[str]]:
    console.print("making the images, once")
    images = image_sets()
    ReferenceReceiver.program = compiled("reference_receiver", work)
    stores = work / "stores"
    tools = Tools(sender=compiled("sender", work), work=work, stores=stores, study=_phantom(work))
    rounds: list[Round] = []
    faults: list[str] = []
    for number in range(1, runs + 1):
        measured: Round = {}
        stores.mkdir()
        for case in _order(number):
            if only not in case.name:
                continue
            try:
                one = measure(case, _images(case, images), images["warm-up"], tools, seed=number)
            except (BenchError, OSError, psutil.Error, subprocess.SubprocessError, sqlite3.Error) as fault:
                # One receiver that stumbles once must not cost the measurement of all others.
                faults.append(f"run {number}, {case.name}: {str(fault) or type(fault).__name__}")
                console.print(f"{number:2d}/{runs} {faults[-1]}", style="red", markup=False, highlight=False)
                continue
            measured[case] = one
            rates = f"{one.count / one.recorded_s:9.1f}/s {one.count / one.acknowledged_s:9.1f}/s acknowledged"
            console.print(f"{number:2d}/{runs} {case.name:45s} {rates}", markup=False, highlight=False)
        # In the same order whatever the order of measuring was.
        rounds.append({case: measured[case] for group in cases() for case in group if case in measured})
        # Not later: what is kept fills the memory of the system, and peers that write through it would pay for it.
        shutil.rmtree(stores)
        if number < runs:
            os.sync()
            time.sleep(REST_S)
    return rounds, faults


def _order(number: int) -> list[Case]:
    """The cases of a round: groups one after the other, each shuffled, so that none is always the first."""
    shuffle = random.Random(number).sample  # noqa: S311 - an order, not a secret
    return [case for group in cases() for case in shuffle(group, len(group))]


def _images(case: Case, images: dict[str, ImageSet]) -> ImageSet:
    chosen = images[case.images]
    return chosen.first(STOCK_OBJECTS) if case.stock else chosen


def _phantom(work: Path) -> Path:
    """A small study for the analyses that run while receiving is measured."""
    folder = work / "phantom"
    command = [sys.executable, "-m", "analyzers.phantoms", "cta", str(folder), "--size", "small"]
    subprocess.run(command, check=True, capture_output=True, cwd=REPOSITORY)
    return folder / "dicom"


def _setting(work: Path) -> Setting:
    cpu = next(
        (line.split(": ")[1] for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line),
        platform.machine(),
    )
    kind = subprocess.run(["stat", "-f", "-c", "%T", work], capture_output=True, text=True, check=True).stdout.strip()
    memory_gib = psutil.virtual_memory().total / 1024**3
    machine = (
        f"{os.cpu_count()} x {cpu}, {memory_gib:.0f} GiB, Linux {platform.release()}, file system {kind}, "
        f"Python {platform.python_version()}, {versions()}"
    )
    return Setting(machine=machine, date=f"{datetime.now(UTC):%Y-%m-%d}", sample=SAMPLE, stock_objects=STOCK_OBJECTS)


if __name__ == "__main__":
    sys.exit(main())
