"""One run: start a receiver, send, and check what it holds before it is believed how fast it was."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

from scp_node.pipeline.children import LEASH, kill_group
from scp_node.settings.node import AnalysisSettings
from tests.bench.images import ImageSet, sop_instance_uid
from tests.bench.programs import BenchError
from tests.bench.receivers import CALLED, CALLING, Receiver, running
from tests.node.network import REPOSITORY, dataset_bytes, dcmtk

SAMPLE = 50
"""Objects of a run that are compared byte by byte."""
ANALYSES = 2
WARM_UP_ASSOCIATIONS = 8
_LAST_ROW_S = 60.0
_SEND_S = 300.0
_WARM_UP_S = 3.0
REST_S = 65.0
"""Between a removal of what was stored and the next run. Without a journal ext4 gives no inode away within 60 s of the
removal of its file, and looks through all such for each new file: who came after much had been removed would pay for
it, and a receiver in use does not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What is measured."""

    receiver: type[Receiver]
    images: str
    associations: int
    stock: bool = False
    """With the stock ``dcmsend`` and without TCP_NODELAY for anybody."""
    busy: bool = False
    """While two analyses run."""

    @property
    def name(self) -> str:
        """For people."""
        extra = ", stock dcmsend" * self.stock + ", two analyses" * self.busy
        return f"{self.receiver.name}: {self.images}, {self.associations} assoc.{extra}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One run of a case."""

    count: int
    acknowledged_s: float
    """Until the last success came back."""
    recorded_s: float
    """Until the last row was committed; the same where the receiver has no index of its own behind."""
    peaks_mb: dict[str, float]
    cpu_s: dict[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """What every run needs."""

    sender: Path
    work: Path
    """For what senders and analyses need."""
    stores: Path
    """Where the receivers' folders are made."""
    study: Path
    """Folder of a small phantom for the analyses."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Times:
    """On the monotonic clock."""

    begin_s: float
    acknowledged_s: float
    recorded_s: float


def measure(case: Case, images: ImageSet, warm_up: ImageSet, tools: Tools, seed: int) -> Measured:
    """Run a case once, on a receiver that has taken a few other objects before, as one in use has.

    Raises
    ------
    BenchError
        If anything is not as it must be: statuses, counts, rows, bytes, processes.
    """
    folder = Path(tempfile.mkdtemp(prefix="run-", dir=tools.stores)) / "receiver"
    with running(case.receiver, folder, no_delay=not case.stock) as receiver:
        warm = replace(case, images=warm_up.name, associations=WARM_UP_ASSOCIATIONS, stock=False)
        _send(warm, warm_up, receiver, tools, rows=len(warm_up.files))
        rows = len(warm_up.files) + len(images.files)
        before_s = receiver.cpu_s()
        with analyses(tools) if case.busy else nullcontext():
            times = (_send_stock if case.stock else _send)(case, images, receiver, tools, rows=rows)
        peaks, after_s = receiver.peaks_mb(), receiver.cpu_s()
        receiver.end()
        _check(receiver, (*warm_up.files, *images.files), seed)
    return Measured(
        count=len(images.files),
        acknowledged_s=times.acknowledged_s - times.begin_s,
        recorded_s=times.recorded_s - times.begin_s,
        peaks_mb=peaks,
        cpu_s={role: spent - before_s.get(role, 0.0) for role, spent in after_s.items()},
    )


# --- sending ---


def _send(case: Case, images: ImageSet, receiver: Receiver, tools: Tools, *, rows: int) -> _Times:
    """By our sender; ``rows`` are in the index when all is recorded."""
    listed = tools.work / "files.txt"
    listed.write_text("".join(f"{file}\n" for file in images.files))
    command = [str(tools.sender), str(receiver.port), CALLED, CALLING, str(case.associations), str(listed)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as sender:
        assert sender.stdout is not None
        told: list[list[str]] = []
        # The time is told last; the sender then takes a while to end, which is not the receiver's.
        while (not told or told[-1][0] != "time") and (line := sender.stdout.readline()):
            told.append(line.split())
        recorded_s = _last_row_s(receiver, rows)
    if sender.returncode or told[:-1] != [["status", "0000", str(len(images.files))]]:
        raise BenchError(f"{case.name}: not every object was stored (exit code {sender.returncode}): {told[:-1]}")
    begin_s, end_s = map(float, told[-1][1:])
    return _Times(begin_s=begin_s, acknowledged_s=end_s, recorded_s=max(end_s, recorded_s))


def _send_stock(case: Case, images: ImageSet, receiver: Receiver, _tools: Tools, *, rows: int) -> _Times:
    """By several of DCMTK's ``dcmsend``; from the start of the first to the end of the last."""
    environment = {name: value for name, value in os.environ.items() if name != "TCP_NODELAY"}
    begin_s = time.monotonic()
    senders = []
    for number in range(case.associations):
        command = [dcmtk("dcmsend"), "-aet", CALLING, "-aec", CALLED, "127.0.0.1", str(receiver.port)]
        command += [str(file) for file in images.files[number :: case.associations]]
        senders.append(subprocess.Popen(command, env=environment))
    codes = [sender.wait(_SEND_S) for sender in senders]
    end_s = time.monotonic()
    if any(codes):
        raise BenchError(f"{case.name}: dcmsend failed: {codes}")
    recorded_s = _last_row_s(receiver, rows)
    return _Times(begin_s=begin_s, acknowledged_s=end_s, recorded_s=max(end_s, recorded_s))


def _last_row_s(receiver: Receiver, expected: int) -> float:
    """Wait until every row is there; when that was seen, or 0 where rows come before answers."""
    recorded = receiver.recorded()
    if recorded is None:
        return 0.0
    deadline_s = time.monotonic() + _LAST_ROW_S
    while recorded < expected:
        if time.monotonic() > deadline_s:
            raise BenchError(f"{receiver.name}: {recorded} of {expected} rows after {_LAST_ROW_S:g} s")
        time.sleep(0.002)
        recorded = receiver.recorded() or 0
    return time.monotonic()


# --- checks ---


def _check(receiver: Receiver, files: Sequence[Path], seed: int) -> None:
    """Every object once, rows as many, a sample byte by byte."""
    sent = {sop_instance_uid(file): file for file in files}
    held = [file for file in receiver.storage().rglob("*") if file.is_file() and _is_part10(file)]
    stored = {sop_instance_uid(file): file for file in held}
    if len(held) != len(sent) or stored.keys() != sent.keys():
        raise BenchError(f"{receiver.name} holds {len(held)} files of {len(stored)} objects, {len(sent)} were sent")
    rows = receiver.rows()
    if rows is not None and rows != len(sent):
        raise BenchError(f"{receiver.name} has {rows} rows of {len(sent)} objects")
    for uid in random.Random(seed).sample(  # noqa: S311 - a sample, not a secret
        sorted(sent), min(SAMPLE, len(sent))
    ):
        if dataset_bytes(sent[uid]) != dataset_bytes(stored[uid]):
            raise BenchError(f"{receiver.name} changed object {uid}")


def _is_part10(file: Path) -> bool:
    with file.open("rb") as content:
        return content.read(132)[128:] == b"DICM"


# --- the load ---


@contextmanager
def analyses(tools: Tools) -> Iterator[None]:
    """Keep analyses of a phantom running one after the other, as the node runs them: same command, same niceness."""
    stop = threading.Event()
    faults: list[str] = []
    threads = [threading.Thread(target=_analyse, args=(tools, n, stop, faults)) for n in range(ANALYSES)]
    for thread in threads:
        thread.start()
    # Both are past their imports and compute.
    time.sleep(_WARM_UP_S)
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    if faults:
        raise BenchError(faults[0])


def _analyse(tools: Tools, number: int, stop: threading.Event, faults: list[str]) -> None:
    turn = 0
    while not stop.is_set() and not faults:
        turn += 1
        out = tools.work / f"analysis-{number}-{turn}"
        command = [sys.executable, "-I", "-S", str(LEASH), str(AnalysisSettings().niceness)]
        command += [sys.executable, "-m", "analyzers", "cta", str(tools.study), str(out)]
        child = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True, cwd=REPOSITORY
        )
        while child.poll() is None and not stop.wait(0.05):
            pass
        if child.poll() is None:
            kill_group(child.pid)
        elif child.returncode:
            faults.append(f"an analysis failed with exit code {child.returncode}")
        child.wait()
        shutil.rmtree(out, ignore_errors=True)
