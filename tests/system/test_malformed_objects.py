"""Public malformed files through the socket: stored to the byte or refused with a status, and nothing breaks."""

import contextlib
import hashlib
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import pydicom
import pytest
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from scp_node.dimse.text import UNREADABLE
from scp_node.inbound.contexts import TRANSFER_SYNTAXES
from scp_node.store.database import Database
from scp_node.store.quarantine import Quarantine
from scp_node.store.seal import whole_seal
from scp_node.store.studies import StudyStore
from tests.hostile.raw_peer import (
    APPLICATION_CONTEXT,
    COMMAND,
    LAST,
    NO_ANSWER,
    SUCCESS,
    USER_INFORMATION,
    RawPeer,
    associate_request,
    closing_all,
    pdu,
    pdv,
    presentation_context,
    store_command,
)
from tests.hostile.watching import Watch
from tests.node.network import Site, dataset_bytes, eventually, make_site, peers_toml
from tests.node.receiver_pair import NUMBERS, receiver_pair

FRAGMENT_BYTES = 100_000
SYNTAXES = TRANSFER_SYNTAXES[:40]
MOST_RESIDENT_MB = 350.0
"""Of two receivers and their recorders, which have 265 at rest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Malformed:
    """One file, and what a sender that believes it would announce."""

    name: str
    sop_class_uid: str
    sop_instance_uid: str
    syntax: str
    content: bytes


def malformed(file: Path) -> Malformed:
    """Whatever of it a sender could know; where its meta information is broken, all that follows the prefix is data."""
    raw = file.read_bytes()
    sop_class, instance, syntax, content = str(CTImageStorage), "1.2.3", str(ExplicitVRLittleEndian), raw[132:]
    with warnings.catch_warnings(), contextlib.suppress(*UNREADABLE, pydicom.errors.InvalidDicomError):
        warnings.simplefilter("ignore")
        dataset = pydicom.dcmread(BytesIO(raw), force=True, stop_before_pixels=True)
        sop_class = str(dataset.get("SOPClassUID", sop_class))
        instance = str(dataset.get("SOPInstanceUID", instance))
        syntax = str(dataset.file_meta.get("TransferSyntaxUID", syntax))
        content = dataset_bytes(file)
    return Malformed(
        name=file.name,
        sop_class_uid=sop_class,
        sop_instance_uid=instance,
        syntax=syntax if syntax in SYNTAXES else str(ExplicitVRLittleEndian),
        content=content,
    )


def send(port: int, one: Malformed) -> int:
    """Over an association of its own, with its very bytes; the context is of the class that the command names."""
    context = presentation_context(1, [one.syntax], sop_class_uid=CTImageStorage)
    with closing_all([RawPeer.call(port, address="127.0.0.1")]) as (peer,):
        peer.send(associate_request(APPLICATION_CONTEXT + context + USER_INFORMATION, calling="CT_1"))
        assert peer.answer()[0] == 2
        command = store_command(one.sop_instance_uid[:64], sop_class_uid=one.sop_class_uid[:64])
        peer.send(pdu(pdv(command, COMMAND | LAST)) + b"".join(_data(one.content)))
        return peer.status()


def _data(content: bytes) -> Iterator[bytes]:
    starts = range(0, max(1, len(content)), FRAGMENT_BYTES)
    for start in starts:
        yield pdu(pdv(content[start : start + FRAGMENT_BYTES], LAST if start == starts[-1] else 0))


def digests(site: Site) -> set[str]:
    return {hashlib.sha256(dataset_bytes(file)).hexdigest() for file in site.spooled}


def test_each_malformed_file_is_stored_to_the_byte_or_refused(
    real_data_dir: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """By two receivers, each of which gets every second file."""
    files = sorted((real_data_dir / "malformed").rglob("*.dcm"))
    assert files, "the folder of malformed files is empty"
    site = make_site(tmp_path, peers=peers_toml(), receiving="processes = 2")
    statuses: dict[str, int] = {}
    first_under_uid: dict[str, str] = {}
    with receiver_pair(site) as pair:
        pids = [pair.process(number).pid for number in NUMBERS]
        rest = [Watch(pid).look() for pid in pids]
        with contextlib.ExitStack() as watching:
            watches = [watching.enter_context(Watch(pid)) for pid in pids]
            for number in NUMBERS:
                with pair.only(number):
                    for one in map(malformed, files[number - 1 :: len(NUMBERS)]):
                        statuses[one.name] = send(site.port, one)
                        if statuses[one.name] == SUCCESS:
                            first_under_uid.setdefault(one.sop_instance_uid, hashlib.sha256(one.content).hexdigest())
        with contextlib.closing(Database.open(site.data, migrate=False)) as database:
            studies, quarantine = StudyStore(database), Quarantine(database)

            def every_file_has_a_row() -> bool:
                keys = {file.stem for file in site.spooled}
                return keys == {key for key in keys if key in studies.spool_keys() or quarantine.has(key)}

            assert eventually(every_file_has_a_row)
        assert set(first_under_uid.values()) <= digests(site), "an acknowledged object is not there to the byte"
        assert all(whole_seal(file) is not None for file in site.spooled)
        assert [pair.process(number).pid for number in NUMBERS] == pids
        assert sum(watch.most.resident_mb for watch in watches) <= MOST_RESIDENT_MB
        for pid, before in zip(pids, rest, strict=True):
            assert eventually(lambda: Watch(pid).look().descriptors <= before.descriptors + 6)  # noqa: B023
    journal = capfd.readouterr().err
    assert '"receiving"' in journal
    assert "a thread ended by a fault" not in journal
    assert "a fault that nobody planned" not in journal

    unanswered = [name for name, status in statuses.items() if status == NO_ANSWER]
    assert unanswered == []
    assert {status >> 12 for status in statuses.values()} <= {0x0, 0xA, 0xC}
    assert len(set(statuses.values())) > 1, "some can be stored, some not"
