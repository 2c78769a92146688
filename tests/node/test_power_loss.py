"""A power cut at any moment: what was acknowledged or recorded is whole, whatever the disk had not written yet."""

from __future__ import annotations

import dataclasses
import errno
import itertools
import os
import tempfile
import warnings
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from scp_node.domain.study import ReceivedInstance, Reception
from scp_node.errors import IntakeError, MismatchedObjectError
from scp_node.inbound.announcement import Announcement
from scp_node.inbound.incoming import IncomingObject
from scp_node.inbound.recorder import Recorder
from scp_node.store.associations import OpenAssociation
from scp_node.store.database import Database
from scp_node.store.quarantine import Quarantine
from scp_node.store.refusals import Refusals
from scp_node.store.spool import Spool
from tests.node.disk_model import BLOCK_BYTES, Disk, Event, Tape
from tests.node.network import ct_slice, dataset_bytes, part10

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
FOLDER = "data/spool"


@pytest.fixture(autouse=True)
def quiet_library() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@pytest.fixture(autouse=True)
def no_real_sync(monkeypatch: pytest.MonkeyPatch) -> None:
    # After a power cut nothing is left to be synced, and thousands of real ones would take minutes.
    monkeypatch.setattr("scp_node.store.spool.sync_file_system", lambda _descriptor: None)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Arriving:
    """One object on its way, cut where the receive buffer would be full; uncut it is sealed by digest."""

    announced: Announcement
    content: bytes
    cuts: tuple[int, ...] = ()

    @property
    def pieces(self) -> list[bytes]:
        bounds = [0, *self.cuts, len(self.content)]
        return [self.content[start:end] for start, end in itertools.pairwise(bounds)]


def arriving(folder: Path, *cuts: int, rows: int = 8, number: int = 1, wrong: bool = False) -> Arriving:
    dataset = ct_slice(number, rows=rows, SOPInstanceUID=f"1.2.3.{number}")
    file = part10(dataset, folder / f"{number}-{rows}-{len(cuts)}.dcm")
    announced = Announcement(
        called_ae="HAI_NODE",
        calling_ae="CT_1",
        address="127.0.0.1",
        sop_class_uid=CTImageStorage,
        sop_instance_uid="9.9.9" if wrong else f"1.2.3.{number}",
        transfer_syntax_uid=ExplicitVRLittleEndian,
    )
    return Arriving(announced=announced, content=dataset_bytes(file), cuts=cuts)


class Remembered:
    """Rows that are safe at once, as a committed transaction is."""

    def __init__(self) -> None:
        self.instances: dict[str, ReceivedInstance] = {}

    def held_in_former_form(self, sop_instance_uids: Collection[str]) -> set[str]:
        return set()

    def spool_keys(self) -> set[str]:
        return set(self.instances)

    def studies_of(self, spool_keys: Collection[str]) -> dict[str, str]:
        return {key: self.instances[key].summary.study_instance_uid for key in spool_keys if key in self.instances}

    def record_many(
        self, instances: Sequence[ReceivedInstance], now: datetime, *, association_ids: Sequence[int | None] = ()
    ) -> list[Reception]:
        self.instances |= {instance.spool_key: instance for instance in instances}
        return [Reception.NEW] * len(instances)

    def open_associations(self, rows: Iterable[OpenAssociation]) -> list[int]:
        raise AssertionError("there is no association in a look")

    def note_carried(self, carried: Iterable[tuple[int, str]], now: datetime) -> None:
        raise AssertionError("likewise")

    def renew_associations(self, association_ids: Iterable[int], lease_until: datetime) -> None:
        raise AssertionError("likewise")

    def close_associations(self, association_ids: Iterable[int]) -> None:
        raise AssertionError("likewise")


