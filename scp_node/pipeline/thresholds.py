"""The thresholds that a site set: handed to an analyzer's child as a file, and named by a digest."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

THRESHOLDS_FILE = "thresholds.json"

SiteThresholds = Mapping[str, Mapping[str, Any]]
"""Analyzer → what the site decides otherwise, as the configuration has it; the analyzers know what is in it."""


def threshold_arguments(thresholds: SiteThresholds, analyzer: str, folder: Path) -> tuple[str, ...]:
    """Write an analyzer's thresholds into ``folder``; return the arguments that name them, none where none are set."""
    own = thresholds.get(analyzer)
    if not own:
        return ()
    path = folder / THRESHOLDS_FILE
    path.write_text(_canonical(analyzer, own), encoding="utf-8")
    return ("--thresholds", str(path))


def settings_digest(thresholds: SiteThresholds, analyzer: str) -> str:
    """SHA-256 over what a site set for an analyzer.

    It stands in for the digest that a result brings along where there is no result: after a technical failure.
    """
    return hashlib.sha256(_canonical(analyzer, thresholds.get(analyzer, {})).encode()).hexdigest()


def _canonical(analyzer: str, own: Mapping[str, Any]) -> str:
    return json.dumps({analyzer: own}, sort_keys=True)
