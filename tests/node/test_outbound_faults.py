"""What a status means, whose transaction a UID is, and what counts as another identity."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scp_node.dimse.transactions import asked_of, transaction_uid
from scp_node.domain.identifiers import is_uid
from scp_node.outbound.faults import REFUSALS_BELIEVED, Permanent, Stored, Transient, outcome_of
from scp_node.outbound.identity import FiledUnder, difference


@pytest.mark.parametrize("status", [0x0000, 0x0001, 0xB000, 0xB006, 0xB007, 0xBFFF, 0x0111])
def test_success_warnings_and_already_there_count_as_stored(status: int) -> None:
    outcome = outcome_of(status, attempts=1)

    assert isinstance(outcome, Stored)
    assert bool(outcome.warning) == (status != 0x0000)


@pytest.mark.parametrize("status", [0xA700, 0xA7FF, 0x0110, 0x0124, 0x0213, 0xFE00, 0x9999])
@pytest.mark.parametrize("attempts", [1, 50])
def test_what_may_pass_is_never_given_up(status: int, attempts: int) -> None:
    outcome = outcome_of(status, attempts)

    assert isinstance(outcome, Transient)
    assert outcome.status == status


@pytest.mark.parametrize("status", [0x0122, 0x0117])
def test_what_will_not_change_is_permanent_at_once(status: int) -> None:
    assert isinstance(outcome_of(status, attempts=1), Permanent)


@pytest.mark.parametrize("status", [0xA900, 0xA9FF, 0xC000, 0xC123, 0xCFFF])
def test_blame_on_the_object_is_believed_after_several_attempts(status: int) -> None:
    outcomes = [outcome_of(status, attempts) for attempts in range(1, REFUSALS_BELIEVED + 1)]

    assert all(isinstance(outcome, Transient) for outcome in outcomes[:-1])
    assert isinstance(outcomes[-1], Permanent)


@given(st.integers(0, 0xFFFF), st.integers(1, 100))
def test_every_status_has_a_meaning_and_a_failure_has_a_cause(status: int, attempts: int) -> None:
    match outcome_of(status, attempts):
        case Stored(status=said):
            assert said == status
        case Transient(cause=cause, status=said) | Permanent(cause=cause, status=said):
            assert f"0x{status:04X}" in cause
            assert said == status


NAMES = st.from_regex(r"[a-z0-9][a-z0-9-]{0,31}", fullmatch=True)


@given(NAMES, NAMES, st.binary(min_size=16, max_size=16))
def test_a_transaction_tells_which_peer_was_asked(peer: str, other: str, entropy: bytes) -> None:
    transaction = transaction_uid(peer, entropy)

    assert is_uid(transaction)
    assert asked_of(peer, transaction)
    assert asked_of(other, transaction) == (other == peer)


@given(st.text(max_size=70))
def test_a_strangers_transaction_is_nobodys(text: str) -> None:
    assert not asked_of("pacs", text)
    assert not asked_of("pacs", f"2.25.{text}")


def filed(patient_id: str = "P", issuer: str = "", accession: str = "A") -> FiledUnder:
    return FiledUnder(patient_id=patient_id, issuer_of_patient_id=issuer, accession_number=accession)


def test_another_patient_or_accession_is_a_difference_that_names_no_value() -> None:
    reasons = [
        difference(filed(), filed(patient_id="SECRET")),
        difference(filed(), filed(accession="SECRET")),
        difference(filed(issuer="HERE"), filed(issuer="SECRET")),
        difference(filed(), filed(patient_id="")),
    ]

    assert all(reasons)
    assert not any("SECRET" in reason for reason in reasons)


@pytest.mark.parametrize("theirs", [filed(), filed(accession=""), filed(issuer="ADDED LATER")])
def test_silence_of_one_side_contradicts_nothing(theirs: FiledUnder) -> None:
    assert difference(filed(), theirs) == ""
