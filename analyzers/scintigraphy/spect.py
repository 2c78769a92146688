"""SPECT: the region of liver uptake, the CT's organs where there is one, and foci outside the liver.

Without a CT nothing tells liver from its neighbours but uptake. The outline is laid at a share of the *median inside
the outline*: levels are tried from high to low until that holds. A fixed share of the maximum would fail for a liver
with tumours seven times as hot as the rest; the median of what is enclosed follows the normal liver as soon as that
is in.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from analyzers import vocabulary
from analyzers.contract import Gate
from analyzers.grid_mask import GridMask
from analyzers.priors import Prior
from analyzers.scintigraphy.earlier_lesions import ratios_on_earlier_outlines
from analyzers.scintigraphy.gates import pocket_gate
from analyzers.scintigraphy.given_lesions import (
    GivenRatios,
    PresentLiver,
    Surroundings,
    ratios_on_given,
    without_measuring,
)
from analyzers.scintigraphy.spect_foci import Field, SpectFocus, find_foci, smoothed
from analyzers.scintigraphy.spect_organs import CtOrgans, CtRefusal, organs_from_ct
from analyzers.scintigraphy.spect_perfusion import Perfusion, measure_perfusion
from analyzers.scintigraphy.thresholds import Thresholds
from analyzers.scintigraphy.tumor_ratio import TumorRatio, hot_regions, ratios_on_priors
from analyzers.scintigraphy.whereabouts import Origin
from analyzers.segmentations import GivenSegmentation
from analyzers.volume import Volume

_LEVELS = 28
_LOWEST_LEVEL_FRACTION = 0.02
_HIGHEST_LEVEL_FRACTION = 0.6
_LEAST_LIVER_ML = 250.0
_MOST_LIVER_ML = 3500.0
_MOST_CUT_FRACTION = 0.15
"""Section of the uptake on the first or last plane, relative to the largest one, from which on the field cuts it."""

_SATURATED_VOXELS, _JUST_BELOW = 5, 0.02
"""So many voxels of one and the same greatest value are no coincidence where fewer lie just below it."""

IN_FIELD = "liver inside the field of the SPECT"
SATURATION = "no saturated voxels in the SPECT"
POCKET = "tracer left the pump on the SPECT/CT"


@dataclass(frozen=True, slots=True, kw_only=True)
class SpectReading:
    """What one reconstructed SPECT shows.

    Attributes
    ----------
    volume : Volume
    attenuation_corrected : bool
    liver_zyx : (z, y, x) bool
        Region of uptake of the liver, from activity alone.
    liver_ml : float
    liver_share_fraction : float
        Counts inside the region relative to all counts of the volume.
    foci : tuple of SpectFocus
        Outside the liver, physiologic uptake and device left out; the largest share first.
    physiologic : tuple of SpectFocus
        What looks like kidneys; macroaggregates do not reach them, so it is not explained by that.
    device : tuple of SpectFocus
        Pump pocket and catheter tip.
    background : tuple of SpectFocus
        Wide regions of a SPECT/CT that are no brighter than noise may be; they are told and not outlined.
    organs : CtOrgans or None
        From the CT; ``None`` without a CT that can be used.
    perfusion : Perfusion or None
        Lobes, coverage and lung shunt; needs organs and correction for attenuation.
    ratios : tuple of TumorRatio
    mask_remarks : tuple of str
        What of the outlines that others made was not used, and why.
    ct_reason : str
        Why a CT was not used; empty where it was or there is none.
    gates : tuple of Gate
    remarks : tuple of str
        What was left out or supposed when the volume was read.
    """

    volume: Volume
    attenuation_corrected: bool
    liver_zyx: NDArray[np.bool_]
    liver_ml: float
    liver_share_fraction: float
    foci: tuple[SpectFocus, ...]
    physiologic: tuple[SpectFocus, ...]
    device: tuple[SpectFocus, ...] = ()
    background: tuple[SpectFocus, ...] = ()
    organs: CtOrgans | None = None
    perfusion: Perfusion | None = None
    ratios: tuple[TumorRatio, ...] = ()
    mask_remarks: tuple[str, ...] = ()
    ct_reason: str = ""
    gates: tuple[Gate, ...] = ()
    remarks: tuple[str, ...] = ()

    @property
    def spilt_in_pocket(self) -> bool:
        """Whether a large part of the tracer stayed round the pump."""
        return any(gate.name == POCKET and not gate.passed for gate in self.gates)

    @property
    def seen_on(self) -> str:
        """``SPECT/CT`` or ``SPECT``."""
        return "SPECT" if self.organs is None else "SPECT/CT"


@dataclass(frozen=True, slots=True, kw_only=True)
class SpectRefusal:
    """Why a SPECT was not read."""

    reasons: tuple[str, ...]
    gates: tuple[Gate, ...] = ()


def read_spect(
    volume: Volume,
    attenuation_corrected: bool,
    thresholds: Thresholds,
    *,
    cts: Sequence[Volume] = (),
    priors: Sequence[Prior] = (),
    segmentations: Sequence[GivenSegmentation] = (),
) -> SpectReading | SpectRefusal:
    """Find the liver's uptake and foci outside it, with the first CT that can be used.

    Parameters
    ----------
    volume : Volume
    attenuation_corrected : bool
    thresholds : Thresholds
    cts : sequence of Volume
        CTs of the study, the likeliest first.
    priors : sequence of Prior
        Earlier answers, whose lesions may be measured.
    segmentations : sequence of GivenSegmentation
        What others outlined on this study; its lesions come before those of earlier answers.
    """
    counts = np.maximum(volume.voxels_zyx, np.float32(0.0))
    if counts.max() <= 0:
        return SpectRefusal(reasons=("The SPECT holds no counts.",))
    smooth = smoothed(counts, volume.spacing_zyx_mm)
    uptake = liver_region(smooth, volume.voxel_ml, thresholds.spect_edge_fraction)
    if uptake is None:
        return SpectRefusal(reasons=("No region of uptake of the size of a liver was found in the SPECT.",))
    gate = _field_gate(uptake)
    if not gate.passed:
        reason = f"The field of the SPECT cuts the liver: {gate.seen}; nothing is measured on a part of it."
        return SpectRefusal(reasons=(reason,), gates=(gate,))
    saturation = _saturation_gate(counts)
    if not saturation.passed:
        reason = f"SPECT: {saturation.name}: {saturation.seen}; wanted {saturation.wanted}."
        return SpectRefusal(reasons=(reason,), gates=(gate, saturation))
    organs, ct_reason, ct_gates = _organs(volume, uptake, cts, thresholds)
    liver = uptake if organs is None else organs.liver_zyx
    every = find_foci(Field.of(volume, liver, organs), thresholds)
    found = [focus for focus in every if focus.where.origin is not Origin.BACKGROUND]
    outside = np.logical_or.reduce([focus.mask_zyx for focus in found]) if found else np.zeros_like(uptake)
    given = _given(volume, organs, uptake, segmentations, attenuation_corrected)
    if attenuation_corrected and not given.ratios:
        earlier = ratios_on_earlier_outlines(volume, liver, priors) or ratios_on_priors(volume, liver, priors)
        given = replace(given, ratios=earlier)
    return SpectReading(
        volume=volume,
        attenuation_corrected=attenuation_corrected,
        liver_zyx=uptake,
        liver_ml=float(uptake.sum()) * volume.voxel_ml,
        liver_share_fraction=float(counts[uptake].sum(dtype=np.float64)) / float(counts.sum(dtype=np.float64)),
        foci=_named(found, (Origin.EXTRAHEPATIC, Origin.AMBIGUOUS), "spect-focus"),
        physiologic=_named(found, (Origin.PHYSIOLOGIC,), "spect-physiologic"),
        device=_named(found, (Origin.DEVICE,), "spect-device"),
        background=_named(every, (Origin.BACKGROUND,), "spect-background"),
        organs=organs,
        perfusion=(
            measure_perfusion(volume, organs, uptake, outside, thresholds)
            if organs is not None and attenuation_corrected
            else None
        ),
        ratios=(*given.ratios, *(hot_regions(volume, smooth, liver) if attenuation_corrected else ())),
        mask_remarks=given.remarks,
        ct_reason=ct_reason,
        gates=(gate, saturation, *ct_gates, *_pocket_gate(found, thresholds)),
    )


def _pocket_gate(found: Sequence[SpectFocus], thresholds: Thresholds) -> tuple[Gate, ...]:
    """Counts round the pump as a share of those of liver and pocket; none where the CT shows no activity there."""
    in_pocket = sum(
        focus.share_fraction
        for focus in found
        if focus.where.origin is Origin.DEVICE and focus.site == vocabulary.ABDOMINAL_WALL
    )
    return (replace(pocket_gate(in_pocket / (1.0 + in_pocket), thresholds), name=POCKET),) if in_pocket else ()


def _given(
    volume: Volume,
    organs: CtOrgans | None,
    uptake: NDArray[np.bool_],
    segmentations: Sequence[GivenSegmentation],
    attenuation_corrected: bool,
) -> GivenRatios:
    """Lesions that others outlined, against the liver of the CT, else that of the uptake."""
    if not segmentations:
        return GivenRatios()
    if not attenuation_corrected:
        return without_measuring(segmentations, "the SPECT is not known to be corrected for attenuation")
    liver = PresentLiver(
        mask=GridMask(
            label="liver", mask_zyx=uptake if organs is None else organs.liver_zyx, affine_lps=volume.affine_lps
        ),
        words="the uptake of the liver" if organs is None else "the liver of the CT",
        by_anatomy=organs is not None,
    )
    around = Surroundings(
        spect=volume,
        liver=liver,
        ct_series_uid=organs.ct.series_instance_uid if organs else "",
        shift_up_mm=organs.shift_up_mm if organs else 0.0,
    )
    return ratios_on_given(around, segmentations)


def _organs(
    volume: Volume, uptake: NDArray[np.bool_], cts: Sequence[Volume], thresholds: Thresholds
) -> tuple[CtOrgans | None, str, tuple[Gate, ...]]:
    """Organs of the first CT that can be used; else why not, and the gates of the first that was tried."""
    refused: list[CtRefusal] = []
    for ct in cts:
        outcome = organs_from_ct(ct, volume, uptake, thresholds)
        if isinstance(outcome, CtOrgans):
            return outcome, "", outcome.gates
        refused.append(outcome)
    if not refused:
        return None, "", ()
    return None, "; ".join(dict.fromkeys(one.reason for one in refused)), refused[0].gates


def _field_gate(uptake_zyx: NDArray[np.bool_]) -> Gate:
    areas = uptake_zyx.sum(axis=(1, 2))
    share = max(int(areas[0]), int(areas[-1])) / max(1, int(areas.max()))
    return Gate(
        name=IN_FIELD,
        passed=share <= _MOST_CUT_FRACTION,
        seen=f"{100 * share:.0f} % of its largest section on the outermost plane",
        wanted=f"at most {100 * _MOST_CUT_FRACTION:.0f} %",
    )


def _saturation_gate(counts_zyx: NDArray[np.float32]) -> Gate:
    """A peak narrows towards its top: more voxels at the greatest value than just below were cut off there."""
    top = float(counts_zyx.max())
    plateau = int(np.count_nonzero(counts_zyx == counts_zyx.max()))
    below = int(np.count_nonzero(counts_zyx >= (1.0 - _JUST_BELOW) * top)) - plateau
    return Gate(
        name=SATURATION,
        passed=plateau < _SATURATED_VOXELS or plateau <= below,
        seen=f"{plateau} voxel{'s' if plateau > 1 else ''} at the greatest value, {below} within 2 % below",
        wanted=f"fewer than {_SATURATED_VOXELS}, or more below than at it",
    )


def liver_region(smooth_zyx: NDArray[np.float32], voxel_ml: float, edge_fraction: float) -> NDArray[np.bool_] | None:
    """Largest part above the highest level that is at most a given share of the median inside; ``None`` without one.

    Parameters
    ----------
    smooth_zyx : (z, y, x) float32
        Counts after smoothing.
    voxel_ml : float
    edge_fraction : float
        Level of the outline relative to the median inside it.
    """
    for level in np.geomspace(_HIGHEST_LEVEL_FRACTION, _LOWEST_LEVEL_FRACTION, _LEVELS) * float(smooth_zyx.max()):
        labels, count = ndimage.label(smooth_zyx > level)
        if not count:
            continue
        sizes = np.bincount(labels.ravel())[1:]
        part = labels == 1 + int(np.argmax(sizes))
        size_ml = float(sizes.max()) * voxel_ml
        if size_ml > _MOST_LIVER_ML:
            return None
        if size_ml >= _LEAST_LIVER_ML and level <= edge_fraction * float(np.median(smooth_zyx[part])):
            return np.asarray(ndimage.binary_fill_holes(part), np.bool_)
    return None


def _named(foci: Sequence[SpectFocus], origins: tuple[Origin, ...], stem: str) -> tuple[SpectFocus, ...]:
    chosen = [focus for focus in foci if focus.where.origin in origins]
    return tuple(replace(focus, name=f"{stem}-{number}") for number, focus in enumerate(chosen, start=1))
