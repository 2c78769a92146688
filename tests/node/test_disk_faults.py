"""A disk that is full, broken or read-only under a real receiver and its recorder: refused or kept, never lost."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import select
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pydicom
import pytest

from scp_node.inbound.listener import MOST_BLANKS
from scp_node.inbound.notices import CAPACITY_BYTES, Ended, Lost, Notice, NoticeReader, NoticeWriter
from scp_node.inbound.recorder_process import RecorderProcess
from scp_node.metrics import ReceiverCounts
from scp_node.receivers import Receivers
from scp_node.store.database import Database
from scp_node.store.overview import Overview
from scp_node.store.refusals import Refusals
from scp_node.store.studies import StudyStore
from tests.node.faulty_disk import FaultyDisk
from tests.node.network import (
    REPOSITORY,
    Receiver,
    Site,
    association,
    ct_slice,
    dataset_bytes,
    eventually,
    kinds,
    make_site,
    part10,
    peers_toml,
    receiving,
    run,
    send,
    store,
)
from tests.small_disk import MIB, filled, mounted

NO_RESOURCES = 0xA700
ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS)
LARGE_ROWS = 1100
"""An object of 2.4 MB does not fit into the receive buffer."""


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> FaultyDisk:
    return FaultyDisk.built(tmp_path_factory.mktemp("faulty"))


@pytest.fixture(scope="module")
def faulty_receiver(site: Site, disk: FaultyDisk) -> Iterator[Receiver]:
    with receiving(site, environment=disk.environment(site.data)) as process:
        yield process


@pytest.fixture
def receiver(faulty_receiver: Receiver, disk: FaultyDisk) -> Iterator[Receiver]:
    yield faulty_receiver
    disk.works()


def is_recorded(database: Database, file: Path) -> bool:
    dataset = pydicom.dcmread(file, stop_before_pixels=True)
    return bool(StudyStore(database).find(dataset.StudyInstanceUID))


# --- the receiver ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", ERRORS, ids=errno.errorcode.__getitem__)
@pytest.mark.parametrize("rows", [16, LARGE_ROWS])
@pytest.mark.parametrize("call", ["create", "write", "sync"])
def test_a_disk_that_refuses_is_told_to_the_sender_and_the_next_try_succeeds(
    call: str,
    rows: int,
    number: int,
    receiver: Receiver,
    disk: FaultyDisk,
    site: Site,
    database: Database,
    tmp_path: Path,
) -> None:
    # Files are made ahead: a disk on which none can be made is met by an object when they are used up.
    files = [
        part10(ct_slice(rows=rows), tmp_path / f"{n}.dcm") for n in range(MOST_BLANKS + 1 if call == "create" else 1)
    ]
    before, faults = site.spooled, len(disk.log)
    with association(receiver.port, kinds(files[:1])) as link:
        disk.breaks(call, number, "/spool/")
        for taken, file in enumerate(files):  # noqa: B007 - how many were taken before
            answer = send(link, file)
            if answer.status != 0x0000:
                break
        assert (answer.status, bool(answer.comment)) == (NO_RESOURCES, True)
        assert any(line.startswith(f"{call} ") for line in disk.log[faults:]), "the fault was never met"
        assert len(site.spooled) == len(before) + taken

        before = site.spooled
        disk.works()
        assert send(link, file).status == 0x0000, "the association goes on"
    assert eventually(lambda: is_recorded(database, file))
    (new,) = set(site.spooled) - set(before)
    assert dataset_bytes(new) == dataset_bytes(file)


def test_a_refused_object_that_cannot_even_be_removed_is_never_recorded(
    receiver: Receiver, disk: FaultyDisk, site: Site, database: Database, tmp_path: Path
) -> None:
    file, other, *earlier = (part10(ct_slice(number), tmp_path / f"{number}.dcm") for number in (1, 2, 3, 4))
    with association(receiver.port, kinds([file])) as link:
        # After two in a row a file is there that was made ahead, so that the fault is met after writing.
        assert [send(link, one).status for one in earlier] == [0x0000, 0x0000]
        before, files = site.spooled, set((site.data / "spool").rglob("*.dcm"))
        disk.breaks("sync,remove", errno.EIO, "/spool/")
        status = send(link, file).status
        disk.works()
        assert any(line.startswith("remove ") for line in disk.log), "the fault was never met"
        assert set((site.data / "spool").rglob("*.dcm")) >= files, "it was removed after all"
        assert site.spooled == before, "what cannot be removed loses its seal"
        record_everything(receiver)
        assert send(link, other).status == 0x0000

    assert status == NO_RESOURCES
    assert eventually(lambda: is_recorded(database, other)), "the new recorder has looked before"
    assert not is_recorded(database, file)
    assert store(receiver.port, [file]) == [0x0000]
    assert eventually(lambda: is_recorded(database, file))


def record_everything(receiver: Receiver) -> None:
    """Let a new recorder look through the spool."""
    for child in _children(receiver):
        os.kill(child, 9)
    assert eventually(lambda: len(_children(receiver)) == 1)


def _children(receiver: Receiver) -> list[int]:
    listed = Path(f"/proc/{receiver.process.pid}/task/{receiver.process.pid}/children").read_text().split()
    return [int(pid) for pid in listed if "defunct" not in _command(pid)]


def _command(pid: str) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text() or "defunct"
    except OSError:
        return "defunct"


# --- the recorder ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", ERRORS, ids=errno.errorcode.__getitem__)
@pytest.mark.parametrize("call", ["write", "sync"])
def test_while_the_database_cannot_be_written_objects_are_kept_and_recorded_once_it_can(
    call: str, number: int, receiver: Receiver, disk: FaultyDisk, site: Site, database: Database, tmp_path: Path
) -> None:
    files = [part10(ct_slice(one), tmp_path / f"{one}.dcm") for one in range(3)]
    faults = len(disk.log)
    disk.breaks(call, number, "node.sqlite3")
    assert store(receiver.port, files) == [0x0000] * len(files)
    assert eventually(lambda: any(line.startswith(call) for line in disk.log[faults:])), "the fault was never met"
    assert receiver.process.poll() is None
    disk.works()

    assert eventually(lambda: all(is_recorded(database, file) for file in files))
    assert StudyStore(database).spool_keys() == {file.stem for file in site.spooled}


def test_a_repetition_that_cannot_be_removed_does_not_stop_recording(
    receiver: Receiver, disk: FaultyDisk, site: Site, database: Database, tmp_path: Path
) -> None:
    first, second = (part10(ct_slice(one), tmp_path / f"{one}.dcm") for one in (1, 2))
    store(receiver.port, [first])
    assert eventually(lambda: is_recorded(database, first))
    kept = StudyStore(database).spool_keys()
    faults = len(disk.log)
    disk.breaks("remove", errno.EROFS, "/spool/")
    assert store(receiver.port, [first, second]) == [0x0000] * 2

    assert eventually(lambda: is_recorded(database, second))
    assert any(line.startswith("remove") for line in disk.log[faults:])
    disk.works()
    record_everything(receiver)
    assert eventually(lambda: {file.stem for file in site.spooled} == StudyStore(database).spool_keys())
    assert kept < StudyStore(database).spool_keys()


def test_each_commit_is_synced_to_the_write_ahead_log_and_each_file_before_its_answer(
    receiver: Receiver, disk: FaultyDisk, site: Site, database: Database, tmp_path: Path
) -> None:
    file = part10(ct_slice(), tmp_path / "a.dcm")
    before, start = set(site.spooled), len(disk.log)
    store(receiver.port, [file])
    answered = disk.log[start:]
    assert eventually(lambda: is_recorded(database, file))
    (new,) = set(site.spooled) - before

    own = [line for line in answered if "/spool/" in line]
    assert f"synced {new}" in own
    # Its name was there already, or was made for it.
    assert f"synced {new.parent}" in disk.log[: disk.log.index(f"synced {new}")]
    assert any(line.startswith("synced") and line.endswith("node.sqlite3-wal") for line in disk.log[start:])


# --- a disk that is really full ---------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, of 24 MiB."""
    with mounted(tmp_path / "mounted") as folder:
        yield folder


