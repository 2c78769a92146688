"""Frozen dataclasses to JSON and back, strictly.

Writing is plain: a dataclass becomes an object with its field names, tuples become lists, enumerations their value.
Reading is strict and follows the type annotations of the dataclasses: an unknown key, a missing one or a value of
another kind is refused with the path of the key, because a reader that guesses would misreport a measurement.
"""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Mapping
from enum import StrEnum
from functools import cache
from typing import Any, TypeVar, cast

import numpy as np

_T = TypeVar("_T")


class ContractBrokenError(ValueError):
    """A file that crosses the wall is not what the contract says; the message names the key."""


def to_json(value: object, *, omit_defaults: bool = False) -> Any:
    """Turn dataclasses, tuples, mappings, plain values and NumPy scalars into what ``json.dumps`` takes.

    Parameters
    ----------
    value : object
        Anything that :func:`from_json` reads back.
    omit_defaults : bool
        Leave out fields that equal their default, for large summaries.

    Raises
    ------
    ContractBrokenError
        If a number is not finite or a value has no JSON form.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            field.name: to_json(getattr(value, field.name), omit_defaults=omit_defaults)
            for field in dataclasses.fields(value)
            if not (omit_defaults and getattr(value, field.name) == _default_of(field))
        }
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        raise ContractBrokenError(f"{value} is not a number that a result may hold")
    if value is None or isinstance(value, str | int | float):
        return str(value) if isinstance(value, StrEnum) else value
    if isinstance(value, Mapping):
        return {str(key): to_json(item, omit_defaults=omit_defaults) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [to_json(item, omit_defaults=omit_defaults) for item in value]
    raise ContractBrokenError(f"a value of type {type(value).__name__} has no form in JSON")


def from_json(kind: type[_T], value: object, where: str) -> _T:
    """Read one value of an annotated kind.

    Parameters
    ----------
    kind : type
        A dataclass, or any annotation that one of its fields may have.
    value : object
        As ``json.loads`` gave it.
    where : str
        Path for messages, e.g. ``result.measurements[2]``.

    Raises
    ------
    ContractBrokenError
        If the value is not of that kind; the message begins with the path.
    """
    return cast(_T, _read(kind, value, where))


def _read(kind: Any, value: object, where: str) -> object:
    if kind is Any:
        return value
    if dataclasses.is_dataclass(kind):
        return _read_dataclass(kind, value, where)
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (types.UnionType, typing.Union):
        return _read_optional(arguments, value, where)
    if origin is tuple:
        return _read_tuple(arguments, value, where)
    if origin is not None and issubclass(origin, Mapping):
        entries = _expect(dict, value, where, "an object")
        return {key: _read(arguments[1], item, f"{where}.{key}") for key, item in entries.items()}
    return _read_plain(kind, value, where)


def _read_plain(kind: Any, value: object, where: str) -> object:
    if kind is float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise ContractBrokenError(f"{where}: expected a number, found {value!r}")
        return float(value)
    if kind is int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise ContractBrokenError(f"{where}: expected a whole number, found {value!r}")
        return value
    if kind is bool:
        return _expect(bool, value, where, "true or false")
    text = _expect(str, value, where, "a text")
    if kind is str:
        return text
    if issubclass(kind, StrEnum):
        try:
            return kind(text)
        except ValueError:
            words = ", ".join(member.value for member in kind)
            raise ContractBrokenError(f"{where}: expected one of {words}, found {text!r}") from None
    raise TypeError(f"{where}: no JSON form for {kind}")


def _read_optional(arguments: tuple[Any, ...], value: object, where: str) -> object:
    if value is None and type(None) in arguments:
        return None
    present = [argument for argument in arguments if argument is not type(None)]
    if len(present) != 1:
        raise TypeError(f"{where}: only 'something or None' can be read, not {arguments}")
    return _read(present[0], value, where)


def _read_tuple(arguments: tuple[Any, ...], value: object, where: str) -> object:
    items = _expect(list, value, where, "a list")
    if len(arguments) == 2 and arguments[1] is Ellipsis:
        return tuple(_read(arguments[0], item, f"{where}[{index}]") for index, item in enumerate(items))
    if len(items) != len(arguments):
        raise ContractBrokenError(f"{where}: expected {len(arguments)} values, found {len(items)}")
    pairs = zip(arguments, items, strict=True)
    return tuple(_read(kind, item, f"{where}[{index}]") for index, (kind, item) in enumerate(pairs))


def _read_dataclass(kind: Any, value: object, where: str) -> object:
    entries = _expect(dict, value, where, "an object")
    hints = _hints_of(kind)
    unknown = sorted(set(entries) - set(hints))
    if unknown:
        raise ContractBrokenError(f"{where}.{unknown[0]}: no such key (known: {', '.join(hints)})")
    arguments = {}
    for field in dataclasses.fields(kind):
        if field.name in entries:
            arguments[field.name] = _read(hints[field.name], entries[field.name], f"{where}.{field.name}")
        elif _default_of(field) is dataclasses.MISSING:
            raise ContractBrokenError(f"{where}.{field.name}: missing")
    return kind(**arguments)


def _expect(kind: type[_T], value: object, where: str, words: str) -> _T:
    if not isinstance(value, kind):
        raise ContractBrokenError(f"{where}: expected {words}, found {_shortened(value)}")
    return value


def _shortened(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


@cache
def _hints_of(kind: type) -> dict[str, Any]:
    return typing.get_type_hints(kind)


def _default_of(field: dataclasses.Field[Any]) -> object:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default
