"""Every number that the CT analyzer decides with, its unit, and where it comes from.

Sources: *anatomy* is textbook anatomy or physics without a single reference; *derived* follows from the device's
published dimensions or from other rows by arithmetic; a paper is named where there is one. All are defaults that a site
can replace; none was fitted to a data set.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from analyzers.ct_anatomy.thresholds import LiverThresholds, TissueThresholds


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesThresholds:
    """Which series are read."""

    fewest_images: int = 15
    """Images of a series that can hold a liver. Derived: 15 slices of 5 mm show 7.5 cm."""
    thickest_slice_mm: float = 10.0
    """Thicker stacks are scouts or thick-slab pictures. Anatomy."""
    steepest_slice_normal_deg: float = 40.0
    """Angle between the slice normal and the body axis above which a stack is a reformat, not an axial scan (a gantry
    tilts by at most 30 degrees)."""
    most_per_acquisition: int = 2
    """Reconstructions of one acquisition that get its role: the best, and one to fall back on."""
    most_acquisitions: int = 4
    """Acquisitions that get a role; time and memory are bounded."""
    same_acquisition_s: float = 5.0
    """Reconstructions of one acquisition begin within this; two phases are at least 10 s apart (thresholds of the
    phases below)."""
    cropped_share: float = 0.85
    """A reconstruction whose field is narrower than this share of the widest one of its acquisition is cropped."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AortaThresholds:
    """The tube left in front of the spine."""

    radius_mm: tuple[float, float] = (7.0, 24.0)
    """From a small woman's aorta (14 mm) to an aneurysm of 48 mm. Mean diameter 21.95 mm, n=500, Bilir et
    al., Int J Morphol."""
    expected_radius_mm: float = 11.0
    """Half of that mean."""
    step_limit_fraction: float = 0.6
    """Sideways shift per step along z: at most 31 degrees. Anatomy, a kinked aorta excepted."""
    least_contrast_hu: float = 25.0
    """Mean inside minus mean around, below which the tube cannot be told from its neighbours."""
    least_length_mm: float = 30.0
    """A shorter tube is no evidence."""
    lumen_above_hu: float = 110.0
    """Mean of the lumen that a calibre needs: unenhanced blood is 30 to 60, and a wall of 50 needs contrast."""
    good_calibre_above_hu: float = 250.0
    """Vessel analysis needs an arterial phase of at least this."""
    thickest_slice_calibre_mm: float = 3.0
    """No calibre from thicker slices."""
    good_slice_mm: float = 1.5
    """Slice distance for a calibre of full grade."""
    most_eccentric_fraction: float = 0.35
    """Difference of long and short axis by their mean above which the outline is no cross-section."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseThresholds:
    """Contrast phase by measured attenuation.

    Derived from the enhancement of 171 patients by delay (aorta +300 to 336 at 10 to 15 s after a 50 HU trigger, +117
    to 125 at 45 to 55 s; liver +15 to 25 and +59 to 63) and an unenhanced liver of 58.8 +- 10.8 HU (n = 3357).
    """

    native_aorta_below_hu: float = 80.0
    delayed_aorta_above_hu: float = 60.0
    """Unenhanced blood is 30 to 60: with blood as dark as that a dense liver holds iron or iodine of amiodarone, no
    contrast."""
    arterial_aorta_above_hu: float = 200.0
    arterial_liver_share_below: float = 0.45
    """Liver divided by aorta, both as measured: 0.25 arterial, 0.8 portal."""
    portal_liver_above_hu: float = 80.0


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceThresholds:
    """Pump and catheter.

    Dimensions of the constant-flow pump: FDA summary P890055 (78 mm across, 24 mm high plus 10 mm dome, catheter of
    2.3 mm outer diameter). Programmable pump: 87.5 mm across, 19.5 or 26 mm thick (maker's table).
    """

    metal_above_hu: float = 2000.0
    """Titanium saturates a 12-bit scale at 3071 HU."""
    fallback_metal_above_hu: float = 1500.0
    """For clipped scales and blended thick slices."""
    pump_diameter_mm: tuple[float, float] = (62.0, 100.0)
    pump_thickness_mm: tuple[float, float] = (12.0, 42.0)
    flat_fraction: float = 0.62
    """Thickness divided by diameter of a disc; a joint implant is longer than wide."""
    round_fraction: float = 0.72
    """Shorter divided by longer in-plane extent of a disc."""
    deepest_centre_mm: float = 90.0
    """A pump lies in the subcutis; hardware of the spine lies deeper."""
    part_of_pump_fraction: float = 0.6
    """A piece of metal smaller than this share of the smallest pump is no part of one that is worth a remark."""
    deepest_part_mm: float = 60.0
    """Middle of what may be a part of a pump, below the skin: half a pump's thickness under 5 cm of fat. A hip joint
    lies deeper. Anatomy."""
    widest_cut_mm: float = 120.0
    """A trunk of 170 mm radius that the field cuts along a chord of this length hides a strip of 11 mm, less than a
    pump is thick; a longer cut may hide one. Derived."""
    tilt_doubt_deg: float = 5.0
    """Normal of a disc of 80 mm whose faces are known to 3 mm (2 degrees), and of a skin smoothed over 18 mm. Derived,
    not measured."""
    length_doubt_fraction: float = 0.07
    """Lengths of evaluation phantoms came out 4 to 9 % too short; see the benchmark."""
    tilted_above_deg: float = 30.0
    deep_above_mm: float = 25.0
    catheter_above_hu: float = 200.0
    """Silicone with barium, blended over a voxel: 200 to 1000 HU."""
    catheter_radius_mm: float = 1.15
    catheter_gap_mm: float = 5.0
    """Break of the visible path that counts as a gap."""
    shortest_catheter_mm: float = 60.0
    """Between a pump in the lower quadrant and the hepatic artery lie at least 10 cm; less was not followed."""
    catheter_end_to_liver_mm: float = 50.0
    """The tip lies where the gastroduodenal artery leaves, below the porta hepatis; a path that ends farther from the
    liver was probably not followed to the tip. Anatomy."""
    longest_catheter_mm: float = 900.0
    """Supplied length, before it is cut."""
    good_slice_mm: float = 1.5
    thickest_slice_mm: float = 3.0
    """No catheter from thicker slices."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CtaThresholds:
    """All of them."""

    series: SeriesThresholds = field(default_factory=SeriesThresholds)
    tissue: TissueThresholds = field(default_factory=TissueThresholds)
    aorta: AortaThresholds = field(default_factory=AortaThresholds)
    phase: PhaseThresholds = field(default_factory=PhaseThresholds)
    liver: LiverThresholds = field(default_factory=LiverThresholds)
    device: DeviceThresholds = field(default_factory=DeviceThresholds)


DEFAULT = CtaThresholds()
"""What the analyzer uses where nothing else is configured."""
