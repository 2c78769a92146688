"""Every coded concept that an analyzer may say, as constants grouped by noun.

Standard codes first (SNOMED CT, DCM, IBSI, UCUM, LOINC); where none exists, the private scheme
``99HAIPUMP``, which the encoder declares in the object. A private code value has at most 16 characters,
because a longer one would silently become a long code value; a meaning has at most 64 (PS3.3 section 8).

Meanings are the short synonyms that readers expect (``Liver``), not the fully specified names.

:data:`QUANTITIES` ties the key of a measurement to its concept, unit and derivation, so that the same key
always means the same number. An analyzer that measures something new adds its codes at the end of the
group, and one line to that table.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from analyzers.contract import Code

PRIVATE_SCHEME = "99HAIPUMP"
PRIVATE_SCHEME_NAME = "Hepatic arterial infusion pump imaging"


def _sct(value: str, meaning: str) -> Code:
    return Code(value=value, scheme="SCT", meaning=meaning)


def _dcm(value: str, meaning: str) -> Code:
    return Code(value=value, scheme="DCM", meaning=meaning)


def _ucum(value: str, meaning: str) -> Code:
    return Code(value=value, scheme="UCUM", meaning=meaning)


def _private(value: str, meaning: str) -> Code:
    return Code(value=value, scheme=PRIVATE_SCHEME, meaning=meaning)


# --- segmented property categories (CID 7150) --------------------------------------------------------------

ANATOMICAL_STRUCTURE = _sct("91723000", "Anatomical Structure")
PHYSICAL_OBJECT = _sct("260787004", "Physical object")
MORPHOLOGICALLY_ABNORMAL_STRUCTURE = _sct("49755003", "Morphologically Abnormal Structure")
FUNCTION = _sct("246464006", "Function")

# --- organs, vessels, regions of the body ------------------------------------------------------------------

LIVER = _sct("10200004", "Liver")
LUNG = _sct("39607008", "Lung")
SPLEEN = _sct("78961009", "Spleen")
STOMACH = _sct("69695003", "Stomach")
DUODENUM = _sct("38848004", "Duodenum")
SMALL_INTESTINE = _sct("30315005", "Small intestine")
PANCREAS = _sct("15776009", "Pancreas")
KIDNEY = _sct("64033007", "Kidney")
GALLBLADDER = _sct("28231008", "Gallbladder")
BILE_DUCT = _sct("28273000", "Bile duct")
BONE = _sct("272673000", "Bone")
ABDOMEN = _sct("818981001", "Abdomen")
THORAX = _sct("816094009", "Thorax")
ENTIRE_BODY = _sct("38266002", "Entire body")
ABDOMINAL_WALL = _sct("83908009", "Abdominal wall")
THYROID = _sct("69748006", "Thyroid")
URINARY_BLADDER = _sct("89837001", "Bladder")

AORTA = _sct("15825003", "Aorta")
CELIAC_TRUNK = _sct("57850000", "Truncus coeliacus")
SUPERIOR_MESENTERIC_ARTERY = _sct("42258001", "Superior mesenteric artery")
SPLENIC_ARTERY = _sct("22083002", "Splenic artery")
LEFT_GASTRIC_ARTERY = _sct("23771002", "Gastric Artery")
HEPATIC_ARTERY = _sct("76015000", "Hepatic artery")
COMMON_HEPATIC_ARTERY = _sct("66559000", "Common Hepatic Artery")
PROPER_HEPATIC_ARTERY = _sct("18112008", "Proper Hepatic Artery")
RIGHT_HEPATIC_ARTERY = _sct("69421009", "Right Branch of Hepatic Artery")
LEFT_HEPATIC_ARTERY = _sct("21807003", "Left Branch of Hepatic Artery")
GASTRODUODENAL_ARTERY = _sct("37274004", "Gastroduodenal Artery")
PORTAL_VEIN = _sct("32764006", "Portal vein")

RIGHT = _sct("24028007", "Right")
LEFT = _sct("7771000", "Left")
RIGHT_AND_LEFT = _sct("51440002", "Right and left")

# --- devices -----------------------------------------------------------------------------------------------

INFUSION_PUMP = _sct("430033006", "Infusion pump")
CATHETER = _sct("19923001", "Catheter")
CATHETER_INTERRUPTION = _private("CATHGAP", "Interruption of the catheter's course")
PUMP_ORIENTATION = _private("PUMPFLIP", "Infusion pump turned over")

# --- lesions and other findings ----------------------------------------------------------------------------

LESION = _sct("52988006", "Lesion")
NEOPLASM = _sct("108369006", "Neoplasm")
METASTASIS = _sct("14799000", "Neoplasm, Secondary")
PRIMARY_NEOPLASM = _sct("372087000", "Neoplasm, Primary")
PERFUSION = _sct("371863001", "Perfusion")
STENOSIS = _sct("415582006", "Stenosis")
OCCLUSION = _sct("26036001", "Occlusion")
THROMBOSIS = _sct("264579008", "Thrombosis")
PSEUDOANEURYSM = _sct("22036004", "Pseudoaneurysm")
EXTRAVASATION = _dcm("111428", "Extravasation")
SEROMA = _sct("56021002", "Seroma")
HAEMATOMA = _sct("35566002", "Haematoma")
ABSCESS = _sct("44132006", "Abscess")
EXTRAHEPATIC_PERFUSION = _private("EXTRAHEP", "Extrahepatic perfusion")
CATHETER_TIP_POSITION = _private("TIPPOS", "Catheter tip position")
TIP_AT_JUNCTION = _private("TIPPOS-GDA", "Tip in gastroduodenal artery at hepatic artery junction")
TIP_IN_HEPATIC_ARTERY = _private("TIPPOS-HA", "Tip protruding into hepatic artery lumen")
TIP_RETRACTED = _private("TIPPOS-RET", "Tip retracted within gastroduodenal artery")
TIP_DISLODGED = _private("TIPPOS-DIS", "Tip dislodged outside vessel")
PERFUSION_PATTERN = _private("PERFCAT", "Perfusion pattern of the pump study")
PERFUSION_COMPLETE = _private("PERF-COMPLETE", "Both lobes perfused, no extrahepatic activity detected")
PERFUSION_INCOMPLETE = _private("PERF-INCOMPLETE", "Incomplete perfusion of the liver")
PERFUSION_EXTRAHEPATIC = _private("PERF-EHP", "Extrahepatic perfusion suspected")
PERFUSION_LOW_HOT_TIP = _private("PERF-LOWTIP", "Low hepatic uptake with activity at the catheter tip")
PERFUSION_INDETERMINATE = _private("PERF-INDET", "Perfusion study indeterminate")
PERFUSION_NON_DIAGNOSTIC = _private("PERF-NONDIAG", "Perfusion study non-diagnostic")
DEVICE_ACTIVITY = _private("DEVICEACT", "Activity at pump or catheter")
PHYSIOLOGIC_UPTAKE = _private("PHYSIOL", "Uptake like that of a normal organ")
FREE_PERTECHNETATE = _private("FREETC", "Pattern of free pertechnetate")
HEPATIC_ARTERIAL_ANATOMY = _private("MICHELS", "Michels classification of hepatic arterial anatomy")
MICHELS_TYPES: Mapping[str, Code] = {
    roman: _private(f"MICHELS-{number}", f"Michels type {roman}")
    for number, roman in enumerate(("I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX", "X"), 1)
}

# --- answers (CID 240) -------------------------------------------------------------------------------------

PRESENT = _sct("52101004", "Present")
ABSENT = _sct("272519000", "Absent")
UNDETERMINED = _sct("373068000", "Undetermined")

CONTRAST_PHASE = _private("PHASE", "Contrast phase of the CT scan")
NATIVE_PHASE = _private("PHASE-NAT", "Without contrast")
ARTERIAL_PHASE = _private("PHASE-ART", "Arterial phase")
PORTAL_PHASE = _private("PHASE-POR", "Portal venous phase")
DELAYED_PHASE = _private("PHASE-DEL", "Delayed phase")

RECIST_1_1 = _dcm("126081", "RECIST 1.1")
CURRENT_RESPONSE = _dcm("112048", "Current Response")
RESPONSE_EVALUATION_METHOD = _dcm("112021", "Response Evaluation Method")
COMPLETE_RESPONSE = _dcm("112041", "Target Lesion Complete Response")
PARTIAL_RESPONSE = _dcm("112042", "Target Lesion Partial Response")
PROGRESSIVE_DISEASE = _dcm("112043", "Target Lesion Progressive Disease")
STABLE_DISEASE = _dcm("112044", "Target Lesion Stable Disease")

# --- quantities --------------------------------------------------------------------------------------------

VOLUME = _sct("118565006", "Volume")
VOLUME_FROM_VOXELS = Code(value="YEKZ", scheme="IBSI", meaning="Volume from Voxel Summation")
MAXIMUM_3D_DIAMETER = Code(value="L0JK", scheme="IBSI", meaning="Maximum 3D Diameter of a Mesh")
LONG_AXIS = _sct("103339001", "Long axis")
SHORT_AXIS = _sct("103340004", "Short axis")
DIAMETER = _sct("81827009", "Diameter")
LENGTH = _sct("410668003", "Length")
DISTANCE = _dcm("121206", "Distance")
ANGLE = _dcm("110859", "Angle")
DEPTH = _sct("131197000", "Depth")
THICKNESS = _private("THICKNESS", "Thickness")
ATTENUATION = _dcm("112031", "Attenuation Coefficient")
MR_SIGNAL_INTENSITY = _dcm("110852", "MR signal intensity")
APPARENT_DIFFUSION_COEFFICIENT = _dcm("113041", "Apparent Diffusion Coefficient")
FAT_FRACTION = _dcm("129100", "Fat fraction")
VESSEL_LUMEN_DIAMETER = _sct("397413000", "Vessel lumen diameter")
LUMEN_DIAMETER_STENOSIS = _sct("408715008", "Lumen Diameter Stenosis")
PLANAR_ACTIVITY = _dcm("110820", "Nuclear Medicine Projection Activity")
TOMOGRAPHIC_ACTIVITY = _dcm("110821", "Nuclear Medicine Tomographic Activity")
NUMBER_OF_LESIONS = _sct("246206008", "Number of lesions")
LUNG_SHUNT_FRACTION = _private("LSF", "Lung shunt fraction")
LUNG_SHUNT_FRACTION_CORRECTED = _private("LSFC", "Lung shunt fraction, attenuation corrected")
TUMOUR_TO_NORMAL_RATIO = _private("TNR", "Tumor to normal liver uptake ratio")
LOBAR_PERFUSION_RATIO = _private("LOBPERF", "Left to right liver lobe perfusion ratio")
EXTRAHEPATIC_FOCUS_COUNT = _private("EHCOUNT", "Number of extrahepatic foci")
EXTRAHEPATIC_SHARE = _private("EHSHARE", "Counts of extrahepatic focus relative to liver")
EXTRAHEPATIC_PEAK = _private("EHPEAK", "Peak of extrahepatic focus relative to liver level")
EXTRAHEPATIC_SIGNIFICANCE = _private("EHSIGMA", "Excess of focus in standard deviations of background")
LEFT_LOBE_SHARE = _private("LEFTSHARE", "Share of liver counts left of the dividing line")
LEFT_TO_RIGHT_LEVEL = _private("LEFTLEVEL", "Left to right uptake level of the liver")
PERFUSED_OUTLINE_SHARE = _private("PERFSHARE", "Share of the colloid outline of the liver with perfusion")
OUTSIDE_COLLOID_SHARE = _private("OUTSHARE", "Counts outside the colloid outline relative to liver")
PERFUSED_VOLUME = _private("PERFVOL", "Perfused volume of the liver")
LOBE_ACTIVITY_SHARE = _private("LOBESHARE", "Share of liver activity in a lobe")
LOBE_PERFUSION_INDEX = _private("LOBEINDEX", "Share of liver activity by share of liver volume")
COVERED_SHARE = _private("COVERSHARE", "Share of the parenchyma on CT with uptake above a level")
HOT_REGION_RATIO = _private("HOTRATIO", "Uptake of a hot region relative to the rest of the liver")
RESPIRATORY_SHIFT = _private("RESPSHIFT", "Height of the uptake above the liver of the CT")

# --- derivations and methods -------------------------------------------------------------------------------

MEAN = _sct("373098007", "Mean")
MEDIAN = _sct("373099004", "Median")
STANDARD_DEVIATION = _sct("386136009", "Standard Deviation")
MINIMUM = _sct("255605001", "Minimum")
MAXIMUM = _sct("56851009", "Maximum")
TOTAL = _sct("255619001", "Total")
GEOMETRIC_MEAN = _private("GEOMEAN", "Geometric mean of anterior and posterior counts")

# --- units (UCUM) ------------------------------------------------------------------------------------------

NO_UNITS = _ucum("1", "no units")
MILLIMETRE = _ucum("mm", "mm")
SQUARE_MILLIMETRE = _ucum("mm2", "square millimeter")
MILLILITRE = _ucum("cm3", "cubic centimeter")
"""One cubic centimetre is one millilitre; ``mL`` is UCUM too, yet viewers and libraries know ``cm3``."""
HOUNSFIELD_UNIT = _ucum("[hnsf'U]", "Hounsfield unit")
COUNTS = _ucum("{counts}", "Counts")
RATIO = _ucum("{ratio}", "ratio")
"""A ratio or fraction from 0 to 1 (never in percent); by UCUM's rules the same as the unit ``1``."""
PERCENT = _ucum("%", "Percent")
DEGREE = _ucum("deg", "Degree")
SECOND = _ucum("s", "second")
MEGABECQUEREL = _ucum("MBq", "megabecquerel")
SQUARE_MICROMETRE_PER_SECOND = _ucum("um2/s", "um2/s")