def look(spool: Spool, rows: Remembered) -> None:
    """What a recorder does when it starts. Nothing here may end in quarantine, so there is none."""
    recorder = Recorder(
        spool=spool,
        rows=rows,
        quarantine=cast("Quarantine", None),
        refusals=cast("Refusals", None),
        receiver="test",
        clock=lambda: NOW,
    )
    recorder.look_for_unrecorded()


def receive(tape: Tape, spool: Spool, objects: Iterable[Arriving]) -> dict[str, bytes]:
    """Receive objects as the lane does; what each spool key must hold."""
    sent: dict[str, bytes] = {}
    for one in objects:
        incoming = IncomingObject(one.announced, spool)
        try:
            for piece in one.pieces[:-1]:
                incoming.spill([piece])
            key = incoming.finish(one.pieces[-1:], NOW)
        except (IntakeError, OSError):
            incoming.discard()
        else:
            sent[key] = one.content
            tape.note("acknowledged", key)
    return sent


class Recovery:
    """A node that starts on what a power cut left; one for many cuts."""

    def __init__(self, folder: Path) -> None:
        self.spool = Spool(folder, quota_gib=1.0, keep_free_gib=0.0)
        self._folder = folder

    def recorded(self, state: Mapping[str, bytes]) -> dict[str, tuple[ReceivedInstance, bytes]]:
        """What is recorded, with the bytes behind it."""
        written = []
        for name, content in state.items():
            path = self._folder / Path(name).relative_to(FOLDER)
            path.write_bytes(content)
            written.append(path)
        rows = Remembered()
        look(self.spool, rows)
        found = {key: (row, self.spool.path(key).read_bytes()) for key, row in rows.instances.items()}
        for path in written:
            # Half files were removed by the look.
            path.unlink(missing_ok=True)
        return found


def assert_holds(events: Sequence[Event], sent: Mapping[str, bytes], recovery: Recovery) -> int:
    """Cut the power after each event; the number of states that were tried."""
    disk, promised, count = Disk(), set[str](), 0
    for event in events:
        disk.take(event)
        if event.kind in ("acknowledged", "recorded"):
            promised.add(event.name)
        seen: set[tuple[tuple[str, bytes], ...]] = set()
        for state in disk.states():
            mark = tuple(sorted(state.items()))
            if mark in seen:
                continue
            seen.add(mark)
            found = recovery.recorded(state)
            assert promised <= set(found), f"lost after {event.kind} {event.name}"
            for key, (row, content) in found.items():
                assert content[-len(sent[key]) :] == sent[key], f"half a file recorded after {event.kind}"
                assert row.byte_count == len(content)
        count += len(seen)
    return count


def recorded_run(
    folder: Path, objects: Sequence[Arriving], *, look_after: int = 0, fail_at: int = -1
) -> tuple[Tape, dict[str, bytes], Remembered]:
    """Receive, from the making of the folders on; perhaps with a recorder that looks, or a disk that fails, midway."""
    tape, rows = Tape(folder), Remembered()
    spools: list[Spool] = []

    def after(count: int) -> None:
        if look_after and count >= look_after and spools and not rows.instances:
            look(spools[0], rows)
            for key in rows.instances:
                tape.note("recorded", key)

    def before(_kind: str, _count: int) -> None:
        if sum(event.kind != "recorded" for event in tape.events) == fail_at:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    tape.after, tape.before = after, before
    with tape.recording():
        # With files that are made ahead, some of which are never used.
        spools.append(Spool(folder / FOLDER, quota_gib=1.0, keep_free_gib=0.0, most_blanks=4))
        sent = receive(tape, spools[0], objects)
    return tape, sent, rows


def scenario(folder: Path) -> list[Arriving]:
    """Sealed by digest, sealed in order, and refused at the end."""
    small = arriving(folder, number=1)
    large = arriving(folder, 400, 700, number=2, rows=12)
    refused = arriving(folder, 300, number=3, wrong=True)
    return [small, large, refused]


