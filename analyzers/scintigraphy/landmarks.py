"""Where the middle of the patient, the dome and the lower edge of the liver are, in pixels of the working grid."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from analyzers.scintigraphy.regions import PlanarRegions
from analyzers.scintigraphy.views import PlanarPair

_DOME_TO_MIDLINE_MM = 75.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Landmarks:
    """Rows count from head to feet, columns from the patient's right to the left.

    Attributes
    ----------
    midline_col : float
    midline_from : str
        ``lungs`` (half way between both), ``trunk`` (middle of the body's outline) or ``liver``.
    dome_row, lower_edge_row : int
        Of the liver as seen.
    pixel_mm : float
    """

    midline_col: float
    midline_from: str
    dome_row: int
    lower_edge_row: int
    pixel_mm: float

    def left_of_midline_mm(self, col: float) -> float:
        """Distance to the patient's left of the midline; negative on the right."""
        return (col - self.midline_col) * self.pixel_mm

    def below_dome_mm(self, row: float) -> float:
        """Distance towards the feet from the dome of the liver; negative above it."""
        return (row - self.dome_row) * self.pixel_mm

    def below_liver_mm(self, row: float) -> float:
        """Distance towards the feet from the lower edge of the liver; negative above it."""
        return (row - self.lower_edge_row) * self.pixel_mm

    def column_at(self, left_mm: float) -> int:
        """Column at a distance to the left of the midline."""
        return round(self.midline_col + left_mm / self.pixel_mm)


def find_landmarks(pair: PlanarPair, regions: PlanarRegions) -> Landmarks:
    """Take the midline from both lungs, else from the outline of the trunk, else from the dome of the liver."""
    rows = np.flatnonzero(regions.liver_yx.any(axis=1))
    column, source = _midline(pair, regions)
    return Landmarks(
        midline_col=column,
        midline_from=source,
        dome_row=int(rows[0]),
        lower_edge_row=int(rows[-1]),
        pixel_mm=pair.pixel_mm,
    )


def _midline(pair: PlanarPair, regions: PlanarRegions) -> tuple[float, str]:
    labels, count = ndimage.label(regions.lungs_yx)
    if count >= 2:
        sizes = np.asarray(ndimage.sum_labels(regions.lungs_yx, labels, np.arange(1, count + 1)))
        first, second = (int(number) + 1 for number in np.argsort(sizes)[-2:])
        columns = sorted((np.argwhere(labels == number)[:, 1] for number in (first, second)), key=np.mean)
        apart_mm = (float(np.mean(columns[1])) - float(np.mean(columns[0]))) * pair.pixel_mm
        if 80.0 < apart_mm < 260.0:
            return (float(np.mean(columns[0])) + float(np.mean(columns[1]))) / 2.0, "lungs"
    if count == 1 and regions.lungs_yx.sum() * pair.pixel_mm**2 > 20000.0:
        # Both lungs merged into one outline: its middle is the patient's.
        columns_of_both = np.flatnonzero(regions.lungs_yx.any(axis=0))
        return float(columns_of_both[0] + columns_of_both[-1]) / 2.0, "lungs"
    total = ndimage.gaussian_filter(pair.anterior_yx + pair.posterior_yx, 15.0 / pair.pixel_mm)
    trunk = np.flatnonzero((total > 0.01 * regions.level_counts)[: regions.dome_row].any(axis=0))
    if trunk.size and 250.0 < trunk.size * pair.pixel_mm < 480.0:
        return float(trunk[0] + trunk[-1]) / 2.0, "trunk"
    dome = np.flatnonzero(regions.liver_yx[regions.dome_row : regions.dome_row + 3].any(axis=0))
    return float(dome.mean()) + _DOME_TO_MIDLINE_MM / pair.pixel_mm, "liver"
