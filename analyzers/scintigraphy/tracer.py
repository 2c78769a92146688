"""What was given to the patient, as far as the headers tell: nuclide, agent, route.

Codes are believed before words; where neither names an agent, :func:`agents_of` compares the routes of a
study. Radionuclide Total Dose is not looked at: zero and missing doses are common and no number here depends on them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from analyzers import vocabulary
from analyzers.contract import Code, InstanceSummary

_PHARMACEUTICAL = "RadiopharmaceuticalInformationSequence"
_AGENT_CODES = f"{_PHARMACEUTICAL}.RadiopharmaceuticalCodeSequence"
_TECHNETIUM_CODES = {vocabulary.TECHNETIUM_99M.value, "C-163A8"}
_MAA_CODES = {vocabulary.MAA.value, "C-B1201"}
_COLLOID_CODES = {vocabulary.SULFUR_COLLOID.value, "C-B1226"}
_TECHNETIUM_WORDS = re.compile(r"tc[ \-]*99|99m?[ \-]*tc|technet|pertec", re.IGNORECASE)
_OTHER_NUCLIDE_WORDS = re.compile(
    r"\b(?:in(?:dium)?[ \-]*111|(?:i|[ij]od|iodine)[ \-]*1(?:23|31)|ga(?:llium)?[ \-]*6[78]|tl[ \-]*201|lu[ \-]*177"
    r"|y[ \-]*90)",
    re.IGNORECASE,
)
_MAA_WORDS = re.compile(r"\b(?:lyo)?m\.?a\.?a\b|ma[ck]ro[ \-]?a|aggregated|albumin|maasol|pulmocis", re.IGNORECASE)
_COLLOID_WORDS = re.compile(r"[ck]ol{1,2}o[iï]d|sul(?:ph|f)ur|schwefel|\btc[ \-]*sc\b|phyta", re.IGNORECASE)
_NAMES_NO_AGENT = re.compile(
    r"m?tcm?|m|technet\w*|pertec\w*|sodium|natrium|na|unknown|other|none|unspecified|[\W\d_]+", re.IGNORECASE
)
_ROUTE_CODES = f"{_PHARMACEUTICAL}.AdministrationRouteCodeSequence"
_ROUTE_TEXT = f"{_PHARMACEUTICAL}.RadiopharmaceuticalRoute"
_ARTERIAL_WORDS = re.compile(r"art[eé]ri|\bi\.?a\b", re.IGNORECASE)
_VENOUS_WORDS = re.compile(r"ven[oö]u?s|veine|vena|\bi\.?v\b", re.IGNORECASE)
_DESCRIPTIONS = (
    "SeriesDescription",
    "ProtocolName",
    "StudyDescription",
    "RequestedProcedureDescription",
)


_BY_ROUTE = "route of administration"


class Agent(StrEnum):
    """Which radiopharmaceutical."""

    MAA = "maa"
    COLLOID = "colloid"
    UNKNOWN = "unknown"


class Route(StrEnum):
    """How it was given."""

    ARTERIAL = "arterial"
    VENOUS = "venous"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tracer:
    """What one object's header says was given.

    Attributes
    ----------
    agent : Agent
    agent_from : str
        ``code``, ``text`` or ``description``; empty when unknown.
    nuclides : tuple of str
        Meanings of the nuclides named, in order, each once; empty when none is.
    is_technetium : bool or None
        ``None`` when no nuclide is named.
    other_agent : str
        A radiopharmaceutical that is named and is neither of both agents; empty where none is.
    route : Route
        Many sites leave it empty or write "intravenous" for every tracer, so it tells nothing by itself.
    """

    agent: Agent
    agent_from: str
    nuclides: tuple[str, ...]
    is_technetium: bool | None
    other_agent: str = ""
    route: Route = Route.UNKNOWN


def tracer_of(instance: InstanceSummary) -> Tracer:
    """Read the tracer from one header."""
    agent, source = _agent(instance)
    codes = _distinct(instance.codes.get(f"{_PHARMACEUTICAL}.RadionuclideCodeSequence", ()))
    words = " ".join(instance.attributes.get(f"{_PHARMACEUTICAL}.Radiopharmaceutical", ()))
    if codes:
        others = tuple(code.meaning or code.value for code in codes if code.value not in _TECHNETIUM_CODES)
        # The same nuclide in an old and a new coding is one nuclide.
        nuclides = (("Tc-99m",) if len(others) < len(codes) else ()) + others
        technetium: bool | None = not others
    elif _OTHER_NUCLIDE_WORDS.search(words):
        nuclides, technetium = (words,), False
    elif _TECHNETIUM_WORDS.search(words) or agent is not Agent.UNKNOWN:
        nuclides, technetium = ("Tc-99m",), True
    else:
        nuclides, technetium = (), None
    return Tracer(
        agent=agent,
        agent_from=source,
        nuclides=nuclides,
        is_technetium=technetium,
        other_agent=_other_agent(instance) if agent is Agent.UNKNOWN else "",
        route=_route(instance),
    )


def _route(instance: InstanceSummary) -> Route:
    codes = instance.codes.get(_ROUTE_CODES, ())
    words = " ".join((*(code.meaning for code in codes), *instance.attributes.get(_ROUTE_TEXT, ())))
    values = {code.value for code in codes}
    arterial = vocabulary.INTRA_ARTERIAL.value in values or bool(_ARTERIAL_WORDS.search(words))
    venous = vocabulary.INTRAVENOUS.value in values or bool(_VENOUS_WORDS.search(words))
    if arterial == venous:
        return Route.UNKNOWN
    return Route.ARTERIAL if arterial else Route.VENOUS


def _other_agent(instance: InstanceSummary) -> str:
    """The radiopharmaceutical that code or text name, where they name more than the nuclide and no known agent."""
    named = [code.meaning or code.value for code in instance.codes.get(_AGENT_CODES, ())]
    named += instance.attributes.get(f"{_PHARMACEUTICAL}.Radiopharmaceutical", ())
    # A text that names both known agents is contradictory, and no other one.
    others = [words for words in named if not (_MAA_WORDS.search(words) or _COLLOID_WORDS.search(words))]
    return next((words for words in others if _names_an_agent(words)), "")


def _names_an_agent(words: str) -> bool:
    """Whether anything is left once nuclide, pertechnetate and empty words are taken away."""
    return any(not _NAMES_NO_AGENT.fullmatch(part) for part in re.findall(r"[^\W\d_]+", words))


def _agent(instance: InstanceSummary) -> tuple[Agent, str]:
    codes = {code.value for code in instance.codes.get(_AGENT_CODES, ())}
    # A header that lists both agents of an examination says nothing of its own picture.
    if bool(codes & _MAA_CODES) != bool(codes & _COLLOID_CODES):
        return (Agent.MAA if codes & _MAA_CODES else Agent.COLLOID), "code"
    words = " ".join(instance.attributes.get(f"{_PHARMACEUTICAL}.Radiopharmaceutical", ()))
    named = _agent_in(words)
    if named is not Agent.UNKNOWN:
        return named, "text"
    for keyword in _DESCRIPTIONS:
        named = _agent_in(instance.text(keyword))
        if named is not Agent.UNKNOWN:
            return named, "description"
    return Agent.UNKNOWN, ""


def _agent_in(words: str) -> Agent:
    """Both or none named: unknown."""
    maa, colloid = bool(_MAA_WORDS.search(words)), bool(_COLLOID_WORDS.search(words))
    if maa == colloid:
        return Agent.UNKNOWN
    return Agent.MAA if maa else Agent.COLLOID


def agents_of(instances: Iterable[InstanceSummary]) -> Mapping[str, tuple[Agent, str]]:
    """Agent of every object of a study by its SOP Instance UID, and what told it.

    Where names are silent, a tracer given by vein beside one that went through an artery is the colloid.
    """
    tracers = {instance.sop_instance_uid: tracer_of(instance) for instance in instances}
    through_pump = {
        uid for uid, tracer in tracers.items() if tracer.agent is Agent.MAA or tracer.route is Route.ARTERIAL
    }
    found = {}
    for uid, tracer in tracers.items():
        found[uid] = (tracer.agent, tracer.agent_from)
        if tracer.agent is Agent.UNKNOWN and tracer.route is Route.ARTERIAL:
            found[uid] = (Agent.MAA, _BY_ROUTE)
        elif tracer.agent is Agent.UNKNOWN and tracer.route is Route.VENOUS and through_pump - {uid}:
            found[uid] = (Agent.COLLOID, _BY_ROUTE)
    return found


def _distinct(codes: Iterable[Code]) -> tuple[Code, ...]:
    seen: dict[str, Code] = {}
    for code in codes:
        seen.setdefault(code.value, code)
    return tuple(seen.values())


def tracer_faults(instances: Iterable[InstanceSummary]) -> tuple[str, ...]:
    """Reasons against the nuclide that the headers name, each once; silent headers are no reason."""
    reasons = []
    for instance in instances:
        tracer = tracer_of(instance)
        if len(tracer.nuclides) > 1:
            reasons.append(
                f"Two nuclides were imaged together ({', '.join(tracer.nuclides).replace('^', '')}): "
                "counts of one lie under the other."
            )
        elif tracer.is_technetium is False:
            reasons.append(f"The nuclide is not Tc-99m but {tracer.nuclides[0].replace('^', '')}.")
    return tuple(dict.fromkeys(reasons))
