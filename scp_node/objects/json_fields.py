"""Strict reading of a JSON object: a missing, unknown or mistyped key is named, never guessed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

Json = str | int | float | bool | None | list["Json"] | dict[str, "Json"]


class JsonFieldError(ValueError):
    """A key of a JSON object is missing, unknown or of the wrong type."""


class JsonFields:
    """The keys of one JSON object, each to be taken once.

    Parameters
    ----------
    value : Json
        What was parsed.
    where : str
        How an error names the object, e.g. ``job.json`` or ``job.json:identity``.

    Raises
    ------
    JsonFieldError
        If the value is not an object.
    """

    def __init__(self, value: Json, where: str) -> None:
        if not isinstance(value, dict):
            raise JsonFieldError(f"{where}: an object is expected, not {_kind(value)}.")
        self._left: dict[str, Json] = dict(value)
        self._where = where

    def text(self, key: str) -> str:
        """Take a text."""
        value = self._take(key)
        if not isinstance(value, str):
            raise self._mistyped(key, "a text", value)
        return value

    def text_or_none(self, key: str) -> str | None:
        """Take a text or null."""
        value = self._take(key)
        if value is not None and not isinstance(value, str):
            raise self._mistyped(key, "a text or null", value)
        return value

    def number(self, key: str) -> int:
        """Take a whole number."""
        value = self._take(key)
        if not isinstance(value, int) or isinstance(value, bool):
            raise self._mistyped(key, "a whole number", value)
        return value

    def truth(self, key: str) -> bool:
        """Take true or false."""
        value = self._take(key)
        if not isinstance(value, bool):
            raise self._mistyped(key, "true or false", value)
        return value

    def texts(self, key: str) -> tuple[str, ...]:
        """Take a list of texts."""
        value = self._take(key)
        if not isinstance(value, list):
            raise self._mistyped(key, "a list of texts", value)
        texts = tuple(item for item in value if isinstance(item, str))
        if len(texts) != len(value):
            raise self._mistyped(key, "a list of texts only", value)
        return texts

    def inner(self, key: str) -> JsonFields:
        """Take an object."""
        return JsonFields(self._take(key), f"{self._where}:{key}")

    def inners(self, key: str) -> tuple[JsonFields, ...]:
        """Take a list of objects."""
        value = self._take(key)
        if not isinstance(value, list):
            raise self._mistyped(key, "a list of objects", value)
        return tuple(JsonFields(item, f"{self._where}:{key}[{index}]") for index, item in enumerate(value))

    def done(self) -> None:
        """Say that nothing else is expected.

        Raises
        ------
        JsonFieldError
            If a key was not taken.
        """
        if self._left:
            raise JsonFieldError(f"{self._where}: unknown key(s) {', '.join(sorted(self._left))}.")

    def fault(self, key: str, wanted: str) -> JsonFieldError:
        """Error for a value of the right type that makes no sense."""
        return JsonFieldError(f"{self._where}:{key}: {wanted} is expected.")

    def _take(self, key: str) -> Json:
        if key not in self._left:
            raise JsonFieldError(f"{self._where}: key {key} is missing.")
        return self._left.pop(key)

    def _mistyped(self, key: str, wanted: str, value: Json) -> JsonFieldError:
        return self.fault(key, f"{wanted}, not {_kind(value)},")


def read_json_fields(path: Path) -> JsonFields:
    """Parse a file that holds one JSON object.

    Raises
    ------
    JsonFieldError
        If the file cannot be read or is not a JSON object.
    """
    try:
        value: Json = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as fault:
        raise JsonFieldError(f"{path.name} cannot be read: {fault}") from fault
    return JsonFields(value, path.name)


def json_text(value: Mapping[str, Json]) -> str:
    """JSON text of an object, always the same for the same content."""
    return json.dumps(value, indent=1, ensure_ascii=False, sort_keys=True) + "\n"


def _kind(value: Json) -> str:
    """What a JSON value is, without showing it (it may be a patient's)."""
    if isinstance(value, bool):
        return "true or false"
    names = {str: "a text", int: "a number", float: "a number", list: "a list", dict: "an object"}
    return names.get(type(value), "null")
