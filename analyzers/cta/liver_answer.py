"""The liver's part of the answer: segment, volume, attenuation and the gates they must pass."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from analyzers import vocabulary
from analyzers.contract import Gate
from analyzers.ct_anatomy.body import at_field_border
from analyzers.ct_anatomy.liver import find_liver
from analyzers.ct_anatomy.patient_grid import mask_on_source, share_on_grid
from analyzers.ct_anatomy.thresholds import LiverThresholds
from analyzers.cta.lumen import LumenSection, lumen_mask
from analyzers.cta.part import SCALE_DOUBT_HU, Part, frames_of, measurement, segment
from analyzers.cta.phase import Phase
from analyzers.cta.scan import Scan

_BORDER_DOUBT_MM = 1.0
"""Uncertainty of the outline's place: about a third of the organ grid's voxel, one pixel of the source."""
_INNER_MM = 6.0
"""Attenuation is read this far inside of the outline."""
_SPREAD_POINTS = 4000
_LIVER_RGB = (221, 130, 101)


def liver_part(scan: Scan, sections: tuple[LumenSection, ...], thresholds: LiverThresholds) -> Part:
    """Delineate and measure the liver of one scan."""
    seed, anatomy, volume = scan.liver_seed, scan.anatomy, scan.volume
    if seed is None:
        return Part(found=False, limitations=("Liver: no deep soft tissue in the right upper abdomen.",))
    aorta_zyx = None
    if sections:
        aorta_zyx = share_on_grid(lumen_mask(volume, sections), volume, anatomy.grid) > 0.4
    on_grid = find_liver(anatomy, seed, aorta_zyx, thresholds.unenhanced_below_hu) > 0.5
    mask = mask_on_source(on_grid, anatomy.grid, volume)
    if volume.padding_zyx is not None:
        mask &= ~volume.padding_zyx
    volume_ml = float(mask.sum()) * volume.voxel_ml
    inner = _parenchyma_hu(scan, on_grid)
    cut = " and ".join(
        text for text in (_cut_planes(mask, thresholds), _cut_sideways(on_grid, scan, thresholds)) if text
    )
    gates = _gates(scan, on_grid, volume_ml, inner, cut, thresholds)
    if not all(gate.passed for gate in gates):
        failed = "; ".join(f"{gate.name} {gate.seen}, wanted {gate.wanted}" for gate in gates if not gate.passed)
        return Part(found=False, gates=gates, limitations=(f"Liver not delineated: {failed}.",))
    unenhanced = scan.phase.phase is Phase.NATIVE or seed.centre_hu < thresholds.unenhanced_below_hu
    # Without contrast a neighbour may be counted too, so an incomplete liver is no lower bound.
    doubts = [f"{'incomplete' if unenhanced else 'at least'}: {cut}"] if cut else []
    if unenhanced:
        doubts.append("without contrast the borders to stomach, heart and muscle are weak")
    surface_mm2 = _surface_mm2(on_grid, anatomy.grid.spacing_mm)
    frames = frames_of(mask, volume)
    return Part(
        found=True,
        gates=gates,
        segments=(segment("liver", "Liver", vocabulary.LIVER, mask, volume, _LIVER_RGB),),
        measurements=(
            measurement(
                "liver_volume",
                volume_ml,
                "liver",
                # What leaks into a neighbour of the same attenuation is no doubt of the border's place.
                uncertainty=None if unenhanced else surface_mm2 * _BORDER_DOUBT_MM / 1000.0,
                lower_limit=bool(cut),
                method="Voxel sum, random walker outline",
                sources=frames,
                doubts=doubts,
            ),
            measurement(
                "liver_attenuation",
                float(inner.mean()),
                "liver",
                uncertainty=SCALE_DOUBT_HU,  # noise of the mean over an organ is far below
                method="Trimmed mean of parenchyma 6 mm inside the outline",
                sources=frames,
            ),
            measurement(
                "liver_attenuation_sd",
                float(inner.std()),
                "liver",
                method="Standard deviation on voxels averaged to 3 mm",
                sources=frames,
            ),
        ),
        limitations=(f"Liver incomplete: {cut}.",) if cut else (),
    )


def liver_heights_mm(part: Part, scan: Scan) -> tuple[float, float] | None:
    """Lowest and highest z (LPS mm) of the delineated liver."""
    if not part.segments:
        return None
    planes = np.flatnonzero(part.segments[0].mask_planes.any(axis=(1, 2)))
    middle = np.array(scan.volume.voxels_zyx.shape[1:]) / 2
    heights = scan.volume.to_lps_mm(np.array([[plane, *middle] for plane in planes]))[:, 2]
    return float(heights.min()), float(heights.max())


def liver_points_lps_mm(part: Part, scan: Scan) -> NDArray[np.float64] | None:
    """Some thousand points spread over the delineated liver, (n, 3) LPS mm."""
    if not part.segments:
        return None
    places = np.argwhere(part.segments[0].mask_planes)
    return scan.volume.to_lps_mm(places[:: max(1, len(places) // _SPREAD_POINTS)].astype(float))


def _parenchyma_hu(scan: Scan, on_grid: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Attenuation inside of the outline without vessels and lesions (beyond two spreads of the middle)."""
    grid = scan.anatomy.grid
    inner = ndimage.binary_erosion(on_grid, iterations=grid.voxels(_INNER_MM)) & grid.inside_zyx
    values = grid.hu_zyx[inner] if inner.any() else grid.hu_zyx[on_grid]
    if values.size == 0:
        return np.zeros(1, np.float32)
    centre = float(np.median(values))
    spread = max(3.0, 1.4826 * float(np.median(np.abs(values - centre))))
    trimmed: NDArray[np.float32] = values[np.abs(values - centre) <= 2 * spread]
    return trimmed


