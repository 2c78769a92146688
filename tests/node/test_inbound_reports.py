"""Reports of storage commitment at the port: what we asked for becomes a row, and nothing else costs anything."""

import contextlib
import secrets
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, ImplicitVRLittleEndian, generate_uid
from pynetdicom import build_role
from pynetdicom.association import Association
from sqlalchemy import func, select

from scp_node.dimse.services import STORAGE_COMMITMENT, STORAGE_COMMITMENT_INSTANCE, VERIFICATION
from scp_node.dimse.transactions import transaction_uid
from scp_node.domain.delivery import Noted
from scp_node.errors import StoreError
from scp_node.inbound.guard import Admit
from scp_node.inbound.ledger import Call
from scp_node.inbound.reports import MAX_INFORMATION_BYTES, MOST_USELESS, CommitmentReports
from scp_node.outbound.pause import Pause
from scp_node.store import deliveries as store_module
from scp_node.store import tables
from scp_node.store.database import Database
from scp_node.store.deliveries import DeliveryStore
from tests.node.network import Receiver, association, eventually
from tests.node.store_samples import at

CONTEXTS = [(STORAGE_COMMITMENT, ImplicitVRLittleEndian)]
AS_PROVIDER = [build_role(STORAGE_COMMITMENT, scp_role=True)]


def ours() -> str:
    """A transaction under which we may have asked."""
    return transaction_uid("pacs", secrets.token_bytes(16))


def report(transaction: str, committed: list[str], failed: dict[str, int] | None = None) -> Dataset:
    information = Dataset()
    information.TransactionUID = transaction
    information.ReferencedSOPSequence = Sequence([_reference(one) for one in committed])
    refused = (failed or {}).items()
    information.FailedSOPSequence = Sequence([_reference(one, FailureReason=reason) for one, reason in refused])
    return information


def _reference(sop_instance_uid: str, **more: int) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = CTImageStorage, sop_instance_uid
    for keyword, value in more.items():
        setattr(item, keyword, value)
    return item


def told(link: Association, information: Dataset) -> int | None:
    """Status of the answer to a report; ``None`` if there is none."""
    with Pause.held(link):
        status, _ = link.send_n_event_report(information, 2, STORAGE_COMMITMENT, STORAGE_COMMITMENT_INSTANCE)
    return int(status.Status) if "Status" in status else None


def row_count(database: Database) -> int:
    with database.reading() as connection:
        return int(connection.execute(select(func.count()).select_from(tables.commitment_report)).scalar_one())


def test_a_commitment_report_on_an_association_that_the_archive_opens_becomes_a_row(
    receiver: Receiver, database: Database
) -> None:
    transaction = ours()
    with association(receiver.port, CONTEXTS, calling="PACS", roles=AS_PROVIDER) as link:
        assert told(link, report(transaction, ["1.2.3"], {"1.2.4": 0x0112})) == 0x0000

    (row,) = [one for one in DeliveryStore(database).commitment_reports() if one.transaction_uid == transaction]
    assert row.committed_uids == {"1.2.3"}
    assert row.failed == {"1.2.4": 0x0112}


@pytest.mark.parametrize("roles", [[], [build_role(STORAGE_COMMITMENT, scu_role=True)]])
def test_nobody_can_ask_us_to_commit_to_storage(roles: list[object], receiver: Receiver) -> None:
    contexts = [(VERIFICATION, ExplicitVRLittleEndian), (STORAGE_COMMITMENT, ExplicitVRLittleEndian)]
    with association(receiver.port, contexts, calling="CT_1", roles=roles) as link:
        assert [one.abstract_syntax for one in link.accepted_contexts] == [VERIFICATION]
    with association(receiver.port, contexts, calling="PACS", roles=roles) as link:
        if STORAGE_COMMITMENT in [one.abstract_syntax for one in link.accepted_contexts]:
            asked = report(generate_uid(), ["1.2.3"])
            with Pause.held(link):
                status, _ = link.send_n_action(asked, 1, STORAGE_COMMITMENT, STORAGE_COMMITMENT_INSTANCE)
            assert status.Status != 0x0000


@pytest.mark.parametrize("sop_class", [VERIFICATION, CTImageStorage])
def test_who_may_only_send_images_cannot_report_that_the_archive_holds_our_answers(
    sop_class: str, receiver: Receiver, database: Database
) -> None:
    """The library serves a request by the class that it names, also in the context of another class."""
    before = row_count(database)
    with association(receiver.port, [(sop_class, ImplicitVRLittleEndian)], calling="CT_1") as link:
        (context,) = link.accepted_contexts
        context.abstract_syntax = STORAGE_COMMITMENT
        context._as_scp = True
        assert told(link, report(ours(), ["1.2.3"])) == 0x0211

    assert row_count(database) == before


