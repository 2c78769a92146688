"""Enhanced MR objects: one per echo, b value or phase."""

from collections.abc import Sequence
from typing import Any

from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as DicomSequence

from analyzers.phantoms.multiframe import Frame, add_common, frame_anatomy, frame_content, one, take

ENHANCED_MR_IMAGE_STORAGE = "1.2.840.10008.5.1.4.1.1.4.1"


def enhanced_mr(header: Dataset, frames: Sequence[Frame], dimension_uid: str, *, b_value: int | None) -> Dataset:
    """Make an Enhanced MR object of one stack.

    Parameters
    ----------
    header : Dataset
        Header of the single images; not changed.
    frames : sequence of Frame
        In stored order.
    dimension_uid : str
        Names the organisation of the frames.
    b_value : int or None
        Diffusion weighting in s/mm², None for other sequences.
    """
    image = Dataset()
    image.update(header)
    image.SOPClassUID = ENHANCED_MR_IMAGE_STORAGE
    kind = list(image.ImageType)
    flavour = "DIFFUSION" if "DIFFUSION" in kind else "VOLUME"
    contrast = "ADC" if "ADC" in kind else "NONE"
    image.ImageType = [kind[0] if contrast == "NONE" else "DERIVED", "PRIMARY", flavour, contrast]
    add_common(image)
    image.ComplexImageComponent = "MAGNITUDE"
    weighting = {"DIFFUSION": "DIFFUSION"}.get(flavour, "T2" if float(image.EchoTime) > 50 else "T1")
    image.AcquisitionContrast = weighting
    image.ResonantNucleus = "1H"
    image.KSpaceFiltering = "NONE"
    image.ApplicableSafetyStandardAgency = "IEC"
    image.MagneticFieldStrength = 1.5
    image.ContentQualification = "RESEARCH"
    shared = Dataset()
    shared.PixelMeasuresSequence = one(**take(image, "PixelSpacing", "SliceThickness", "SpacingBetweenSlices"))
    shared.FrameAnatomySequence = frame_anatomy()
    shared.MRImageFrameTypeSequence = one(
        FrameType=list(image.ImageType),
        PixelPresentation="MONOCHROME",
        VolumetricProperties="VOLUME",
        VolumeBasedCalculationTechnique="NONE",
        ComplexImageComponent="MAGNITUDE",
        AcquisitionContrast=weighting,
    )
    _add_timing(image, shared)
    _add_sequence(image, shared, weighting)
    if b_value is not None:
        shared.MRDiffusionSequence = one(DiffusionBValue=float(b_value), DiffusionDirectionality="ISOTROPIC")
        take(image, "DiffusionBValue", "DiffusionDirectionality")
    shared.FrameVOILUTSequence = one(**take(image, "WindowCenter", "WindowWidth"))
    shared.PixelValueTransformationSequence = one(RescaleIntercept="0", RescaleSlope="1", RescaleType="US")
    _add_contrast(image, shared)
    image.PerFrameFunctionalGroupsSequence = frame_content(image, frames, dimension_uid)
    image.SharedFunctionalGroupsSequence = DicomSequence([shared])
    take(
        image,
        "DerivationDescription",
        "AcquisitionNumber",
        "TemporalPositionIdentifier",
        "NumberOfTemporalPositions",
        "SliceLocation",
    )
    return image


def _add_timing(image: Dataset, shared: Dataset) -> None:
    """Timing, echo and field of view."""
    take(image, "EchoNumbers", "SAR", "ReconstructionDiameter")
    echo = take(image, "EchoTime")
    train = int(take(image, "EchoTrainLength")["EchoTrainLength"])
    shared.MRTimingAndRelatedParametersSequence = one(
        **take(image, "RepetitionTime", "FlipAngle"),
        EchoTrainLength=train,
        RFEchoTrainLength=train,
        GradientEchoTrainLength=0,
        GradientOutputType="DB_DT",
        GradientOutput=20.0,
        SpecificAbsorptionRateSequence=one(
            SpecificAbsorptionRateDefinition="IEC_WHOLE_BODY", SpecificAbsorptionRateValue=1.1
        ),
        OperatingModeSequence=one(OperatingModeType="RF", OperatingMode="IEC_NORMAL"),
    )
    shared.MREchoSequence = one(EffectiveEchoTime=float(str(echo["EchoTime"])))
    take(image, "AcquisitionMatrix", "NumberOfPhaseEncodingSteps")
    shared.MRFOVGeometrySequence = one(
        **take(image, "PercentSampling", "PercentPhaseFieldOfView"),
        InPlanePhaseEncodingDirection="COLUMN",
        MRAcquisitionFrequencyEncodingSteps=int(image.Columns),
        MRAcquisitionPhaseEncodingStepsInPlane=int(image.Rows),
        MRAcquisitionPhaseEncodingStepsOutOfPlane=len(shared.PixelMeasuresSequence),
    )
    take(image, "InPlanePhaseEncodingDirection")