def test_after_a_power_cut_at_any_moment_everything_acknowledged_is_there_and_nothing_half(tmp_path: Path) -> None:
    tape, sent, _ = recorded_run(tmp_path / "disk", scenario(tmp_path))

    assert len(sent) == 2
    count = assert_holds(tape.events, sent, Recovery(tmp_path / "recovered"))
    assert count > 500, "the model has become too small to prove anything"


def test_a_recorder_that_looks_at_any_moment_records_nothing_that_a_power_cut_could_take_back(tmp_path: Path) -> None:
    (whole := tmp_path / "whole").mkdir()
    objects = scenario(tmp_path)[:2]
    all_events = recorded_run(whole, objects)[0].events
    first = next(number for number, event in enumerate(all_events) if event.kind == "create")
    recovery, looked = Recovery(tmp_path / "recovered"), 0
    for moment in range(first + 1, len(all_events) + 1):
        tape, sent, rows = recorded_run(tmp_path / f"at-{moment}", objects, look_after=moment)
        at = next((number for number, event in enumerate(tape.events) if event.kind == "recorded"), None)
        looked += at is not None
        assert rows.instances.keys() <= sent.keys()
        # What comes after the look only adds to what is promised; the same states as above need not be tried again.
        assert_states(tape.events, at, sent, recovery)
    assert looked > 3


def assert_states(events: Sequence[Event], at: int | None, sent: Mapping[str, bytes], recovery: Recovery) -> None:
    """Cut the power right after a recorder recorded; what it recorded is there."""
    if at is None:
        return
    disk = Disk()
    for event in events[: at + 1]:
        disk.take(event)
    for state in disk.states():
        key = events[at].name
        found = recovery.recorded(state)
        assert key in found
        assert found[key][1][-len(sent[key]) :] == sent[key]


class KilledError(BaseException):
    """Nobody catches this, and nothing is done after it."""


def test_what_a_killed_receiver_had_not_synced_is_synced_before_it_is_recorded(tmp_path: Path) -> None:
    (one,) = scenario(tmp_path)[:1]
    recovery, looked = Recovery(tmp_path / "recovered"), 0
    count = len(recorded_run(tmp_path / "whole", [one])[0].events)
    for moment in range(count - 6, count):
        folder = tmp_path / f"killed-{moment}"
        tape, rows = Tape(folder), Remembered()
        with tape.recording():
            spool = Spool(folder / FOLDER, quota_gib=1.0, keep_free_gib=0.0)
            tape.before = _killing(moment)
            with suppress(KilledError):
                receive(tape, spool, [one])
            tape.before = lambda _kind, _count: None
            for descriptor in tape.open_descriptors:
                os.close(descriptor)
            look(spool, rows)
            for key in rows.instances:
                looked += 1
                tape.note("recorded", key)
                at = len(tape.events) - 1
                assert_states(tape.events, at, {key: one.content}, recovery)
    assert looked >= 2


def _killing(moment: int) -> Callable[[str, int], None]:
    def before(_kind: str, count: int) -> None:
        if count >= moment:
            raise KilledError

    return before


