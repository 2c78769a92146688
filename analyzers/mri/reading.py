"""The main line: choose the sequence, find the trunk, the liver, what lies in it, and say it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from analyzers.contract import Assessed, Gate, NotAssessable
from analyzers.mri.answer import assessed, not_assessable
from analyzers.mri.bays import with_bays
from analyzers.mri.body import Body, fat_level, find_body
from analyzers.mri.breath import shift_between
from analyzers.mri.field_of_view import field_gate
from analyzers.mri.findings import Reading, Refusal
from analyzers.mri.liver import Liver, Seed, find_seed, grow_liver
from analyzers.mri.patient_grid import PatientGrid, field_on_source, grid_over, on_grid
from analyzers.mri.roles import ENHANCED, Role
from analyzers.mri.searches import BLOOD_IN, search_lesions
from analyzers.mri.stacks import NAMES, OUTLINED_IN, RoledStack, StudyStacks, read_stacks
from analyzers.mri.surface import refined_surface
from analyzers.mri.thresholds import DEFAULT, MriThresholds
from analyzers.priors import Prior
from analyzers.quality import truncation_gate
from analyzers.volume import StudyImages, Volume


def analyze(
    images: StudyImages, priors: Sequence[Prior], thresholds: MriThresholds = DEFAULT
) -> Assessed | NotAssessable:
    """Measure the liver and list candidates of lesions."""
    stacks = read_stacks(images, thresholds)
    reading = read_study(stacks, thresholds)
    if isinstance(reading, Refusal):
        return not_assessable(images, reading.reasons, reading.gates, thresholds)
    return assessed(images, stacks, reading, priors, thresholds)


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
    supports = stacks.of(Role.T1_PRE)[:1] if reference.role in (Role.T1_HBP, *BLOOD_IN) else ()
    channels, seen = _channels(values, inside, seed.core_zyx, supports, reference.volume, grid)
    liver = grow_liver(channels, seen, seed, body, grid, wanted)
    diffusion = sorted(stacks.of(Role.DWI), key=lambda one: one.b_value or 0.0)[-1:]
    if diffusion and reference.role in ENHANCED:
        moved, covered = _channels(values, inside, liver.parenchyma_zyx, diffusion, reference.volume, grid)
        liver = with_bays(liver, values, moved[-1], covered[-1], body, grid, wanted) if len(moved) > 1 else liver
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
    beside = field_gate(volume, mask, "liver", wanted.field_border_mm, wanted.field_contact_fraction)
    low, high = wanted.volume_ml if cut.passed and beside.passed else (wanted.least_seen_ml, wanted.volume_ml[1])
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
    gates = (*gates, size, side, cut, beside)
    if not (size.passed and side.passed):
        return Refusal(reasons=("what was outlined is not believable as a liver",), gates=gates)
    search = search_lesions(reference, relative, mask, stacks, settings.lesions)
    return Reading(reference=reference, liver_zyx=mask, liver_ml=liver_ml, search=search, gates=gates)
