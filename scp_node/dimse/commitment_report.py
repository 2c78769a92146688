"""A storage commitment report as values (N-EVENT-REPORT, PS3.4 J.3.3)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from pydicom.dataset import Dataset
from pydicom.tag import BaseTag, Tag

from scp_node.dimse.statuses import PROCESSING_FAILURE
from scp_node.dimse.text import UNREADABLE, text_of
from scp_node.domain.delivery import Noted
from scp_node.domain.identifiers import is_uid

MAX_REFERENCES = 20_000
"""A peer answers what we asked; nobody asks for more at once."""

_TRANSACTION = Tag("TransactionUID")
_COMMITTED = Tag("ReferencedSOPSequence")
_FAILED = Tag("FailedSOPSequence")
_INSTANCE = Tag("ReferencedSOPInstanceUID")
_REASON = Tag("FailureReason")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportedCommitment:
    """What a peer says about the instances of one transaction."""

    transaction_uid: str
    committed_uids: tuple[str, ...]
    failed: Mapping[str, int]
    """Failure Reason by SOP Instance UID (PS3.3 C.14.1.1)."""


class CommitmentInbox(Protocol):
    """Keeps reports until whoever asked acts on them; :class:`scp_node.store.deliveries.DeliveryStore` does."""

    def commitment_reported(
        self, transaction_uid: str, committed_uids: tuple[str, ...], failed: Mapping[str, int], now: datetime
    ) -> Noted:
        """Write a row, unless there is one that says the same, or there are too many."""


def read_report(information: Dataset) -> ReportedCommitment | None:
    """Take the Event Information apart; ``None`` if it names no transaction."""
    transaction_uid = text_of(information, _TRANSACTION)
    if not is_uid(transaction_uid):
        return None
    failed = {uid: _reason(item) for uid, item in _references(information, _FAILED)}
    committed = tuple(uid for uid, _ in _references(information, _COMMITTED) if uid not in failed)
    return ReportedCommitment(transaction_uid=transaction_uid, committed_uids=committed, failed=failed)


def _references(information: Dataset, tag: BaseTag) -> Iterator[tuple[str, Dataset]]:
    items = information[tag].value if tag in information else None
    for item in (items or ())[:MAX_REFERENCES]:
        uid = text_of(item, _INSTANCE)
        if is_uid(uid):
            yield uid, item


def _reason(item: Dataset) -> int:
    try:
        return int(item[_REASON].value)
    except UNREADABLE:
        return PROCESSING_FAILURE
