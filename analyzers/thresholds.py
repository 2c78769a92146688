"""The thresholds of an analyzer: listed for people, and replaced by what a site wrote.

Thresholds are a frozen dataclass, possibly of frozen dataclasses; its fields are numbers, truths, texts or ranges
(tuples of numbers that ascend). The name of a field ends in its unit, the text below the field explains it, and a
``__post_init__`` may refuse values that contradict each other with a ``ValueError``.
"""

from __future__ import annotations

import ast
import dataclasses
import difflib
import hashlib
import inspect
import json
import math
import textwrap
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from analyzers.contract import Analyzer
from analyzers.json_values import to_json

UNITS = {
    "mm": "mm",
    "ml": "ml",
    "millilitres": "ml",
    "hu": "HU",
    "deg": "degrees",
    "s": "s",
    "ms": "ms",
    "kev": "keV",
    "kilocounts": "kcounts",
    "fraction": "share of 1",
    "sigma": "standard deviations",
    "slices": "slice distances",
}
"""Last word of a field's name → its unit for people; other names have no unit."""
MAY_BE_NEGATIVE = frozenset({"HU"})
LARGEST_SHARE = 2.0
"""A share may exceed 1 where it compares with a median; what is greater was meant as a percentage."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Threshold:
    """One field: ``path`` leads to it through the tables (``liver.volume_ml``)."""

    path: str
    default: Any
    unit: str
    explanation: str
    """What stands below the field; empty where the table's own text says it all."""
    table_explanation: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ThresholdFault:
    """What is wrong with a value that a site wrote, where, and what would be right."""

    path: str
    what: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.path} {self.what}: {self.remedy}"


class ThresholdsError(ValueError):
    """Thresholds that a site wrote cannot be used; ``faults`` holds every fault found."""

    def __init__(self, faults: tuple[ThresholdFault, ...]) -> None:
        super().__init__("; ".join(str(fault) for fault in faults))
        self.faults = faults


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangedThreshold:
    """One threshold that a site set otherwise than the analyzer does. ``value`` and ``default`` as JSON has them."""

    path: str
    unit: str
    value: Any
    default: Any

    @property
    def in_words(self) -> str:
        """``liver.volume_ml = 500 to 4500 ml (default 500 to 4000 ml)``."""
        unit = self.unit if self.unit not in ("", UNITS["fraction"]) else ""
        value, default = (f"{_in_words(each)} {unit}".rstrip() for each in (self.value, self.default))
        return f"{self.path} = {value} (default {default})"


@dataclass(frozen=True, slots=True, kw_only=True)
class UsedThresholds:
    """What an analysis decided with: a digest over all thresholds, and those that differ from the defaults."""

    digest: str
    changed: tuple[ChangedThreshold, ...] = ()


def _in_words(value: Any) -> str:
    if isinstance(value, list | tuple):
        return " to ".join(map(_in_words, value))
    return f"{value:g}" if isinstance(value, float) else str(value).lower() if isinstance(value, bool) else str(value)


def listed(thresholds: object) -> tuple[Threshold, ...]:
    """Every threshold in the order of the source, with its unit and explanation."""
    return tuple(_listed(thresholds, ""))


def adjusted(analyzer: Analyzer, overrides: Mapping[str, object]) -> tuple[Analyzer, UsedThresholds | None]:
    """The analyzer with the thresholds that a site wrote, and the record of them.

    Parameters
    ----------
    analyzer : Analyzer
        With its own thresholds, or with none.
    overrides : mapping
        As TOML or JSON gives it: only what differs, tables as mappings, ranges as lists.

    Raises
    ------
    ThresholdsError
        With every fault of ``overrides``.
    """
    if analyzer.thresholds is None or analyzer.with_thresholds is None:
        if overrides:
            remedy = "its author can add some (thresholds and with_thresholds of analyzers.Analyzer)"
            raise ThresholdsError((ThresholdFault(path="", what="has no thresholds that can be set", remedy=remedy),))
        return analyzer, None
    thresholds = applied(analyzer.thresholds, overrides)
    used = UsedThresholds(digest=digest_of(thresholds), changed=changed(analyzer.thresholds, thresholds))
    return (analyzer.with_thresholds(thresholds) if used.changed else analyzer), used


