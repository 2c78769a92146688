"""C-STORE as a user: the stored bytes, in the file's own transfer syntax, object by object."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from pydicom.errors import InvalidDicomError
from pydicom.filereader import read_file_meta_info
from pydicom.uid import UID
from pynetdicom import _config as library_settings
from pynetdicom.association import Association

from scp_node.errors import PermanentDeliveryError, TransientDeliveryError
from scp_node.outbound.faults import Permanent, StoreOutcome, Transient, outcome_of
from scp_node.outbound.link import MAX_CONTEXTS, NothingAcceptedError, Proposal, Terms, linked


@dataclass(frozen=True, slots=True, kw_only=True)
class Outgoing:
    """One file to send."""

    number: int
    """Names it among the outcomes."""
    path: Path
    sop_class_uid: str
    digest: str
    """SHA-256 of the file when it was made; empty leaves it unchecked."""
    attempts: int
    """This one included."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Readable:
    outgoing: Outgoing
    proposal: Proposal


def send(
    terms: Terms,
    files: Sequence[Outgoing],
    wanted: Callable[[], bool],
    may_send: Callable[[int], bool] = lambda _: True,
) -> Iterator[tuple[int, StoreOutcome]]:
    """Send files over one association, in order; say of each what became of it.

    Only the contexts that these files need are proposed. A file whose context is not accepted fails alone. When the
    association breaks, what was not answered is transient. ``wanted`` is asked before each file; once it says no,
    nothing more is sent, and nothing said of the rest. ``may_send`` is asked of each file right before its C-STORE; of
    one that may not be sent nothing is said.
    """
    readable: list[_Readable] = []
    for file in files:
        found = _readable(file)
        if isinstance(found, Permanent):
            yield file.number, found
        else:
            readable.append(found)
    while readable and wanted():
        proposals = set(islice(dict.fromkeys(one.proposal for one in readable), MAX_CONTEXTS))
        yield from _send_together(terms, [one for one in readable if one.proposal in proposals], wanted, may_send)
        readable = [one for one in readable if one.proposal not in proposals]


def is_as_made(file: Outgoing) -> bool:
    """Whether the file can be read and is the one that was encoded; `send` refuses any other for good."""
    return not isinstance(_readable(file), Permanent)


def _readable(file: Outgoing) -> _Readable | Permanent:
    """Check that the file is what was encoded: what leaves is the same object, to the byte, or nothing."""
    try:
        with file.path.open("rb") as content:
            digest = hashlib.file_digest(content, "sha256").hexdigest()
        meta = read_file_meta_info(file.path)
    except (OSError, InvalidDicomError) as fault:
        return Permanent(cause=f"the encoded file cannot be read ({type(fault).__name__})")
    if file.digest and digest != file.digest:
        return Permanent(cause="the encoded file is not as it was made: its digest differs")
    syntax = meta.get("TransferSyntaxUID")
    if syntax is None:
        return Permanent(cause="the encoded file names no transfer syntax")
    return _Readable(outgoing=file, proposal=(UID(file.sop_class_uid), UID(syntax)))


def _send_together(
    terms: Terms, files: Sequence[_Readable], wanted: Callable[[], bool], may_send: Callable[[int], bool]
) -> Iterator[tuple[int, StoreOutcome]]:
    answered = 0
    try:
        with linked(terms, [one.proposal for one in files]) as link:
            accepted = {
                (context.abstract_syntax, context.transfer_syntax[0]) for context in link.association.accepted_contexts
            }
            for one in files:
                if not wanted():
                    return
                if one.proposal not in accepted:
                    yield one.outgoing.number, _not_accepted(one)
                elif may_send(one.outgoing.number):
                    yield one.outgoing.number, _store(link.association, one.outgoing)
                answered += 1
    except NothingAcceptedError:
        for one in files:
            yield one.outgoing.number, _not_accepted(one)
    except (TransientDeliveryError, PermanentDeliveryError) as fault:
        for one in files[answered:]:
            yield one.outgoing.number, Transient(cause=str(fault))


def _store(association: Association, file: Outgoing) -> StoreOutcome:
    """Send one object.

    Raises
    ------
    TransientDeliveryError
        If the association is gone, before or after.
    """
    if not association.is_established:
        raise TransientDeliveryError("the association ended before this object was sent")
    # The library reads the data set from the file in pieces and sends its bytes as they are. It knows this as a
    # setting of the whole process; nothing here wants it otherwise.
    library_settings.STORE_SEND_CHUNKED_DATASET = True
    answer = association.send_c_store(file.path)
    if "Status" not in answer:
        raise TransientDeliveryError("no answer to C-STORE: timed out, or the association was aborted")
    return outcome_of(int(answer.Status), file.attempts)


def _not_accepted(one: _Readable) -> Permanent:
    sop_class, syntax = one.proposal
    return Permanent(
        cause=f"the peer does not accept {sop_class.name} in {syntax.name}; see the kinds of objects in peers.toml"
    )
