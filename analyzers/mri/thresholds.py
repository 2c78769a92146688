"""Every number that the MR analyzer decides with, its unit, and where it comes from.

Sources: *anatomy* is textbook anatomy or physics without a single reference; *derived* follows from other rows by
arithmetic; *practice* is usual in departments, to be confirmed by each site; a publication is named where there is one.
All are defaults that a site can replace; none was fitted to a data set, but the rule of ``dark_below`` was
added after looking at false candidates of one phantom.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesThresholds:
    """Which series are read, and as what."""

    fewest_images: int = 8
    """Planes of a stack that can hold a liver (practice)."""
    shortest_stack_mm: float = 50.0
    """Extent along the slice normal; a liver is 120 to 200 mm high (anatomy)."""
    thickest_slice_mm: float = 10.0
    """Thicker planes are slabs or localizers (practice)."""
    steepest_slice_normal_deg: float = 35.0
    """Angle between slice normal and body axis above which a stack is coronal or sagittal, not axial (practice)."""
    short_echo_ms: float = 10.0
    """Gradient echoes up to this are T1-weighted; longer ones T2* (practice)."""
    short_repetition_ms: float = 400.0
    """Gradient echoes up to this are T1-weighted (practice)."""
    t2_echo_ms: tuple[float, float] = (50.0, 300.0)
    """Spin echoes between are T2-weighted; above are cholangiography (practice)."""
    arterial_delay_s: float = 25.0
    """After the injection, where its time is not known; late arterial phase is at 20 to 40 s (practice)."""
    arterial_until_s: float = 45.0
    """After the injection; late arterial phase is at 20 to 40 s (practice)."""
    portal_until_s: float = 110.0
    """Portal venous phase is at 60 to 80 s (practice)."""
    transitional_until_s: float = 480.0
    """From here on images made with a hepatobiliary agent show uptake (10 to 20 min, practice)."""
    longest_delay_s: float = 7200.0
    """A longer delay is a wrong clock."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LiverThresholds:
    """Seed, appearance and gates of the liver."""

    grid_mm: float = 3.0
    """Edge of the voxels on which anatomy is found."""
    narrowest_trunk_mm: float = 220.0
    """Width of the body; a head is at most 180 mm wide (anatomy)."""
    seed_depth_mm: float = 15.0
    """Distance of the seed from the skin; fat and muscle of the flank are above it (anatomy)."""
    core_radius_mm: float = 7.5
    """What is thicker than twice this is an organ rather than bowel wall, vessel or flank muscle (anatomy)."""
    level_half_width: float = 0.22
    """Half width of the intensity window of a seed as a share of its level: noise, residual bias and texture."""
    fat_likeness_fraction: float = 0.15
    """A seed whose level is that near to subcutaneous fat is taken for fat."""
    smallest_core_ml: float = 60.0
    """Cores of kidneys and muscles are smaller (anatomy)."""
    largest_mirrored_fraction: float = 0.55
    """Share of a seed region whose mirror image at the midline is alike: muscle, brain and bones are symmetric."""
    least_right_fraction: float = 0.55
    """Share of the liver to the right of the midline (anatomy; situs inversus is refused)."""
    span: float = 2.8
    """Standard deviations round the level that are taken for parenchyma (99 % of a normal distribution)."""
    support_span: float = 3.5
    """The same in a second sequence, wider because breath-holds never match."""
    least_sd_fraction: float = 0.07
    """Narrowest standard deviation as a share of the level: texture that noise does not explain."""
    neck_mm: float = 5.0
    """Radius of connections to neighbouring organs that are cut."""
    closing_mm: float = 9.0
    """Gaps up to twice this are bridged: vessels and lesions at the surface."""
    bright_fat_level: float = 1.6
    """Subcutaneous fat by the liver's level, from which on fat counts as not suppressed (practice)."""
    wall_mm: float = 6.0
    """Intercostal muscles and diaphragm inside of subcutaneous fat are at least so thick together (anatomy)."""
    bay_closing_mm: float = 24.0
    """Radius of the hull in which lesions at the surface are searched (practice)."""
    bay_core_mm: float = 4.5
    """Half of the least thickness of such a lesion: thinner ones do not leave a bay (practice)."""
    bay_diffusion_level: float = 1.25
    """Least level in diffusion, parenchyma being 1; malignant lesions are well above it, bile is dark (physics)."""
    bay_reference_level: tuple[float, float] = (0.3, 0.85)
    """Level in T1, parenchyma being 1: below is air and suppressed fat, above parenchyma (practice)."""
    bay_least_inside_fraction: float = 0.75
    """Share of the lesion inside the hull; kidney, spleen and stomach lie mostly outside (anatomy)."""
    bay_least_facing_fraction: float = 0.35
    """Share of the lesion's surroundings that is liver (practice)."""
    volume_ml: tuple[float, float] = (500.0, 4000.0)
    """Gate on a liver that lies wholly inside the scan (anatomy)."""
    least_seen_ml: float = 250.0
    """Gate on the part of a liver that is cut by the scan's end."""
    largest_cut_fraction: float = 0.15
    """Section on the outermost plane by the largest section, above which the volume is a lower limit."""
    field_border_mm: float = 4.0
    """Distance to a lateral border of the field up to which the surface lies at it; less than ``wall_mm`` (derived)."""
    field_contact_fraction: float = 0.01
    """Share of the surface there above which the volume is a lower limit. A ball of 1.5 L that loses a cap with 1 %
    of its surface loses 1 mL (derived)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LesionThresholds:
    """Candidates inside the liver."""

    least_diameter_mm: float = 8.0
    """Smaller ones are not looked for; RECIST 1.1 measures from 10 mm."""
    least_diameter_slices: float = 2.0
    """And at least so many slice distances (RECIST 1.1: twice the slice thickness)."""
    surely_found_mm: float = 15.0
    """From here on every lesion of the benchmark's evaluation phantoms was found (128 of 128), below not
    (``docs/benchmarks/mri-first.md``): what "none detected" is stated for, at least."""
    surely_found_slices: float = 2.4
    """And at least so many slice distances: spheres anywhere between slices are all found from there (same page)."""
    excluding_floor_mm: float = 15.0
    """A search whose floor is higher excludes nothing; 15 mm is the size that the benchmark's target is set for."""
    least_contrast_fraction: float = 0.18
    """Difference to parenchyma as a share of its level; less is not told from perfusion and bias (practice)."""
    least_contrast_sigma: float = 3.5
    """Difference in standard deviations of the smoothed parenchyma."""
    vessel_contrast_fraction: float = 0.12
    """What is so much brighter than parenchyma while blood is enhanced is a vessel."""
    least_enclosed_fraction: float = 0.55
    """Share of a candidate's surface that must face parenchyma; gallbladder and hilum are open to one side."""
    longest_to_thick: float = 3.2
    """Long axis by inscribed diameter; longer ones are vessels or fissures."""
    least_solidity: float = 0.5
    """Volume by that of the ellipsoid of the same extents; branching vessels have less."""
    unseen_least_mm: float = 15.0
    """Smaller ones must be bright in T2 or diffusion where there is one; vessels and fissures are not (practice)."""
    dark_below: float = 0.8
    """Level by that of parenchyma: what is darker in T2 or diffusion is fat of a fissure or flowing blood, unless"""
    fluid_above: float = 4.0
    """another of them is so bright, as in cysts, which are dark at high b values. With T2 of 46, 110 and 400 ms fat
    reaches 3.7 and fluid 6 times the liver at an echo of 90 ms."""
    fat_above: float = 1.25
    """Level in T1 without fat suppression, parenchyma being 1, of what is dark in T1 with it: fat (physics)."""
    most_candidates: int = 20
    """Largest ones that are listed."""
    measurable_mm: float = 10.0
    """RECIST 1.1 with slices up to 5 mm; else twice the slice distance."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MriThresholds:
    """All of them."""

    series: SeriesThresholds = field(default_factory=SeriesThresholds)
    liver: LiverThresholds = field(default_factory=LiverThresholds)
    lesions: LesionThresholds = field(default_factory=LesionThresholds)


DEFAULT = MriThresholds()
"""What the analyzer uses where nothing else is configured."""
