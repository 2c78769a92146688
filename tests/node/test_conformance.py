"""The conformance statement says what the node does, and the shipped one is current."""

from __future__ import annotations

from pathlib import Path

import pytest

from scp_node.conformance import ANSWERS, REJECTIONS, SENT, STATUSES, conformance_statement
from scp_node.dimse.statuses import NO_RESOURCES, NOT_AUTHORISED, SUCCESS
from scp_node.domain.delivery import ObjectKind
from scp_node.errors import MismatchedObjectError, SpoolFullError, UnreadableObjectError
from scp_node.inbound import guard
from scp_node.inbound.contexts import STORAGE_CLASSES, TRANSFER_SYNTAXES
from scp_node.inbound.intake import FAULT_OF_OURS
from scp_node.outbound.faults import Permanent, Stored, Transient, outcome_of
from scp_node.settings import load_settings
from tests.node.command_line import write_config

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def shipped() -> str:
    return conformance_statement(load_settings(REPOSITORY / "config"))


def test_the_statement_in_the_documentation_is_current(shipped: str) -> None:
    written = (REPOSITORY / "docs" / "conformance.md").read_text(encoding="utf-8")

    assert written == shipped, "run: .venv/bin/python run_node.py conformance > docs/conformance.md"


@pytest.mark.parametrize("uid", [*STORAGE_CLASSES, *TRANSFER_SYNTAXES])
def test_everything_that_is_negotiated_is_stated(uid: str, shipped: str) -> None:
    assert f"| {uid} |" in shipped


def test_every_kind_of_object_that_is_made_is_stated(shipped: str) -> None:
    assert set(SENT) == set(ObjectKind)
    assert all(f"| {uid} |" in shipped for uids in SENT.values() for uid in uids)


@pytest.mark.parametrize(
    ("statuses", "attempts", "outcome", "stated"),
    [
        ((0x0000,), 1, Stored, "sent"),
        ((0x0111, 0x0001, 0xB000, 0xB006), 1, Stored, "sent; the warning is kept"),
        ((0xA700, 0xA702, 0x0124, 0x0110), 99, Transient, "tried again, for ever"),
        ((0xA900, 0xC000), 1, Transient, "tried again; after 3"),
        ((0xA900, 0xC000), 3, Permanent, "after 3 refusals of the object a person is asked"),
        ((0x0122, 0x0117), 1, Permanent, "a person is asked"),
    ],
)
def test_answers_lead_to_what_is_stated(statuses: tuple[int, ...], attempts: int, outcome: type, stated: str) -> None:
    assert any(stated in then for _, then in ANSWERS)
    assert all(isinstance(outcome_of(status, attempts), outcome) for status in statuses)


def test_the_statement_follows_the_configuration(tmp_path: Path) -> None:
    config = write_config(tmp_path / "config", tmp_path / "data", port=2762, pacs_port=5678)

    stated = conformance_statement(load_settings(config))

    assert "port 2762" in stated
    assert "| pacs | PACS | 127.0.0.1:5678 | commitment |" in stated
    assert "| ct-1 | CT_1 | 127.0.0.1 | C-ECHO, C-STORE |" in stated


def test_what_a_caller_may_do_is_what_the_guard_grants(tmp_path: Path) -> None:
    config = write_config(tmp_path / "config", tmp_path / "data", port=2762, pacs_port=5678)
    with (config / "peers.toml").open("a") as peers:
        peers.write('[peer.monitor]\nae_title = "MONITOR"\naddresses = ["127.0.0.3"]\n')
        peers.write('[peer.both]\nae_title = "BOTH"\naddresses = ["127.0.0.4"]\nmay_send = true\n')
        peers.write('host = "127.0.0.4"\nport = 104\n')
    stated = conformance_statement(load_settings(config))

    assert "| monitor | MONITOR | 127.0.0.3 | C-ECHO |" in stated
    assert "| both | BOTH | 127.0.0.4 | C-ECHO, C-STORE, N-EVENT-REPORT of storage commitment |" in stated


def test_every_answer_to_c_store_is_stated() -> None:
    given = {SUCCESS, NO_RESOURCES, NOT_AUTHORISED, FAULT_OF_OURS}
    given |= {fault.status for fault in (UnreadableObjectError, MismatchedObjectError, SpoolFullError)}
    assert given == {int(status, 16) for status, _, _ in STATUSES}


def test_every_rejection_is_stated() -> None:
    given = {entry for entry in vars(guard).values() if isinstance(entry, guard.Reject)}
    assert {(each.result, each.source, each.reason) for each in given} == {
        (int(result[0]), int(source[0]), int(reason)) for _, result, source, reason in REJECTIONS
    }
