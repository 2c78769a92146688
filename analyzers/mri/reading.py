"""The main line: choose the sequence, find the trunk, the liver, what lies in it, and say it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from analyzers.contract import Assessed, Gate, NotAssessable
from analyzers.mri.answer import assessed, not_assessable
from analyzers.mri.body import Body, fat_level, find_body
from analyzers.mri.breath import shift_between
from analyzers.mri.findings import Reading, Refusal
from analyzers.mri.lesions import Box, Candidate, LiverImage, find_candidates, placed
from analyzers.mri.liver import Liver, Seed, find_seed, grow_liver
from analyzers.mri.patient_grid import PatientGrid, field_on_source, grid_over, on_grid, source_on_source
from analyzers.mri.roles import Role
from analyzers.mri.stacks import NAMES, OUTLINED_IN, RoledStack, StudyStacks, read_stacks
from analyzers.mri.surface import refined_surface
from analyzers.mri.thresholds import DEFAULT, MriThresholds
from analyzers.priors import Prior
from analyzers.quality import truncation_gate
from analyzers.volume import StudyImages, Volume

_MARGIN_MM = 8.0
_BRIGHT_IN = (Role.DWI, Role.T2, Role.HASTE)
_BLOOD_IN = (Role.T1_PORTAL, Role.T1_TRANSITIONAL)
_BRIGHT_REFERENCES = (Role.T2, Role.HASTE)
_TELLS_VESSELS = (Role.T1_HBP, Role.T1_PORTAL, Role.T1_TRANSITIONAL, Role.T1_ARTERIAL, *_BRIGHT_REFERENCES)
"""Without contrast, vessels and lesions are equally dark in T1; a second sequence has to decide."""


def analyze(images: StudyImages, priors: Sequence[Prior]) -> Assessed | NotAssessable:
    """Measure the liver and list candidates of lesions."""
    stacks = read_stacks(images, DEFAULT)
    reading = read_study(stacks, DEFAULT)
    if isinstance(reading, Refusal):
        return not_assessable(images, reading.reasons, reading.gates)
    return assessed(images, stacks, reading, priors, DEFAULT)


def read_study(stacks: StudyStacks, settings: MriThresholds) -> Reading | Refusal:
    """Try the references in their order until one shows a liver that can be believed."""
    references = stacks.of(*OUTLINED_IN)
    if not references:
        return Refusal(reasons=("No axial stack in which a liver could be outlined.", *stacks.refusals))
    reasons: list[str] = []
    gates: tuple[Gate, ...] = ()
    for reference in references[:3]:
        outcome = _read_reference(reference, stacks, settings)
        if isinstance(outcome, Reading):
            return outcome
        reasons += [f"{NAMES[reference.role]}: {reason}" for reason in outcome.reasons]
        gates = gates or outcome.gates
    return Refusal(reasons=(*reasons, *stacks.refusals), gates=gates)


def _read_reference(reference: RoledStack, stacks: StudyStacks, settings: MriThresholds) -> Reading | Refusal:
    wanted = settings.liver
    grid = grid_over(reference.volume, wanted.grid_mm)
    values, inside = on_grid(reference.volume, grid)
    body = find_body(values, inside, grid.spacing_mm)
    if body is None:
        return Refusal(reasons=("no body stands out from the background",))
    trunk = Gate(
        name="trunk",
        passed=body.width_mm >= wanted.narrowest_trunk_mm,
        seen=f"body {body.width_mm:.0f} mm wide",
        wanted=f"at least {wanted.narrowest_trunk_mm:g} mm",
    )
    if not trunk.passed:
        return Refusal(reasons=("too narrow for a trunk: another part of the body?",), gates=(trunk,))
    seed = find_seed(values, body, grid, fat_level(values, body), wanted)
    organ, reason = _seed_gate(seed, settings)
    if seed is None or not organ.passed:
        return Refusal(reasons=(reason,), gates=(trunk, organ))
    supports = stacks.of(Role.T1_PRE)[:1] if reference.role in (Role.T1_HBP, *_BLOOD_IN) else ()
    channels, seen = _channels(values, inside, seed.core_zyx, supports, reference.volume, grid)
    liver = grow_liver(channels, seen, seed, body, grid, wanted)
    return _on_source(reference, liver, body, grid, stacks, (trunk, organ), settings)


def _seed_gate(seed: Seed | None, settings: MriThresholds) -> tuple[Gate, str]:
    wanted = settings.liver
    said = (
        f"a right-sided organ of at least {wanted.smallest_core_ml:g} ml core, "
        f"at most {wanted.largest_mirrored_fraction:.0%} of it mirrored"
    )
    if seed is None:
        gate = Gate(name="solid organ", passed=False, seen="none", wanted=said)
        return gate, "no solid organ deep to the skin"
    passed = (
        seed.mirrored_fraction <= wanted.largest_mirrored_fraction
        and seed.right_fraction >= wanted.least_right_fraction
    )
    seen = (
        f"core {seed.volume_ml:.0f} ml, {seed.right_fraction:.0%} right of the midline, "
        f"{seed.mirrored_fraction:.0%} mirrored"
    )
    reason = (
        "the largest solid region is repeated on the other side or lies left: no liver in the field, situs inversus?"
    )
    return Gate(name="solid organ", passed=passed, seen=seen, wanted=said), reason


def _channels(
    values: NDArray[np.float32],
    inside: NDArray[np.bool_],
    core: NDArray[np.bool_],
    supports: Sequence[RoledStack],
    reference: Volume,
    grid: PatientGrid,
) -> tuple[list[NDArray[np.float32]], list[NDArray[np.bool_]]]:
    """The reference, then other sequences moved to its breath-hold."""
    channels, seen = [values], [inside]
    for support in supports:
        if support.volume.frame_of_reference_uid != reference.frame_of_reference_uid:
            continue
        moving, _ = on_grid(support.volume, grid)
        shift = shift_between(values, moving, core, grid.spacing_mm)
        channel, covered = on_grid(support.volume, grid, shift)
        channels.append(channel)
        seen.append(covered & inside)
    return channels, seen


def _on_source(
    reference: RoledStack,
    liver: Liver,
    body: Body,
    grid: PatientGrid,
    stacks: StudyStacks,
    gates: tuple[Gate, ...],
    settings: MriThresholds,
) -> Reading | Refusal:
    volume, wanted = reference.volume, settings.liver
    rough = field_on_source(liver.field_zyx, grid, volume) >= 0.5
    relative = volume.voxels_zyx / (field_on_source(liver.bias_zyx, grid, volume) * max(liver.level, 1e-6))
    mask = refined_surface(relative, rough, volume.spacing_zyx_mm)
    liver_ml = float(np.count_nonzero(mask)) * volume.voxel_ml
    cut = truncation_gate(volume, mask, "liver", wanted.largest_cut_fraction)
    low, high = wanted.volume_ml if cut.passed else (wanted.least_seen_ml, wanted.volume_ml[1])
    size = Gate(
        name="liver volume",
        passed=low <= liver_ml <= high,
        seen=f"{liver_ml:.0f} ml",
        wanted=f"{low:g} to {high:g} ml",
    )
    right = float(body.right_zyx[liver.field_zyx >= 0.5].mean()) if (liver.field_zyx >= 0.5).any() else 0.0
    side = Gate(
        name="side",
        passed=right >= wanted.least_right_fraction,
        seen=f"{right:.0%} right of the midline",
        wanted=f"at least {wanted.least_right_fraction:.0%}",
    )
    gates = (*gates, size, side, cut)
    if not (size.passed and side.passed):
        return Refusal(reasons=("what was outlined is not believable as a liver",), gates=gates)
    candidates, compared = _candidates(reference, relative, mask, stacks, settings)
    searched = bool(compared) or reference.role in _TELLS_VESSELS
    return Reading(
        reference=reference,
        liver_zyx=mask,
        liver_ml=liver_ml,
        candidates=candidates if searched else (),
        gates=gates,
        compared=compared,
        searched=searched,
    )


def _candidates(
    reference: RoledStack,
    relative: NDArray[np.float32],
    mask: NDArray[np.bool_],
    stacks: StudyStacks,
    settings: MriThresholds,
) -> tuple[tuple[Candidate, ...], tuple[str, ...]]:
    """Candidates on the reference's grid, searched in a box round the liver."""
    volume = reference.volume
    steps = volume.spacing_zyx_mm
    box = _box_round(mask, steps)
    blood = None
    if reference.role is Role.T1_HBP:
        blood = next((found for one in stacks.of(*_BLOOD_IN)[:1] for found in [_looked_up(one, reference, mask)]), None)
    others = {}
    for role in _BRIGHT_IN:
        chosen = sorted(stacks.of(role), key=lambda one: one.b_value or 0.0)[-1:]
        for one in chosen:
            found = _looked_up(one, reference, mask)
            if found is not None and one is not reference:
                others[NAMES[role]] = found[box]
    image = LiverImage(
        relative_zyx=relative[box],
        liver_zyx=mask[box],
        spacing_zyx_mm=steps,
        voxel_ml=volume.voxel_ml,
        darker=reference.role not in _BRIGHT_REFERENCES,
        blood_zyx=blood[box] if blood is not None else None,
        others=others,
    )
    found_here = find_candidates(image, settings.lesions)
    return tuple(placed(candidate, box, mask.shape) for candidate in found_here), tuple(others)


