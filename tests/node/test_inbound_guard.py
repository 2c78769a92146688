"""Who may call, and what for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scp_node.inbound.guard import Admit, Caller, Guard, Load, Permission, Reject
from scp_node.settings import Peer, Verification

PEERS = {
    "ct": Peer(ae_title="CT", addresses=("10.1.0.0/16", "2001:db8::/32"), may_send=True),
    "pacs": Peer(ae_title="PACS", addresses=("10.2.0.9",), host="pacs", port=104),
    "archive": Peer(ae_title="ARCHIVE", addresses=("10.2.0.8",), host="a", port=104, verification=Verification.FIND),
    "silent": Peer(ae_title="SILENT", host="silent", port=104),
    "mr": Peer(ae_title="MR", addresses=("10.3.0.0/16",), may_send=True, certificate_names=("mr1.hospital",)),
}


def decide(
    calling: str,
    address: str,
    called: str = "HAI_NODE",
    open_associations: int = 0,
    *,
    from_address: int = 0,
    certificate: frozenset[str] | None = None,
) -> Admit | Reject:
    guard = Guard(["HAI_NODE", "HAI_FORCE"], PEERS, maximum_associations=3, maximum_per_address=2)
    caller = Caller(calling_ae=calling, called_ae=called, address=address, certificate_names=certificate)
    return guard.decide(caller, Load(in_all=open_associations, from_address=from_address))


def numbers(decision: Admit | Reject) -> tuple[int, int, int]:
    assert isinstance(decision, Reject)
    return decision.result, decision.source, decision.reason


def test_a_known_sender_at_its_address_may_store() -> None:
    assert decide("CT", "10.1.200.3") == Admit(peer="ct", permissions=frozenset({Permission.STORE}))
    assert isinstance(decide(" CT ", "10.1.200.3", called="HAI_FORCE "), Admit)


def test_an_address_of_the_fourth_version_is_known_in_its_mapped_form() -> None:
    assert isinstance(decide("CT", "::ffff:10.1.200.3"), Admit)
    assert isinstance(decide("CT", "2001:db8::1"), Admit)


def test_a_called_title_that_is_not_ours_is_rejected_for_reason_seven() -> None:
    assert numbers(decide("CT", "10.1.0.1", called="OTHER")) == (1, 1, 7)


def test_a_stranger_is_rejected_for_reason_three() -> None:
    assert numbers(decide("STRANGER", "10.1.0.1")) == (1, 1, 3)


def test_a_known_title_from_another_address_is_rejected_like_a_stranger() -> None:
    assert numbers(decide("CT", "10.2.0.1")) == (1, 1, 3)
    assert numbers(decide("SILENT", "10.2.0.1")) == (1, 1, 3)
    assert numbers(decide("CT", "not an address")) == (1, 1, 3)


def test_one_association_too_many_is_rejected_as_transient() -> None:
    assert isinstance(decide("CT", "10.1.0.1", open_associations=2), Admit)
    assert numbers(decide("CT", "10.1.0.1", open_associations=3)) == (2, 3, 2)


def test_one_address_cannot_take_all_places() -> None:
    assert isinstance(decide("CT", "10.1.0.1", open_associations=2, from_address=1), Admit)
    assert numbers(decide("CT", "10.1.0.1", open_associations=2, from_address=2)) == (2, 3, 2)


def test_a_title_that_is_bound_to_a_certificate_is_believed_with_that_certificate_only() -> None:
    assert isinstance(decide("MR", "10.3.0.1", certificate=frozenset({"MR1.hospital"})), Admit)
    assert numbers(decide("MR", "10.3.0.1", certificate=frozenset({"ct1.hospital"}))) == (1, 1, 3)
    assert numbers(decide("MR", "10.3.0.1", certificate=frozenset())) == (1, 1, 3)
    assert numbers(decide("MR", "10.3.0.1", certificate=None)) == (1, 1, 3)
    assert isinstance(decide("CT", "10.1.0.1", certificate=frozenset({"mr1.hospital"})), Admit)


def test_a_stranger_does_not_learn_that_we_are_busy() -> None:
    assert numbers(decide("STRANGER", "10.1.0.1", open_associations=3)) == (1, 1, 3)


@pytest.mark.parametrize(
    ("calling", "address", "permissions"),
    [("PACS", "10.2.0.9", {Permission.REPORT_COMMITMENT}), ("ARCHIVE", "10.2.0.8", set())],
)
def test_only_a_peer_from_which_commitment_is_asked_may_report_it(
    calling: str, address: str, permissions: set[Permission]
) -> None:
    assert decide(calling, address) == Admit(peer=calling.lower(), permissions=frozenset(permissions))


@given(st.text(max_size=20), st.text(max_size=20), st.text(max_size=45), st.integers(0, 10))
def test_nobody_is_admitted_who_is_not_in_the_list(calling: str, called: str, address: str, busy: int) -> None:
    decision = decide(calling, address, called, busy)

    if isinstance(decision, Admit):
        assert PEERS[decision.peer].ae_title == calling.strip()
        assert PEERS[decision.peer].may_call_from(address)
