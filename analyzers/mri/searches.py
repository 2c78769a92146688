"""Where candidates are searched: in the reference, and where that is blind, in diffusion or T2 brought onto its voxels.

Without a hepatobiliary phase many metastases enhance like parenchyma while the portal vein is enhanced, or only their
core is darker. Diffusion and T2 show them whole, so candidates are searched there too; one found in diffusion counts
only where T2 or the reference shows it as well, because diffusion alone is full of distortion and noise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from analyzers.mri.breath import shift_between
from analyzers.mri.lesions import Box, Candidate, LiverImage, apart, find_candidates, placed
from analyzers.mri.patient_grid import PatientGrid, cropped, grid_over, on_grid, source_on_source
from analyzers.mri.roles import ENHANCED, Role
from analyzers.mri.stacks import NAMES, RoledStack, StudyStacks
from analyzers.mri.thresholds import LesionThresholds
from analyzers.quality import plane_distance_mm
from analyzers.volume import Volume

BLOOD_IN = (Role.T1_PORTAL, Role.T1_TRANSITIONAL)
_FAT_IN = (Role.T1_IN, Role.T1_OPPOSED)
"""Not fat suppressed: what is dark in the reference and bright in them is the fat of a fissure."""
_MARGIN_MM = 8.0
_BRIGHT_IN = (Role.DWI, Role.T2, Role.HASTE)
_BRIGHT_REFERENCES = (Role.T2, Role.HASTE)
_TELLS_VESSELS = (Role.T1_HBP, *BLOOD_IN, *_BRIGHT_REFERENCES)
"""Before contrast and in the arterial phase veins are as dark as lesions: a second sequence has to show them."""
_SHIFT_GRID_MM = 4.0
_LEVEL_MM = 30.0
"""Standard deviation of the width over which the level of parenchyma is taken: no lesion fills it."""
_LEAST_COVERED_FRACTION = 0.3


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """What the search of a study gave.

    Attributes
    ----------
    candidates : tuple of Candidate
        On the whole grid of the reference, largest first.
    compared : tuple of str
        Names of the other sequences that candidates were looked up in.
    searched : tuple of str
        Names of the sequences that candidates were searched in; empty where none of them tells a lesion from a vessel.
    vessels_told : bool
        Whether anything tells the candidates from vessels: enhanced blood, or a sequence where lesions are bright.
    coarsest_step_mm : float
        Largest slice distance among the sequences that a lesion has to show in to be found.
    """

    candidates: tuple[Candidate, ...]
    compared: tuple[str, ...]
    searched: tuple[str, ...]
    vessels_told: bool
    coarsest_step_mm: float


def stated_floor_mm(search: Search, settings: LesionThresholds) -> float:
    """Diameter from which a search is expected to find lesions, in whole millimetres."""
    floor_mm = max(settings.surely_found_mm, settings.surely_found_slices * search.coarsest_step_mm)
    return float(np.ceil(floor_mm - 1e-6))


def search_lesions(
    reference: RoledStack,
    relative_zyx: NDArray[np.float32],
    liver_zyx: NDArray[np.bool_],
    stacks: StudyStacks,
    settings: LesionThresholds,
) -> Search:
    """Search candidates in a box round the liver.

    Parameters
    ----------
    reference : RoledStack
        In which the liver was outlined.
    relative_zyx : (z, y, x) float32
        The reference, bias corrected, parenchyma being 1.
    liver_zyx : (z, y, x) bool
        The liver on its voxels.
    """
    box = _box_round(liver_zyx, reference.volume.spacing_zyx_mm)
    place = _Place.of(reference, liver_zyx, box)
    others = _others(reference, stacks, place)
    blood = relative_zyx[box] if reference.role in BLOOD_IN else _first_of(BLOOD_IN, reference, stacks, place)
    image = LiverImage(
        relative_zyx=relative_zyx[box],
        liver_zyx=liver_zyx[box],
        spacing_zyx_mm=reference.volume.spacing_zyx_mm,
        voxel_ml=reference.volume.voxel_ml,
        darker=reference.role not in _BRIGHT_REFERENCES,
        blood_zyx=blood if reference.role not in BLOOD_IN else None,
        fat_zyx=_first_of(_FAT_IN, reference, stacks, place) if reference.role in ENHANCED else None,
        others=others,
        name=NAMES[reference.role],
        confirm=bool(others) and blood is None and reference.role not in _BRIGHT_REFERENCES,
    )
    images = [image] if others or reference.role in _TELLS_VESSELS else []
    images += _second_search(image, reference, others)
    found = [candidate for one in images for candidate in find_candidates(one, settings)]
    kept = apart(sorted(found, key=lambda one: -one.volume_ml))[: settings.most_candidates]
    return Search(
        candidates=tuple(placed(candidate, box, liver_zyx.shape) for candidate in kept),
        compared=tuple(others),
        searched=tuple(one.name for one in images),
        # In the hepatobiliary phase alone vessels are as dark as lesions.
        vessels_told=blood is not None or bool(others) or reference.role in _BRIGHT_REFERENCES,
        coarsest_step_mm=_coarsest_step_mm(images, reference, stacks),
    )


def _coarsest_step_mm(images: Sequence[LiverImage], reference: RoledStack, stacks: StudyStacks) -> float:
    """Slice distance by which the search is limited.

    In the hepatobiliary phase a lesion shows by itself. Elsewhere it may show in the last sequence searched only; and
    what has to be confirmed must show in a second sequence, of which the finest will do.
    """
    steps_mm = {NAMES[one.role]: plane_distance_mm(one.volume) for one in reversed(stacks.of(*_BRIGHT_IN))}
    steps_mm[NAMES[reference.role]] = plane_distance_mm(reference.volume)
    limiting_mm = [steps_mm[NAMES[reference.role]]]
    for last in images[-1:]:
        limiting_mm.append(steps_mm[last.name])
        if last.confirm and last.others:
            limiting_mm.append(min(steps_mm[name] for name in last.others))
    return max(limiting_mm)


def _second_search(
    image: LiverImage, reference: RoledStack, others: dict[str, NDArray[np.float32]]
) -> list[LiverImage]:
    """Diffusion, else T2, where the reference is not the hepatobiliary phase, which shows them best."""
    names = [NAMES[role] for role in _BRIGHT_IN if NAMES[role] in others]
    if reference.role is Role.T1_HBP or not names:
        return []
    values = others[names[0]]
    seen, diffusion = np.isfinite(values), names[0] == NAMES[Role.DWI]
    rest = {name: other for name, other in others.items() if name != names[0]}
    if image.darker and not rest:
        rest[image.name] = np.asarray(2.0 - image.relative_zyx, np.float32)
    return [
        replace(
            image,
            relative_zyx=np.where(seen, values, 1.0).astype(np.float32),
            darker=False,
            # Flowing blood is dark in them anyway, and a rim that enhances more than parenchyma is no vessel.
            blood_zyx=None,
            fat_zyx=None,
            others=rest,
            name=names[0],
            confirm=diffusion,
        )
    ]


# --- other sequences on the reference's voxels ----------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """The reference as others are brought to it: cut to the box round the liver, and coarse for the breath-hold."""

    volume: Volume
    liver_zyx: NDArray[np.bool_]
    grid: PatientGrid
    coarse_zyx: NDArray[np.float32]
    region_zyx: NDArray[np.bool_]

    @staticmethod
    def of(reference: RoledStack, liver_zyx: NDArray[np.bool_], box: Box) -> _Place:
        grid = grid_over(reference.volume, _SHIFT_GRID_MM)
        return _Place(
            volume=cropped(reference.volume, box),
            liver_zyx=liver_zyx[box],
            grid=grid,
            coarse_zyx=on_grid(reference.volume, grid)[0],
            region_zyx=_mask_on_grid(liver_zyx, reference.volume, grid),
        )


def _box_round(mask: NDArray[np.bool_], steps_mm: tuple[float, float, float]) -> Box:
    z, y, x = (
        slice(max(0, part.start - int(_MARGIN_MM / step)), min(size, part.stop + int(_MARGIN_MM / step)))
        for part, step, size in zip(ndimage.find_objects(mask.astype(np.uint8))[0], steps_mm, mask.shape, strict=True)
    )
    return z, y, x


def _others(reference: RoledStack, stacks: StudyStacks, place: _Place) -> dict[str, NDArray[np.float32]]:
    others = {}
    for role in _BRIGHT_IN:
        for one in sorted(stacks.of(role), key=lambda one: one.b_value or 0.0)[-1:]:
            found = _looked_up(one, reference, place)
            if found is not None:
                others[NAMES[role]] = found
    return others


def _first_of(
    roles: Sequence[Role], reference: RoledStack, stacks: StudyStacks, place: _Place
) -> NDArray[np.float32] | None:
    """The first stack of these roles that covers the liver."""
    found = (_looked_up(one, reference, place) for one in stacks.of(*roles))
    return next((values for values in found if values is not None), None)


def _looked_up(other: RoledStack, reference: RoledStack, place: _Place) -> NDArray[np.float32] | None:
    """Another sequence on the reference's voxels, moved to its breath-hold, divided by its level in the liver."""
    moving = other.volume
    if moving.frame_of_reference_uid != reference.volume.frame_of_reference_uid or other is reference:
        return None
    moving_values, _ = on_grid(moving, place.grid)
    shift = shift_between(place.coarse_zyx, moving_values, place.region_zyx, place.grid.spacing_mm)
    values = source_on_source(moving, place.volume, shift)
    known = place.liver_zyx & np.isfinite(values)
    sample = values[known]
    if sample.size < _LEAST_COVERED_FRACTION * np.count_nonzero(place.liver_zyx):
        return None
    # Surface coils brighten one side, so the level is taken place by place.
    sigmas = [_LEVEL_MM / step for step in place.volume.spacing_zyx_mm]
    total = ndimage.gaussian_filter(np.where(known, values, 0.0).astype(np.float32), sigmas, truncate=2.0)
    share = ndimage.gaussian_filter(known.astype(np.float32), sigmas, truncate=2.0)
    level = np.where(share > 1e-3, total / np.maximum(share, 1e-3), float(np.median(sample)))
    return np.asarray(values / np.maximum(level, 1e-6), np.float32)


def _mask_on_grid(mask: NDArray[np.bool_], volume: Volume, grid: PatientGrid) -> NDArray[np.bool_]:
    z, y, x = np.nonzero(mask)
    indices = (volume.to_lps_mm(np.stack([z, y, x], axis=1).astype(np.float64)) - grid.origin_lps_mm) / grid.spacing_mm
    nearest = np.clip(np.rint(indices[:, ::-1]).astype(int), 0, np.array(grid.shape_zyx) - 1)
    region = np.zeros(grid.shape_zyx, bool)
    region[tuple(nearest.T)] = True
    return region