def _add_sequence(image: Dataset, shared: Dataset, weighting: str) -> None:
    """Pulse sequence, modifiers, coils and averages."""
    old = take(
        image,
        "ScanningSequence",
        "SequenceVariant",
        "ScanOptions",
        "MRAcquisitionType",
        "SequenceName",
        "AngioFlag",
        "ImagedNucleus",
        "ImagingFrequency",
        "PixelBandwidth",
        "NumberOfAverages",
        "ReceiveCoilName",
        "TransmitCoilName",
    )
    if image.ImageType[0] == "ORIGINAL":
        _add_pulse_sequence(image, old, echo_planar=weighting == "DIFFUSION")
    shared.MRModifierSequence = one(
        InversionRecovery="NO",
        FlowCompensation="NONE",
        Spoiling="RF",
        T2Preparation="NO",
        SpectrallySelectedExcitation="NONE",
        SpatialPresaturation="NONE",
        PartialFourier="NO",
        ParallelAcquisition="NO",
    )
    shared.MRImagingModifierSequence = one(
        MagnetizationTransfer="NONE",
        BloodSignalNulling="NO",
        Tagging="NONE",
        TransmitterFrequency=63.68,
        PixelBandwidth=float(str(old["PixelBandwidth"])),
    )
    shared.MRReceiveCoilSequence = one(
        ReceiveCoilName="Body array",
        ReceiveCoilManufacturerName="",
        ReceiveCoilType="MULTICOIL",
        QuadratureReceiveCoil="NO",
        MultiCoilDefinitionSequence=one(MultiCoilElementName="1", MultiCoilElementUsed="YES"),
    )
    shared.MRTransmitCoilSequence = one(
        TransmitCoilName="Body", TransmitCoilManufacturerName="", TransmitCoilType="BODY"
    )
    shared.MRAveragesSequence = one(NumberOfAverages=1.0)


def _add_pulse_sequence(image: Dataset, old: dict[str, Any], *, echo_planar: bool) -> None:
    """What the sequence does; only acquired images tell it."""
    scanning = old["ScanningSequence"]
    spin_echo = "SE" in ([scanning] if isinstance(scanning, str) else list(scanning))
    image.PulseSequenceName = old["SequenceName"]
    image.MRAcquisitionType = old["MRAcquisitionType"]
    image.EchoPulseSequence = "SPIN" if spin_echo else "GRADIENT"
    if spin_echo:
        image.MultipleSpinEcho = "NO" if echo_planar else "YES"
    image.MultiPlanarExcitation = "NO"
    image.PhaseContrast = "NO"
    image.TimeOfFlightContrast = "NO"
    image.SteadyStatePulseSequence = "NONE" if spin_echo else "LONGITUDINAL"
    image.EchoPlanarPulseSequence = "YES" if echo_planar else "NO"
    image.SaturationRecovery = "NO"
    image.SpectrallySelectedSuppression = "FAT" if "FS" in list(old["ScanOptions"]) else "NONE"
    image.OversamplingPhase = "NONE"
    image.RectilinearPhaseEncodeReordering = "LINEAR"
    image.SegmentedKSpaceTraversal = "SINGLE"
    image.GeometryOfKSpaceTraversal = "RECTILINEAR"
    image.NumberOfKSpaceTrajectories = 1
    if image.MRAcquisitionType == "3D":
        image.CoverageOfKSpace = "FULL"


def _add_contrast(image: Dataset, shared: Dataset) -> None:
    """Move the contrast agent to where enhanced objects keep it."""
    old = take(
        image,
        "ContrastBolusAgent",
        "ContrastBolusRoute",
        "ContrastBolusVolume",
        "ContrastBolusStartTime",
        "ContrastBolusTotalDose",
        "ContrastFlowRate",
        "ContrastBolusIngredient",
        "ContrastBolusIngredientConcentration",
    )
    if not old:
        return
    agent = Dataset()
    agent.CodeValue, agent.CodingSchemeDesignator = "GADOLINIUM AGENT", "99PHANTOM"
    agent.CodeMeaning = str(old["ContrastBolusAgent"])
    agent.ContrastBolusAgentNumber = 1
    agent.ContrastBolusAdministrationRouteSequence = one(
        CodeValue="47625008", CodingSchemeDesignator="SCT", CodeMeaning="Intravenous route"
    )
    agent.ContrastBolusIngredientCodeSequence = one(
        CodeValue="105879004", CodingSchemeDesignator="SCT", CodeMeaning="Gadolinium"
    )
    agent.ContrastBolusVolume = old["ContrastBolusVolume"]
    agent.ContrastBolusIngredientConcentration = old["ContrastBolusIngredientConcentration"]
    image.ContrastBolusAgentSequence = DicomSequence([agent])
    shared.ContrastBolusUsageSequence = one(
        ContrastBolusAgentNumber=1, ContrastBolusAgentAdministered="YES", ContrastBolusAgentDetected="YES"
    )
