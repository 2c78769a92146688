"""Enhanced multi-frame objects from what would have been single images."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as DicomSequence

ENHANCED_CT_IMAGE_STORAGE = "1.2.840.10008.5.1.4.1.1.2.1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """One plane: where it lies (LPS mm, direction cosines) and its stored values (y, x)."""

    position_lps_mm: tuple[float, ...]
    orientation: tuple[float, ...]
    pixels: NDArray[np.int16] | NDArray[np.uint16]


def item(**attributes: Any) -> Dataset:
    """A sequence item from keywords and values."""
    item = Dataset()
    for keyword, value in attributes.items():
        setattr(item, keyword, value)
    return item


def one(**attributes: Any) -> DicomSequence:
    """A sequence of one item."""
    return DicomSequence([item(**attributes)])


def _numbers(values: Sequence[float]) -> list[str]:
    return [f"{value:.4f}" for value in values]


def frame_content(image: Dataset, frames: Sequence[Frame], dimension_uid: str) -> DicomSequence:
    """Write dimensions and pixels; return the per-frame items with position, orientation and place in the stack."""
    organization = one(DimensionOrganizationUID=dimension_uid)
    image.DimensionOrganizationSequence = organization
    image.DimensionIndexSequence = one(
        DimensionOrganizationUID=dimension_uid,
        DimensionIndexPointer=0x00209057,  # InStackPositionNumber
        FunctionalGroupPointer=0x00209111,  # FrameContentSequence
    )
    image.NumberOfFrames = len(frames)
    image.PixelData = b"".join(np.ascontiguousarray(frame.pixels).astype("<u2").tobytes() for frame in frames)
    moment = f"{image.AcquisitionDate}{image.AcquisitionTime}"
    take(image, "AcquisitionDate", "AcquisitionTime")
    items = []
    for number, frame in enumerate(frames, start=1):
        item = Dataset()
        item.FrameContentSequence = one(
            FrameAcquisitionDateTime=moment,
            FrameReferenceDateTime=moment,
            FrameAcquisitionDuration=500.0,
            FrameAcquisitionNumber=image.AcquisitionNumber,
            StackID="1",
            InStackPositionNumber=number,
            DimensionIndexValues=[number],
        )
        item.PlanePositionSequence = one(ImagePositionPatient=_numbers(frame.position_lps_mm))
        item.PlaneOrientationSequence = one(ImageOrientationPatient=[f"{v:.6f}" for v in frame.orientation])
        items.append(item)
    return DicomSequence(items)


def take(image: Dataset, *keywords: str) -> dict[str, Any]:
    """Remove attributes from the root and return them: in multi-frame objects they live in functional groups."""
    taken = {}
    for keyword in keywords:
        if keyword in image:
            taken[keyword] = getattr(image, keyword)
            delattr(image, keyword)
    return taken


def enhanced_ct(template: Dataset, frames: Sequence[Frame], dimension_uid: str) -> Dataset:
    """Make an Enhanced CT object of a series.

    Parameters
    ----------
    template : Dataset
        Header of the single images of this series; not changed.
    frames : sequence of Frame
        In stored order.
    dimension_uid : str
        Names the organisation of the frames.
    """
    image = Dataset()
    image.update(template)
    image.SOPClassUID = ENHANCED_CT_IMAGE_STORAGE
    image.ImageType = ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]
    add_common(image)
    shared = Dataset()
    measures = take(image, "PixelSpacing", "SliceThickness", "SpacingBetweenSlices")
    shared.PixelMeasuresSequence = one(**measures)
    shared.FrameAnatomySequence = frame_anatomy()
    _add_acquisition(image, shared, measures["PixelSpacing"])
    rescale = take(image, "RescaleIntercept", "RescaleSlope", "RescaleType")
    shared.PixelValueTransformationSequence = one(**rescale)
    shared.FrameVOILUTSequence = one(**take(image, "WindowCenter", "WindowWidth"))
    shared.IrradiationEventIdentificationSequence = one(IrradiationEventUID=f"{dimension_uid}.1"[:64])
    _add_contrast_usage(image, shared)
    image.PerFrameFunctionalGroupsSequence = frame_content(image, frames, dimension_uid)
    image.SharedFunctionalGroupsSequence = DicomSequence([shared])
    return image


def _add_acquisition(image: Dataset, shared: Dataset, pixel_spacing: Any) -> None:
    """Tube, table, detector and reconstruction; their attributes leave the root."""
    shared.CTImageFrameTypeSequence = one(
        FrameType=["ORIGINAL", "PRIMARY", "VOLUME", "NONE"],
        PixelPresentation="MONOCHROME",
        VolumetricProperties="VOLUME",
        VolumeBasedCalculationTechnique="NONE",
    )
    shared.CTAcquisitionTypeSequence = one(AcquisitionType="SPIRAL", ConstantVolumeFlag="NO", FluoroscopyFlag="NO")
    shared.CTAcquisitionDetailsSequence = one(
        **take(image, "RotationDirection", "TableHeight", "GantryDetectorTilt", "DataCollectionDiameter"),
        RevolutionTime=0.5,
        SingleCollimationWidth=0.625,
        TotalCollimationWidth=40.0,
    )
    shared.CTTableDynamicsSequence = one(TableSpeed=80.0, TableFeedPerRotation=40.0, SpiralPitchFactor=1.0)
    shared.CTGeometrySequence = one(DistanceSourceToDetector=950.0, DistanceSourceToDataCollectionCenter=540.0)
    shared.CTPositionSequence = one(
        TablePosition=0.0,
        ReconstructionTargetCenterPatient=[0.0, 0.0, 0.0],
        DataCollectionCenterPatient=[0.0, 0.0, 0.0],
    )
    shared.CTReconstructionSequence = one(
        **take(image, "ConvolutionKernel", "ReconstructionDiameter"),
        ReconstructionAlgorithm="FILTER_BACK_PROJ",
        ImageFilter="NONE",
        ReconstructionPixelSpacing=pixel_spacing,
        ConvolutionKernelGroup="SOFT_TISSUE",
        ReconstructionAngle=360.0,
    )
    take(image, "ExposureTime", "XRayTubeCurrent", "Exposure", "ScanOptions", "SliceLocation")
    shared.CTExposureSequence = one(
        ExposureTimeInms=500.0,
        XRayTubeCurrentInmA=320.0,
        ExposureInmAs=160.0,
        ExposureModulationType="NONE",
        CTDIvol=9.0,
        CTDIPhantomTypeCodeSequence=one(
            CodeValue="113691", CodingSchemeDesignator="DCM", CodeMeaning="IEC Body Dosimetry Phantom"
        ),
    )
    shared.CTXRayDetailsSequence = one(
        **take(image, "KVP"),
        FocalSpots=[1.0],
        FilterType="FLAT",
        FilterMaterial="ALUMINUM",
        CalciumScoringMassFactorPatient=0.8,
    )


def add_common(image: Dataset) -> None:
    """Attributes of all enhanced images of one volume."""
    image.AcquisitionDateTime = f"{image.AcquisitionDate}{image.AcquisitionTime}"
    image.AcquisitionDuration = 8.0
    image.PixelPresentation = "MONOCHROME"
    image.VolumetricProperties = "VOLUME"
    image.VolumeBasedCalculationTechnique = "NONE"
    image.PresentationLUTShape = "IDENTITY"
    image.BurnedInAnnotation = "NO"
    image.LossyImageCompression = "00"
    image.ContentQualification = "RESEARCH"
    image.AcquisitionContextSequence = DicomSequence([])


def frame_anatomy() -> DicomSequence:
    """The abdomen, for the functional group of frames."""
    region = one(CodeValue="818981001", CodingSchemeDesignator="SCT", CodeMeaning="Abdomen")
    return one(FrameLaterality="U", AnatomicRegionSequence=region)


def _add_contrast_usage(image: Dataset, shared: Dataset) -> None:
    """Move the contrast agent to where enhanced objects keep it."""
    old = take(
        image,
        "ContrastBolusAgent",
        "ContrastBolusRoute",
        "ContrastBolusVolume",
        "ContrastBolusStartTime",
        "ContrastBolusStopTime",
        "ContrastBolusTotalDose",
        "ContrastFlowRate",
        "ContrastFlowDuration",
        "ContrastBolusIngredient",
        "ContrastBolusIngredientConcentration",
    )
    if not old:
        return
    agent = item(CodeValue="109220007", CodingSchemeDesignator="SCT", CodeMeaning="Iohexol")
    agent.ContrastBolusAgentNumber = 1
    agent.ContrastBolusAdministrationRouteSequence = one(
        CodeValue="47625008", CodingSchemeDesignator="SCT", CodeMeaning="Intravenous route"
    )
    agent.ContrastBolusIngredientCodeSequence = one(
        CodeValue="44588005", CodingSchemeDesignator="SCT", CodeMeaning="Iodine"
    )
    agent.ContrastBolusVolume = old.get("ContrastBolusVolume")
    agent.ContrastBolusIngredientConcentration = old.get("ContrastBolusIngredientConcentration", "0")
    image.ContrastBolusAgentSequence = DicomSequence([agent])
    shared.ContrastBolusUsageSequence = one(
        ContrastBolusAgentNumber=1, ContrastBolusAgentAdministered="YES", ContrastBolusAgentDetected="YES"
    )
