"""The contract of an analyzer: what it is shown, what it answers.

An analyzer is a value of type :class:`Analyzer`: a name, a version and four functions. Two of them
(``expects``, ``accepts``) see headers only, as a :class:`~analyzers.study_summary.StudySummary`; ``analyze`` sees
images as :class:`~analyzers.volume.StudyImages` and earlier results as priors; ``illustrate`` draws.

Everything here is frozen and knows nothing of files, networks, clocks or databases. Positions are in the
patient frame LPS in millimetres; arrays are indexed z, y, x; pixel coordinates are (column, row) with the
origin at the outer corner of the first pixel, as DICOM's SCOORD has them (PS3.3 C.18.6).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from analyzers.study_summary import (
    Code,
    FrameRef,
    FrameSummary,
    InstanceSummary,
    SeriesSummary,
    StudySummary,
    finite_number,
)

if TYPE_CHECKING:
    from analyzers.priors import Prior
    from analyzers.volume import StudyImages

__all__ = [
    "CONTRACT_VERSION",
    "Accept",
    "Acceptance",
    "AnalysisResult",
    "Analyzer",
    "Assessed",
    "Code",
    "Complete",
    "Decline",
    "Declined",
    "Expectation",
    "Finding",
    "FrameRef",
    "FrameSummary",
    "Gate",
    "Grade",
    "InstanceSummary",
    "Interval",
    "Measurement",
    "Missing",
    "NotAssessable",
    "Outline",
    "Picture",
    "Presence",
    "Region",
    "Segment",
    "SegmentRef",
    "SeriesRole",
    "SeriesSummary",
    "StudySummary",
    "finite_number",
]

CONTRACT_VERSION = 1
"""Raised whenever a reader of an older ``result.json`` or ``summary.json`` would misread a newer one."""


# --- answers to headers -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Complete:
    """Nothing that this analyzer waits for is missing."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Missing:
    """Something that this analyzer expects has not come yet."""

    what: tuple[str, ...]


Expectation = Complete | Missing


