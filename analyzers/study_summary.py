"""Headers of a study without identity and without pixels: what ``expects`` and ``accepts`` of an analyzer see.

Positions are in the patient frame LPS in millimetres. :class:`Code` and :class:`FrameRef` are the words that headers
and results share.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field


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
