"""Routes: which studies are analysed, by what, and for whom. Data, never evaluated expressions.

A condition is a small tree. Leaves look at one attribute, one code sequence or the association; ``AllOf``, ``AnyOf``
and ``NoneOf`` combine. A condition is evaluated per series: everything inside ``AllOf`` must hold on *one* series,
unless a part is wrapped in ``Study``, which asks for any series of the study. The first route that matches decides;
no match means ignore.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import assert_never

from analyzers.contract import InstanceSummary, StudySummary

MODALITY = "Modality"
"""The one keyword that is a field of the summary and not among its attributes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Analyze:
    """Route the study to analyzers, and their answers to peers."""

    analyzers: tuple[str, ...]
    peers: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ignore:
    """Not ours, and why."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """A person has to decide, and why."""

    reason: str


RouteDecision = Analyze | Ignore | Hold


@dataclass(frozen=True, slots=True, kw_only=True)
class Attribute:
    r"""An attribute equals one of ``one_of`` (case-insensitive), or ``matches`` a regular expression somewhere.

    ``keywords`` are DICOM keywords; the condition holds when any of them does. The expression is matched without
    regard to case; write ``\b`` for word bounds.
    """

    keywords: tuple[str, ...]
    one_of: tuple[str, ...] = ()
    matches: re.Pattern[str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeIn:
    """A code sequence holds one of ``codes``, each ``(value, scheme)``."""

    sequences: tuple[str, ...]
    codes: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CalledAe:
    """The sender called this AE title of ours: a deliberate act that outranks text."""

    one_of: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CallingAe:
    """The sender's AE title."""

    one_of: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class AllOf:
    """Every condition holds on one and the same series."""

    conditions: tuple[Condition, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class AnyOf:
    """At least one condition holds."""

    conditions: tuple[Condition, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class NoneOf:
    """No condition holds."""

    conditions: tuple[Condition, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """The condition holds on some series of the study, not necessarily on this one."""

    condition: Condition


Condition = Attribute | CodeIn | CalledAe | CallingAe | AllOf | AnyOf | NoneOf | Study


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One entry of ``routes.toml``."""

    name: str
    when: Condition
    decision: RouteDecision


@dataclass(frozen=True, slots=True, kw_only=True)
class Sender:
    """How the instances of one series reached us."""

    called_aes: frozenset[str]
    calling_aes: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Examined:
    """One route that was looked at: whether it matched, on which series, and by which words."""

    route: str
    matched: bool
    series_instance_uid: str | None
    because: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Routed:
    """The decision with everything needed to explain it."""

    decision: RouteDecision
    route: str | None
    """Name of the route that decided; ``None`` when none matched."""
    examined: tuple[Examined, ...]


NO_ROUTE = Ignore(reason="no route matched: nothing says that this is a study of a hepatic arterial infusion patient")


def decide(summary: StudySummary, senders: Mapping[str, Sender], routes: Sequence[Route]) -> Routed:
    """Ask the routes in order; the first that matches decides.

    Parameters
    ----------
    summary : StudySummary
        Headers of the whole study.
    senders : series UID → Sender
        Associations per series; a series that is absent counts as sent by nobody.
    routes : sequence of Route
        In order of trust.
    """
    evaluation = _Evaluation(summary, senders)
    examined: list[Examined] = []
    for route in routes:
        entry = evaluation.examine(route)
        examined.append(entry)
        if entry.matched:
            return Routed(decision=route.decision, route=route.name, examined=tuple(examined))
    return Routed(decision=NO_ROUTE, route=None, examined=tuple(examined))


class _Evaluation:
    """One study under examination; instances of a series that repeat the same headers are looked at once."""

    def __init__(self, summary: StudySummary, senders: Mapping[str, Sender]) -> None:
        self._senders = senders
        self._series = {series.series_instance_uid: _distinct(series.instances) for series in summary.series}

    def examine(self, route: Route) -> Examined:
        for uid in self._series:
            because: list[str] = []
            if self._holds(route.when, uid, because):
                return Examined(route=route.name, matched=True, series_instance_uid=uid, because=tuple(because))
        return Examined(route=route.name, matched=False, series_instance_uid=None, because=())

    def _holds(self, condition: Condition, uid: str, because: list[str]) -> bool:
        sender = self._senders.get(uid, Sender(called_aes=frozenset(), calling_aes=frozenset()))
        match condition:
            case Attribute():
                return self._attribute_holds(condition, uid, because)
            case CodeIn():
                return self._code_holds(condition, uid, because)
            case CalledAe(one_of=titles):
                return _title_holds("called AE", titles, sender.called_aes, because)
            case CallingAe(one_of=titles):
                return _title_holds("calling AE", titles, sender.calling_aes, because)
            case AllOf(conditions=parts):
                return all(self._holds(part, uid, because) for part in parts)
            case AnyOf(conditions=parts):
                return any(self._holds(part, uid, because) for part in parts)
            case NoneOf(conditions=parts):
                return not any(self._holds(part, uid, []) for part in parts)
            case Study(condition=part):
                return any(self._holds(part, other, because) for other in self._series)
            case _:
                assert_never(condition)

    def _attribute_holds(self, condition: Attribute, uid: str, because: list[str]) -> bool:
        wanted = {value.casefold() for value in condition.one_of}
        for instance in self._series[uid]:
            for keyword in condition.keywords:
                for value in _values(instance, keyword):
                    if value.strip().casefold() in wanted:
                        because.append(f"{keyword} equals an accepted value")
                        return True
                    if condition.matches is not None and (found := condition.matches.search(value)):
                        because.append(f"{keyword} contains {found.group(0)!r}")
                        return True
        return False

    def _code_holds(self, condition: CodeIn, uid: str, because: list[str]) -> bool:
        wanted = {(value.casefold(), scheme.casefold()) for value, scheme in condition.codes}
        for instance in self._series[uid]:
            for path in condition.sequences:
                for code in instance.codes.get(path, ()):
                    if (code.value.casefold(), code.scheme.casefold()) in wanted:
                        because.append(f"{path} holds ({code.value}, {code.scheme})")
                        return True
        return False


def _values(instance: InstanceSummary, keyword: str) -> tuple[str, ...]:
    return (instance.modality,) if keyword == MODALITY else instance.attributes.get(keyword, ())


def _distinct(instances: Sequence[InstanceSummary]) -> tuple[InstanceSummary, ...]:
    """One instance for each distinct set of routable headers: a series of 500 slices costs as much as one."""
    seen: dict[tuple[object, ...], InstanceSummary] = {}
    for instance in instances:
        codes = tuple(sorted((path, str(codes)) for path, codes in instance.codes.items()))
        key = (instance.modality, tuple(sorted(instance.attributes.items())), codes)
        seen.setdefault(key, instance)
    return tuple(seen.values())


def _title_holds(kind: str, wanted: Sequence[str], present: frozenset[str], because: list[str]) -> bool:
    found = sorted(present & set(wanted))
    because.extend(f"{kind} is {title}" for title in found)
    return bool(found)