def applied(thresholds: Any, overrides: Mapping[str, object]) -> Any:
    """Thresholds of the same type with other values.

    Raises
    ------
    ThresholdsError
        With every fault: unknown names, values of another kind, out of bounds, or in descending order.
    """
    faults: list[ThresholdFault] = []
    made = _applied(thresholds, overrides, "", faults)
    if faults:
        raise ThresholdsError(tuple(faults))
    return made


def changed(default: object, thresholds: object) -> tuple[ChangedThreshold, ...]:
    """What differs, in the order of the source."""
    return tuple(
        ChangedThreshold(path=one.path, unit=one.unit, value=to_json(other.default), default=to_json(one.default))
        for one, other in zip(_listed(default, ""), _listed(thresholds, ""), strict=True)
        if one.default != other.default
    )


def digest_of(thresholds: object) -> str:
    """SHA-256 over every name and value."""
    values = {one.path: to_json(one.default) for one in _listed(thresholds, "")}
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode("ascii")).hexdigest()


def unit_of(name: str) -> str:
    """Unit that a field's name ends in, for people; empty when it names none."""
    return UNITS.get(name.rpartition("_")[2], "") if "_" in name else ""


def why_unusable(thresholds: object) -> str:
    """What keeps a value from being an analyzer's thresholds; empty when nothing does."""
    kind = type(thresholds)
    if not dataclasses.is_dataclass(kind) or not vars(kind)["__dataclass_params__"].frozen:
        return f"{kind.__name__} is not a frozen dataclass"
    hints = typing.get_type_hints(kind)
    for field in dataclasses.fields(kind):
        value = getattr(thresholds, field.name)
        if dataclasses.is_dataclass(value):
            if found := why_unusable(value):
                return found
        elif not _is_configurable(hints[field.name]):
            return f"{kind.__name__}.{field.name} is no number, truth, text or range"
    return ""


def _is_configurable(hint: Any) -> bool:
    if typing.get_origin(hint) is tuple:
        return all(part in (int, float) for part in typing.get_args(hint))
    return hint in (int, float, bool, str)


def _listed(thresholds: Any, path: str) -> Iterator[Threshold]:
    explained = _explanations(type(thresholds))
    table_explanation = _own_text(type(thresholds))
    for field in dataclasses.fields(thresholds):
        value = getattr(thresholds, field.name)
        if dataclasses.is_dataclass(value):
            yield from _listed(value, f"{path}{field.name}.")
        else:
            yield Threshold(
                path=f"{path}{field.name}",
                default=value,
                unit=unit_of(field.name),
                explanation=explained.get(field.name, ""),
                table_explanation=table_explanation,
            )


def _own_text(kind: type) -> str:
    """The docstring in one line; a dataclass without one is given its signature, which explains nothing."""
    text = " ".join((kind.__doc__ or "").split())
    return "" if text.startswith(f"{kind.__name__}(") else text


def _explanations(kind: type) -> Mapping[str, str]:
    """Field → the text below it. Python keeps no such texts, so they are read from the source, where there is one."""
    try:
        (tree,) = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
    except (OSError, TypeError, ValueError, SyntaxError):
        return {}
    body = tree.body if isinstance(tree, ast.ClassDef) else []
    return {
        field.target.id: " ".join(text.value.value.split())
        for field, text in pairwise(body)
        if isinstance(field, ast.AnnAssign)
        and isinstance(field.target, ast.Name)
        and isinstance(text, ast.Expr)
        and isinstance(text.value, ast.Constant)
        and isinstance(text.value.value, str)
    }


