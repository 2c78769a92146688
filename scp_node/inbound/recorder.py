"""The recorder: a process beside each receiver that turns acknowledged objects into rows, many in one commit.

It does what would slow a receiver down: parse headers, compare with what is known, write to the database. Nothing
depends on its being there: what it did not record is found in the spool by the next one, by its seal.

Started by the receiver as ``python -m scp_node.inbound.record``; ends when the receiver's end of the pipe is closed
and everything is recorded.
"""

from __future__ import annotations

import argparse
import gc
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol, assert_never

from pydicom.errors import InvalidDicomError

from scp_node.domain.digest import DigestForm
from scp_node.domain.study import ReceivedInstance, Reception
from scp_node.errors import SettingsError, StoreError, UnreadableObjectError
from scp_node.inbound.announcement import Announcement, announcement_of
from scp_node.inbound.examination import examine
from scp_node.inbound.notices import Ended, Lost, Notice, NoticeReader, Refused, Stored
from scp_node.inbound.open_calls import AssociationRows, OpenCalls
from scp_node.inbound.quiet import quiet_libraries
from scp_node.inbound.siblings import Siblings
from scp_node.journal import journal, start_journal
from scp_node.settings import load_settings
from scp_node.store.database import Database
from scp_node.store.quarantine import Quarantine, QuarantinedObject
from scp_node.store.refusals import Refusals
from scp_node.store.spool import Spool
from scp_node.store.studies import StudyStore

MOST_AT_ONCE = 200
"""Objects in one commit: enough to share its cost, few enough that nobody else waits long for the database."""
GATHER_S = 0.2
"""Objects of this time are committed together: every commit costs the disk as much as an object does, and the processor
as much as recording ten of them."""
LOOK_S = 1.0
TRY_AGAIN_S = 1.0
READ_AGAIN_S = 30.0
"""For files that the disk could not read."""
LAST_TRIES = 10
"""After the receiver ended; what then is not recorded, the next recorder finds."""
NICENESS = 5
"""Receiving comes first."""

EXIT_OK, EXIT_CANNOT_SERVE = 0, 3


