"""How conditions are evaluated: on one series or on the study, with words that explain the match."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from scp_node.domain.routing import (
    NO_ROUTE,
    AllOf,
    Analyze,
    AnyOf,
    Attribute,
    CalledAe,
    CallingAe,
    CodeIn,
    Condition,
    Hold,
    Ignore,
    NoneOf,
    Route,
    Sender,
    Study,
    decide,
)
from tests.domain.summaries import STUDY_UID, instance, study

ANALYZE = Analyze(analyzers=("cta",), peers=("pacs",))


def text(keyword: str, pattern: str) -> Attribute:
    return Attribute(keywords=(keyword,), matches=re.compile(pattern, re.IGNORECASE))


def matches(condition: Condition, *instances: object, senders: dict[str, Sender] | None = None) -> bool:
    route = Route(name="only", when=condition, decision=ANALYZE)
    told = study(*instances)  # type: ignore[arg-type]
    return decide(told, senders or {}, [route]).decision == ANALYZE


ONE = instance("CT", series=1, attributes={"SeriesDescription": "arterial"})
TWO = instance("CT", series=2, attributes={"ProtocolName": "HAI"})


def test_all_must_hold_on_one_series() -> None:
    both = AllOf(conditions=(text("SeriesDescription", "arterial"), text("ProtocolName", "HAI")))
    assert not matches(both, ONE, TWO)
    same = instance("CT", attributes={"SeriesDescription": "arterial", "ProtocolName": "HAI"})
    assert matches(both, same)


def test_study_asks_any_series() -> None:
    both = AllOf(conditions=(text("SeriesDescription", "arterial"), Study(condition=text("ProtocolName", "HAI"))))
    assert matches(both, ONE, TWO)


def test_any_and_none() -> None:
    assert matches(AnyOf(conditions=(text("ProtocolName", "x"), text("SeriesDescription", "ART"))), ONE)
    assert matches(NoneOf(conditions=(text("ProtocolName", "HAI"),)), ONE)
    assert not matches(NoneOf(conditions=(Study(condition=text("ProtocolName", "HAI")),)), ONE, TWO)


def test_one_of_is_the_whole_value_without_regard_to_case() -> None:
    assert matches(Attribute(keywords=("SeriesDescription",), one_of=("ARTERIAL",)), ONE)
    assert not matches(Attribute(keywords=("SeriesDescription",), one_of=("ARTER",)), ONE)


def test_a_code_needs_value_and_scheme() -> None:
    coded = instance("NM", codes={"ProcedureCodeSequence": [("RPID5457", "RADLEX")]})
    assert matches(CodeIn(sequences=("ProcedureCodeSequence",), codes=(("rpid5457", "radlex"),)), coded)
    assert not matches(CodeIn(sequences=("ProcedureCodeSequence",), codes=(("RPID5457", "LN"),)), coded)


def test_ae_titles_are_those_that_brought_the_series() -> None:
    senders = {f"{STUDY_UID}.1": Sender(called_aes=frozenset({"HAI_FORCE"}), calling_aes=frozenset({"CT_1"}))}
    assert matches(CalledAe(one_of=("HAI_FORCE",)), ONE, senders=senders)
    assert matches(CallingAe(one_of=("CT_1",)), ONE, senders=senders)
    assert not matches(CalledAe(one_of=("HAI_FORCE",)), TWO, senders=senders)


def test_the_first_matching_route_decides_and_says_by_what() -> None:
    routes = [
        Route(name="never", when=text("ProtocolName", "Y90"), decision=Ignore(reason="no")),
        Route(name="held", when=text("SeriesDescription", "arter"), decision=Hold(reason="ask")),
        Route(name="late", when=text("SeriesDescription", "arter"), decision=ANALYZE),
    ]
    routed = decide(study(ONE), {}, routes)
    assert routed.route == "held"
    assert [entry.route for entry in routed.examined] == ["never", "held"]
    assert routed.examined[-1].because == ("SeriesDescription contains 'arter'",)
    assert routed.examined[-1].series_instance_uid == ONE.series_instance_uid


def test_no_route_means_ignored() -> None:
    assert decide(study(ONE), {}, []).decision == NO_ROUTE


@given(st.lists(st.sampled_from(["arterial", "venous", "HAI", ""]), min_size=1, max_size=6))
def test_the_order_of_instances_does_not_change_the_decision(descriptions: list[str]) -> None:
    routes = [Route(name="hai", when=text("SeriesDescription", "HAI"), decision=ANALYZE)]
    instances = [
        instance("CT", series=1, number=number, attributes={"SeriesDescription": description})
        for number, description in enumerate(descriptions, start=1)
    ]
    forwards, backwards = study(*instances), study(*reversed(instances))
    assert decide(forwards, {}, routes).decision == decide(backwards, {}, routes).decision
    assert (decide(forwards, {}, routes).decision == ANALYZE) == ("HAI" in descriptions)
