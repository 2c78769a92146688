"""What an MR scanner writes round its pixels."""

import datetime as dt
from dataclasses import dataclass

from pydicom.dataset import Dataset

from analyzers.phantoms.mr_tissues import Timing
from analyzers.phantoms.request import PhantomRequest
from analyzers.phantoms.stacks import forget_references
from analyzers.phantoms.study import StudyText, study_header, study_time

MR_IMAGE_STORAGE = "1.2.840.10008.5.1.4.1.1.4"
INJECTION_AFTER_S = 780.0
"""The agent is given 13 minutes after the study's begin."""

_TEXTS = {
    "default": ("MR LIVER WITH GADOXETATE, HAI PUMP", "MR liver response, hepatic arterial infusion pump",
                "Liver metastases, hepatic artery infusion (HAI) pump: response?", "Liver HAI"),
    "german": ("MRT Leber mit Primovist, HAI-Pumpe", "MRT Leber Verlauf bei HAI-Pumpe",
               "Lebermetastasen, Leberarterien-Infusionspumpe (HAI): Verlauf?", "Leber HAI"),
    "not-hai": ("MR LIVER WITH GADOXETATE", "MR liver without and with contrast", "Liver lesions", "Liver"),
    "y90-mapping": ("MR LIVER BEFORE Y90", "MR liver before radioembolization (SIRT)",
                    "Planning of Y-90 radioembolization, SIR-Spheres", "Liver SIRT"),
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Sequence:
    """A pulse sequence as headers tell it.

    ``scanning``, ``variant``, ``options`` are the DICOM terms; ``name`` the maker's short name.
    """

    scanning: tuple[str, ...]
    variant: tuple[str, ...]
    options: tuple[str, ...]
    acquisition: str
    name: str
    timing: Timing
    echo_train: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class MrSeriesHeader:
    """What distinguishes one series from the others.

    ``after_s`` counts from the study's begin; ``agent_given`` tells whether contrast was in the body.
    """

    role: str
    number: int
    description: str
    sequence: Sequence
    after_s: float
    agent_given: bool
    thickness_mm: float
    spacing_mm: float


def study_text(request: PhantomRequest) -> StudyText:
    """The site's words for this examination."""
    key = next((name for name in ("german", "not-hai", "y90-mapping") if request.has(name)), "default")
    description, procedure, reason, protocol = _TEXTS[key]
    return StudyText(
        study_description=description,
        requested_procedure=procedure,
        reason=reason,
        protocol_name=protocol,
        procedure_code=("RPID5767", "RADLEX", "MR Liver WO & W IV Contrast"),
    )


def series_template(request: PhantomRequest, series: MrSeriesHeader) -> Dataset:
    """Return everything that all images of a series share."""
    header = study_header(request, study_text(request))
    header.SOPClassUID = MR_IMAGE_STORAGE
    header.Modality = "MR"
    header.Manufacturer = "PHANTOM WORKS"
    header.ManufacturerModelName = "Sample MR 1.5"
    header.StationName = "MR1"
    header.DeviceSerialNumber = "15001"
    header.SoftwareVersions = "1.0"
    header.OperatorsName = ""
    header.BodyPartExamined = "LIVER"
    header.PatientPosition = "FFS" if request.has("feet-first") else "HFS"
    header.SeriesInstanceUID = request.uid("series", series.role)
    header.SeriesNumber = series.number
    header.SeriesDescription = series.description
    header.FrameOfReferenceUID = request.uid("frame of reference")
    header.PositionReferenceIndicator = ""
    header.SliceThickness = f"{series.thickness_mm:g}"
    header.SpacingBetweenSlices = f"{series.spacing_mm:g}"
    header.AcquisitionNumber = 1
    _add_sequence(header, series.sequence)
    _add_times(header, request, series)
    if series.agent_given:
        _add_contrast(header, request)
    header.SamplesPerPixel = 1
    header.PhotometricInterpretation = "MONOCHROME2"
    header.BitsAllocated, header.BitsStored, header.HighBit, header.PixelRepresentation = 16, 12, 11, 0
    forget_references(request, header)
    return header


def _add_sequence(header: Dataset, sequence: Sequence) -> None:
    header.ScanningSequence = list(sequence.scanning)
    header.SequenceVariant = list(sequence.variant)
    header.ScanOptions = list(sequence.options)
    header.MRAcquisitionType = sequence.acquisition
    header.SequenceName = sequence.name
    header.AngioFlag = "N"
    header.RepetitionTime = f"{sequence.timing.repetition_ms:g}"
    header.EchoTime = f"{sequence.timing.echo_ms:g}"
    header.EchoNumbers = 1
    header.EchoTrainLength = sequence.echo_train
    header.FlipAngle = f"{sequence.timing.flip_deg:g}"
    header.NumberOfAverages = "1"
    header.MagneticFieldStrength = "1.5"
    header.ImagingFrequency = "63.68"
    header.ImagedNucleus = "1H"
    header.PixelBandwidth = "400"
    header.PercentSampling = "80"
    header.PercentPhaseFieldOfView = "100"
    header.InPlanePhaseEncodingDirection = "COL"
    header.ReceiveCoilName = "Body array"
    header.TransmitCoilName = "Body"
    header.SAR = "1.1"


def moment_of(request: PhantomRequest, after_s: float) -> dt.datetime:
    """Scanner's local time so many seconds after the study's begin."""
    return study_time(request) + dt.timedelta(seconds=after_s)


def _add_times(header: Dataset, request: PhantomRequest, series: MrSeriesHeader) -> None:
    moment = moment_of(request, series.after_s)
    header.SeriesDate = header.AcquisitionDate = header.ContentDate = moment.strftime("%Y%m%d")
    header.SeriesTime = header.AcquisitionTime = moment.strftime("%H%M%S.%f")
    header.ContentTime = (moment + dt.timedelta(seconds=20)).strftime("%H%M%S.%f")


def _add_contrast(header: Dataset, request: PhantomRequest) -> None:
    begun = moment_of(request, INJECTION_AFTER_S)
    dose_ml = round(0.1 * float(header.PatientWeight), 1)  # 0.025 mmol/kg of a 0.25 mmol/ml solution
    extracellular = request.has("extracellular")
    header.ContrastBolusAgent = "Gadobutrol" if extracellular else "Gadoxetate disodium"
    header.ContrastBolusRoute = "IV"
    header.ContrastBolusVolume = f"{dose_ml:g}"
    header.ContrastBolusStartTime = begun.strftime("%H%M%S.%f")
    header.ContrastBolusTotalDose = f"{dose_ml:g}"
    header.ContrastFlowRate = "1"
    header.ContrastBolusIngredient = "GADOLINIUM"
    header.ContrastBolusIngredientConcentration = "1000" if extracellular else "250"