# --- nuclear medicine: agents, routes, views (CID 25, 26) --------------------------------------------------

TECHNETIUM_99M = _sct("72454006", "^99m^Technetium")
MAA = _sct("85693008", "Technetium Tc^99m^ aggregated albumin")
SULFUR_COLLOID = _sct("5931004", "Technetium Tc^99m^ sulfur colloid")
INTRA_ARTERIAL = _sct("58100008", "Intra-arterial route")
INTRAVENOUS = _sct("47625008", "Intravenous route")
ANTERIOR_PROJECTION = _sct("399321004", "Anterior projection")
POSTERIOR_PROJECTION = _sct("399001007", "Posterior projection")
RIGHT_LATERAL_PROJECTION = _sct("399297009", "Right lateral projection")
LEFT_LATERAL_PROJECTION = _sct("399118008", "Left lateral projection")

# --- the report --------------------------------------------------------------------------------------------

IMAGING_MEASUREMENT_REPORT = _dcm("126000", "Imaging Measurement Report")
CT_PROCEDURE = Code(value="25045-6", scheme="LN", meaning="CT unspecified body region")
MR_PROCEDURE = Code(value="25056-3", scheme="LN", meaning="MRI unspecified body region")
NM_PROCEDURE = Code(value="49118-3", scheme="LN", meaning="NM unspecified body region")


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantity:
    """What the key of a measurement means: concept, unit, and the derivation where one belongs to it.

    ``least`` and ``most`` are what the quantity can be at all, in its unit: a share of a whole lies from 0 to 1.
    """

    concept: Code
    unit: Code
    derivation: Code | None = None
    least: float | None = 0.0
    most: float | None = None