def _box_round(mask: NDArray[np.bool_], steps_mm: tuple[float, float, float]) -> Box:
    z, y, x = (
        slice(max(0, part.start - int(_MARGIN_MM / step)), part.stop + int(_MARGIN_MM / step))
        for part, step in zip(ndimage.find_objects(mask.astype(np.uint8))[0], steps_mm, strict=True)
    )
    return z, y, x


def _looked_up(other: RoledStack, reference: RoledStack, mask: NDArray[np.bool_]) -> NDArray[np.float32] | None:
    """Another sequence on the reference's voxels, moved to its breath-hold, divided by its level in the liver."""
    fixed, moving = reference.volume, other.volume
    if moving.frame_of_reference_uid != fixed.frame_of_reference_uid or moving is fixed:
        return None
    grid = grid_over(fixed, 4.0)
    fixed_values, _ = on_grid(fixed, grid)
    moving_values, _ = on_grid(moving, grid)
    region = _mask_on_grid(mask, fixed, grid)
    shift = shift_between(fixed_values, moving_values, region, grid.spacing_mm)
    values = source_on_source(moving, fixed, shift)
    sample = values[mask & np.isfinite(values)]
    if sample.size < 0.3 * np.count_nonzero(mask):
        return None
    # Surface coils brighten one side: the level is taken locally, over a width that no lesion fills.
    known = np.where(mask & np.isfinite(values), values, 0.0).astype(np.float32)
    weight = (mask & np.isfinite(values)).astype(np.float32)
    sigmas = [30.0 / step for step in fixed.spacing_zyx_mm]
    total = ndimage.gaussian_filter(known, sigmas, truncate=2.0)
    share = ndimage.gaussian_filter(weight, sigmas, truncate=2.0)
    level = np.where(share > 1e-3, total / np.maximum(share, 1e-3), float(np.median(sample)))
    return np.asarray(values / np.maximum(level, 1e-6), np.float32)


def _mask_on_grid(mask: NDArray[np.bool_], volume: Volume, grid: PatientGrid) -> NDArray[np.bool_]:
    z, y, x = np.nonzero(mask)
    indices = (volume.to_lps_mm(np.stack([z, y, x], axis=1).astype(np.float64)) - grid.origin_lps_mm) / grid.spacing_mm
    nearest = np.clip(np.rint(indices[:, ::-1]).astype(int), 0, np.array(grid.shape_zyx) - 1)
    region = np.zeros(grid.shape_zyx, bool)
    region[tuple(nearest.T)] = True
    return region
