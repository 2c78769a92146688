"""What a CT scanner writes round its pixels."""

import datetime as dt
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from analyzers.phantoms.request import PhantomRequest
from analyzers.phantoms.stacks import forget_references
from analyzers.phantoms.study import StudyText, study_header, study_time

CT_IMAGE_STORAGE = "1.2.840.10008.5.1.4.1.1.2"
PADDING_STORED_VALUE = -2000
_INTERCEPT_HU = -1024

_TEXTS = {
    "pre-op": (
        "CT ABDOMEN ANGIO LIVER, HAI PUMP PLANNING",
        "CTA liver before hepatic arterial infusion pump",
        "Hepatic artery infusion (HAI) pump planned: arterial anatomy?",
    ),
    "post-op": (
        "CT ABDOMEN HAI PUMP POST",
        "CT liver multiphase with hepatic arterial infusion pump",
        "HAI pump implanted: catheter tip position? response?",
    ),
    "german-pre-op": (
        "CT Oberbauch Angiographie, HAI-Pumpe geplant",
        "CT-Angiographie Leber vor HAI-Pumpe",
        "Leberarterien-Infusionspumpe (HAI) geplant: Gefäßanatomie?",
    ),
    "german-post-op": (
        "CT Oberbauch mit KM, HAI-Pumpe postoperativ",
        "CT Leber mehrphasig bei HAI-Pumpe",
        "Z. n. Implantation einer Leberarterien-Pumpe: Katheterlage?",
    ),
    "not-hai": ("CT ABDOMEN LIVER MULTIPHASE", "CT liver multiphase", "Liver lesions, staging"),
    "y90-mapping": (
        "CT ABDOMEN ANGIO LIVER Y90 PLANNING",
        "CTA liver before radioembolization (SIRT)",
        "Planning of Y-90 radioembolization, TheraSphere",
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class CtSeriesHeader:
    """What distinguishes one series from the others.

    ``role`` names it in UIDs; ``delay_s`` is the time after the injection, 0 before it.
    """

    role: str
    number: int
    description: str
    delay_s: float
    thickness_mm: float
    spacing_mm: float
    kernel: str


def study_text(request: PhantomRequest, *, operated: bool) -> StudyText:
    """The site's words for this examination."""
    key = "post-op" if operated else "pre-op"
    if request.has("german"):
        key = f"german-{key}"
    for other in ("not-hai", "y90-mapping"):
        key = other if request.has(other) else key
    description, procedure, reason = _TEXTS[key]
    # RadLex Playbook: multiphase angiography of the liver without and with; liver multiphase.
    code = (
        ("RPID406", "RADLEX", "CT Abd Multiphase Liver")
        if operated or key == "not-hai"
        else ("RPID985", "RADLEX", "CT Abd Angio Multiphase Liver WO & W IV Contrast")
    )
    return StudyText(
        study_description=description,
        requested_procedure=procedure,
        reason=reason,
        protocol_name=("Leber 3-phasig" if request.has("german") else "Liver multiphase")
        + ("" if key in {"not-hai", "y90-mapping"} else " HAI"),
        procedure_code=code,
    )


def series_template(request: PhantomRequest, series: CtSeriesHeader, *, operated: bool, size: int) -> Dataset:
    """Return everything that all images of a series share."""
    header = study_header(request, study_text(request, operated=operated))
    header.SOPClassUID = CT_IMAGE_STORAGE
    header.Modality = "CT"
    header.Manufacturer = "PHANTOM WORKS"
    header.ManufacturerModelName = "Sample CT 64"
    header.StationName = "CT1"
    header.DeviceSerialNumber = "64001"
    header.SoftwareVersions = "1.0"
    header.OperatorsName = ""
    header.BodyPartExamined = "ABDOMEN"
    header.PatientPosition = "FFS" if request.has("feet-first") else "HFS"
    header.SeriesInstanceUID = request.uid("series", series.role)
    header.SeriesNumber = series.number
    header.SeriesDescription = series.description
    header.FrameOfReferenceUID = request.uid("frame of reference")
    header.PositionReferenceIndicator = "XY"
    header.ScanOptions = "HELICAL MODE"
    header.KVP = "120"
    header.DataCollectionDiameter = "500"
    header.GantryDetectorTilt = "12" if request.has("gantry-tilt") else "0"
    header.TableHeight = "150"
    header.RotationDirection = "CW"
    header.ExposureTime = 500
    header.XRayTubeCurrent = 320
    header.Exposure = 160
    header.ConvolutionKernel = series.kernel
    header.SliceThickness = f"{series.thickness_mm:g}"
    header.SpacingBetweenSlices = f"{series.spacing_mm:g}"
    header.SamplesPerPixel = 1
    header.PhotometricInterpretation = "MONOCHROME2"
    header.Rows = header.Columns = size
    header.BitsAllocated = 16
    _add_stored_values(header, padded=request.has("padding"))
    _add_times(header, request, series)
    if series.delay_s > 0:
        _add_contrast(header, request)
    forget_references(request, header)
    return header


def _add_stored_values(header: Dataset, *, padded: bool) -> None:
    """12 unsigned bits, or 16 signed ones where the corners are padded far below air."""
    header.BitsStored, header.HighBit, header.PixelRepresentation = (16, 15, 1) if padded else (12, 11, 0)
    if padded:
        header.add_new("PixelPaddingValue", "SS", PADDING_STORED_VALUE)
    header.RescaleIntercept = str(_INTERCEPT_HU)
    header.RescaleSlope = "1"
    header.RescaleType = "HU"
    header.WindowCenter = "60"
    header.WindowWidth = "360"


def _add_times(header: Dataset, request: PhantomRequest, series: CtSeriesHeader) -> None:
    """The native scan comes first, the others count from the injection four minutes after the study's begin."""
    after = dt.timedelta(seconds=90 if series.delay_s <= 0 else 240 + series.delay_s)
    moment = study_time(request) + after
    header.SeriesDate = header.AcquisitionDate = header.ContentDate = moment.strftime("%Y%m%d")
    header.SeriesTime = header.AcquisitionTime = moment.strftime("%H%M%S.%f")
    header.ContentTime = (moment + dt.timedelta(seconds=12)).strftime("%H%M%S.%f")


def _add_contrast(header: Dataset, request: PhantomRequest) -> None:
    begun = study_time(request) + dt.timedelta(seconds=240)
    header.ContrastBolusAgent = "IOHEXOL 350"
    header.ContrastBolusRoute = "IV"
    header.ContrastBolusVolume = "120"
    header.ContrastBolusStartTime = begun.strftime("%H%M%S.%f")
    header.ContrastBolusStopTime = (begun + dt.timedelta(seconds=30)).strftime("%H%M%S.%f")
    header.ContrastBolusTotalDose = "120"
    header.ContrastFlowRate = "4"
    header.ContrastFlowDuration = "30"
    header.ContrastBolusIngredient = "IODINE"
    header.ContrastBolusIngredientConcentration = "350"


def stored_pixels(images_hu: NDArray[np.int16], *, padded_outside_pixels: float | None) -> NDArray[np.int16]:
    """Turn HU into stored values; outside a circle of that radius goes padding, or nothing for None.

    Shape (..., y, x) in and out.
    """
    stored = (images_hu - np.int16(_INTERCEPT_HU)).astype(np.int16)
    if padded_outside_pixels is not None:
        size = stored.shape[-1]
        y, x = np.mgrid[0:size, 0:size] - 0.5 * (size - 1)
        stored[..., np.hypot(x, y) > padded_outside_pixels] = PADDING_STORED_VALUE
    return stored
