"""Whether a pair of views allows a measurement: each check says what it saw and what it wanted."""

from __future__ import annotations

import numpy as np

from analyzers.contract import Gate
from analyzers.scintigraphy.regions import PlanarRegions, dilated
from analyzers.scintigraphy.thresholds import Thresholds
from analyzers.scintigraphy.views import PlanarPair
from analyzers.volume import PlanarView

COUNTS = "counts in the liver"
SATURATION = "no saturated pixels"
ALIGNMENT = "views of one posture"
LIVER_IN_FIELD = "liver inside the field"
LIVER_SIDE = "liver on the right side"
LUNGS_IN_FIELD = "lungs inside the field"
POCKET = "tracer left the pump"
SIZE = "size of the liver and of the field"
BACKGROUND = "background below the liver's counts"

MOST_LEFT_FRACTION = 0.65
"""Half, and the 14 percentage points by which the dividing line can be wrong: large left lobes are no mislabelling."""

_ROUNDING = 1e-6
"""Of values that were stored as whole numbers and rescaled in single precision."""

BLOCKING = frozenset({COUNTS, SATURATION, SIZE, BACKGROUND})
"""Gates without which no number is given."""


def planar_gates(pair: PlanarPair, regions: PlanarRegions, thresholds: Thresholds) -> tuple[Gate, ...]:
    """All checks that need no further measurement."""
    return (
        counts_gate(pair, regions, thresholds),
        saturation_gate(pair),
        size_gate(pair, regions, thresholds),
        background_gate(pair, regions, thresholds),
        alignment_gate(pair, thresholds),
        liver_in_field_gate(pair, regions, thresholds),
        lungs_in_field_gate(regions, thresholds),
    )


def counts_gate(pair: PlanarPair, regions: PlanarRegions, thresholds: Thresholds) -> Gate:
    """Counts of the liver in the better view."""
    kilocounts = max(float(view[regions.liver_counts_yx].sum()) for view in pair.counts_yx) / 1000.0
    return Gate(
        name=COUNTS,
        passed=kilocounts >= thresholds.least_liver_kilocounts,
        seen=f"{kilocounts:.0f} kcounts in the better view",
        wanted=f"at least {thresholds.least_liver_kilocounts:.0f} kcounts",
    )


def saturation_gate(pair: PlanarPair) -> Gate:
    """No plateau at the greatest value: Poisson counts do not agree by chance at their top."""
    plateau = max(_saturated_pixels(view) for view in pair.views)
    return Gate(
        name=SATURATION,
        passed=plateau == 0,
        seen=f"{plateau} pixels at the greatest value",
        wanted="no plateau at the greatest value",
    )


def size_gate(pair: PlanarPair, regions: PlanarRegions, thresholds: Thresholds) -> Gate:
    """Area of the liver's outline and width of the matrix: a flood image or a wrong pixel spacing shows in them."""
    liver_cm2 = float(regions.liver_yx.sum()) * pair.pixel_mm**2 / 100.0
    width_mm = pair.field_yx.shape[1] * pair.pixel_mm
    low, high = thresholds.liver_outline_cm2
    narrow, wide = thresholds.field_width_mm
    return Gate(
        name=SIZE,
        passed=low <= liver_cm2 <= high and narrow <= width_mm <= wide,
        seen=f"liver outline of {liver_cm2:.0f} square cm in a picture {width_mm:.0f} mm wide",
        wanted=f"{low:.0f} to {high:.0f} square cm in {narrow:.0f} to {wide:.0f} mm",
    )


def background_gate(pair: PlanarPair, regions: PlanarRegions, thresholds: Thresholds) -> Gate:
    """Share of the liver's counts that the fitted background takes, in the worse view."""
    share = max(
        float(halo.counts_yx[regions.liver_yx].sum()) / max(float(view[regions.liver_yx].sum()), 1.0)
        for view, halo in zip(pair.counts_yx, regions.halos, strict=True)
    )
    return Gate(
        name=BACKGROUND,
        passed=share <= thresholds.most_background_fraction,
        seen=f"fitted background holds {100 * min(share, 1.0):.0f} % of the liver's counts"
        f"{' or more' if share > 1.0 else ''}",
        wanted=f"at most {100 * thresholds.most_background_fraction:.0f} %",
    )