def test_on_a_full_disk_nothing_is_acknowledged_that_is_lost_and_all_goes_on_when_there_is_room(
    small_disk: Path, tmp_path: Path
) -> None:
    """Spool, database and journal lie on the same disk, and it is full to the last block."""
    home = make_site(small_disk, peers=peers_toml(), keep_free_gib=0.0)
    files = [part10(ct_slice(number, rows=64), tmp_path / f"{number}.dcm") for number in range(30)]
    with (
        receiving(home) as receiver,
        closing(Database.open(home.data, migrate=False)) as database,
    ):
        assert store(receiver.port, files[:5]) == [0x0000] * 5
        assert eventually(lambda: all(is_recorded(database, file) for file in files[:5]))
        with filled(small_disk, leave_bytes=100_000):
            # What room there is goes to objects; the rows of the last ones find none.
            statuses = store(receiver.port, files[5:])
            assert set(statuses) == {0x0000, NO_RESOURCES}
            taken = [file for file, status in zip(files[5:], statuses, strict=True) if status == 0x0000]
            with filled(small_disk):
                assert store(receiver.port, files[-1:]) == [NO_RESOURCES]
                time.sleep(2.0)
                assert receiver.process.poll() is None

        assert eventually(lambda: all(is_recorded(database, file) for file in taken))
        assert StudyStore(database).spool_keys() == {file.stem for file in home.spooled}
        assert eventually(lambda: store(receiver.port, files) == [0x0000] * len(files))
        assert eventually(lambda: all(is_recorded(database, file) for file in files))
        assert eventually(lambda: len(home.spooled) == len(files))


