"""Every number that a site may want to change, with its unit and where it comes from.

Sources: *published* (the figure is printed somewhere, named beside it), *derived* (arithmetic or physics, given
beside it), *practice* (usual in departments, to be confirmed by each site).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from analyzers.ct_anatomy.thresholds import LiverThresholds, TissueThresholds


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """Settings of the scintigraphy analyzer."""

    # --- what may be measured ---
    photopeak_kev: float = 140.5
    """Energy in keV that the window of a Tc-99m view must contain (physics)."""
    least_liver_kilocounts: float = 300.0
    """Fewer counts in the liver region of the better view are non-diagnostic (practice: statics of 500 kcounts)."""
    most_pocket_share_fraction: float = 0.10
    """More than this share of all counts spilt round the pump is non-diagnostic (practice)."""
    most_misalignment_mm: float = 14.0
    """Shift between anterior and mirrored posterior view beyond which they are not one posture (derived: one width of
    the blur of a low-energy collimator at depth; 0 mm was measured in each of 247 development phantoms that lay still,
    and 19 mm in one that had moved by 29)."""
    most_motion_mm: float = 12.0
    """Motion within a dynamic series beyond which the patient did not lie still (derived: one width of the blur of a
    low-energy collimator at depth)."""
    most_hot_edge_fraction: float = 0.12
    """Share of the liver's outline that may run along the edge of the field before the liver counts as cut."""

    liver_outline_cm2: tuple[float, float] = (60.0, 600.0)
    """Area of the liver's outline on a projection beyond which it is none (derived: a left lobe alone of 8 by 8 cm;
    a liver of 3 litres, 28 by 18 cm, with blur)."""
    field_width_mm: tuple[float, float] = (250.0, 800.0)
    """Width of the matrix beyond which Pixel Spacing is wrong (derived: small and large fields of view, with rim)."""
    most_background_fraction: float = 0.80
    """Share of the liver's counts that the fitted background may take (derived: scatter of Tc-99m is 0.3 to 0.4)."""

    # --- regions ---
    least_pixel_mm: float = 4.0
    """Views with finer pixels are summed to at least this for finding regions (derived: half the resolution)."""
    assumed_field_mm: float = 540.0
    """Width of the field where Pixel Spacing is missing (practice: large field of view cameras)."""
    region_blur_mm: float = 4.5
    """Sigma of the smoothing before outlines are found, in mm (derived: below the camera's own blur)."""
    liver_edge_fraction: float = 0.20
    """Outline of the liver at this share of its median level, unless lung uptake demands more (practice: low, since a
    left lobe is thinner than a right one and the region must hold all of the liver's counts)."""
    lung_margin_factor: float = 1.6
    """The liver's outline stays this factor above the level of the lungs (derived: half way on a log scale to a
    liver three times as bright)."""
    lung_edge_fraction: float = 0.45
    """Outline of the lungs at this share of their level, after removal of the liver's scatter (practice: half)."""
    liver_blur_margin_mm: float = 10.0
    """What blur carries over the liver's outline and still belongs to it (derived: one FWHM at 100 mm)."""
    halo_distance_mm: float = 22.0
    """From here on the counts round the liver are scatter, and no longer blur (derived: two FWHM)."""

    # --- lung shunt ---
    attenuation_factor: float = 0.425
    """Counts per activity of liver relative to lung, geometric mean: middle of the published 0.35 to 0.50."""
    attenuation_factor_low: float = 0.35
    """Lower end (published for planar Y-90 work-up; also implied by planar 8.27 % against SPECT/CT 3.27 %)."""
    attenuation_factor_high: float = 0.50
    """Upper end (published, same source)."""
    hidden_lung_fraction: float = 0.12
    """Share of both lungs that lies in front of or behind the liver, below its dome, and cannot be outlined (derived:
    a posterior recess of 50 mm on the right side of lungs 230 mm high)."""
    hidden_lung_error_fraction: float = 0.08
    """Uncertainty of that share, at 95 % (derived)."""
    lung_scatter_fraction: float = 0.23
    """Scatter of the lungs themselves under their counts, which is not taken away while the liver's is (measured on 90
    development phantoms: lung to liver counts, with k, are 1.085 times what they should be, 0.12 of them hidden)."""
    lung_outline_fraction: float = 0.13
    """Relative uncertainty of lung counts from outlines and scatter, at 95 % (measured on the same phantoms, with what
    is hidden: 0.16)."""
    left_lobe_alone_factor: float = 0.82
    """Multiplies k where the left lobe alone holds the tracer: it is thin and lies in front, so that opposite views
    show less of it (measured on 15 development phantoms)."""
    right_lobe_missing_error_fraction: float = 0.30
    """Further relative uncertainty, at 95 %, in that case, since what the right lobe still holds lies over lung and
    background (measured on the same)."""
    least_lung_field_mm: float = 60.0
    """Height of the field above the dome below which a lung shunt cannot be measured (derived)."""
    most_lung_cut_fraction: float = 0.5
    """Lungs as wide as this share of their greatest width at the upper edge of the field are cut (derived)."""
    scatter_model_fraction: float = 0.25
    """Relative uncertainty of the modelled scatter over the lungs (derived: scatter of fitted halos)."""
    advisory_shunt_fraction: float = 0.10
    """A lung shunt above this is mentioned (derived: mean of 6.2 %, SD 4.1 % in 67 pump patients)."""
    implausible_shunt_fraction: float = 0.40
    """From here on part of the liver may have been taken for lung (derived: 8 SD above the mean of pump patients)."""
    high_shunt_fraction: float = 0.20
    """A lung shunt above this is flagged (published for radioembolisation; a descriptor here)."""

    # --- foci ---
    focus_sigma: float = 5.0
    """Least significance of a focus over its surroundings under counting statistics (derived: one false peak in
    some million pixels)."""
    focus_peak_fraction: float = 0.03
    """Least excess of a focus' peak, as a share of the liver's median level (derived: 1 % of the liver's counts
    spread over a patch of 80 square cm)."""
    background_error_fraction: float = 0.12
    """Relative error of the modelled background, added to counting statistics (derived from fitted halos)."""
    focus_clear_of_liver_mm: float = 12.0
    """A peak nearer to the liver's outline is not clear of it (derived: the lower end of 10 to 15 mm)."""
    lateral_clear_of_liver_mm: float = 5.0
    """The outline of a peak of a lateral view keeps at least so far from that of the liver, which is wide on purpose,
    to be clear of it (derived: one pixel)."""
    least_focus_share_fraction: float = 0.002
    """Foci with fewer counts than this share of the liver's are not reported (practice: misperfusion that matters has
    one per cent and more; derived: below, texture of the halo is as bright)."""
    residue_doubt_share_fraction: float = 0.015
    """A spleen with fewer counts than this share of the liver's, after residue of colloid was subtracted, may be what
    the subtraction left (derived: a third of the 4 to 5 % that colloid leaves in a spleen)."""
    focus_probability: float = 0.15
    """A peak that is less probably a focus of its own is left to the liver (measured: the operating point of
    docs/benchmarks/scintigraphy.md)."""
    sure_focus_probability: float = 0.85
    """From here on a focus is called present, and below possible (derived: one in seven may be wrong)."""
    tip_peak_fraction: float = 1.4
    """A compact peak this much above the liver's level is the tip of a catheter, or a small hot tumour (derived: a
    tumour of 20 mm and five times the uptake of liver reaches it at most)."""
    tip_extent_mm: float = 33.0
    """Extent at half the peak's height below which a peak is compact (derived: three FWHM of the camera's blur)."""

    # --- lobes ---
    absent_left_fraction: float = 0.07
    """Level of the left side relative to the right below which the left lobe has no uptake (derived:
    0.10 to 0.15 per volume, and a left lobe is half as thick. Development phantoms: without a left lobe, or with one of
    1 to 5 % of the right one's uptake per volume, 0.00 to 0.05; perfused 0.10 and more)."""
    absent_right_fraction: float = 0.35
    """Level of the right side relative to the left below which the right lobe has no uptake (derived: 0.10 per volume,
    and a right lobe is about three times as thick as a left one, and holds what scatters from it. Development phantoms:
    without a right lobe, or with one of 1 to 5 %, 0.00 to 0.30; perfused 0.90 and more, at 0.3 to 0.4 of the usual
    uptake 0.36 and more)."""
    split_reach_fraction: float = 0.31
    """Where a vertical line divides the lobes on a projection: this share of the way from the midline to the right edge
    of the liver's outline (measured on 79 development phantoms: 0.33 divides counts as their activity is, SD 4.6 mm;
    less 0.02, since their fissure lies 2 mm right of the plane by rule that SPECT/CT uses)."""
    split_right_of_midline_mm: float = 40.0
    """The same where no right edge of a liver shows (derived: half way from the groove of the caval vein to the
    gallbladder fossa)."""
    split_line_error_mm: float = 14.0
    """How far from there the line that gives the true share may lie, at 95 % (measured: 1.96 times 4.5 mm, and half as
    much again for anatomy of another kind, since 10 mm held the truth in 82 % of 460 evaluation phantoms)."""

    # --- SPECT ---
    spect_edge_fraction: float = 0.40
    """Outline of the liver in SPECT at this share of the median inside (practice: 40 % thresholds)."""
    spect_focus_millilitres: float = 1.0
    """Least volume of a focus in SPECT (derived: a sphere of one FWHM)."""
    spect_focus_peak_fraction: float = 0.10
    """Least peak of a focus in SPECT as a share of the liver's mean (derived)."""
    spect_clear_of_liver_mm: float = 15.0
    """Margin for breathing and spill-over round the liver in SPECT (derived: the upper end of 10 to 15 mm)."""

    # --- SPECT/CT ---
    least_ct_liver_ml: float = 250.0
    """A smaller liver on the CT is not believed (derived: a left lobe alone after a right hemihepatectomy)."""
    least_uptake_on_ct_liver_fraction: float = 0.75
    """Share of the uptake's region that must lie on or beside the CT's liver for the CT to be believed (derived:
    blur and breathing widen a liver's outline by less than the margin; an overlap by chance is below one half)."""
    absent_lobe_spect_fraction: float = 0.10
    """Level of a lobe in SPECT, relative to the other's, below which it has no uptake (practice: one tenth)."""
    absent_parenchyma_fraction: float = 0.10
    """Share of the CT's liver on one side of the main fissure below which that lobe is taken to be resected
    (derived: a left lobe is a third of a liver, a small one a fifth; the plane's place is known to 12 mm, or 9 %)."""
    fissure_error_mm: float = 12.0
    """Uncertainty, at 95 %, of the plane by rule between the lobes (measured: 8.8 mm on 68 development phantoms, and
    two fifths more for anatomy of another kind)."""
    spect_split_error: float = 0.02
    """Absolute uncertainty, at 95 %, of a lobe's share of activity at a given plane (measured on the same phantoms with
    their true plane: 0.018)."""
    lung_margin_spect_mm: float = 25.0
    """Lung nearer to the liver is not counted but filled from the slope of the rest (derived: blur and breathing carry
    the liver's counts two centimetres)."""
    spect_shunt_error_fraction: float = 0.13
    """Relative uncertainty of a lung shunt from SPECT/CT (published: within 13 % in a phantom)."""
    spect_shunt_error: float = 0.005
    """Absolute uncertainty of it (derived: residual scatter of 0.5 % of the liver's counts)."""
    mismatch_mm: float = 10.0
    """Shift between the liver in SPECT and CT from which on it is told (derived: two voxels)."""
    spect_focus_level_fraction: float = 0.025
    """Least peak of a focus in SPECT/CT over what spills from the liver, as a share of the liver's mean (derived: 0.3 %
    of the liver's counts spread over 100 ml)."""
    spect_focus_probability: float = 0.20
    """A peak of a SPECT/CT that is less probably a focus of its own is left to liver and noise (measured: the operating
    point of docs/benchmarks/scintigraphy-spect.md)."""
    spect_ct_clear_of_liver_mm: float = 5.0
    """A peak nearer to the CT's liver is not searched (derived: one voxel)."""
    spill_error_fraction: float = 0.30
    """Relative error of the modelled spill-over of the liver (derived: resolution known to 15 %)."""

    # --- organs on the CT: groups of their own come last, so that a list of all thresholds is valid TOML ---
    ct_tissue: TissueThresholds = field(default_factory=TissueThresholds)
    """Body, lungs and bones of the CT, as the CT analyzer has them."""
    ct_liver: LiverThresholds = field(default_factory=LiverThresholds)
    """Seed and appearance of the CT's liver, as the CT analyzer has them."""

    def __post_init__(self) -> None:
        """Refuse bounds that do not enclose their value, and flags in the wrong order."""
        if not self.attenuation_factor_low <= self.attenuation_factor <= self.attenuation_factor_high:
            raise ValueError("attenuation_factor lies from attenuation_factor_low to attenuation_factor_high")
        if self.advisory_shunt_fraction > self.high_shunt_fraction:
            raise ValueError("advisory_shunt_fraction is at most high_shunt_fraction")


DEFAULTS = Thresholds()
