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
from collections.abc import Callable, Mapping
from enum import StrEnum
from functools import cache
from typing import Any, TypeVar, cast

import numpy as np

_is_finite = math.isfinite
_T = TypeVar("_T")
_Reader = Callable[[object], object]


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
    if type(value) is str or value is None or isinstance(value, bool):
        return value
    # Nearly everything is text, a tuple of texts, or a plain number; a call for each would be most of a header's time.
    if isinstance(value, tuple | list):
        return [
            item
            if type(item) is str or (type(item) is float and _is_finite(item))
            else to_json(item, omit_defaults=omit_defaults)
            for item in value
        ]
    if isinstance(value, dict | Mapping):
        return {
            str(key): list(item) if _is_texts(item) else to_json(item, omit_defaults=omit_defaults)
            for key, item in value.items()
        }
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            name: field if type(field := getattr(value, name)) is str else to_json(field, omit_defaults=omit_defaults)
            for name, default in _defaults_of(type(value)).items()
            if not (omit_defaults and getattr(value, name) == default)
        }
    return _plain_to_json(value)


def _is_texts(value: object) -> bool:
    """A tuple of nothing but text; of one, in most elements of a header."""
    if type(value) is not tuple:
        return False
    for item in value:  # noqa: SIM110 - of one text nearly always, for which all() takes three times as long
        if type(item) is not str:
            return False
    return True


def _plain_to_json(value: object) -> str | int | float:
    if isinstance(value, StrEnum):
        return str(value)
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        raise ContractBrokenError(f"{value} is not a number that a result may hold")
    if isinstance(value, str | int | float):
        return value
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
    try:
        return cast(_T, _reader_of(cast(Any, kind))(value))
    except _MismatchError as mismatch:
        path = "".join(reversed(mismatch.steps))
        raise ContractBrokenError(f"{where}{path}: {mismatch}") from None


class _MismatchError(Exception):
    """A value is of the wrong kind; ``steps`` lead to it, the innermost first.

    The path is put together only when something is wrong: a summary has millions of values.
    """

    def __init__(self, message: str, *steps: str) -> None:
        super().__init__(message)
        self.steps = list(steps)


@cache
def _reader_of(kind: Any) -> _Reader:
    """Make the reader of an annotation, once."""
    if dataclasses.is_dataclass(kind):
        return _dataclass_reader(kind)
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (types.UnionType, typing.Union):
        return _optional_reader(arguments)
    if origin is tuple:
        return _tuple_reader(arguments)
    if origin is not None and issubclass(origin, Mapping):
        return _mapping_reader(_reader_of(arguments[1]))
    if kind in _PLAIN_READERS:
        return _PLAIN_READERS[kind]
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        return _enumeration_reader(kind)
    return _refuse


def _refuse(value: object) -> object:
    # Arrays travel in files of their own; the field that holds one is left out before reading.
    raise _MismatchError(f"this field has no form in JSON, found {_shortened(value)}")


def _read_text(value: object) -> str:
    return _expect(str, value, "a text")


def _read_truth(value: object) -> bool:
    return _expect(bool, value, "true or false")


def _read_float(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise _MismatchError(f"expected a number, found {value!r}")
    return float(value)


def _read_int(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise _MismatchError(f"expected a whole number, found {value!r}")
    return value


def _read_anything(value: object) -> object:
    return value


_PLAIN_READERS: Mapping[object, _Reader] = {
    Any: _read_anything,
    float: _read_float,
    int: _read_int,
    bool: _read_truth,
    str: _read_text,
}


def _enumeration_reader(kind: type[StrEnum]) -> _Reader:
    def read(value: object) -> object:
        text = _expect(str, value, "a text")
        try:
            return kind(text)
        except ValueError:
            words = ", ".join(member.value for member in kind)
            raise _MismatchError(f"expected one of {words}, found {text!r}") from None

    return read


def _optional_reader(arguments: tuple[Any, ...]) -> _Reader:
    present = [argument for argument in arguments if argument is not type(None)]
    if len(present) != 1 or len(arguments) != 2:
        raise TypeError(f"only 'something or None' can be read, not {arguments}")
    read = _reader_of(present[0])
    return lambda value: None if value is None else read(value)


def _tuple_reader(arguments: tuple[Any, ...]) -> _Reader:
    endless = len(arguments) == 2 and arguments[1] is Ellipsis
    readers = [_reader_of(argument) for argument in arguments if argument is not Ellipsis]

    def read(value: object) -> object:
        items = _expect(list, value, "a list")
        if not endless and len(items) != len(readers):
            raise _MismatchError(f"expected {len(readers)} values, found {len(items)}")
        done: list[object] = []
        try:
            for index, item in enumerate(items):
                done.append(readers[0 if endless else index](item))
        except _MismatchError as mismatch:
            mismatch.steps.append(f"[{len(done)}]")
            raise
        return tuple(done)

    return read


def _mapping_reader(read_item: _Reader) -> _Reader:
    def read(value: object) -> object:
        done: dict[str, object] = {}
        key = ""
        try:
            for key, item in _expect(dict, value, "an object").items():
                done[key] = read_item(item)
        except _MismatchError as mismatch:
            if key:
                mismatch.steps.append(f".{key}")
            raise
        return done

    return read


def _dataclass_reader(kind: Any) -> _Reader:
    readers = {name: _reader_of(hint) for name, hint in typing.get_type_hints(kind).items()}
    required = [name for name, default in _defaults_of(kind).items() if default is dataclasses.MISSING]

    def read(value: object) -> object:
        entries = _expect(dict, value, "an object")
        done: dict[str, object] = {}
        for name, item in entries.items():
            if name not in readers:
                raise _MismatchError(f"no such key (known: {', '.join(readers)})", f".{name}")
            try:
                done[name] = readers[name](item)
            except _MismatchError as mismatch:
                mismatch.steps.append(f".{name}")
                raise
        for name in required:
            if name not in done:
                raise _MismatchError("missing", f".{name}")
        return kind(**done)

    return read


def _expect(kind: type[_T], value: object, words: str) -> _T:
    if not isinstance(value, kind):
        raise _MismatchError(f"expected {words}, found {_shortened(value)}")
    return value


def _shortened(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


@cache
def _defaults_of(kind: type) -> Mapping[str, object]:
    """Fields of a dataclass in their order, with their defaults (``dataclasses.MISSING`` where there is none)."""
    return {
        one.name: one.default if one.default_factory is dataclasses.MISSING else one.default_factory()
        for one in dataclasses.fields(kind)
    }
