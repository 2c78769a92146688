"""The phantom study that every kind returns, and the headers that all its objects share.

A kind (``cta``, ``mri``, ``scintigraphy``) is a module with a constant ``KIND: PhantomKind``; its function
turns a `PhantomRequest` into a `PhantomStudy`. Instances come lazily, so that only one needs to be in memory.
"""

import datetime as dt
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from analyzers.phantoms.request import PhantomRequest

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]

_FIRST_STUDY_DAY = dt.date(2024, 1, 8)
# A pump is planned on CT, implanted, tested by scintigraphy, and the response is watched on MR.
_DAYS_AFTER_FIRST = {"cta": 21, "scintigraphy": 23, "mri": 84}


@dataclass(frozen=True, slots=True, kw_only=True)
class Patient:
    """A person who does not exist; the same for all kinds of one seed."""

    name: str
    patient_id: str
    sex: str
    birth_date: dt.date
    height_m: float
    weight_kg: float


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyText:
    """The words and codes by which a site tags its study."""

    study_description: str
    requested_procedure: str
    reason: str
    protocol_name: str
    procedure_code: tuple[str, str, str] | None
    """Value, coding scheme designator, meaning; None writes no ProcedureCodeSequence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PhantomInstance:
    """One DICOM object without file meta information.

    Attributes
    ----------
    folder, stem : str
        Neutral names: sub-folder of the series, and file name without suffix.
    dataset : Dataset
        Complete, with SOPClassUID and SOPInstanceUID; written as explicit little endian.
    """

    folder: str
    stem: str
    dataset: Dataset


@dataclass(frozen=True, slots=True, kw_only=True)
class TruthMeasurement:
    """A true number, and how far an honest measurement of these images may be from it."""

    key: str
    value: float
    unit: str
    tolerance: float
    tolerance_reason: str
    site: str = ""
    tolerance_unit: str = ""
    """UCUM; empty means the unit of the value."""

    def as_json(self) -> Json:
        """The truth file's form."""
        return {
            "key": self.key,
            "site": self.site,
            "value": round(self.value, 4),
            "unit": self.unit,
            "tolerance": round(self.tolerance, 4),
            "tolerance_unit": self.tolerance_unit or self.unit,
            "tolerance_reason": self.tolerance_reason,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class TruthMask:
    """A true region on an image grid.

    Attributes
    ----------
    mask_zyx : (z, y, x) bool or uint8
        Index order slice (or frame), row, column: as the pixels are stored.
    affine_lps_mm : (4, 4) float
        Maps (column, row, slice, 1) to patient LPS mm. A planar view without patient position
        uses its own plane.
    """

    mask_zyx: NDArray[np.uint8] | NDArray[np.bool_]
    affine_lps_mm: NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class PhantomStudy:
    """A study with its truth.

    Attributes
    ----------
    instances : iterable of PhantomInstance
        In the order of acquisition; may be a generator, consumed once.
    measurements : tuple of TruthMeasurement
        True values.
    masks : mapping of name to TruthMask
        Written as ``masks/<name>.nii.gz``.
    structures : mapping
        Free JSON: centre lines, origins, the catheter's tip, in LPS mm.
    lists : mapping of name to list
        ``foci`` or ``lesions``.
    """

    instances: Iterable[PhantomInstance]
    measurements: tuple[TruthMeasurement, ...]
    masks: Mapping[str, TruthMask] = field(default_factory=dict)
    structures: Mapping[str, Json] = field(default_factory=dict)
    lists: Mapping[str, list[Json]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class PhantomKind:
    """One row of the table of kinds: what can be varied, and the function that makes the study."""

    variants: Mapping[str, str]
    """Name to one line of description."""
    make: Callable[[PhantomRequest], PhantomStudy]
    conflicts: tuple[frozenset[str], ...] = ()
    """Sets of variants of which at most one can be had."""


def draw_patient(request: PhantomRequest) -> Patient:
    """Draw the person that belongs to a seed.

    Heights and weights follow adult distributions (men 1.77 ± 0.07 m, women 1.64 ± 0.065 m; body mass index
    26 ± 4 kg/m²), kept within what a scanner bore and this anatomy can hold.
    """
    rng = request.rng("patient")
    sex = "MF"[int(rng.integers(2))]
    mean_m, spread_m = (1.77, 0.07) if sex == "M" else (1.64, 0.065)
    height_m = float(np.clip(rng.normal(mean_m, spread_m), 1.50, 1.95))
    body_mass_index = float(np.clip(rng.normal(26.0, 4.0), 19.0, 35.0))
    age_days = int(rng.integers(38 * 365, 78 * 365))
    given = (
        ("Anton", "Bruno", "Carl", "David")[int(rng.integers(4))]
        if sex == "M"
        else ("Anna", "Berta", "Clara", "Dora")[int(rng.integers(4))]
    )
    family = "Müller-Phantom" if request.has("german") else "Phantom"
    return Patient(
        name=f"{family}^{given}",
        patient_id=f"HAIPH{request.seed:06d}",
        sex=sex,
        birth_date=_FIRST_STUDY_DAY - dt.timedelta(days=age_days),
        height_m=round(height_m, 2),
        weight_kg=round(body_mass_index * height_m**2, 1),
    )


def study_time(request: PhantomRequest) -> dt.datetime:
    """When the study began, in the scanner's local time: fixed by kind and seed, never by the clock."""
    rng = request.rng(f"study time {request.kind}")
    day = _FIRST_STUDY_DAY + dt.timedelta(days=_DAYS_AFTER_FIRST.get(request.kind, 0) + request.seed % 28)
    second_of_day = 8 * 3600 + int(rng.integers(8 * 3600))
    return dt.datetime.combine(day, dt.time()) + dt.timedelta(seconds=second_of_day)


def code_item(value: str, scheme: str, meaning: str) -> Dataset:
    """One item of a code sequence."""
    item = Dataset()
    item.CodeValue = value
    item.CodingSchemeDesignator = scheme
    item.CodeMeaning = meaning
    return item


def study_header(request: PhantomRequest, text: StudyText) -> Dataset:
    """The patient, study and request attributes of every object of one study.

    The caller adds series, equipment, frame of reference, acquisition and pixels.
    """
    patient = draw_patient(request)
    begun = study_time(request)
    header = Dataset()
    header.SpecificCharacterSet = "ISO_IR 100"
    header.StudyInstanceUID = request.uid("study")
    header.StudyDate = begun.strftime("%Y%m%d")
    header.StudyTime = begun.strftime("%H%M%S")
    header.AccessionNumber = f"A{request.seed:05d}{request.kind[:2].upper()}"
    header.StudyID = f"{request.seed % 100000}"
    header.ReferringPhysicianName = "Surgeon^Hepatobiliary"
    header.InstitutionName = "Phantom Hospital"
    header.StudyDescription = text.study_description
    if text.procedure_code is not None:
        header.ProcedureCodeSequence = Sequence([code_item(*text.procedure_code)])
    header.PatientName = patient.name
    header.PatientID = patient.patient_id
    header.IssuerOfPatientID = "PHANTOM"
    header.PatientBirthDate = patient.birth_date.strftime("%Y%m%d")
    header.PatientSex = patient.sex
    age_years = (begun.date() - patient.birth_date).days // 365
    header.PatientAge = f"{age_years:03d}Y"
    header.PatientSize = f"{patient.height_m:.2f}"
    header.PatientWeight = f"{patient.weight_kg:.1f}"
    header.ProtocolName = text.protocol_name
    _add_request(header, request, text)
    return header


def _add_request(header: Dataset, request: PhantomRequest, text: StudyText) -> None:
    """Write the imaging request as a worklist would have given it to the scanner."""
    header.RequestedProcedureDescription = text.requested_procedure
    header.PerformedProcedureStepID = f"P{request.seed:06d}"
    header.PerformedProcedureStepStartDate = header.StudyDate
    header.PerformedProcedureStepStartTime = header.StudyTime
    header.PerformedProcedureStepDescription = text.study_description
    attributes = Dataset()
    attributes.AccessionNumber = header.AccessionNumber
    attributes.StudyInstanceUID = header.StudyInstanceUID
    attributes.RequestedProcedureDescription = text.requested_procedure
    attributes.RequestedProcedureID = f"R{request.seed:06d}"
    attributes.ReasonForTheRequestedProcedure = text.reason
    attributes.ScheduledProcedureStepDescription = text.requested_procedure
    attributes.ScheduledProcedureStepID = f"S{request.seed:06d}"
    if text.procedure_code is not None:
        attributes.RequestedProcedureCodeSequence = Sequence([code_item(*text.procedure_code)])
    header.RequestAttributesSequence = Sequence([attributes])
