"""DICOM headers of the scintigraphy phantom: Nuclear Medicine Image objects as a camera's workstation writes them.

Units follow the NM object definition: RadionuclideTotalDose in MBq, times in ms, energies in keV.
"""

import datetime as dt
from dataclasses import dataclass

from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import NuclearMedicineImageStorage

from analyzers.phantoms.nuclear_camera import Collimator
from analyzers.phantoms.request import PhantomRequest
from analyzers.phantoms.study import StudyText, code_item, study_header

PERFUSION_CODE = ("RPID5457", "RADLEX", "NM Abdomen Perfusion Liver MAA")
LIVER_SPLEEN_CODE = ("RPID5117", "RADLEX", "NM Liver-Spleen")
TC_99M = ("72454006", "SCT", "^99m^Technetium")
IN_111 = ("56609000", "SCT", "^111^Indium")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tracer:
    """What was given, and how.

    Attributes
    ----------
    name : str
        Radiopharmaceutical as free text.
    agent_code, nuclide_code, route_code : (value, scheme, meaning) or None
        None leaves the sequence empty or out.
    activity_mbq : float
    given_at : datetime
        Local time of the infusion.
    """

    name: str
    agent_code: tuple[str, str, str] | None
    nuclide_code: tuple[str, str, str]
    route_code: tuple[str, str, str] | None
    activity_mbq: float
    given_at: dt.datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class EnergyWindow:
    """One energy window in keV."""

    name: str
    lower_kev: float
    upper_kev: float


PHOTOPEAK = EnergyWindow(name="Tc99m Peak", lower_kev=126.0, upper_kev=154.0)
LOWER_SCATTER = EnergyWindow(name="Tc99m Scatter", lower_kev=108.0, upper_kev=126.0)
UPPER_SCATTER = EnergyWindow(name="Tc99m Upper", lower_kev=154.0, upper_kev=168.0)
IN_111_WINDOW = EnergyWindow(name="In111 245", lower_kev=220.5, upper_kev=269.5)


@dataclass(frozen=True, slots=True, kw_only=True)
class NuclearSeries:
    """What the objects of one series have in common.

    Attributes
    ----------
    number : int
    description : str
    image_kind : str
        Value 3 of Image Type.
    begun_at : datetime
    frame_s : float
        Duration of one frame.
    tracers : tuple of Tracer
    windows : tuple of EnergyWindow
    collimator : Collimator
    pixel_mm : float
    """

    number: int
    description: str
    image_kind: str
    begun_at: dt.datetime
    frame_s: float
    tracers: tuple[Tracer, ...]
    windows: tuple[EnergyWindow, ...]
    collimator: Collimator
    pixel_mm: float


def study_text(request: PhantomRequest) -> StudyText:
    """Words and codes of the request, which routing must recognise, or must not."""
    german = request.has("german")
    if request.has("y90-mapping"):
        return StudyText(
            study_description="NM Y90 SIRT Mapping Tc-99m MAA",
            requested_procedure="NM Leber MAA vor SIRT" if german else "NM RADIOEMBOLIZATION MAPPING Y-90",
            reason="HCC, Planung SIRT" if german else "HCC, planning of TheraSphere",
            protocol_name="Y90 MAA MAPPING",
            procedure_code=PERFUSION_CODE,
        )
    if request.has("not-hai"):
        return StudyText(
            study_description="NM Leber-Milz-Szintigraphie" if german else "NM LIVER SPLEEN SCAN",
            requested_procedure="Leber-Milz-Szintigraphie" if german else "NM LIVER SPLEEN PLANAR",
            reason="Fokale noduläre Hyperplasie?" if german else "Focal nodular hyperplasia?",
            protocol_name="LEBER" if german else "LIVER SPLEEN",
            procedure_code=LIVER_SPLEEN_CODE,
        )
    if german:
        return StudyText(
            study_description="NM Leberperfusion über HAI-Pumpe",
            requested_procedure="Perfusionsszintigraphie Leber über HAI-Pumpe mit Tc-99m MAA",
            reason="CRLM, HAI-Pumpe implantiert, Leberperfusion vor FUDR prüfen",
            protocol_name="HAI PUMPE MAA",
            procedure_code=None,
        )
    return StudyText(
        study_description="NM HAI PUMP PERFUSION TC-99M MAA",
        requested_procedure="NM LIVER PERFUSION HAI PUMP MAA",
        reason="CRLM, HAI pump placed, check liver perfusion before FUDR",
        protocol_name="HAI PUMP MAA",
        procedure_code=PERFUSION_CODE,
    )


