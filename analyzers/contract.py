"""The contract of an analyzer: what it is shown, what it answers.

An analyzer is a value of type :class:`Analyzer`: a name, a version and four functions. Two of them
(``expects``, ``accepts``) see headers only, as a :class:`StudySummary`; ``analyze`` sees images as
:class:`~analyzers.volume.StudyImages` and earlier results as priors; ``illustrate`` draws.

Everything here is frozen and knows nothing of files, networks, clocks or databases. Positions are in the
patient frame LPS in millimetres; arrays are indexed z, y, x; pixel coordinates are (column, row) with the
origin at the outer corner of the first pixel, as DICOM's SCOORD has them (PS3.3 C.18.6).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from analyzers.priors import Prior
    from analyzers.volume import StudyImages

CONTRACT_VERSION = 1
"""Raised whenever a reader of an older ``result.json`` or ``summary.json`` would misread a newer one."""


# --- words shared by headers and results -----------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Code:
    """A coded concept (PS3.3 section 8): value, coding scheme designator, meaning of at most 64 characters."""

    value: str
    scheme: str
    meaning: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameRef:
    """One plane of pixels where it was received: SOP Instance UID and frame number.

    ``frame`` counts from 1 and is ``None`` for a single-frame object.
    """

    sop_instance_uid: str
    frame: int | None = None


def finite_number(text: str) -> float | None:
    """Read a header's text as a number; ``None`` for what is none, "NaN" and "inf" included."""
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


# --- headers: what `expects` and `accepts` see ------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameSummary:
    """Geometry and role of one frame; ``None`` or empty where the header is silent."""

    frame: int | None
    position_lps_mm: tuple[float, float, float] | None = None
    orientation: tuple[float, float, float, float, float, float] | None = None
    spacing_row_col_mm: tuple[float, float] | None = None
    slice_thickness_mm: float | None = None
    attributes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Per-frame values by DICOM keyword, e.g. ``DiffusionBValue``, ``EffectiveEchoTime``, ``StartAngle``."""
    codes: Mapping[str, tuple[Code, ...]] = field(default_factory=dict)
    """Per-frame codes by sequence keyword, e.g. ``ViewCodeSequence``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceSummary:
    """What the header of one SOP instance says, without patient identity and without pixels."""

    study_instance_uid: str
    series_instance_uid: str
    sop_instance_uid: str
    sop_class_uid: str
    transfer_syntax_uid: str
    modality: str
    rows: int | None
    columns: int | None
    attributes: Mapping[str, tuple[str, ...]]
    """Values by DICOM keyword as text (``{"SeriesDescription": ("T1 HBP",)}``); only those in
    :data:`analyzers.headers.ATTRIBUTES`."""
    codes: Mapping[str, tuple[Code, ...]]
    """Codes by sequence keyword (``{"ProcedureCodeSequence": (Code(...),)}``); nested sequences by a dotted
    path (``"RadiopharmaceuticalInformationSequence.RadionuclideCodeSequence"``)."""
    frames: tuple[FrameSummary, ...]

    def text(self, keyword: str) -> str:
        """First value of an attribute, stripped; empty when absent."""
        values = self.attributes.get(keyword, ())
        return values[0].strip() if values else ""

    def number(self, keyword: str) -> float | None:
        """First value of an attribute as a number; ``None`` when absent or not a finite number."""
        return finite_number(self.text(keyword))


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesSummary:
    """The instances of one series, in the order of their SOP Instance UIDs."""

    series_instance_uid: str
    modality: str
    instances: tuple[InstanceSummary, ...]

    @property
    def first(self) -> InstanceSummary:
        """The instance whose series-level attributes speak for the series."""
        return self.instances[0]

    @property
    def description(self) -> str:
        """Series description, else protocol name, else an empty text."""
        return self.first.text("SeriesDescription") or self.first.text("ProtocolName")

    @property
    def frame_count(self) -> int:
        """Frames over all instances."""
        return sum(max(1, len(instance.frames)) for instance in self.instances)


@dataclass(frozen=True, slots=True, kw_only=True)
class StudySummary:
    """The headers of one study: what routing, completion and acceptance decide on."""

    study_instance_uid: str
    series: tuple[SeriesSummary, ...]

    @property
    def modalities(self) -> frozenset[str]:
        """The modalities present."""
        return frozenset(series.modality for series in self.series)


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
    uncertainty: float | None = None
    """Half width of the 95 % interval, in the same unit; ``None`` when not known."""
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
class Region:
    """A structure outlined on projections, where a segmentation cannot go (planar scintigraphy)."""

    name: str
    label: str
    type: Code
    outlines: tuple[Outline, ...]
    site: Code | None = None
    laterality: Code | None = None
    rgb: tuple[int, int, int] = (255, 200, 0)


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