def test_receivers_start_and_count_while_there_is_not_a_block_left(small_disk: Path, tmp_path: Path) -> None:
    """No count may need a block: a write into a mapped page without one ends a process by SIGBUS."""
    home = make_site(small_disk, peers=peers_toml(), keep_free_gib=0.0)
    file = part10(ct_slice(), tmp_path / "a.dcm")
    counts, now = ReceiverCounts(), datetime.now(UTC)
    lock = os.open(home.data / "node.lock", os.O_CREAT | os.O_RDWR)
    receivers = Receivers(home.config, home.settings.node, lock, counts)

    def refused() -> float:
        samples = [sample for family in counts.collect() for sample in family.samples]
        return sum(sample.value for sample in samples if sample.labels == {"status": "0xA700"})

    try:
        # A node has it open; what SQLite maps has its blocks from then on.
        with closing(Database.open(home.data, migrate=False)) as database, filled(small_disk):
            assert StudyStore(database).spool_keys() == set()
            receivers.start(now)
            assert store(home.port, [file]) == [NO_RESOURCES]
            assert eventually(lambda: refused() == 1.0)
        assert eventually(lambda: store(home.port, [file]) == [0x0000])
    finally:
        receivers.stop()
        os.close(lock)


def test_a_node_that_starts_on_a_full_disk_says_so(small_disk: Path) -> None:
    home = make_site(small_disk, peers=peers_toml())
    with filled(small_disk):
        done = run([sys.executable, str(REPOSITORY / "run_node.py"), "serve", "--config", home.config])
        assert done.returncode == 1
        assert "the disk of the database is full" in done.stderr
        assert "Traceback" not in done.stderr


@pytest.mark.parametrize("left_bytes", [40_000, 80_000, 160_000])
def test_a_node_that_starts_with_next_to_no_room_ends_in_words_or_serves(small_disk: Path, left_bytes: int) -> None:
    home = make_site(small_disk, peers=peers_toml())
    with filled(small_disk, leave_bytes=left_bytes):
        node = subprocess.Popen(
            [sys.executable, str(REPOSITORY / "run_node.py"), "serve", "--config", str(home.config)],
            cwd=REPOSITORY,
            stderr=subprocess.PIPE,
            text=True,
        )
        with contextlib.suppress(subprocess.TimeoutExpired):
            node.wait(timeout=8.0)
        is_serving = node.poll() is None
        node.terminate()
        told = node.communicate(timeout=60.0)[1]
    assert "Traceback" not in told
    assert is_serving or "No space left on device" in told or "the disk of the database is full" in told


