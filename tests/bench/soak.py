"""`make soak`: very many objects over very many associations, and very many kills; leaves ``docs/benchmarks/soak``.

Both parts can be run alone and shorter; the table says how much was run. Of a part that is left out the rows of the
last table stay.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import json
import operator
import os
import platform
import shutil
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import psutil

from scp_node.inbound.notices import CAPACITY_BYTES
from scp_node.store.database import Database
from tests.bench.kills import Load, Outcome, Victim, examined, kill_often
from tests.bench.prepared_objects import PreparedObjects, Sender, instance_uid
from tests.node.network import REPOSITORY, Site, eventually, make_site, peers_toml

WHOLE_OBJECTS, WHOLE_ASSOCIATIONS, WHOLE_KILLS = 200_000, 2_000, 1_000
KILLS_AT_A_TIME = 100
SAMPLE_S = 1.0
LEAST_OBJECTS = 10_000
"""A shorter load is over before there is anything to compare."""
BYTES_OF_NOTICE = 185
MOST_BACKLOG = CAPACITY_BYTES // BYTES_OF_NOTICE + 1_000
"""Objects: a full pipe, and what the recorder has in hand."""
WARM_UP_ASSOCIATIONS = 200
"""Before these the allocator's arenas have not grown to what the associations at a time need; nothing is sampled."""
GROWTH = 1.10
"""Of resident memory, last tenth over first; the allocator is never quite still."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One row of the table."""

    name: str
    value: float
    must: str | None
    aim: str | None
    holds: bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One process at one moment."""

    resident_mb: float
    threads: int
    descriptors: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Endurance:
    """What the long load left."""

    outcome: Outcome
    associations: int
    failed: int
    seconds: float
    receiver: tuple[Sample, ...]
    recorder: tuple[Sample, ...]
    backlogs: tuple[int, ...]


def endure(site: Site, journal: Path, *, objects: int, associations: int, senders: int) -> Endurance:
    """Send ``objects`` over ``associations``, ``senders`` at a time, to one receiver with its recorder."""
    victim = Victim(site, journal)
    per_association = -(-objects // associations)
    load = Load(port=site.port, threads=senders, objects=PreparedObjects.small(), per_study=per_association)
    failures: list[str] = []
    over: list[int] = []
    samples: tuple[list[Sample], list[Sample]] = ([], [])
    backlogs: list[int] = []

    def send(study: int) -> None:
        first = study * per_association
        try:
            with Sender(site.port) as link:
                for number in range(first, min(first + per_association, objects)):
                    if link.store(instance_uid(number), load.dataset(number)) == 0:
                        load.acknowledged.add(number)
        except OSError as fault:
            failures.append(str(fault))
        over.append(study)

    started_s = time.monotonic()
    ended = threading.Event()
    try:
        with contextlib.closing(Database.open(site.data, migrate=False)) as database:
            watching = threading.Thread(target=_watch, args=(victim, samples, backlogs, load, over, database, ended))
            watching.start()
            with ThreadPoolExecutor(senders) as pool:
                list(pool.map(send, range(associations)))
            seconds = time.monotonic() - started_s
            ended.set()
            watching.join()
            eventually(lambda: _recorded(database) >= len(load.acknowledged), within_s=120.0)
        victim.stop()
        orphans = 0 if eventually(lambda: not victim.family()) else len(victim.family())
    finally:
        ended.set()
        victim.close()
    return Endurance(
        outcome=examined(site, load, kills=0, orphans=orphans),
        associations=associations - len(failures),
        failed=len(failures),
        seconds=seconds,
        receiver=tuple(samples[0]),
        recorder=tuple(samples[1]),
        backlogs=tuple(backlogs),
    )


def _watch(
    victim: Victim,
    samples: tuple[list[Sample], list[Sample]],
    backlogs: list[int],
    load: Load,
    over: Sequence[int],
    database: Database,
    ended: threading.Event,
) -> None:
    while not ended.wait(SAMPLE_S):
        recorder = victim.recorder()
        if recorder is None or len(over) < WARM_UP_ASSOCIATIONS:
            continue
        for found, process in zip(samples, (victim.receiver, recorder), strict=True):
            with process.oneshot():
                found.append(
                    Sample(
                        resident_mb=process.memory_info().rss / 1e6,
                        threads=process.num_threads(),
                        descriptors=process.num_fds(),
                    )
                )
        # In this order: what is recorded in between makes it smaller than it was, never larger.
        count = len(load.acknowledged)
        backlogs.append(max(0, count - _recorded(database)))


def _recorded(database: Database) -> int:
    with database.reading() as connection:
        return int(connection.exec_driver_sql("SELECT count(*) FROM instance").scalar_one())


def _tenths(samples: Sequence[Sample], measure: Callable[[Sample], float]) -> tuple[float, float]:
    """Medians of the first and the last tenth of the time."""
    count = max(1, len(samples) // 10)
    values = [measure(sample) for sample in samples]
    return statistics.median(values[:count]), statistics.median(values[-count:])


def _endurance_lines(found: Endurance, objects: int, associations: int) -> list[Line]:
    lines = [
        _at_least("objects acknowledged", found.outcome.acknowledged, objects),
        _at_least("associations", found.associations, associations),
        _reported("objects/s", round(found.outcome.acknowledged / found.seconds, 1)),
        *_fault_lines("load", found.outcome),
        _at_most("load: most objects acknowledged and not yet recorded", max(found.backlogs, default=0), MOST_BACKLOG),
    ]
    for name, samples in (("receiver", found.receiver), ("recorder", found.recorder)):
        first, last = _tenths(samples, lambda one: one.resident_mb)
        lines += [
            _reported(f"{name}: resident MB, first tenth", round(first, 1)),
            _at_most(f"{name}: resident MB, last tenth", round(last, 1), round(first * GROWTH, 1)),
        ]
        for what, measure in (("threads", _threads), ("descriptors", _descriptors)):
            first, last = _tenths(samples, measure)
            lines += [
                _reported(f"{name}: {what}, first tenth", first),
                # An association more or less is open at one moment or another: two threads, two descriptors each.
                _at_most(f"{name}: {what}, last tenth", last, first + 4),
            ]
    return lines


def _threads(sample: Sample) -> float:
    return sample.threads


def _descriptors(sample: Sample) -> float:
    return sample.descriptors


def _kill_lines(found: Outcome, kills: int) -> list[Line]:
    return [
        _at_least("kills", found.kills, kills),
        _reported("kills: objects acknowledged", found.acknowledged),
        _reported("kills: of these written past the cache (70 and 600 kB)", found.direct),
        _reported("kills: of these larger than the receive buffer (2.4 MB)", found.spilt),
        _reported("kills: associations begun again", found.sent_again),
        *_fault_lines("kills", found),
    ]


def _fault_lines(part: str, found: Outcome) -> list[Line]:
    names = {
        "missing": "acknowledged but missing",
        "twice": "present twice",
        "half": "half files visible",
        "orphans": "orphan processes",
    }
    return [_at_most(f"{part}: {names[key]}", value, 0) for key, value in found.faults.items()]


def _at_least(name: str, value: float, limit: float) -> Line:
    return Line(name=name, value=value, must=f"≥ {limit}", aim=None, holds=value >= limit)


def _at_most(name: str, value: float, limit: float) -> Line:
    return Line(name=name, value=value, must=f"≤ {limit}", aim=None, holds=value <= limit)


def _reported(name: str, value: float) -> Line:
    return Line(name=name, value=value, must=None, aim=None, holds=None)


def kept(folder: Path, *, kills: bool) -> list[Line]:
    """The rows of one part in the last table; none if there is no table."""
    table = folder / "soak.json"
    rows = json.loads(table.read_text(encoding="utf-8"))["rows"] if table.exists() else []
    return [Line(**row) for row in rows if row["name"].startswith("kills") == kills]


def extent_of(lines: Sequence[Line]) -> str:
    """How much was run, as a sentence."""
    values = {line.name: line.value for line in lines}
    is_whole = values.get("objects acknowledged", 0) >= WHOLE_OBJECTS and values.get("kills", 0) >= WHOLE_KILLS
    return "The whole run." if is_whole else "A REDUCED run: the whole one has 200,000 objects and 1,000 kills."


def write(lines: Sequence[Line], folder: Path) -> None:
    """Leave ``soak.md`` and ``soak.json``."""
    extent = extent_of(lines)
    now, machine = f"{datetime.now(UTC):%Y-%m-%d}", _machine()
    told = {"rows": [asdict(line) for line in lines], "machine": machine, "date": now, "runs": 1}
    text = [
        "# Soak: one receiver and its recorder under a long load, and killed again and again",
        "",
        f"Made by `make soak`; do not edit. {now}. {extent}",
        f"Machine: {machine}.",
        "",
        "Objects from senders on the same machine: of 1.3 kB under the long load, of 1.3 kB to 2.4 MB under the kills,",
        "so that each way of writing one is killed. Tenths are of the time after the first",
        f"{WARM_UP_ASSOCIATIONS} associations; values in them are medians.",
        "After the end every row was compared with what had been acknowledged, and the bytes of every file with what",
        "had been sent. A kill is SIGKILL to the receiver, its recorder or both at once, at a random moment; then the",
        f"next is started. After each {KILLS_AT_A_TIME} kills what is left is examined, and a new spool begun.",
        "",
        "| what | value | must | holds |",
        "|---|--:|---|---|",
    ]
    verdicts = {True: "yes", False: "NO", None: "reported"}
    text += [f"| {line.name} | {line.value:g} | {line.must or ''} | {verdicts[line.holds]} |" for line in lines]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "soak.md").write_text("\n".join(text) + "\n", encoding="utf-8")
    (folder / "soak.json").write_text(json.dumps(told, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _machine() -> str:
    names = [line for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines() if "model name" in line]
    cpu = names[0].partition(": ")[2] if names else platform.machine()
    memory_gib = psutil.virtual_memory().total / 1024**3
    system = f"Linux {platform.release()}, Python {platform.python_version()}"
    return f"{os.cpu_count()} x {cpu}, {memory_gib:.0f} GiB, {system}"


def _killed(work: Path, kills: int, seed: int) -> Outcome:
    """Kill so many times, a hundred on each spool: what a thousand leave would fill a disk."""
    found: list[Outcome] = []
    for start in range(0, kills, KILLS_AT_A_TIME):
        folder = work / f"kills-{start}"
        found.append(
            kill_often(
                _site(folder),
                work / f"kills-{start}.journal",
                kills=min(KILLS_AT_A_TIME, kills - start),
                senders=3,
                seed=seed + start,
            )
        )
        print(found[-1], flush=True)
        shutil.rmtree(folder)
    return functools.reduce(operator.add, found)


def _site(folder: Path) -> Site:
    folder.mkdir()
    site = make_site(folder, peers=peers_toml())
    settings = site.config / "node.toml"
    settings.write_text(settings.read_text().replace('log_level = "debug"', 'log_level = "warning"'))
    return site


def main(arguments: Sequence[str]) -> int:
    """Run both parts, write the table; 1 if something does not hold."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.soak", description=__doc__)
    parser.add_argument("--objects", type=int, default=WHOLE_OBJECTS, help="0 leaves the load out")
    parser.add_argument("--associations", type=int, help="default: one for each 100 objects")
    parser.add_argument("--senders", type=int, default=6, help="associations at a time")
    parser.add_argument("--kills", type=int, default=WHOLE_KILLS, help="0 leaves the kills out")
    parser.add_argument("--seed", type=int, default=1, help="of the moments of the kills")
    parser.add_argument("--out", type=Path, default=REPOSITORY / "docs" / "benchmarks")
    options = parser.parse_args(arguments)
    if 0 < options.objects < LEAST_OBJECTS:
        parser.error(f"--objects: 0, or {LEAST_OBJECTS} and more")
    associations = options.associations or max(1, options.objects // (WHOLE_OBJECTS // WHOLE_ASSOCIATIONS))
    load = kept(options.out, kills=False) if not options.objects else []
    deaths = kept(options.out, kills=True) if not options.kills else []
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        if options.objects:
            found = endure(
                _site(work / "load"),
                work / "load.journal",
                objects=options.objects,
                associations=associations,
                senders=options.senders,
            )
            load = _endurance_lines(found, options.objects, associations)
        if options.kills:
            deaths = _kill_lines(_killed(work, options.kills, options.seed), options.kills)
    lines = [*load, *deaths]
    write(lines, options.out)
    failing = [line.name for line in lines if line.holds is False]
    print(f"{len(lines)} rows, failing: {', '.join(failing) or 'none'}")
    return 1 if failing else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