class Rows(AssociationRows, Protocol):
    """The rows of studies and associations; :class:`scp_node.store.studies.StudyStore` keeps them."""

    def record_many(
        self, instances: Sequence[ReceivedInstance], now: datetime, *, association_ids: Sequence[int | None] = ()
    ) -> list[Reception]:
        """Record instances in one transaction."""

    def held_in_former_form(self, sop_instance_uids: Collection[str]) -> set[str]:
        """Those of the UIDs of which rows hold digests in the form of an earlier version."""

    def spool_keys(self) -> set[str]:
        """All keys that a row refers to."""

    def studies_of(self, spool_keys: Collection[str]) -> dict[str, str]:
        """Study for each of a few keys that a row refers to; empty for what was set aside."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Object:
    """One object to record."""

    spool_key: str
    announced: Announcement
    call: int | None
    """``None`` if it was found in the spool."""


_Outcome = ReceivedInstance | str | None
"""Of an examination: the row to be, why there is none, or ``None`` for a file that is gone or cannot be read now."""


def _of(notice: Stored) -> _Object:
    return _Object(spool_key=notice.spool_key, announced=notice.announced, call=notice.call)


class Recorder:
    """Records what a receiver stored.

    Parameters
    ----------
    spool : Spool
        Where the files lie.
    rows, quarantine, refusals
        Where the rows go.
    receiver : str
        Names the receiver in the rows of its associations.
    clock : () -> datetime
        Aware UTC.
    """

    def __init__(
        self,
        *,
        spool: Spool,
        rows: Rows,
        quarantine: Quarantine,
        refusals: Refusals,
        receiver: str,
        clock: Callable[[], datetime],
    ) -> None:
        self._spool = spool
        self._rows = rows
        self._quarantine = quarantine
        self._refusals = refusals
        self._clock = clock
        self._calls = OpenCalls(rows, receiver, clock)
        self._read_again_at_s: float | None = None
        self._siblings = Siblings()
        self._outcomes: dict[str, _Outcome] = {}
        """Of the examinations since the last commit, by spool key."""
        self._journal = journal("inbound.recorder")

    def run(self, notices: NoticeReader) -> None:
        """Record until the receiver has ended and nothing is left to do."""
        tries_left = LAST_TRIES
        must_look, wait_s = True, 0.0
        self._journal.info("recording")
        # Once is enough: who is killed later has a successor, whose recorder begins with this.
        self._spool.remove_blanks()
        while not notices.has_ended or notices.has_more:
            batch = self._gathered(notices, wait_s)
            wait_s = LOOK_S
            must_look = must_look or self._must_read_again()
            while tries_left:
                try:
                    # While another looks we look later. Who is to end does not: the next receiver's recorder looks.
                    if must_look and self.look_for_unrecorded() is not None:
                        must_look = False
                    must_look = self._act_on(batch) or must_look
                    self._calls.renew()
                except StoreError as fault:
                    self._journal.error("the database refused; trying again", cause=str(fault), count=len(batch))
                    tries_left -= notices.has_ended
                    time.sleep(TRY_AGAIN_S)
                else:
                    break
            self._outcomes.clear()
        self._calls.forget_all()

    def _gathered(self, notices: NoticeReader, wait_s: float) -> list[Notice]:
        """The notices to act on together; their objects are examined while others are waited for."""
        batch = notices.read(most=MOST_AT_ONCE, wait_s=wait_s)
        gathered_at_s = time.monotonic() + GATHER_S
        # At an association's end none is waited for: its sender is done, and nobody knows when the next one comes.
        while batch and not (notices.has_ended or len(batch) >= MOST_AT_ONCE or isinstance(batch[-1], Ended)):
            self._examine_ahead(batch)
            if (left_s := gathered_at_s - time.monotonic()) <= 0:
                break
            batch += notices.read(most=MOST_AT_ONCE - len(batch), wait_s=left_s)
        return batch

    def _examine_ahead(self, batch: Sequence[Notice]) -> None:
        ahead = [_of(one) for one in batch if isinstance(one, Stored) and one.spool_key not in self._outcomes]
        self._fetch_heads(ahead)
        for one in ahead:
            self._outcomes[one.spool_key] = self._examined(one)

    def _fetch_heads(self, objects: Iterable[_Object]) -> None:
        """All at once: one after the other each would wait for the disk."""
        for one in objects:
            self._spool.fetch_head(one.spool_key)

    def look_for_unrecorded(self) -> int | None:
        """Record every whole file of the spool that no row knows; return how many there were.

        One recorder of all at a time: each would examine the same files, and record them for nothing. ``None`` while
        another one looks.
        """
        with self._spool.searched() as alone:
            return self._look() if alone else None

    def _look(self) -> int:
        known = self._rows.spool_keys()
        found: list[tuple[datetime, _Object]] = []
        self._read_again_at_s = None
        for spool_key in self._spool.keys():  # noqa: SIM118 - not a dictionary
            if spool_key in known:
                continue
            try:
                if (seal := self._spool.settled_seal_of(spool_key)) is None:
                    self._spool.remove_unfinished(spool_key)
                    continue
                announced = announcement_of(self._spool.path(spool_key))
            except (InvalidDicomError, AttributeError) as fault:
                self._journal.error("a spool file is not understood", what=spool_key, cause=type(fault).__name__)
                continue
            except OSError as fault:
                self._read_later(spool_key, fault)
                continue
            found.append((seal.received_at, _Object(spool_key=spool_key, announced=announced, call=None)))
        if found:
            self._sync_spool()
        # In the order of reception: of two headers of one object the newer one counts.
        found.sort(key=lambda one: (one[0], one[1].spool_key))
        for start in range(0, len(found), MOST_AT_ONCE):
            self._record([one for _, one in found[start : start + MOST_AT_ONCE]])
            self._outcomes.clear()
        if found:
            self._journal.info("recorded what an earlier process had received", count=len(found))
        return len(found)

    # --- notices ---

    def _act_on(self, batch: Sequence[Notice]) -> bool:
        """Do what the notices say; whether any were lost."""
        stored: list[_Object] = []
        refused: Counter[tuple[str, str, str]] = Counter()
        ended: list[int] = []
        some_lost = False
        for notice in batch:
            match notice:
                case Stored():
                    stored.append(_of(notice))
                case Refused():
                    refused[notice.peer, notice.status, notice.reason] += 1
                case Ended():
                    ended.append(notice.call)
                case Lost():
                    some_lost = True
                case _:
                    assert_never(notice)
        self._fetch_heads(one for one in stored if one.spool_key not in self._outcomes)
        # In this order: if one fails all are tried again, and only counting is not the same when done twice.
        self._record(stored)
        self._calls.forget(ended)
        if refused:
            self._refusals.count(refused, self._clock())
        return some_lost

    def _record(self, objects: Sequence[_Object]) -> None:
        examined: list[tuple[_Object, ReceivedInstance]] = []
        # A look, by us or by another recorder, may have taken it before its notice was read. Examining it once more
        # would let recording fall behind again after each look, until the next notice is lost.
        known = self._rows.studies_of([one.spool_key for one in objects]) if objects else {}
        self._hold_studies_of([one for one in objects if one.spool_key in known], known)
        for one in objects:
            if one.spool_key in known:
                continue
            if one.spool_key not in self._outcomes:
                self._outcomes[one.spool_key] = self._examined(one)
            instance = self._row_of(one, self._outcomes[one.spool_key])
            if instance is not None:
                examined.append((one, instance))
        if not examined:
            return
        examined = self._as_held(examined)
        self._calls.begin((one.call, one.announced) for one, _ in examined)
        association_ids = [self._calls.association_of(one.call) for one, _ in examined]
        instances = [instance for _, instance in examined]
        receptions = self._rows.record_many(instances, self._clock(), association_ids=association_ids)
        for instance, reception in zip(instances, receptions, strict=True):
            # A repetition and our own object have no row; their file is nobody's.
            if reception in (Reception.SAME, Reception.OWN):
                self._remove(instance.spool_key)
            uid = instance.summary.sop_instance_uid
            self._journal.debug("recorded", instance=uid, reception=reception.value, bytes=instance.byte_count)

    def _hold_studies_of(self, taken: Sequence[_Object], studies: Mapping[str, str]) -> None:
        """What a look took before its notice was read holds its study like any other: more may be on its way."""
        self._calls.begin((one.call, one.announced) for one in taken if studies[one.spool_key])
        self._calls.carry((one.call, studies[one.spool_key]) for one in taken if studies[one.spool_key])

    def _as_held(self, examined: list[tuple[_Object, ReceivedInstance]]) -> list[tuple[_Object, ReceivedInstance]]:
        """The same, with digests in the form of the rows that they will be compared with."""
        former = self._rows.held_in_former_form([instance.summary.sop_instance_uid for _, instance in examined])
        found = []
        for one, instance in examined:
            is_former = instance.summary.sop_instance_uid in former
            as_held = self._row_of(one, self._examined(one, DigestForm.SHA256)) if is_former else instance
            if as_held is not None:
                found.append((one, as_held))
        return found

    def _examined(self, one: _Object, form: DigestForm = DigestForm.BLAKE3) -> _Outcome:
        path = self._spool.path(one.spool_key)
        try:
            return examine(path, one.spool_key, one.announced, self._siblings, form)
        except UnreadableObjectError as fault:
            return fault.reason
        except FileNotFoundError:
            # Another recorder may have found it, seen that it is a repetition, and removed it.
            self._journal.warning("a spool file is gone before it was recorded", what=one.spool_key)
            return None
        except OSError as fault:
            self._read_later(one.spool_key, fault)
            return None
        except Exception:
            # An object that breaks the parser must not stop the recording of all others.
            self._journal.exception("an object could not be examined", instance=one.announced.sop_instance_uid)
            return "the header breaks the parser"

    def _row_of(self, one: _Object, outcome: _Outcome) -> ReceivedInstance | None:
        """The row to be; an object that cannot be examined is set aside with its reason."""
        if isinstance(outcome, str):
            self._set_aside(one, self._spool.path(one.spool_key), outcome)
            return None
        return outcome

    def _sync_spool(self) -> None:
        try:
            self._spool.sync()
        except OSError as fault:
            raise StoreError(f"the spool cannot be synced: {fault.strerror}") from fault

    def _read_later(self, spool_key: str, fault: OSError) -> None:
        """What the disk cannot read now is no fault of the object, and must not stop the recording of all others."""
        self._journal.error(
            "a spool file cannot be read; trying again later", what=spool_key, cause=str(fault.strerror)
        )
        self._read_again_at_s = time.monotonic() + READ_AGAIN_S

    def _must_read_again(self) -> bool:
        return self._read_again_at_s is not None and time.monotonic() >= self._read_again_at_s

    def _remove(self, spool_key: str) -> None:
        try:
            self._spool.remove(spool_key)
        except OSError as fault:
            # The next look finds it, sees that it is a repetition, and removes it.
            self._journal.warning("a repetition cannot be removed", what=spool_key, cause=str(fault.strerror))

    def _set_aside(self, one: _Object, path: Path, reason: str) -> None:
        if self._quarantine.has(one.spool_key):
            return
        announced = one.announced
        self._quarantine.add(
            QuarantinedObject(
                quarantine_id=0,
                sop_instance_uid=announced.sop_instance_uid,
                study_instance_uid="",
                received_at=self._clock(),
                calling_ae=announced.calling_ae,
                calling_address=announced.address,
                dataset_digest="",
                reason=reason,
                spool_key=one.spool_key,
                byte_count=path.stat().st_size,
            )
        )


def main(arguments: Sequence[str]) -> int:
    """Record what comes through the pipe until it is closed."""
    parser = argparse.ArgumentParser(prog="python -m scp_node.inbound.record")
    parser.add_argument("--config", type=Path, required=True, help="folder of the configuration")
    parser.add_argument("--receiver", required=True, help="names the receiver in the rows of its associations")
    parser.add_argument("--notices-fd", type=int, required=True, help="read end of the receiver's pipe")
    options = parser.parse_args(arguments)
    # The receiver decides when recording ends, by closing the pipe; what it acknowledged before is still recorded.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    os.nice(NICENESS)
    try:
        settings = load_settings(options.config)
        start_journal(settings.node.log_level)
        quiet_libraries()
        database = Database.open(settings.node.data_folder, migrate=False)
    except (SettingsError, StoreError) as fault:
        print(f"the recorder cannot start: {fault}", file=sys.stderr)
        return EXIT_CANNOT_SERVE
    receiving = settings.node.receiving
    recorder = Recorder(
        spool=Spool(
            settings.node.data_folder / "spool",
            quota_gib=receiving.spool_quota_gib,
            keep_free_gib=receiving.keep_free_gib,
        ),
        rows=StudyStore(database),
        quarantine=Quarantine(database),
        refusals=Refusals(database),
        receiver=options.receiver,
        clock=lambda: datetime.now(UTC),
    )
    # What was made until now is no garbage, and looking at all of it again and again is time that recording lacks.
    gc.freeze()
    recorder.run(NoticeReader(options.notices_fd))
    database.close()
    return EXIT_OK