def nuclear_object(request: PhantomRequest, series: NuclearSeries, instance_number: int) -> Dataset:
    """Header of one NM object without detectors, frames and pixels.

    Parameters
    ----------
    request : PhantomRequest
    series : NuclearSeries
    instance_number : int

    Returns
    -------
    Dataset
        With SOP class and UIDs; the caller adds what depends on the kind of image.
    """
    ds = study_header(request, study_text(request))
    ds.SOPClassUID = NuclearMedicineImageStorage
    ds.SOPInstanceUID = request.uid("instance", series.number, instance_number)
    ds.SeriesInstanceUID = request.uid("series", series.number)
    ds.ImageType = ["ORIGINAL", "PRIMARY", series.image_kind, "EMISSION"]
    ds.Modality = "NM"
    ds.SeriesNumber = series.number
    ds.InstanceNumber = instance_number
    ds.SeriesDescription = series.description
    _stamp(ds, series)
    ds.Manufacturer = "Phantom Medical"
    ds.ManufacturerModelName = "Dual Head Camera"
    ds.DeviceSerialNumber = "NM-0001"
    ds.SoftwareVersions = "1.0"
    ds.StationName = "NM1"
    ds.BodyPartExamined = "ABDOMEN"
    if not request.has("no-frame-of-reference"):
        ds.FrameOfReferenceUID = request.uid("frame of reference")
        ds.PositionReferenceIndicator = ""
    _add_orientation(ds, request)
    _add_tracers(ds, series)
    return ds


def _stamp(ds: Dataset, series: NuclearSeries) -> None:
    """Write the dates and times of a series and its image."""
    date, time = series.begun_at.strftime("%Y%m%d"), series.begun_at.strftime("%H%M%S")
    for name in ("Series", "Acquisition", "Content"):
        setattr(ds, f"{name}Date", date)
        setattr(ds, f"{name}Time", time)


def _add_orientation(ds: Dataset, request: PhantomRequest) -> None:
    """Write how the patient lies; stored images are head up in either case, as workstations keep them."""
    if request.has("no-patient-position"):
        ds.PatientOrientationCodeSequence = Sequence([])
        ds.PatientGantryRelationshipCodeSequence = Sequence([])
        return
    posture = code_item("102538003", "SCT", "recumbent")
    posture.PatientOrientationModifierCodeSequence = Sequence([code_item("40199007", "SCT", "supine")])
    ds.PatientOrientationCodeSequence = Sequence([posture])
    feet_first = request.has("feet-first")
    entry = ("102541007", "SCT", "feet-first") if feet_first else ("102540008", "SCT", "headfirst")
    ds.PatientGantryRelationshipCodeSequence = Sequence([code_item(*entry)])


def _add_tracers(ds: Dataset, series: NuclearSeries) -> None:
    """NM Isotope module: energy windows and radiopharmaceuticals."""
    windows = []
    for window in series.windows:
        item, limits = Dataset(), Dataset()
        limits.EnergyWindowLowerLimit = f"{window.lower_kev:g}"
        limits.EnergyWindowUpperLimit = f"{window.upper_kev:g}"
        item.EnergyWindowName = window.name
        item.EnergyWindowRangeSequence = Sequence([limits])
        windows.append(item)
    ds.EnergyWindowInformationSequence = Sequence(windows)
    ds.NumberOfEnergyWindows = len(windows)
    given = []
    for tracer in series.tracers:
        item = Dataset()
        item.RadionuclideCodeSequence = Sequence([code_item(*tracer.nuclide_code)])
        item.Radiopharmaceutical = tracer.name
        item.RadiopharmaceuticalStartTime = tracer.given_at.strftime("%H%M%S")
        item.RadionuclideTotalDose = f"{tracer.activity_mbq:.1f}"
        if tracer.agent_code is not None:
            item.RadiopharmaceuticalCodeSequence = Sequence([code_item(*tracer.agent_code)])
        if tracer.route_code is not None:
            item.RadiopharmaceuticalRoute = tracer.route_code[2]
            item.AdministrationRouteCodeSequence = Sequence([code_item(*tracer.route_code)])
        given.append(item)
    ds.RadiopharmaceuticalInformationSequence = Sequence(given)


def macroaggregates(request: PhantomRequest, begun_at: dt.datetime) -> Tracer:
    """The tracer of a perfusion study: 111 to 185 MBq of Tc-99m MAA into the artery, shortly before."""
    rng = request.rng("activity")
    activity_mbq, delay_min = float(rng.uniform(111, 185)), float(rng.uniform(8, 25))
    return Tracer(
        name="Tc-99m MAA",
        agent_code=("85693008", "SCT", "Technetium Tc^99m^ aggregated albumin"),
        nuclide_code=TC_99M,
        route_code=("58100008", "SCT", "Intra-arterial route"),
        activity_mbq=activity_mbq,
        given_at=begun_at - dt.timedelta(minutes=delay_min),
    )


def sulfur_colloid(request: PhantomRequest, begun_at: dt.datetime) -> Tracer:
    """The tracer of a liver scan: 70 to 110 MBq of Tc-99m sulfur colloid into a vein."""
    return Tracer(
        name="Tc-99m sulfur colloid",
        agent_code=("5931004", "SCT", "Technetium Tc^99m^ sulfur colloid"),
        nuclide_code=TC_99M,
        route_code=("47625008", "SCT", "Intravenous route"),
        activity_mbq=float(request.rng("colloid activity").uniform(70, 110)),
        given_at=begun_at - dt.timedelta(minutes=15),
    )


def indium_cells(begun_at: dt.datetime) -> Tracer:
    """A second nuclide in the same patient: In-111 labelled cells, given the day before."""
    return Tracer(
        name="In-111 leukocytes",
        agent_code=None,
        nuclide_code=IN_111,
        route_code=("47625008", "SCT", "Intravenous route"),
        activity_mbq=18.5,
        given_at=begun_at - dt.timedelta(minutes=30),
    )
