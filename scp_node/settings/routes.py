"""``routes.toml``: ordered routes, parsed into the conditions of :mod:`scp_node.domain.routing`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Annotated

from pydantic import Field, StringConstraints, field_validator, model_validator

from analyzers.headers import ATTRIBUTES, CODE_SEQUENCES
from scp_node.domain import routing
from scp_node.domain.routing import MODALITY
from scp_node.settings.node import Table

Name = Annotated[str, StringConstraints(pattern="^[a-z0-9][a-z0-9-]{0,63}$")]
_CODE = re.compile(r"^\s*([^,\s][^,]*?)\s*,\s*([^,]+?)\s*$")


class UnknownConditionError(ValueError):
    """A condition refers to a name that is not defined above it."""

    def __init__(self, name: str, known: tuple[str, ...]) -> None:
        super().__init__(
            f"names the condition {name!r}, which is not defined above it; there are {', '.join(known) or 'none'}"
        )


class ConditionTable(Table):
    """One condition, written as an inline table with exactly one test in it."""

    attribute: str | Annotated[list[str], Field(min_length=1)] | None = None
    equals: str | None = None
    one_of: Annotated[list[str], Field(min_length=1)] | None = None
    matches: str | None = None
    sequence: str | Annotated[list[str], Field(min_length=1)] | None = None
    codes: Annotated[list[str], Field(min_length=1)] | None = None
    """Each ``"value, scheme"``, e.g. ``"85693008, SCT"``."""
    called_ae: Annotated[list[str], Field(min_length=1)] | None = None
    calling_ae: Annotated[list[str], Field(min_length=1)] | None = None
    all: Annotated[list[ConditionTable], Field(min_length=1)] | None = None
    any: Annotated[list[ConditionTable], Field(min_length=1)] | None = None
    none: Annotated[list[ConditionTable], Field(min_length=1)] | None = None
    study: ConditionTable | None = None
    named: str | None = None
    """Name of a ``[condition.NAME]`` of this file, defined above its use."""

    @field_validator("matches")
    @classmethod
    def _compiles(cls, pattern: str | None) -> str | None:
        if pattern is not None:
            try:
                re.compile(pattern)
            except re.error as error:
                raise ValueError(f"not a regular expression: {error}") from error
        return pattern

    @field_validator("attribute")
    @classmethod
    def _known_attribute(cls, value: str | list[str] | None) -> str | list[str] | None:
        _refuse_unknown(value, frozenset(ATTRIBUTES) | {MODALITY}, "attribute")
        return value

    @field_validator("sequence")
    @classmethod
    def _known_sequence(cls, value: str | list[str] | None) -> str | list[str] | None:
        _refuse_unknown(value, frozenset(CODE_SEQUENCES), "code sequence")
        return value

    @field_validator("codes")
    @classmethod
    def _are_codes(cls, codes: list[str] | None) -> list[str] | None:
        for text in codes or ():
            if _CODE.match(text) is None:
                raise ValueError(f'{text!r} is no code: write "value, scheme", e.g. "85693008, SCT"')
        return codes

    @model_validator(mode="after")
    def _asks_one_thing(self) -> ConditionTable:
        subjects = ("attribute", "sequence", "called_ae", "calling_ae", "all", "any", "none", "study", "named")
        asked = [name for name in subjects if getattr(self, name) is not None]
        if len(asked) != 1:
            raise ValueError(f"a condition asks exactly one of {', '.join(subjects)}; this one asks {asked or 'none'}")
        tests = [name for name in ("equals", "one_of", "matches") if getattr(self, name) is not None]
        if (asked == ["attribute"]) != (len(tests) == 1):
            raise ValueError("an attribute needs exactly one of equals, one_of, matches (and nothing else takes them)")
        if (asked == ["sequence"]) != (self.codes is not None):
            raise ValueError("a sequence needs codes (and nothing else takes them)")
        return self

    def with_parts(self) -> Iterator[ConditionTable]:
        """The condition itself and every one inside it."""
        yield self
        for part in (*(self.all or ()), *(self.any or ()), *(self.none or ()), *([self.study] if self.study else ())):
            yield from part.with_parts()

    def condition(self, named: Mapping[str, routing.Condition]) -> routing.Condition:
        """The condition of the domain that this table writes.

        Raises
        ------
        UnknownConditionError
            When it names a condition that is not in ``named``.
        """
        if self.attribute is not None:
            return self._attribute()
        if self.sequence is not None:
            codes = tuple(_code(text) for text in self.codes or ())
            return routing.CodeIn(sequences=_texts(self.sequence), codes=codes)
        if self.called_ae is not None:
            return routing.CalledAe(one_of=tuple(self.called_ae))
        if self.calling_ae is not None:
            return routing.CallingAe(one_of=tuple(self.calling_ae))
        if self.named is not None:
            if self.named not in named:
                raise UnknownConditionError(self.named, tuple(named))
            return named[self.named]
        if self.study is not None:
            return routing.Study(condition=self.study.condition(named))
        return self._combination(named)

    def _combination(self, named: Mapping[str, routing.Condition]) -> routing.Condition:
        parts = tuple(part.condition(named) for part in self.all or self.any or self.none or ())
        if self.all is not None:
            return routing.AllOf(conditions=parts)
        return routing.AnyOf(conditions=parts) if self.any is not None else routing.NoneOf(conditions=parts)

    def _attribute(self) -> routing.Attribute:
        one_of = tuple(self.one_of or ()) if self.equals is None else (self.equals,)
        matches = None if self.matches is None else re.compile(self.matches, re.IGNORECASE)
        return routing.Attribute(keywords=_texts(self.attribute or ""), one_of=one_of, matches=matches)


class RouteTable(Table):
    """One ``[[route]]``: a condition and exactly one of analyze, ignore, hold."""

    name: Name
    when: ConditionTable
    analyze: Annotated[list[str], Field(min_length=1)] | None = None
    deliver_to: Annotated[tuple[str, ...], Field(strict=False)] = ()
    ignore: str | None = None
    hold: str | None = None

    @model_validator(mode="after")
    def _decides_one_thing(self) -> RouteTable:
        decided = [name for name in ("analyze", "ignore", "hold") if getattr(self, name) is not None]
        if len(decided) != 1:
            raise ValueError("a route says exactly one of analyze, ignore (with its reason), hold (with its reason)")
        if (self.analyze is not None) != bool(self.deliver_to):
            raise ValueError("a route that analyzes names its peers in deliver_to (and no other route does)")
        return self

    def route(self, named: Mapping[str, routing.Condition]) -> routing.Route:
        """The route of the domain that this table writes; raises ``UnknownConditionError``."""
        decision: routing.RouteDecision
        if self.analyze is not None:
            decision = routing.Analyze(analyzers=tuple(self.analyze), peers=tuple(self.deliver_to))
        elif self.ignore is not None:
            decision = routing.Ignore(reason=self.ignore)
        else:
            decision = routing.Hold(reason=self.hold or "")
        return routing.Route(name=self.name, when=self.when.condition(named), decision=decision)


class RoutesFile(Table):
    """The whole of ``routes.toml``; the order of the routes is their order of trust."""

    deliver_to: Annotated[tuple[str, ...], Field(strict=False)] = ()
    """Peers for a study that a person releases and that was never sent to a peer before."""
    condition: dict[Name, ConditionTable] = Field(default_factory=dict)
    """Conditions with a name, for routes and later conditions to use."""
    route: Annotated[list[RouteTable], Field(min_length=1)]

    @model_validator(mode="after")
    def _names_are_defined(self) -> RoutesFile:
        self.routes()
        return self

    def routes(self) -> tuple[routing.Route, ...]:
        """The routes of the domain, in order."""
        named: dict[str, routing.Condition] = {}
        for name, table in self.condition.items():
            named[name] = table.condition(named)
        return tuple(table.route(named) for table in self.route)


def _texts(value: str | list[str]) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value)


def _code(text: str) -> tuple[str, str]:
    value, scheme = text.split(",")
    return value.strip(), scheme.strip()


def _refuse_unknown(value: str | list[str] | None, known: frozenset[str], what: str) -> None:
    unknown = [keyword for keyword in _texts(value or []) if keyword and keyword not in known]
    if unknown:
        near = get_close_matches(unknown[0], known, n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(near)}?" if near else "config/README.md lists them"
        raise ValueError(f"unknown {what} {', '.join(unknown)}: {hint}")