def test_thousands_of_reports_for_which_nobody_waits_leave_no_row_and_end_the_association(
    receiver: Receiver, database: Database
) -> None:
    before, sent = row_count(database), 0
    for _ in range(3):
        with association(receiver.port, CONTEXTS, calling="PACS", roles=AS_PROVIDER) as link:
            # It may be ended between the look and the sending.
            with contextlib.suppress(RuntimeError):
                while link.is_established and sent < 1000:
                    sent += 1
                    told(link, report(generate_uid(), ["1.2.3"]))
            assert eventually(lambda one=link: one.is_aborted)  # type: ignore[misc]

    assert sent <= 3 * (MOST_USELESS + 2)
    assert row_count(database) == before
    assert "commitment reports without use" in receiver.log


def test_one_report_again_and_again_is_one_row(receiver: Receiver, database: Database) -> None:
    transaction, before = ours(), row_count(database)
    with association(receiver.port, CONTEXTS, calling="PACS", roles=AS_PROVIDER) as link:
        assert [told(link, report(transaction, ["1.2.3"])) for _ in range(5)] == [0x0000] * 5
        assert told(link, report(transaction, [], {"1.2.3": 0x0112})) == 0x0000

    assert row_count(database) == before + 2


@pytest.mark.parametrize("item_count", [40_000, 900_000])
def test_a_report_of_very_many_references_is_refused_before_it_is_decoded(
    item_count: int, receiver: Receiver, database: Database
) -> None:
    """Empty items of eight bytes; decoded, each takes about a kilobyte."""
    information = report(ours(), ["1.2.3"])
    information.ReferencedSOPSequence = Sequence([Dataset()] * item_count)
    assert item_count * 8 > MAX_INFORMATION_BYTES
    before, watched = row_count(database), psutil.Process(receiver.process.pid)
    rest_bytes = watched.memory_info().rss
    with association(receiver.port, CONTEXTS, calling="PACS", roles=AS_PROVIDER) as link:
        assert told(link, information) == 0x0213

    assert row_count(database) == before
    # The message itself, as the library holds it, and nothing of what it would decode to.
    assert watched.memory_info().rss - rest_bytes < 60e6


def test_the_longest_answer_to_what_we_ask_is_taken_whole(receiver: Receiver, database: Database) -> None:
    transaction = ours()
    committed = [f"2.25.{10**58 + number}" for number in range(500)]
    with association(receiver.port, CONTEXTS, calling="PACS", roles=AS_PROVIDER) as link:
        assert told(link, report(transaction, committed)) == 0x0000

    (row,) = [one for one in DeliveryStore(database).commitment_reports() if one.transaction_uid == transaction]
    assert row.committed_uids == set(committed)


def test_rows_of_reports_are_bounded_read_or_unread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "MOST_UNREAD_REPORTS", 20)
    monkeypatch.setattr(store_module, "KEPT_REPORTS", 30)
    with contextlib.closing(Database.open(tmp_path, migrate=True)) as database:
        store, number = DeliveryStore(database), 0
        for _ in range(5):
            while store.commitment_reported(f"2.25.{number}", ["1.2.3"], {}, at(0)) is Noted.NEW:
                number += 1
            assert store.commitment_reported(f"2.25.{number}", ["1.2.3"], {}, at(0)) is Noted.FULL
            unread = store.commitment_reports()
            assert len(unread) == 20
            for one in unread:
                store.report_acted_on(one.report_id)

        assert number == 100
        assert row_count(database) == 30
        assert store.commitment_reported("2.25.99", ["1.2.3"], {}, at(0)) is Noted.AGAIN


class FullDisk:
    """An inbox that cannot write at first."""

    def __init__(self) -> None:
        self.taken: list[str] = []
        self.is_full = True

    def commitment_reported(self, transaction_uid: str, *_: object) -> Noted:
        if self.is_full:
            raise StoreError("the disk of the database is full")
        self.taken.append(transaction_uid)
        return Noted.NEW


def test_a_report_that_cannot_be_written_is_answered_as_such_and_may_come_again() -> None:
    inbox, transaction = FullDisk(), ours()
    reports = CommitmentReports(inbox, lambda _: True, lambda: at(0))
    admitted = Admit(peer="pacs", permissions=frozenset())
    call = Call(
        number=1, peer="pacs", calling_ae="PACS", called_ae="HAI_NODE", address="127.0.0.1", place=0, admitted=admitted
    )
    event: Any = SimpleNamespace(
        context=SimpleNamespace(abstract_syntax=STORAGE_COMMITMENT),
        request=SimpleNamespace(EventInformation=BytesIO(b"as long as this")),
        event_information=report(transaction, ["1.2.3"]),
    )

    assert [reports.take(event, call) for _ in range(2 * MOST_USELESS)] == [0x0110] * (2 * MOST_USELESS)
    assert call.useless_reports == 0, "it is not the peer's fault"
    inbox.is_full = False
    assert reports.take(event, call) == 0x0000
    assert inbox.taken == [transaction]