def test_a_disk_that_fails_while_a_recorder_looks_leaves_no_row_without_its_file(tmp_path: Path) -> None:
    objects = scenario(tmp_path)[:2]
    events = recorded_run(tmp_path / "whole", objects)[0].events
    first = next(number for number, event in enumerate(events) if event.kind == "create")
    failures = 0
    for moment in range(first, len(events)):
        for look_after in (moment, moment + 1):
            folder = tmp_path / f"{moment}-{look_after}"
            _, sent, rows = recorded_run(folder, objects, look_after=look_after, fail_at=moment)
            failures += len(sent) < len(objects)
            # One that was made ahead and could not be removed either is empty, and nobody's.
            present = {path.stem for path in folder.rglob("*.dcm") if path.stat().st_size}
            assert rows.instances.keys() <= sent.keys(), "recorded, and refused at the same time"
            assert present == sent.keys(), "half a file is left, or one is missing"
    assert failures > 10


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_larger_objects_survive_any_state_that_is_drawn(data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        cuts = sorted(data.draw(st.sets(st.integers(min_value=1, max_value=20_000), max_size=5)))
        big = arriving(folder, *cuts, rows=104)
        tape, sent, _ = recorded_run(folder / "disk", [big])
        recovery = Recovery(folder / "recovered")
        moment = data.draw(st.integers(min_value=1, max_value=len(tape.events)), label="moment")
        written = [event for event in tape.events[:moment] if event.kind == "write"]
        acknowledged = any(event.kind == "acknowledged" for event in tape.events[:moment])
        content = drawn_content(data, tape.events[:moment])
        if not written:
            return
        found = recovery.recorded({written[0].name: content})

        for key, (_, whole) in found.items():
            assert whole[-len(sent[key]) :] == sent[key]
        assert bool(found) >= acknowledged


def drawn_content(data: st.DataObject, events: Sequence[Event]) -> bytes:
    """One content of the one file, each block drawn by itself."""
    safe, newest = bytearray(), bytearray()
    for event in events:
        if event.kind == "write":
            newest.extend(bytes(max(0, event.offset - len(newest))))
            newest[event.offset : event.offset + len(event.content)] = event.content
        elif event.kind == "sync":
            safe = bytearray(newest)
    length = data.draw(st.integers(min_value=len(safe), max_value=len(newest)), label="length")
    found = bytearray(safe.ljust(length, b"\0"))
    differing = [
        start
        for start in range(0, length, BLOCK_BYTES)
        if newest[start : start + BLOCK_BYTES] != found[start : start + BLOCK_BYTES]
    ]
    missing = data.draw(st.sets(st.sampled_from(differing), max_size=3)) if differing else set()
    for start in differing:
        if start not in missing:
            found[start : start + BLOCK_BYTES] = newest[start : start + BLOCK_BYTES]
    return bytes(found[:length])


def test_the_model_finds_the_holes_of_a_careless_program(tmp_path: Path) -> None:
    """Else it would prove nothing: without either sync, and with the seal before the data, something is lost."""
    (one,) = scenario(tmp_path)[:1]
    tape, sent, _ = recorded_run(tmp_path / "disk", [one])
    recovery = Recovery(tmp_path / "recovered")
    assert len(sent) == 1
    for careless in ("sync", "sync-folder"):
        events = [event for event in tape.events if event.kind != careless]
        with pytest.raises(AssertionError, match="lost"):
            assert_holds(events, sent, recovery)
    large = scenario(tmp_path)[1]
    tape, sent, _ = recorded_run(tmp_path / "other", [large])
    syncs = [number for number, event in enumerate(tape.events) if event.kind == "sync"]
    with pytest.raises(AssertionError, match="half a file"):
        assert_holds([event for number, event in enumerate(tape.events) if number != syncs[0]], sent, recovery)


def test_a_refusal_in_the_middle_takes_back_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool", quota_gib=1.0, keep_free_gib=0.0)
    kept = IncomingObject(arriving(tmp_path, number=1).announced, spool)
    key = kept.finish([arriving(tmp_path, number=1).content], NOW)
    kept.discard()
    wrong = arriving(tmp_path, 100, number=2, wrong=True)
    with suppress(MismatchedObjectError):
        IncomingObject(wrong.announced, spool).finish([wrong.content], NOW)

    assert list(spool.keys()) == [key]


def test_rows_are_on_the_disk_when_a_commit_returns(tmp_path: Path) -> None:
    Database.open(tmp_path, migrate=True).close()
    with closing(Database.open(tmp_path, migrate=False)) as database:
        for transaction in (database.reading, database.writing):
            with transaction() as connection:
                assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
                # 2 is FULL: the write-ahead log is synced at each commit.
                assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2
