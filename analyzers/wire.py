"""What crosses the wall between the node and an analyzer: JSON files, bit masks and pictures.

The node writes a study's headers as ``summary.json``; the analyzer answers on standard output (an expectation) or
with a folder whose ``result.json`` is written last, so that its presence means success. The forms are documented in
``docs/result-schema.md``. Reading is strict: a file that is not what its schema says raises
:class:`ContractBrokenError` naming the key.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from analyzers.contract import Complete, Expectation, InstanceSummary, Missing, StudySummary
from analyzers.json_values import ContractBrokenError, from_json, to_json

__all__ = [
    "SUMMARY_FILE",
    "SUMMARY_SCHEMA",
    "ContractBrokenError",
    "expectation_from_json",
    "expectation_to_json",
    "instance_from_json",
    "instance_to_json",
    "read_summary",
    "summary_from_json",
    "summary_to_json",
    "write_summary",
]

SUMMARY_SCHEMA = "hai-summary/1"
SUMMARY_FILE = "summary.json"


def instance_to_json(instance: InstanceSummary) -> dict[str, Any]:
    """One header as a JSON object; fields at their default are left out."""
    entries: dict[str, Any] = to_json(instance, omit_defaults=True)
    return entries


def instance_from_json(value: object, where: str = "instance") -> InstanceSummary:
    """Read what :func:`instance_to_json` wrote; raises ContractBrokenError naming the key."""
    return from_json(InstanceSummary, value, where)


def summary_to_json(summary: StudySummary) -> dict[str, Any]:
    """Headers of a study as a JSON object with its schema."""
    return {"schema": SUMMARY_SCHEMA, **to_json(summary, omit_defaults=True)}


def summary_from_json(value: object) -> StudySummary:
    """Read what :func:`summary_to_json` wrote; raises ContractBrokenError naming the key."""
    if not isinstance(value, dict) or value.get("schema") != SUMMARY_SCHEMA:
        raise ContractBrokenError(f"summary.schema: expected {SUMMARY_SCHEMA!r}")
    return from_json(StudySummary, {key: item for key, item in value.items() if key != "schema"}, "summary")


def write_summary(path: Path, summary: StudySummary) -> None:
    """Write ``summary.json``, atomically (temporary name, then rename)."""
    temporary = path.with_name(path.name + ".partial")
    with temporary.open("w", encoding="utf-8") as file:
        json.dump(summary_to_json(summary), file, ensure_ascii=False, separators=(",", ":"))
    os.replace(temporary, path)


def read_summary(path: Path) -> StudySummary:
    """Read ``summary.json``.

    Raises
    ------
    ContractBrokenError
        If it is not JSON, or not a summary of this schema.
    OSError
        If it cannot be read.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ContractBrokenError(f"{path.name}: not JSON: {error}") from error
    return summary_from_json(value)


def expectation_to_json(expectation: Expectation) -> dict[str, Any]:
    """``{"answer": "complete", "reason": ...}`` or ``{"answer": "missing", "what": [...]}``."""
    match expectation:
        case Complete(reason=reason):
            return {"answer": "complete", "reason": reason}
        case Missing(what=what):
            return {"answer": "missing", "what": list(what)}


def expectation_from_json(value: object) -> Expectation:
    """Read what :func:`expectation_to_json` wrote; raises ContractBrokenError naming the key."""
    if not isinstance(value, Mapping):
        raise ContractBrokenError("expectation: expected an object")
    rest = {key: item for key, item in value.items() if key != "answer"}
    match value.get("answer"):
        case "complete":
            return from_json(Complete, rest, "expectation")
        case "missing":
            return from_json(Missing, rest, "expectation")
        case other:
            raise ContractBrokenError(f"expectation.answer: expected complete or missing, found {other!r}")
