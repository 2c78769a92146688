"""Which analyzers are installed: asked of ``python -m analyzers --list``, since the node never imports one."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping

from scp_node.errors import NodeError

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
        answer = subprocess.run(
            [sys.executable, "-m", "analyzers", "--list", "--json"], capture_output=True, timeout=TIME_S, check=True
        )
        listed = json.loads(answer.stdout)
        return {str(entry["name"]): str(entry["version"]) for entry in listed if entry["version"]}
    except (subprocess.SubprocessError, OSError, ValueError, KeyError, TypeError) as error:
        raise AnalyzersUnavailableError(
            "python -m analyzers --list does not answer: install the package again (make setup)"
        ) from error