def _saturated_pixels(view: PlanarView) -> int:
    top = float(view.counts.max())
    at_top = int(np.count_nonzero(view.counts == view.counts.max()))
    bits = int(view.header.number("BitsStored") or 0)
    stored = (top - (view.header.number("RescaleIntercept") or 0.0)) / (view.header.number("RescaleSlope") or 1.0)
    greatest = 2 ** (bits - 1 if view.header.number("PixelRepresentation") == 1 else bits) - 1
    full = bits > 0 and stored >= greatest * (1.0 - _ROUNDING)
    # Among counts above a hundred, five equal maxima are no coincidence.
    return at_top if (full and at_top >= 2) or (top > 100 and at_top >= 5) else 0


def alignment_gate(pair: PlanarPair, thresholds: Thresholds) -> Gate:
    """Shift along the body between the views, by correlation (across it, depth changes the picture too much)."""
    shift_mm = abs(pair.shift_mm[0])
    return Gate(
        name=ALIGNMENT,
        passed=shift_mm <= thresholds.most_misalignment_mm,
        seen=f"views shifted by {shift_mm:.0f} mm along the body",
        wanted=f"at most {thresholds.most_misalignment_mm:.0f} mm",
    )


def liver_in_field_gate(pair: PlanarPair, regions: PlanarRegions, thresholds: Thresholds) -> Gate:
    """Share of the liver's outline that runs along the edge of the field."""
    inner = pair.field_yx & ~dilated(~pair.field_yx, 1.5 * pair.pixel_mm, pair.pixel_mm)
    edge = pair.field_yx & ~inner
    outline = regions.liver_yx & (edge | dilated(~regions.liver_yx, 1.01 * pair.pixel_mm, pair.pixel_mm))
    share = float((regions.liver_yx & edge).sum()) / max(float(outline.sum()), 1.0)
    return Gate(
        name=LIVER_IN_FIELD,
        passed=share <= thresholds.most_hot_edge_fraction,
        seen=f"{100 * share:.0f} % of the liver's outline runs along the edge of the field",
        wanted=f"at most {100 * thresholds.most_hot_edge_fraction:.0f} %",
    )


def lungs_in_field_gate(regions: PlanarRegions, thresholds: Thresholds) -> Gate:
    """Whether the upper edge of the field cuts the lungs where they are wide."""
    cut = regions.lungs_cut_fraction
    return Gate(
        name=LUNGS_IN_FIELD,
        passed=cut <= thresholds.most_lung_cut_fraction,
        seen=f"lungs at the upper edge of the field have {100 * cut:.0f} % of their greatest width",
        wanted=f"at most {100 * thresholds.most_lung_cut_fraction:.0f} %",
    )


def liver_side_gate(left_share_fraction: float, left_to_right_level: float) -> Gate:
    """A liver whose bulk lies on the left means mislabelled views, a mirrored body, or a left lobe alone."""
    return Gate(
        name=LIVER_SIDE,
        passed=left_share_fraction < MOST_LEFT_FRACTION,
        seen=f"{100 * left_share_fraction:.0f} % of the liver's counts left of the dividing line, "
        f"left to right level {left_to_right_level:.2f}",
        wanted=f"less than {100 * MOST_LEFT_FRACTION:.0f} %",
    )


def pocket_gate(pocket_share_fraction: float, thresholds: Thresholds) -> Gate:
    """Share of all counts that stayed round the pump."""
    return Gate(
        name=POCKET,
        passed=pocket_share_fraction <= thresholds.most_pocket_share_fraction,
        seen=f"{100 * pocket_share_fraction:.0f} % of liver and pocket counts lie in the pump pocket",
        wanted=f"at most {100 * thresholds.most_pocket_share_fraction:.0f} %",
    )
