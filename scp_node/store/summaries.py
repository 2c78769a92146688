"""An instance summary as a JSON value and back; what is empty or ``None`` in a frame is left out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from analyzers.contract import Code, FrameSummary, InstanceSummary

_FRAME_TUPLES = ("position_lps_mm", "orientation", "spacing_row_col_mm")


def summary_to_json(summary: InstanceSummary) -> dict[str, Any]:
    """A JSON value that :func:`summary_from_json` turns back into an equal summary."""
    plain = {field.name: getattr(summary, field.name) for field in fields(summary)}
    return {
        **plain,
        "attributes": _attributes_to_json(summary.attributes),
        "codes": _codes_to_json(summary.codes),
        "frames": [_frame_to_json(frame) for frame in summary.frames],
    }


def summary_from_json(value: Mapping[str, Any]) -> InstanceSummary:
    """The summary that was written by :func:`summary_to_json`."""
    return InstanceSummary(
        **{
            **value,
            "attributes": _attributes_from_json(value["attributes"]),
            "codes": _codes_from_json(value["codes"]),
            "frames": tuple(_frame_from_json(frame) for frame in value["frames"]),
        }
    )


def _frame_to_json(frame: FrameSummary) -> dict[str, Any]:
    plain = {field.name: getattr(frame, field.name) for field in fields(frame)}
    plain["attributes"] = _attributes_to_json(frame.attributes)
    plain["codes"] = _codes_to_json(frame.codes)
    return {name: value for name, value in plain.items() if name == "frame" or value not in (None, {})}


def _frame_from_json(value: Mapping[str, Any]) -> FrameSummary:
    tuples = {name: tuple(value[name]) for name in _FRAME_TUPLES if name in value}
    return FrameSummary(
        **{
            **value,
            **tuples,
            "attributes": _attributes_from_json(value.get("attributes", {})),
            "codes": _codes_from_json(value.get("codes", {})),
        }
    )


def _attributes_to_json(attributes: Mapping[str, tuple[str, ...]]) -> dict[str, list[str]]:
    return {keyword: list(values) for keyword, values in attributes.items()}


def _attributes_from_json(value: Mapping[str, list[str]]) -> dict[str, tuple[str, ...]]:
    return {keyword: tuple(values) for keyword, values in value.items()}


def _codes_to_json(codes: Mapping[str, tuple[Code, ...]]) -> dict[str, list[list[str]]]:
    return {path: [[code.value, code.scheme, code.meaning] for code in listed] for path, listed in codes.items()}


def _codes_from_json(value: Mapping[str, list[list[str]]]) -> dict[str, tuple[Code, ...]]:
    return {
        path: tuple(Code(value=code, scheme=scheme, meaning=meaning) for code, scheme, meaning in listed)
        for path, listed in value.items()
    }
