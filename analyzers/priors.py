"""Earlier results of the same patient, as an analyzer sees them.

The node chooses them by identity; registration and comparison are the analyzer's work.
"""

from __future__ import annotations

from dataclasses import dataclass

from analyzers.contract import AnalysisResult
from analyzers.volume import StudyImages


@dataclass(frozen=True, slots=True, kw_only=True)
class Prior:
    """One earlier answer: when its study was made, what was found, and the images that the segments lie on."""

    study_instance_uid: str
    study_date: str
    """``YYYYMMDD`` as in the study; empty when unknown."""
    analyzer_name: str
    analyzer_version: str
    revision: int
    result: AnalysisResult
    images: StudyImages | None
    """``None`` when the images are no longer kept."""