def _cut_planes(mask_zyx: NDArray[np.bool_], thresholds: LiverThresholds) -> str:
    """Say at which end the scan cuts the liver; empty if at neither."""
    total = mask_zyx.sum()
    ends = {"first": mask_zyx[0].sum(), "last": mask_zyx[-1].sum()}
    # A share of the largest plane, so that thin slices are judged like thick ones.
    largest = max(1, int(mask_zyx.sum(axis=(1, 2)).max()))
    cut = [name for name, area in ends.items() if total and area > max(4, 5 * thresholds.edge_share_fraction * largest)]
    return f"the scan ends inside the liver ({' and '.join(cut)} plane)" if cut else ""


def _cut_sideways(on_grid: NDArray[np.bool_], scan: Scan, thresholds: LiverThresholds) -> str:
    """Say that the lateral field of view cuts the liver; empty if it does not. Skin and wall lie between otherwise."""
    surface = on_grid & ~ndimage.binary_erosion(on_grid, border_value=0)
    share = at_field_border(surface, scan.anatomy.grid).sum() / max(1, surface.sum())
    return "the field of view cuts the liver sideways" if share > thresholds.field_contact_fraction else ""


def _gates(
    scan: Scan,
    on_grid: NDArray[np.bool_],
    volume_ml: float,
    inner_hu: NDArray[np.float32],
    cut: str,
    thresholds: LiverThresholds,
) -> tuple[Gate, ...]:
    low_ml, high_ml = thresholds.volume_ml
    low_hu, high_hu = thresholds.mean_hu
    # A part of a liver may be small.
    low_ml = 0.3 * low_ml if cut else low_ml
    columns = np.arange(on_grid.shape[2])[None, None, :]
    left = float((on_grid & (columns > scan.anatomy.spine.x[:, None, None])).sum() / max(1, on_grid.sum()))
    mean_hu, sd_hu = float(inner_hu.mean()), float(inner_hu.std())
    return (
        Gate(
            name="Liver volume",
            passed=low_ml <= volume_ml <= high_ml,
            seen=f"{volume_ml:.0f} mL",
            wanted=f"{low_ml:.0f} to {high_ml:.0f} mL",
        ),
        Gate(
            name="Liver mean attenuation",
            passed=low_hu <= mean_hu <= high_hu,
            seen=f"{mean_hu:.0f} HU",
            wanted=f"{low_hu:.0f} to {high_hu:.0f} HU",
        ),
        Gate(
            name="Liver evenness",
            passed=sd_hu <= thresholds.widest_sd_hu,
            seen=f"SD {sd_hu:.0f} HU",
            wanted=f"SD at most {thresholds.widest_sd_hu:.0f} HU",
        ),
        Gate(
            name="Liver side",
            passed=left <= thresholds.left_share_fraction,
            seen=f"{100 * left:.0f} % left of the spine",
            wanted=f"at most {100 * thresholds.left_share_fraction:.0f} %",
        ),
    )


def _surface_mm2(mask_zyx: NDArray[np.bool_], spacing_mm: float) -> float:
    """Area by counting faces; a face count exceeds the area of a smooth body by one half (Crofton)."""
    faces = sum(int(np.count_nonzero(np.diff(mask_zyx.astype(np.int8), axis=axis))) for axis in range(3))
    return faces * spacing_mm**2 / 1.5
