"""The file in which a site writes its thresholds: TOML or JSON, one table for each analyzer.

The same file serves the node (``thresholds.toml`` of its configuration) and the bench command. What is printed as the
list of all thresholds is such a file too: keep the lines that you change.
"""

from __future__ import annotations

import json
import textwrap
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from analyzers.contract import Analyzer
from analyzers.registry import find_analyzer, registered
from analyzers.thresholds import Threshold, ThresholdFault, ThresholdsError, UsedThresholds, adjusted, listed

_WIDTH = 118


class ThresholdFileError(ValueError):
    """The file cannot be read; the message says why."""


def read_threshold_file(path: Path) -> Mapping[str, Any]:
    """Tables of a file by analyzer.

    Raises
    ------
    ThresholdFileError
        If it cannot be read, or is neither TOML nor (by its name) JSON.
    """
    try:
        text = path.read_text(encoding="utf-8")
        tables = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except OSError as error:
        raise ThresholdFileError(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        kind = "JSON" if path.suffix == ".json" else "TOML"
        raise ThresholdFileError(f"{path} is not {kind}: {error}") from error
    if not isinstance(tables, dict):
        raise ThresholdFileError(f"{path} holds no tables")
    return tables


def adjusted_by(analyzer: Analyzer, tables: Mapping[str, Any]) -> tuple[Analyzer, UsedThresholds | None]:
    """The analyzer with the thresholds of its table, and the record of them; see :func:`adjusted`.

    Raises
    ------
    ThresholdsError
        With every fault of its table, and if another table is named after no analyzer: a misspelt name would silently
        change nothing.
    """
    faults = list(_unknown_names(tables, {analyzer.name, *registered()}))
    table = tables.get(analyzer.name, {})
    if isinstance(table, Mapping):
        try:
            made = adjusted(analyzer, table)
        except ThresholdsError as error:
            faults += [_below(analyzer.name, fault) for fault in error.faults]
    else:
        faults.append(_no_table(analyzer.name, table))
    if faults:
        raise ThresholdsError(tuple(faults))
    return made


def threshold_faults(tables: Mapping[str, Any]) -> tuple[ThresholdFault, ...]:
    """Every fault of a file for the registered analyzers; the path begins with the analyzer's name."""
    faults = list(_unknown_names(tables, set(registered())))
    for name, table in tables.items():
        if name not in registered():
            continue
        if not isinstance(table, Mapping):
            faults.append(_no_table(name, table))
            continue
        try:
            adjusted(find_analyzer(name), table)
        except ThresholdsError as error:
            faults += [_below(name, fault) for fault in error.faults]
    return tuple(faults)


def as_toml(analyzer: Analyzer) -> str:
    """Every threshold with its default, unit and explanation, as a file that changes nothing."""
    if analyzer.thresholds is None:
        return f"# {analyzer.name} {analyzer.version} has no thresholds that can be set.\n"
    told = (
        f"Every threshold of {analyzer.name} {analyzer.version} with its default. Keep only the lines that you change."
    )
    lines = [f"# {told}"]
    table = None
    for one in listed(analyzer.thresholds):
        path = ".".join([analyzer.name, *one.path.split(".")[:-1]])
        if path != table:
            lines += ["", *_comment(one.table_explanation), f"[{path}]"]
            table = path
        lines += _entry(one)
    return "\n".join(lines) + "\n"


def _entry(one: Threshold) -> Iterator[str]:
    unit = f"[{one.unit}] " if one.unit else ""
    yield from _comment(f"{unit}{one.explanation}")
    yield f"{one.path.rpartition('.')[2]} = {_toml_value(one.default)}"


def _comment(text: str) -> list[str]:
    return textwrap.wrap(text, _WIDTH, initial_indent="# ", subsequent_indent="# ", break_on_hyphens=False)


def _toml_value(value: object) -> str:
    if isinstance(value, tuple):
        return f"[{', '.join(map(_toml_value, value))}]"
    # A basic string of TOML escapes as JSON does; numbers and truths are written alike.
    return json.dumps(value)


def _unknown_names(tables: Mapping[str, Any], known: set[str]) -> Iterator[ThresholdFault]:
    for name in tables:
        if name not in known:
            remedy = f"tables are named after analyzers: {', '.join(sorted(known))}"
            yield ThresholdFault(path=name, what="is no analyzer", remedy=remedy)


def _no_table(name: str, value: object) -> ThresholdFault:
    return ThresholdFault(path=name, what=f"is {value!r}", remedy="a table of thresholds")


def _below(name: str, fault: ThresholdFault) -> ThresholdFault:
    path = f"{name}.{fault.path}" if fault.path else name
    return ThresholdFault(path=path, what=fault.what, remedy=fault.remedy)
