"""What crosses the wall between the node and an analyzer: JSON files, bit masks and pictures.

The node writes a study's headers as ``summary.json``; the analyzer answers on standard output (an expectation) or
with a folder whose ``result.json`` is written last, so that its presence means success. The forms are documented in
``docs/result-schema.md``. Reading is strict: a file that is not what its schema says raises
:class:`ContractBrokenError` naming the key.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from analyzers.contract import Complete, Expectation, InstanceSummary, Missing, StudySummary
from analyzers.json_values import ContractBrokenError, from_json, to_json
from analyzers.result_files import (
    RESULT_FILE,
    RESULT_SCHEMA,
    AnalysedStudy,
    AnalyzerIdentity,
    PictureFile,
    ResultFile,
    SegmentFile,
    read_result,
    read_segment,
    study_of,
    write_result,
)
from analyzers.thresholds import ChangedThreshold, ThresholdFault, UsedThresholds

__all__ = [
    "PRIOR_FILE",
    "PRIOR_SCHEMA",
    "RESULT_FILE",
    "RESULT_SCHEMA",
    "SUMMARY_FILE",
    "SUMMARY_SCHEMA",
    "AnalysedStudy",
    "AnalyzerIdentity",
    "ChangedThreshold",
    "ContractBrokenError",
    "PictureFile",
    "PriorRecord",
    "ResultFile",
    "SegmentFile",
    "ThresholdFault",
    "UsedThresholds",
    "expectation_from_json",
    "expectation_to_json",
    "instance_from_json",
    "instance_to_json",
    "read_prior",
    "read_result",
    "read_segment",
    "read_summary",
    "study_of",
    "summary_from_json",
    "summary_to_json",
    "threshold_faults_from_json",
    "threshold_faults_to_json",
    "write_prior",
    "write_result",
    "write_summary",
]

_PLAIN_FIELDS = tuple(
    one.name for one in dataclasses.fields(InstanceSummary) if one.name not in ("attributes", "codes", "frames")
)
"""Of an instance: texts and whole numbers."""

SUMMARY_SCHEMA = "hai-summary/1"
SUMMARY_FILE = "summary.json"
PRIOR_SCHEMA = "hai-prior/1"
PRIOR_FILE = "prior.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class PriorRecord:
    """What the node says of one earlier result that it hands to an analyzer.

    The folder that holds it, ``PRIORS/<n>/``, is the OUT folder of that result, with the images in ``study/`` if they
    are still kept.
    """

    study_date: str
    """``YYYYMMDD``; empty when unknown."""
    revision: int


def instance_to_json(instance: InstanceSummary) -> dict[str, Any]:
    """One header as a JSON object; fields at their default are left out."""
    entries: dict[str, Any] = {name: getattr(instance, name) for name in _PLAIN_FIELDS}
    # Most of a header, and nothing but text: asking each value what it is would cost more than the rest.
    entries["attributes"] = {keyword: list(values) for keyword, values in instance.attributes.items()}
    entries["codes"] = to_json(instance.codes, omit_defaults=True)
    entries["frames"] = to_json(instance.frames, omit_defaults=True)
    return entries


def instance_from_json(value: object, where: str = "instance") -> InstanceSummary:
    """Read what :func:`instance_to_json` wrote; raises ContractBrokenError naming the key."""
    return from_json(InstanceSummary, value, where)


def summary_to_json(summary: StudySummary) -> dict[str, Any]:
    """Headers of a study as a JSON object with its schema."""
    return {"schema": SUMMARY_SCHEMA, **to_json(summary, omit_defaults=True)}


def summary_from_json(value: object) -> StudySummary:
    """Read what :func:`summary_to_json` wrote; raises ContractBrokenError naming the key."""
    return from_json(StudySummary, _without_schema(value, SUMMARY_SCHEMA, "summary"), "summary")


def write_summary(path: Path, summary: StudySummary) -> None:
    """Write ``summary.json``, atomically (temporary name, then rename)."""
    _write(path, summary_to_json(summary))


def read_summary(path: Path) -> StudySummary:
    """Read ``summary.json``.

    Raises
    ------
    ContractBrokenError
        If it is not JSON, or not a summary of this schema.
    OSError
        If it cannot be read.
    """
    return summary_from_json(_read(path))


def write_prior(path: Path, prior: PriorRecord) -> None:
    """Write ``prior.json``, atomically."""
    _write(path, {"schema": PRIOR_SCHEMA, **to_json(prior)})


def read_prior(path: Path) -> PriorRecord:
    """Read ``prior.json``; raises like :func:`read_summary`."""
    return from_json(PriorRecord, _without_schema(_read(path), PRIOR_SCHEMA, "prior"), "prior")


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


def threshold_faults_to_json(faults: Sequence[ThresholdFault]) -> list[dict[str, Any]]:
    """``[{"path": ..., "what": ..., "remedy": ...}]``; empty when nothing is wrong."""
    return [to_json(fault) for fault in faults]


def threshold_faults_from_json(value: object) -> tuple[ThresholdFault, ...]:
    """Read what :func:`threshold_faults_to_json` wrote; raises ContractBrokenError naming the key."""
    if not isinstance(value, list):
        raise ContractBrokenError("faults: expected a list")
    return tuple(from_json(ThresholdFault, one, f"faults[{number}]") for number, one in enumerate(value))


def _without_schema(value: object, schema: str, where: str) -> dict[str, Any]:
    if not isinstance(value, dict) or value.get("schema") != schema:
        raise ContractBrokenError(f"{where}.schema: expected {schema!r}")
    return {key: item for key, item in value.items() if key != "schema"}


def _write(path: Path, entries: dict[str, Any]) -> None:
    temporary = path.with_name(path.name + ".partial")
    with temporary.open("w", encoding="utf-8") as file:
        # In one piece: `json.dump` would encode value by value, several times slower.
        file.write(json.dumps(entries, ensure_ascii=False, separators=(",", ":")))
    temporary.replace(path)


def _read(path: Path) -> object:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ContractBrokenError(f"{path.name}: not JSON: {error}") from error