QUANTITIES: Mapping[str, Quantity] = {
    "liver_volume": Quantity(concept=VOLUME, unit=MILLILITRE),
    "liver_attenuation": Quantity(concept=ATTENUATION, unit=HOUNSFIELD_UNIT, derivation=MEAN, least=None),
    "liver_attenuation_sd": Quantity(concept=ATTENUATION, unit=HOUNSFIELD_UNIT, derivation=STANDARD_DEVIATION),
    "aorta_diameter": Quantity(concept=VESSEL_LUMEN_DIAMETER, unit=MILLIMETRE),
    "aorta_attenuation": Quantity(concept=ATTENUATION, unit=HOUNSFIELD_UNIT, derivation=MEDIAN, least=None),
    "pump_diameter": Quantity(concept=DIAMETER, unit=MILLIMETRE),
    "pump_thickness": Quantity(concept=THICKNESS, unit=MILLIMETRE),
    "pump_tilt": Quantity(concept=ANGLE, unit=DEGREE),
    "pump_depth": Quantity(concept=DEPTH, unit=MILLIMETRE),
    "catheter_length": Quantity(concept=LENGTH, unit=MILLIMETRE),
    "lesion_long_axis": Quantity(concept=LONG_AXIS, unit=MILLIMETRE),
    "lesion_short_axis": Quantity(concept=SHORT_AXIS, unit=MILLIMETRE),
    "lesion_volume": Quantity(concept=VOLUME, unit=MILLILITRE),
    "lesion_count": Quantity(concept=NUMBER_OF_LESIONS, unit=NO_UNITS),
    "lung_shunt_fraction": Quantity(concept=LUNG_SHUNT_FRACTION, unit=RATIO, most=1.0),
    "lung_shunt_fraction_corrected": Quantity(concept=LUNG_SHUNT_FRACTION_CORRECTED, unit=RATIO, most=1.0),
    "extrahepatic_focus_count": Quantity(concept=EXTRAHEPATIC_FOCUS_COUNT, unit=NO_UNITS),
    "extrahepatic_focus_count_spect": Quantity(concept=EXTRAHEPATIC_FOCUS_COUNT, unit=NO_UNITS),
    "extrahepatic_share": Quantity(concept=EXTRAHEPATIC_SHARE, unit=RATIO),
    "extrahepatic_peak": Quantity(concept=EXTRAHEPATIC_PEAK, unit=RATIO),
    "extrahepatic_significance": Quantity(concept=EXTRAHEPATIC_SIGNIFICANCE, unit=RATIO),
    "extrahepatic_volume": Quantity(concept=VOLUME, unit=MILLILITRE),
    "liver_geometric_mean_counts": Quantity(concept=PLANAR_ACTIVITY, unit=COUNTS, derivation=TOTAL),
    "lung_geometric_mean_counts": Quantity(concept=PLANAR_ACTIVITY, unit=COUNTS, derivation=TOTAL),
    "left_lobe_share": Quantity(concept=LEFT_LOBE_SHARE, unit=RATIO, most=1.0),
    "left_to_right_level": Quantity(concept=LEFT_TO_RIGHT_LEVEL, unit=RATIO),
    "perfused_outline_share_10": Quantity(concept=PERFUSED_OUTLINE_SHARE, unit=RATIO, most=1.0),
    "perfused_outline_share_20": Quantity(concept=PERFUSED_OUTLINE_SHARE, unit=RATIO, most=1.0),
    "perfused_outline_share_40": Quantity(concept=PERFUSED_OUTLINE_SHARE, unit=RATIO, most=1.0),
    "outside_colloid_share": Quantity(concept=OUTSIDE_COLLOID_SHARE, unit=RATIO),
    "perfused_volume": Quantity(concept=PERFUSED_VOLUME, unit=MILLILITRE),
    "lung_shunt_fraction_spect": Quantity(concept=LUNG_SHUNT_FRACTION_CORRECTED, unit=RATIO, most=1.0),
    "lobe_volume": Quantity(concept=VOLUME, unit=MILLILITRE),
    "lobe_activity_share": Quantity(concept=LOBE_ACTIVITY_SHARE, unit=RATIO, most=1.0),
    "lobe_perfusion_index": Quantity(concept=LOBE_PERFUSION_INDEX, unit=RATIO),
    "lobe_covered_share_10": Quantity(concept=COVERED_SHARE, unit=RATIO, most=1.0),
    "lobe_covered_share_20": Quantity(concept=COVERED_SHARE, unit=RATIO, most=1.0),
    "lobe_covered_share_40": Quantity(concept=COVERED_SHARE, unit=RATIO, most=1.0),
    "liver_covered_share_10": Quantity(concept=COVERED_SHARE, unit=RATIO, most=1.0),
    "liver_covered_share_20": Quantity(concept=COVERED_SHARE, unit=RATIO, most=1.0),
    "liver_covered_share_40": Quantity(concept=COVERED_SHARE, unit=RATIO, most=1.0),
    "respiratory_shift": Quantity(concept=RESPIRATORY_SHIFT, unit=MILLIMETRE, least=None),
    "tumor_to_normal_ratio": Quantity(concept=TUMOUR_TO_NORMAL_RATIO, unit=RATIO),
    "hot_region_ratio": Quantity(concept=HOT_REGION_RATIO, unit=RATIO),
    "hot_region_volume": Quantity(concept=VOLUME, unit=MILLILITRE),
    "liver_activity_share": Quantity(concept=TOMOGRAPHIC_ACTIVITY, unit=RATIO, most=1.0),
}
"""Measurement key → meaning."""


def is_known(code: Code) -> bool:
    """Tell whether a code is one of this module's, meaning included."""
    return code in _ALL


_ALL: frozenset[Code] = frozenset(
    [value for value in globals().values() if isinstance(value, Code)] + list(MICHELS_TYPES.values())
)
