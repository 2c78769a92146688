"""Every number by which organs of the trunk are found on CT, its unit, and where it comes from.

Sources: *anatomy* is textbook anatomy or physics without a single reference; *derived* follows from other rows by
arithmetic; a paper is named where there is one. All are defaults that a site can replace; none was fitted to a data
set.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class TissueThresholds:
    """Body, lungs and bones."""

    body_above_hu: float = -250.0
    """Fat is about -100, air -1000. Anatomy."""
    air_below_hu: float = -930.0
    """Room air is -1000, lung -850 to -700. Anatomy."""
    cropped_border_fraction: float = 0.35
    """Share of the field's border that is no air above which the field of view cuts through the trunk."""
    table_half_thickness_mm: float = 9.0
    """Table tops and covers are thinner than twice this."""
    smallest_body_ml: float = 1000.0
    """Less is no trunk."""
    narrowest_trunk_mm: float = 200.0
    """Width of an adult's upper abdomen is 25 to 45 cm; a head measures 15 to 18 cm. Anatomy."""
    fat_hu: tuple[float, float] = (-200.0, -15.0)
    """Subcutaneous fat is about -100; water and muscle are above, lung and bowel gas below. Anatomy."""
    thinnest_wall_mm: float = 6.0
    """Between the subcutaneous fat and the liver lies at least this much muscle, rib or fascia. Anatomy."""
    gas_below_hu: float = -400.0
    """Half way between soft tissue and aerated lung. Anatomy."""
    lung_median_hu: tuple[float, float] = (-930.0, -450.0)
    """Aerated lung; bowel gas lies near -1000. Anatomy."""
    smallest_lung_ml: float = 25.0
    """Smaller pockets are bowel gas or a sinus."""
    bone_above_hu: float = 180.0
    """Cancellous bone with marrow; enhanced vessels overlap and are removed by shape. Anatomy."""
    cortical_above_hu: float = 450.0
    """Above enhanced blood in nearly every scan: only bone, metal and contrast in bowel. Anatomy."""
    metal_above_hu: float = 1500.0
    """Fall-back threshold of metal; bone reaches it only in petrous bone and teeth."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LiverThresholds:
    """Seed, appearance, borders and gates of the liver."""

    parenchyma_hu: tuple[float, float] = (5.0, 200.0)
    """Where its peak is searched: a severely fatty liver unenhanced up to a cirrhotic one enhanced."""
    seed_depth_mm: float = 12.0
    """Distance of the seed from fat, gas and bone; muscles of the flank are thinner."""
    smallest_seed_ml: float = 60.0
    """A kidney's or a muscle's core is smaller."""
    volume_ml: tuple[float, float] = (500.0, 4000.0)
    """Gate: less or more is not believed."""
    mean_hu: tuple[float, float] = (30.0, 180.0)
    """Gate on the mean attenuation; lower in severe steatosis, and then not believed."""
    unenhanced_below_hu: float = 72.0
    """Unenhanced livers are 58.8 +- 10.8 HU (n = 3357, Boyce et al., AJR): below this it is taken for unenhanced."""
    widest_sd_hu: float = 60.0
    """Gate on the standard deviation after averaging to the coarse grid."""
    left_share_fraction: float = 0.6
    """Gate: at most this share of the volume lies left of the midline (situs inversus is refused)."""
    field_contact_fraction: float = 0.01
    """Share of the liver's surface at a lateral border of the scanned field above which the volume is "at least". A
    ball of 1.5 L that loses a cap with 1 % of its surface loses 1 mL. Derived."""
    edge_share_fraction: float = 0.02
    """Share of the liver's voxels in the outermost slice above which the volume is "at least"."""
