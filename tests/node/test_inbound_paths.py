"""The lane and the library's own path do the same with the same objects, however they are cut."""

import contextlib
import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from pydicom import uid
from pydicom.filereader import read_file_meta_info
from pydicom.uid import UID, CTImageStorage

from scp_node.inbound.lane import MAX_LIBRARY_MESSAGE_BYTES
from scp_node.store.database import Database
from scp_node.store.studies import StudyStore
from tests.hostile.raw_peer import (
    APPLICATION_CONTEXT,
    COMMAND,
    LAST,
    LONG_ELEMENT,
    NO_ANSWER,
    USER_INFORMATION,
    RawPeer,
    associate_request,
    closing_all,
    element,
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """How a message is cut into fragments and PDUs."""

    command_bytes: int = 1 << 20
    data_bytes: int = 300
    values_in_pdu: int = 1
    empty_between: bool = False
    """A fragment of no bytes before each other one, and as the last."""
    extra: bytes = b""
    """Elements behind those of the command."""


ODD_ELEMENTS = b"".join(element(0x7000 + 2 * number, bytes(3000)) for number in range(20))
"""60 kB, nearly as much as a command may have that goes through the lane."""
CUTS = {
    "command in two": Cut(command_bytes=100),
    "command byte by byte": Cut(command_bytes=1),
    "all in one PDU": Cut(values_in_pdu=1000),
    "command in pieces, data behind them in the same PDU": Cut(command_bytes=7, values_in_pdu=9),
    "fragments of odd lengths": Cut(data_bytes=7, values_in_pdu=3),
    "empty fragments": Cut(command_bytes=33, empty_between=True),
    "long command": Cut(extra=ODD_ELEMENTS),
    "long command in pieces, data behind them in the same PDU": Cut(
        extra=ODD_ELEMENTS, command_bytes=5000, values_in_pdu=9
    ),
    "by the library": Cut(extra=LONG_ELEMENT),
    "by the library, in pieces": Cut(extra=LONG_ELEMENT, command_bytes=1000, data_bytes=77),
}


def sent(port: int, sendings: list[Message], cut: Cut) -> list[tuple[int, str]]:
    """Status and Error Comment of each."""
    contexts = [presentation_context(2 * number + 1, [one]) for number, one in enumerate(SYNTAXES)]
    answers = []
    with closing_all([RawPeer.call(port, address="127.0.0.1")]) as (peer,):
        peer.send(associate_request(APPLICATION_CONTEXT + b"".join(contexts) + USER_INFORMATION, calling="CT_1"))
        assert peer.answer()[0] == 2
        for one in sendings:
            peer.send(message_bytes(one, cut))
            answers.append(_answer(peer))
    return answers


def message_bytes(one: Message, cut: Cut) -> bytes:
    """All PDUs of a message."""
    command = store_command(one.announced_uid, sop_class_uid=one.sop_class_uid, extra=cut.extra)
    values = [
        *_values(command, cut.command_bytes, COMMAND, one.context_id, with_empty=cut.empty_between),
        *_values(one.content, cut.data_bytes, 0, one.context_id, with_empty=cut.empty_between),
    ]
    step = cut.values_in_pdu
    return b"".join(pdu(*values[start : start + step]) for start in range(0, len(values), step))


def _values(content: bytes, step: int, control: int, context_id: int, *, with_empty: bool) -> Iterator[bytes]:
    for start in range(0, len(content), step):
        is_last = start + step >= len(content)
        if with_empty:
            yield pdv(b"", control, context_id=context_id)
        yield pdv(
            content[start : start + step], control | (LAST if is_last and not with_empty else 0), context_id=context_id
        )
    if with_empty:
        yield pdv(b"", control | LAST, context_id=context_id)


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


def outcome(folder: Path, sendings: list[Message], cut: Cut) -> Outcome:
    """Send to a receiver of its own."""
    folder.mkdir()
    site = make_site(folder, peers=peers_toml())
    with receiving(site) as receiver:
        answers = sent(receiver.port, sendings, cut)
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


@pytest.fixture(scope="module")
def usual(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """What comes of the messages in their usual form."""
    folder = tmp_path_factory.mktemp("usual")
    return outcome(folder / "lane", list(messages(folder)), Cut())


@pytest.mark.parametrize("name", CUTS)
def test_however_a_message_is_cut_bytes_statuses_comments_rows_and_events_are_the_same(
    name: str, usual: Outcome, tmp_path: Path
) -> None:
    other = outcome(tmp_path / "other", list(messages(tmp_path)), CUTS[name])

    assert {status for status, _ in usual.answers} >= {0x0000, 0xA900, 0xC000}
    assert other.answers == usual.answers
    assert other.datasets == usual.datasets
    assert set(usual.datasets) == {f"{STUDY}.{number}" for number in range(len(SYNTAXES))}
    assert other.rows == usual.rows
    assert other.journal == usual.journal


@pytest.mark.parametrize("name", [one for one in CUTS if not one.startswith("by the library")])
def test_an_object_larger_than_any_message_in_memory_is_stored_however_it_is_cut(name: str, tmp_path: Path) -> None:
    site, cut = make_site(tmp_path, peers=peers_toml()), CUTS[name]
    file = part10(ct_slice(rows=2200), tmp_path / "large.dcm")
    content, instance = dataset_bytes(file), str(read_file_meta_info(file).MediaStorageSOPInstanceUID)
    assert len(content) > MAX_LIBRARY_MESSAGE_BYTES
    one = Message(context_id=1, announced_uid=instance, content=content)
    large = replace(cut, data_bytes=min(16_000, 300 * cut.data_bytes), values_in_pdu=min(7, cut.values_in_pdu))
    with receiving(site) as receiver:
        assert sent(receiver.port, [one], large) == [(0x0000, "")]
    (stored,) = site.spooled
    assert dataset_bytes(stored) == content