# --- what a site wrote -------------------------------------------------------------------------------------


def _applied(defaults: Any, overrides: object, path: str, faults: list[ThresholdFault]) -> Any:
    where = path.removesuffix(".")
    if not isinstance(overrides, Mapping):
        faults.append(ThresholdFault(path=where, what=f"is {overrides!r}", remedy="a table of thresholds"))
        return defaults
    hints = typing.get_type_hints(type(defaults))
    values: dict[str, object] = {}
    before = len(faults)
    for name, written in overrides.items():
        if name not in hints:
            faults.append(_unknown(f"{path}{name}", str(name), list(hints)))
        elif dataclasses.is_dataclass(getattr(defaults, name)):
            values[name] = _applied(getattr(defaults, name), written, f"{path}{name}.", faults)
        else:
            value, remedy = _read(hints[name], written, name, getattr(defaults, name))
            values[name] = value
            if remedy:
                faults.append(ThresholdFault(path=f"{path}{name}", what=f"is {written!r}", remedy=remedy))
    if len(faults) > before:
        return defaults
    try:
        return dataclasses.replace(defaults, **values)
    except ValueError as error:
        faults.append(ThresholdFault(path=where, what="contradicts itself", remedy=str(error)))
        return defaults


def _unknown(path: str, name: str, known: list[str]) -> ThresholdFault:
    near = difflib.get_close_matches(name, known, n=1)
    remedy = f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}"
    return ThresholdFault(path=path, what="is not a known threshold", remedy=remedy)


def _read(hint: Any, written: object, name: str, default: object) -> tuple[object, str]:
    """The value as the field wants it, and what would be right where it is not."""
    if hint is bool:
        return written, "" if isinstance(written, bool) else "true or false"
    if hint is str:
        return written, "" if isinstance(written, str) else "a text"
    kinds = typing.get_args(hint) if typing.get_origin(hint) is tuple else (hint,)
    least = _least(kinds[0], name, default)
    wanted = _wanted(kinds, unit_of(name), least)
    parts = written if isinstance(written, list | tuple) else [written]
    if isinstance(written, list | tuple) != (typing.get_origin(hint) is tuple) or len(parts) != len(kinds):
        return None, wanted
    if not all(_is_number(part, kind, name, least) for part, kind in zip(parts, kinds, strict=True)):
        return None, wanted
    numbers = [kind(part) for part, kind in zip(parts, kinds, strict=True)]
    if any(low >= high for low, high in pairwise(numbers)):
        return None, f"{wanted}, the lower one first"
    return (tuple(numbers) if isinstance(written, list | tuple) else numbers[0]), ""


def _least(kind: type, name: str, default: object) -> float | None:
    """Lower bound of the numbers: a count is at least 1, and only attenuation is negative."""
    own = default if isinstance(default, tuple) else (default,)
    if unit_of(name) in MAY_BE_NEGATIVE or min(own) < 0:
        return None
    return 1 if kind is int and min(own) >= 1 else 0


def _is_number(value: object, kind: type, name: str, least: float | None) -> bool:
    if (
        isinstance(value, bool)
        or not isinstance(value, int if kind is int else int | float)
        or not math.isfinite(value)
    ):
        return False
    if unit_of(name) == UNITS["fraction"] and value > LARGEST_SHARE:
        return False
    return least is None or value >= least


def _wanted(kinds: tuple[type, ...], unit: str, least: float | None) -> str:
    noun = "whole number" if kinds[0] is int else "number"
    number = f"a {noun}" if len(kinds) == 1 else f"a list of {len(kinds)} {noun}s"
    if unit == UNITS["fraction"]:
        return f"{number} as a share of 1 (0.2, not 20, for 20 %)"
    of_unit = f" in {unit}" if unit else ""
    return f"{number}{of_unit}{'' if least is None else f', at least {least}'}"
