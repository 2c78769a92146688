"""The lane and the library's own path do the same with the same objects; a command set in two PDVs takes the latter."""

import contextlib
import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from pydicom import uid
from pydicom.uid import UID, CTImageStorage

from scp_node.store.database import Database
from scp_node.store.studies import StudyStore
from tests.hostile.raw_peer import (
    APPLICATION_CONTEXT,
    COMMAND,
    LAST,
    NO_ANSWER,
    USER_INFORMATION,
    RawPeer,
    associate_request,
    closing_all,
    pdu,
    pdv,
    presentation_context,
    store_command,
)
from tests.node.network import ct_slice, dataset_bytes, eventually, make_site, part10, peers_toml, receiving

SYNTAXES = (
    uid.ExplicitVRLittleEndian,
    uid.ImplicitVRLittleEndian,
    uid.ExplicitVRBigEndian,
    uid.DeflatedExplicitVRLittleEndian,
    uid.JPEG2000Lossless,
)
STUDY, FRAME = "1.2.3.4", "1.2.3.4.9"
FRAGMENT_BYTES = 300
TELLING = ("event", "reason", "status", "instance", "peer", "what", "level")
"""Fields of the journal that say what happened, without when and with which process."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One C-STORE."""

    context_id: int
    announced_uid: str
    content: bytes
    sop_class_uid: str = CTImageStorage


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of all messages."""

    answers: list[tuple[int, str]]
    datasets: dict[str, bytes]
    """Data sets in the spool, by SOP instance."""
    rows: dict[str, object]
    journal: list[dict[str, object]]


def messages(folder: Path) -> Iterator[Message]:
    """Good and bad objects in each transfer syntax."""
    for number, syntax in enumerate(SYNTAXES):
        context_id = 2 * number + 1
        instance = f"{STUDY}.{number}"
        frames = {"study": STUDY, "series": f"{STUDY}.0", "FrameOfReferenceUID": FRAME}
        file = part10(ct_slice(number, SOPInstanceUID=instance, **frames), folder / f"{number}.dcm", UID(syntax))  # type: ignore[arg-type]
        good = Message(context_id=context_id, announced_uid=instance, content=dataset_bytes(file))
        yield good
        yield replace(good, announced_uid="1.2.3.99")
        yield replace(good, announced_uid="no/../uid")
        yield replace(good, sop_class_uid=uid.MRImageStorage)
        yield replace(good, content=good.content[:-40])
        yield replace(good, content=good.content[:40])
        yield replace(good, content=b"\xff" * 500)
        yield good


def sent(port: int, sendings: list[Message], *, split_at: int | None) -> list[tuple[int, str]]:
    """Status and Error Comment of each."""
    contexts = [presentation_context(2 * number + 1, [one]) for number, one in enumerate(SYNTAXES)]
    answers = []
    with closing_all([RawPeer.call(port, address="127.0.0.1")]) as (peer,):
        peer.send(associate_request(APPLICATION_CONTEXT + b"".join(contexts) + USER_INFORMATION, calling="CT_1"))
        assert peer.answer()[0] == 2
        for one in sendings:
            command = store_command(one.announced_uid, sop_class_uid=one.sop_class_uid)
            cuts = [command] if split_at is None else [command[:split_at], command[split_at:]]
            peer.send(b"".join(_commands(cuts, one.context_id)) + b"".join(_data(one)))
            answers.append(_answer(peer))
    return answers


def _commands(cuts: list[bytes], context_id: int) -> Iterator[bytes]:
    for number, cut in enumerate(cuts, start=1):
        yield pdu(pdv(cut, COMMAND | (LAST if number == len(cuts) else 0), context_id=context_id))


def _data(one: Message) -> Iterator[bytes]:
    for start in range(0, len(one.content), FRAGMENT_BYTES):
        is_last = start + FRAGMENT_BYTES >= len(one.content)
        cut = one.content[start : start + FRAGMENT_BYTES]
        yield pdu(pdv(cut, LAST if is_last else 0, context_id=one.context_id))


def _answer(peer: RawPeer) -> tuple[int, str]:
    kind, content = peer.answer()
    if kind != 4:
        return NO_ANSWER, ""
    elements, position = {}, 6
    while position < len(content):
        _, number, length = struct.unpack_from("<HHL", content, position)
        elements[number] = content[position + 8 : position + 8 + length]
        position += 8 + length
    return int.from_bytes(elements[0x0900], "little"), elements.get(0x0902, b"").decode().strip()


def outcome(folder: Path, sendings: list[Message], *, split_at: int | None) -> Outcome:
    """Send to a receiver of its own."""
    folder.mkdir()
    site = make_site(folder, peers=peers_toml())
    with receiving(site) as receiver:
        answers = sent(receiver.port, sendings, split_at=split_at)
        with contextlib.closing(Database.open(site.data, migrate=False)) as database:
            studies = StudyStore(database)
            assert eventually(lambda: studies.spool_keys() == {file.stem for file in site.spooled} != set())
            found = studies.instances(STUDY, usable_only=False)
        assert eventually(lambda: "association ended" in receiver.log)
        lines = [json.loads(line) for line in receiver.log.splitlines()]
    files = {file.stem: file for file in site.spooled}
    return Outcome(
        answers=answers,
        datasets={row.summary.sop_instance_uid: dataset_bytes(files[row.spool_key]) for row in found if row.spool_key},
        rows={
            row.summary.sop_instance_uid: (row.summary, files[row.spool_key].stat().st_size)
            for row in found
            if row.spool_key
        },
        journal=[{key: line[key] for key in TELLING if key in line} for line in lines if _is_of_the_receiver(line)],
    )


def _is_of_the_receiver(line: dict[str, object]) -> bool:
    """What the recorder says depends on whether it looks into the spool first or is told first."""
    return line["part"] == "inbound" and "pid" not in line


@pytest.mark.parametrize("split_at", [1, 100])
def test_both_paths_give_the_same_bytes_statuses_comments_rows_and_events(split_at: int, tmp_path: Path) -> None:
    sendings = list(messages(tmp_path))

    lane = outcome(tmp_path / "lane", sendings, split_at=None)
    library = outcome(tmp_path / "library", sendings, split_at=split_at)

    assert {status for status, _ in lane.answers} >= {0x0000, 0xA900, 0xC000}
    assert library.answers == lane.answers
    assert library.datasets == lane.datasets
    assert set(lane.datasets) == {f"{STUDY}.{number}" for number in range(len(SYNTAXES))}
    assert library.rows == lane.rows
    assert library.journal == lane.journal