def test_room_that_is_kept_for_results_and_database_is_not_given_to_objects_and_status_says_so(
    small_disk: Path, tmp_path: Path
) -> None:
    home = make_site(small_disk, peers=peers_toml(), keep_free_gib=8 / 1024)
    files = [part10(ct_slice(number, rows=512), tmp_path / f"{number}.dcm") for number in range(60)]
    with (
        receiving(home, journal=tmp_path / "journal") as receiver,
        closing(Database.open(home.data, migrate=False)) as database,
    ):
        statuses = store(receiver.port, files)
        taken = statuses.count(0x0000)

        assert 5 < taken < len(files)
        assert statuses == [0x0000] * taken + [NO_RESOURCES] * (len(files) - taken), "once full it stays so"
        assert shutil.disk_usage(small_disk).free > 7 * MIB
        assert eventually(lambda: all(is_recorded(database, file) for file in files[:taken]))

        def told() -> int:
            day = datetime.now(UTC) - timedelta(days=1)
            return sum(row.count for row in Refusals(database).since(day) if row.status == "0xA700")

        assert eventually(lambda: told() == len(files) - taken)
        status = Overview(database, home.data).status(datetime.now(UTC))
        assert status.spool.file_count == taken
        assert status.spool.disk_free_bytes < 9 * MIB


# --- what is lost on the way to the recorder ------------------------------------------------------------------


def test_a_recorder_whose_predecessor_took_half_a_line_looks_for_itself() -> None:
    reading, writing = os.pipe()
    writer = NoticeWriter(writing)
    writer.tell(Ended(call=1))
    select.select([reading], [], [], 10.0)
    os.read(reading, 7)
    writer.tell(Ended(call=2))
    writer.close()

    assert NoticeReader(reading).read(most=10, wait_s=1.0) == [Lost(), Ended(call=2)]
    os.close(reading)


def test_the_last_notices_of_all_are_not_lost_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody else would say that they were, and what they told of would wait for the next start."""
    monkeypatch.setattr("scp_node.inbound.notices.LONGEST_WAIT_S", 0.0)
    reading, writing = os.pipe()
    writer = NoticeWriter(writing)
    count = 0
    while not writer._some_lost:
        writer.tell(Ended(call=count))
        count += 1
    # Nor is receiving held up any more by a recorder that does not read.
    monkeypatch.setattr("scp_node.inbound.notices.LONGEST_WAIT_S", 3600.0)
    writer.tell(Ended(call=count))
    monkeypatch.setattr("scp_node.inbound.notices.LONGEST_WAIT_S", 10.0)
    reader = NoticeReader(reading)
    read: list[Notice] = []

    def is_told() -> bool:
        read.extend(reader.read(most=10, wait_s=0.0))
        return Lost() in read

    assert eventually(is_told)
    writer.close()

    assert read.count(Lost()) == 1
    assert len(read) - 1 < count
    os.close(reading)


def test_a_receiver_waits_for_a_recorder_that_lags_behind_and_nothing_is_lost() -> None:
    reading, writing = os.pipe()
    writer, reader = NoticeWriter(writing), NoticeReader(reading)
    count = 3 * CAPACITY_BYTES // len(json.dumps(["Ended", {"call": 100_000}]))

    def tell_all() -> None:
        for number in range(count):
            writer.tell(Ended(call=number))
        writer.close()

    telling = threading.Thread(target=tell_all)
    telling.start()
    time.sleep(1.0)
    assert telling.is_alive()
    read: list[Notice] = []
    while batch := reader.read(most=1_000, wait_s=20.0):
        read += batch
    telling.join()

    assert read == [Ended(call=number) for number in range(count)]
    os.close(reading)


def test_a_recorder_that_cannot_be_started_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[list[str]] = []
    real = subprocess.Popen

    def spawn(command: list[str], **_more: object) -> subprocess.Popen[bytes]:
        made.append(command)
        if len(made) == 2:
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        return real(["true"])

    monkeypatch.setattr("subprocess.Popen", spawn)
    recorder = RecorderProcess(tmp_path, "1:1")
    recorder._process.wait()
    recorder.mend()
    assert len(made) == 2
    recorder.mend()
    assert len(made) == 3
    recorder.stop(5.0)