@dataclass(frozen=True, slots=True, kw_only=True)
class Accept:
    """The analyzer will look at this study.

    ``roles`` names the series that it will read: series UID → role (``arterial``, ``t1-hbp``, ``planar-maa``).
    """

    reason: str
    roles: Mapping[str, str] = field(default_factory=dict)
    missing: tuple[str, ...] = ()
    """What the study lacks; the report says so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decline:
    """The analyzer has nothing to say about this study, and why."""

    reason: str


Acceptance = Accept | Decline


# --- results ----------------------------------------------------------------------------------------------


class Grade(StrEnum):
    """How far a value can be trusted (a ``limited`` value says why in its remark)."""

    GOOD = "good"
    LIMITED = "limited"


class Presence(StrEnum):
    """Outcome of a search. There is no bare "no": absent means "looked for and not detected"."""

    PRESENT = "present"
    ABSENT = "absent"
    INDETERMINATE = "indeterminate"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outline:
    """A closed polygon or an open line on one source frame.

    ``points_col_row`` has shape (n, 2): (column, row) in pixels, (0.0, 0.0) being the outer corner of the first
    pixel and (0.5, 0.5) its centre. A polygon does not repeat its first point here; the encoder closes it.
    """

    frame: FrameRef
    points_col_row: tuple[tuple[float, float], ...]
    closed: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """The 95 % interval of a value, in its unit; it holds the value and need not be symmetric about it."""

    low: float
    high: float | None
    """``None``: the value is a lower limit, and nothing is known of how much more there is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """One number with everything that is needed to trust or doubt it."""

    key: str
    """Stable snake-case name of the quantity, e.g. ``liver_volume``; from :mod:`analyzers.vocabulary`."""
    concept: Code
    value: float
    unit: Code
    """UCUM."""
    subject: str | None
    """Name of the :class:`Segment` or :class:`Region` it is measured on; ``None``: of the whole examination."""
    interval: Interval | None = None
    """``None`` when not known."""
    method: str = ""
    """Plain ASCII, at most 64 characters, e.g. ``Geometric mean``."""
    derivation: Code | None = None
    """Mean, standard deviation, total ..., where the concept alone does not say."""
    site: Code | None = None
    laterality: Code | None = None
    lines: tuple[Outline, ...] = ()
    """The line(s) whose length this is, or the outline it rests on."""
    sources: tuple[FrameRef, ...] = ()
    grade: Grade = Grade.GOOD
    remark: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """The answer to one question, with the evidence that it rests on."""

    key: str
    concept: Code
    presence: Presence
    sentence: str
    """One sentence in clinical words, plain ASCII, as the report prints it."""
    subject: str | None = None
    site: Code | None = None
    laterality: Code | None = None
    value: Code | None = None
    """The category where the answer is one of a list rather than present or absent."""
    undecided: bool = False
    """The category itself says that nothing was decided; any other one of an indeterminate finding is only possible."""
    evidence: tuple[str, ...] = ()
    """Keys of the measurements it rests on."""
    outlines: tuple[Outline, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """A structure outlined on every plane of one source series (or of one multi-frame object).

    ``mask_planes`` has shape (n, rows, columns); plane ``i`` lies pixel for pixel on ``planes[i]``: same rows, same
    columns, nothing flipped. That list, and never an affine, tells the encoder where a plane belongs.
    """

    name: str
    """Lower-case ASCII with hyphens, unique in the result: ``liver``, ``lesion-1``. Also the file name."""
    label: str
    """What a reader sees, at most 64 ASCII characters; also the tracking identifier: ``Lesion 1``."""
    category: Code
    type: Code
    mask_planes: NDArray[np.bool_]
    planes: tuple[FrameRef, ...]
    series_instance_uid: str
    site: Code | None = None
    laterality: Code | None = None
    rgb: tuple[int, int, int] = (255, 200, 0)
    tracking_key: str = ""
    """Stable across follow-up studies of one patient, if the analyzer matched a prior; else empty."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentRef:
    """A segment of a segmentation that others made of the same study."""

    sop_instance_uid: str
    number: int
    source_series_uid: str
    """Of the images that it was drawn on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Region:
    """A structure known by outlines alone: on projections, where a segmentation cannot go, or outlined by others."""

    name: str
    label: str
    type: Code
    outlines: tuple[Outline, ...]
    site: Code | None = None
    laterality: Code | None = None
    rgb: tuple[int, int, int] = (255, 200, 0)
    segment: SegmentRef | None = None
    """Where others outlined it; ``None``: the analyzer did."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """One quality check: what was asked, what was seen, whether it passed."""

    name: str
    passed: bool
    seen: str
    wanted: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesRole:
    """Which series was read as what, and why; also for the series left unread."""

    series_instance_uid: str
    role: str
    """Empty when the series was not used."""
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Assessed:
    """The study was measured."""

    conclusion: str
    """One or two sentences in clinical words, plain ASCII; the first thing that a reader sees."""
    findings: tuple[Finding, ...]
    measurements: tuple[Measurement, ...]
    segments: tuple[Segment, ...] = ()
    regions: tuple[Region, ...] = ()
    gates: tuple[Gate, ...] = ()
    roles: tuple[SeriesRole, ...] = ()
    limitations: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class NotAssessable:
    """The study is of the right kind, yet does not allow the measurement. A result, not an error."""

    reasons: tuple[str, ...]
    gates: tuple[Gate, ...] = ()
    roles: tuple[SeriesRole, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Declined:
    """``accepts`` answered :class:`Decline`; nothing was loaded."""

    reason: str


AnalysisResult = Assessed | NotAssessable | Declined


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """One page of a montage: RGB, shape (rows, columns, 3), with the frame that it mostly shows."""

    name: str
    rgb: NDArray[np.uint8]
    frame: FrameRef | None = None


# --- the analyzer -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Analyzer:
    """A named, versioned set of four functions. Nothing to inherit; a missing part fails at import.

    Attributes
    ----------
    name : str
        Entry-point name, lower-case with hyphens.
    version : str
        Semantic version; part of every UID that results from it, so raise it with every change of behaviour.
    expects : (StudySummary) -> Complete | Missing
        Has everything arrived? Headers only; must answer within a second for 5,000 instances.
    accepts : (StudySummary) -> Accept | Decline
        Is there something to measure, and which series has which role? Headers only.
    analyze : (StudyImages, priors) -> Assessed | NotAssessable
        The measuring. Deterministic: the same input gives the same result.
    illustrate : (StudyImages, Assessed | NotAssessable) -> pictures
        The montage. The words "automated, unverified" are burned in by the encoder, not here.
    thresholds, with_thresholds : frozen dataclass or None, (thresholds) -> Analyzer or None
        What a site may change (``thresholds.py``), and the same analyzer with all four functions deciding by others.
    """

    name: str
    version: str
    expects: Callable[[StudySummary], Expectation]
    accepts: Callable[[StudySummary], Acceptance]
    analyze: Callable[[StudyImages, Sequence[Prior]], Assessed | NotAssessable]
    illustrate: Callable[[StudyImages, Assessed | NotAssessable], Sequence[Picture]]
    thresholds: Any = None
    with_thresholds: Callable[[Any], Analyzer] | None = None
