"""Which analyzers are installed, and what they say of a site's thresholds: asked of ``python -m analyzers``.

The node never imports an analyzer.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from analyzers.wire import threshold_faults_from_json
from scp_node.errors import Fault, NodeError

TIME_S = 120.0


class AnalyzersUnavailableError(NodeError):
    """The list of analyzers cannot be had."""


def installed_analyzers() -> Mapping[str, str]:
    """Name → version of every analyzer that is registered and can be loaded.

    Raises
    ------
    AnalyzersUnavailableError
        When the analyzers' command does not answer: the installation is broken.
    """
    try:
        listed = _asked("--list")
        return {str(entry["name"]): str(entry["version"]) for entry in listed if entry["version"]}
    except (ValueError, KeyError, TypeError) as error:
        raise _unavailable("--list") from error


def threshold_faults(thresholds: Mapping[str, Any]) -> tuple[Fault, ...]:
    """Every fault that the analyzers find in ``thresholds.toml``.

    Raises
    ------
    AnalyzersUnavailableError
        When the analyzers' command does not answer.
    """
    with tempfile.TemporaryDirectory(prefix="hai-thresholds-") as folder:
        file = Path(folder) / "thresholds.json"
        # Dates are TOML but not JSON; as a text the analyzers refuse them all the same.
        file.write_text(json.dumps(thresholds, default=str), encoding="utf-8")
        try:
            faults = threshold_faults_from_json(_asked("--check-thresholds", str(file)))
        except ValueError as error:
            raise _unavailable("--check-thresholds") from error
    return tuple(Fault(what=each.what, file="thresholds.toml", key=each.path, remedy=each.remedy) for each in faults)


def _asked(*question: str) -> Any:
    try:
        answer = subprocess.run(
            [sys.executable, "-m", "analyzers", *question, "--json"], capture_output=True, timeout=TIME_S, check=True
        )
    except (subprocess.SubprocessError, OSError) as error:
        raise _unavailable(question[0]) from error
    return json.loads(answer.stdout)


def _unavailable(question: str) -> AnalyzersUnavailableError:
    return AnalyzersUnavailableError(
        f"python -m analyzers {question} does not answer: install the package again (make setup)"
    )
