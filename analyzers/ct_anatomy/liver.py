"""The liver on a patient grid: seeded by place, told from its neighbours by appearance and by weak borders.

1. *Seed*: the deepest soft tissue of the right upper abdomen. Its attenuation has a peak; the liver is the largest
   organ there in every phase.
2. *Appearance*: median and spread of the seed.
3. *Borders*: a random walker with priors (Grady, CVPR 2005): each voxel takes the label whose seeds a walker reaches
   first, steps across a step in attenuation being unlikely; appearance and place pull towards or away from the liver.
4. *Whole organ*: lesions and vessels that liver surrounds belong to it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from analyzers.ct_anatomy.body import Body
from analyzers.ct_anatomy.lungs import Lungs
from analyzers.ct_anatomy.patient_grid import PatientGrid
from analyzers.ct_anatomy.random_walk import liver_probability
from analyzers.ct_anatomy.spine import Spine
from analyzers.ct_anatomy.thresholds import LiverThresholds

_FAT_BELOW_HU = -15.0
_GAS_BELOW_HU = -200.0
"""Below this a voxel holds gas or lung."""
_WALL_MM = 9.0
"""Skin, fat and muscle over the liver are at least this thick. Anatomy."""
_BACKGROUND_CORE_MM = 8.0
_BACKGROUND_CORE_ML = 15.0
_VENA_CAVA_MM2 = 1000.0
"""A vena cava of 35 mm, the widest there is, has this cross-section. Anatomy."""
_SHADING_MM = 25.0
_STEEP_SHADING_HU = 10.0
"""Difference between two ends of the organ beyond which its shading is followed further."""
_MOST_SHADING_HU = 45.0
_MOST_PASSES = 3
_MOST_GROWTH = 1.5
"""A pass that adds more than half of the first pass's size has left the organ."""
_LEFT_OF_SPINE_MM = 30.0
"""The right-sided search for the seed ends this far left of the spine's middle."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LiverSeed:
    """The core of the liver and what it looks like.

    Attributes
    ----------
    core_zyx : (z, y, x) bool
        Deep parenchyma, surely liver if anything is.
    centre_hu, spread_hu : float
        Median and robust standard deviation of smoothed parenchyma.
    """

    core_zyx: NDArray[np.bool_]
    centre_hu: float
    spread_hu: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Anatomy:
    """What is known of the trunk before organs are searched, all on one patient grid."""

    grid: PatientGrid
    body: Body
    lungs: Lungs
    spine: Spine
    wall_zyx: NDArray[np.bool_]
    smooth_hu_zyx: NDArray[np.float32]


def find_liver_seed(
    anatomy: Anatomy, thresholds: LiverThresholds, within_zyx: NDArray[np.bool_] | None = None
) -> LiverSeed | None:
    """Find the core of the liver; ``None`` if there is no deep soft tissue where a liver would be.

    Parameters
    ----------
    anatomy : Anatomy
    thresholds : LiverThresholds
    within_zyx : (z, y, x) bool, optional
        Where it is searched in place of the right upper abdomen: what else shows that liver lies there, as after the
        right half was resected.
    """
    grid, hu = anatomy.grid, anatomy.smooth_hu_zyx
    low, high = thresholds.parenchyma_hu
    soft = (hu > low) & (hu < high) & anatomy.body.mask_zyx & grid.inside_zyx
    depth_mm = _depth_mm(soft, grid.spacing_mm)
    right = _columns(anatomy) < (anatomy.spine.x - 15.0 / grid.spacing_mm)[:, None, None]
    searched = (right if within_zyx is None else within_zyx) & _abdominal_planes(anatomy)[:, None, None]
    deep = (depth_mm >= thresholds.seed_depth_mm) & searched
    if deep.sum() * grid.voxel_ml < thresholds.smallest_seed_ml:
        return None
    peak_hu, width_hu = _peak(hu[deep])
    alike = soft & (np.abs(hu - peak_hu) < 2.5 * width_hu)
    # Vessels and noise perforate the parenchyma; a closing keeps it one piece.
    alike = ndimage.binary_closing(alike, iterations=1) & soft
    core_depth_mm = _depth_mm(alike, grid.spacing_mm)
    inner = (core_depth_mm >= 0.75 * thresholds.seed_depth_mm) & _abdominal_planes(anatomy)[:, None, None]
    if within_zyx is None:
        inner &= _columns(anatomy) < (anatomy.spine.x + _LEFT_OF_SPINE_MM / grid.spacing_mm)[:, None, None]
        core = _best_core(inner, anatomy)
    else:
        core = _largest_part(inner & within_zyx)
    if core is None or core.sum() * grid.voxel_ml < thresholds.smallest_seed_ml:
        return None
    values = hu[core]
    centre = float(np.median(values))
    spread = float(1.4826 * np.median(np.abs(values - centre)))
    return LiverSeed(core_zyx=core, centre_hu=centre, spread_hu=max(4.0, spread))


def find_liver(
    anatomy: Anatomy, seed: LiverSeed, aorta_zyx: NDArray[np.bool_] | None, unenhanced_below_hu: float
) -> NDArray[np.float32]:
    """Probability of liver per voxel, (z, y, x) float32; the organ is where it exceeds one half."""
    hu = anatomy.smooth_hu_zyx
    difference = hu - seed.centre_hu
    # Arms at the sides and hardening of the beam shade an even organ by tens of HU from front to back: the first pass
    # is tolerant, the next ones measure against the organ's own slow shading, as far as they have found it.
    probability = _pass(anatomy, seed, difference, seed.spread_hu + 6.0, aorta_zyx)
    first_size = max(1, int((probability > 0.5).sum()))
    for _ in range(_MOST_PASSES):
        slope, steep = _linear_shading(difference, probability > 0.5)
        if seed.centre_hu < unenhanced_below_hu:
            # Unenhanced, the neighbours differ from the liver by less than such shading: it must not be followed.
            slope, steep = np.zeros_like(slope), False
        rest = _local_mean(difference - slope, probability > 0.5, _SHADING_MM / anatomy.grid.spacing_mm)
        scale_hu = seed.spread_hu + (6.0 if steep else 3.0)
        following = _pass(anatomy, seed, difference - slope - rest, scale_hu, aorta_zyx)
        if (following > 0.5).sum() > _MOST_GROWTH * first_size:
            break
        probability = following
        if not steep:
            break
    return _with_blended_rim(probability, seed, anatomy)


def _with_blended_rim(probability: NDArray[np.float32], seed: LiverSeed, anatomy: Anatomy) -> NDArray[np.float32]:
    """Add the voxels of the rim that hold more liver than fat.

    They are blends, so they look unlike the liver, and the walker leaves them out; the border lies half way between
    the two tissues. Not so beside gas: there the wall of stomach or bowel passes for a blend.
    """
    hu = anatomy.grid.hu_zyx
    likely = probability > 0.5
    darkest_hu = ndimage.minimum_filter(hu, size=3)
    beside_fat = (darkest_hu < _FAT_BELOW_HU) & (darkest_hu > _GAS_BELOW_HU)
    rim = ndimage.binary_dilation(likely) & ~likely & beside_fat & anatomy.body.mask_zyx
    mostly_liver = rim & (hu >= (seed.centre_hu + darkest_hu) / 2)
    return np.where(mostly_liver, np.float32(0.8), probability)


def _linear_shading(difference: NDArray[np.float32], mask: NDArray[np.bool_]) -> tuple[NDArray[np.float32], bool]:
    """The plane fitted to an organ's attenuation, (z, y, x) in HU, and whether it is steep enough to matter.

    Vessels and lesions are left out by a second fit to what lies near the first.
    """
    places = np.argwhere(mask)
    if len(places) < 1000:
        return np.zeros_like(difference), False
    middle = places.mean(axis=0)
    design = np.column_stack([places - middle, np.ones(len(places))])
    values = difference[mask].astype(float)
    factors = np.array([0.0, 0.0, 0.0, float(np.median(values))])
    for _ in range(3):
        near = np.abs(values - design @ factors) < 20.0
        if near.sum() < 500:
            return np.zeros_like(difference), False
        factors, *_ = np.linalg.lstsq(design[near], values[near], rcond=None)
    fitted_hu = design @ factors
    steep = float(np.percentile(fitted_hu, 95) - np.percentile(fitted_hu, 5)) > _STEEP_SHADING_HU
    if not steep:
        return np.zeros_like(difference), False
    ramps = np.ogrid[tuple(slice(0, size) for size in difference.shape)]
    plane = factors[3] + sum(factors[axis] * (ramps[axis] - middle[axis]) for axis in range(3))
    return np.clip(plane, -_MOST_SHADING_HU, _MOST_SHADING_HU).astype(np.float32), True


def _pass(
    anatomy: Anatomy,
    seed: LiverSeed,
    difference_hu: NDArray[np.float32],
    scale_hu: float,
    aorta_zyx: NDArray[np.bool_] | None,
) -> NDArray[np.float32]:
    deviation = (difference_hu / scale_hu).astype(np.float32)
    background = _surely_not(anatomy, seed, deviation)
    if aorta_zyx is not None:
        background |= aorta_zyx
    background &= ~seed.core_zyx
    affinity = np.exp(-0.5 * deviation**2)
    # Somewhat more than two spreads away liver and its neighbours are taken to be equally likely.
    appearance = affinity / (affinity + 0.08)
    prior = appearance * _place_prior(anatomy, seed)
    probability = liver_probability(
        deviation,
        prior.astype(np.float32),
        seed.core_zyx,
        background,
        anatomy.body.mask_zyx & anatomy.grid.inside_zyx,
    )
    return _whole_organ(probability, seed, anatomy)


def _local_mean(values: NDArray[np.float32], mask: NDArray[np.bool_], sigma: float) -> NDArray[np.float32]:
    """Mean of the values inside of a mask in a Gaussian neighbourhood; zero far from the mask."""
    clipped = np.where(mask, np.clip(values, -40.0, 40.0), 0.0).astype(np.float32)
    weight = ndimage.gaussian_filter(mask.astype(np.float32), sigma, mode="nearest")
    mean: NDArray[np.float32] = ndimage.gaussian_filter(clipped, sigma, mode="nearest") / (weight + 0.02)
    return mean


def _best_core(inner: NDArray[np.bool_], anatomy: Anatomy) -> NDArray[np.bool_] | None:
    labels, count = ndimage.label(inner)
    if count == 0:
        return None
    sizes = np.bincount(labels.ravel())[1:].astype(float)
    centres = np.array(ndimage.center_of_mass(inner, labels, range(1, count + 1)))
    planes = np.rint(centres[:, 0]).astype(int)
    to_right_mm = (anatomy.spine.x[planes] - centres[:, 2]) * anatomy.grid.spacing_mm
    # What lies behind the middle of the vertebrae is muscle of the back.
    weights = sizes * np.clip(to_right_mm / 40.0, 0.0, 1.0) * (centres[:, 1] < anatomy.spine.y[planes])
    best = int(np.argmax(weights))
    return np.asarray(labels == best + 1) if weights[best] > 0 else None


def _largest_part(mask_zyx: NDArray[np.bool_]) -> NDArray[np.bool_] | None:
    labels, count = ndimage.label(mask_zyx)
    return np.asarray(labels == 1 + int(np.argmax(np.bincount(labels.ravel())[1:]))) if count else None


def _peak(values_hu: NDArray[np.float32]) -> tuple[float, float]:
    """Position and half width (about one sigma) of the highest peak of a histogram."""
    edges = np.arange(-50.0, 251.0, 2.0)
    histogram = ndimage.gaussian_filter1d(np.histogram(values_hu, edges)[0].astype(float), 2.0)
    top = int(np.argmax(histogram))
    above = histogram > 0.6 * histogram[top]
    left = top - int(np.argmin(above[top::-1])) if not above[: top + 1].all() else 0
    right = top + int(np.argmin(above[top:])) if not above[top:].all() else len(above)
    return float(edges[top] + 1.0), float(np.clip(right - left - 1, 4.0, 30.0))


def _abdominal_planes(anatomy: Anatomy) -> NDArray[np.bool_]:
    """Planes in which a liver may lie: not the pelvis, not where the right lung fills its half of the chest."""
    body = anatomy.body.mask_zyx
    right = _columns(anatomy) < anatomy.spine.x[:, None, None]
    half_area = (body & right).sum(axis=(1, 2)) + 1.0
    lung_share = anatomy.lungs.right_zyx.sum(axis=(1, 2)) / half_area
    seen = ndimage.binary_dilation(anatomy.spine.seen, iterations=3)
    return np.asarray((lung_share < 0.35) & seen)


def _surely_not(anatomy: Anatomy, seed: LiverSeed, deviation: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Fat, gas, bone, the wall of the trunk, other organs' cores, and whatever lies above the dome."""
    grid, hu = anatomy.grid, anatomy.smooth_hu_zyx
    outside = (hu < _FAT_BELOW_HU) | (hu > seed.centre_hu + 150.0) | anatomy.lungs.both_zyx
    outside |= (anatomy.body.depth_mm_zyx < _WALL_MM) | anatomy.wall_zyx
    top = int(np.flatnonzero(seed.core_zyx.any(axis=(1, 2))).max()) + grid.voxels(24.0)
    outside[top:] = True
    # A core that looks alike yet stands apart (spleen, heart, muscle), or is deep and looks different (kidney).
    alike = (np.abs(deviation) < 2.0) & ~outside
    apart = ndimage.distance_transform_edt(_padded_in_z(alike))[1:-1] * grid.spacing_mm >= _BACKGROUND_CORE_MM
    outside |= _cores_apart(apart, seed, anatomy)
    unlike = (np.abs(deviation) > 3.5) & anatomy.body.mask_zyx
    deep_unlike = (
        ndimage.distance_transform_edt(_padded_in_z(unlike))[1:-1] * grid.spacing_mm >= 0.75 * _BACKGROUND_CORE_MM
    )
    surrounded = ndimage.binary_closing(seed.core_zyx, iterations=grid.voxels(15.0))
    outside |= deep_unlike & ~surrounded
    return np.asarray(outside)


def _cores_apart(cores: NDArray[np.bool_], seed: LiverSeed, anatomy: Anatomy) -> NDArray[np.bool_]:
    labels, count = ndimage.label(cores)
    if count == 0:
        return np.zeros_like(cores)
    sizes_ml = np.bincount(labels.ravel(), minlength=count + 1) * anatomy.grid.voxel_ml
    with_seed = np.unique(labels[seed.core_zyx])
    centres = np.array(ndimage.center_of_mass(cores, labels, range(1, count + 1)))
    planes = np.rint(centres[:, 0]).astype(int)
    left_mm = (centres[:, 2] - anatomy.spine.x[planes]) * anatomy.grid.spacing_mm
    behind_mm = (centres[:, 1] - anatomy.spine.front_y[planes]) * anatomy.grid.spacing_mm
    # A thin left lobe has no core; a core far to the left or beside the spine belongs to spleen, kidney or muscle.
    foreign = (left_mm > 25.0) & (behind_mm > -70.0) | (left_mm > 70.0)
    kept = [
        label
        for label in range(1, count + 1)
        if label not in with_seed and sizes_ml[label] >= _BACKGROUND_CORE_ML and foreign[label - 1]
    ]
    return np.isin(labels, kept)


def _place_prior(anatomy: Anatomy, seed: LiverSeed) -> NDArray[np.float64]:
    """From 0 to 1: the liver lies right of the spine, its left lobe in front; spleen and heart lie elsewhere."""
    spacing = anatomy.grid.spacing_mm
    left_mm = (_columns(anatomy) - anatomy.spine.x[:, None, None]) * spacing
    rows = np.arange(anatomy.smooth_hu_zyx.shape[1])[None, :, None]
    behind_mm = (rows - anatomy.spine.front_y[:, None, None]) * spacing
    # The border runs from beside the spine at the back to far left at the front.
    border_mm = np.clip(5.0 - 0.9 * behind_mm, 5.0, 80.0)
    sideways = 1.0 / (1.0 + np.exp((left_mm - border_mm) / 12.0))
    top = float(np.flatnonzero(seed.core_zyx.any(axis=(1, 2))).max())
    above_mm = (np.arange(len(anatomy.spine.x)) - top)[:, None, None] * spacing
    upwards = 1.0 / (1.0 + np.exp((above_mm - 12.0) / 4.0))
    return np.asarray(sideways * upwards)


def _whole_organ(probability: NDArray[np.float32], seed: LiverSeed, anatomy: Anatomy) -> NDArray[np.float32]:
    """One piece, without thin tongues into neighbours, with what it surrounds."""
    voxels = anatomy.grid.voxels
    likely = probability > 0.5
    ball = ndimage.iterate_structure(ndimage.generate_binary_structure(3, 1), voxels(6.0))
    opened = ndimage.binary_opening(likely, ball)
    labels, _ = ndimage.label(opened)
    seeded = labels[seed.core_zyx & opened]
    if seeded.size == 0:
        return np.zeros_like(probability)
    kept = labels == int(np.bincount(seeded[seeded > 0]).argmax()) if (seeded > 0).any() else opened
    # Thin edges that the opening took come back as far as it reached.
    kept = ndimage.binary_dilation(kept, iterations=voxels(6.0), mask=likely)
    closed = ndimage.binary_closing(_padded_in_z(kept, 6), iterations=voxels(6.0))[6:-6]
    closed &= (anatomy.smooth_hu_zyx > _FAT_BELOW_HU) & ~anatomy.lungs.both_zyx
    filled = np.stack([ndimage.binary_fill_holes(plane) for plane in closed | kept])
    filled = _without_vena_cava(filled, seed, anatomy)
    return np.where(filled, np.maximum(probability, np.where(kept, 0.0, 0.8)), np.minimum(probability, 0.3)).astype(
        np.float32
    )


def _without_vena_cava(mask_zyx: NDArray[np.bool_], seed: LiverSeed, anatomy: Anatomy) -> NDArray[np.bool_]:
    """Drop what stands alone in its plane, small and close in front of the spine: vena cava, crus, head of pancreas."""
    spacing = anatomy.grid.spacing_mm
    cleaned = mask_zyx.copy()
    for z in np.flatnonzero(mask_zyx.any(axis=(1, 2))):
        labels, count = ndimage.label(mask_zyx[z])
        areas_mm2 = np.bincount(labels.ravel(), minlength=count + 1)[1:] * spacing**2
        centres = np.array(ndimage.center_of_mass(mask_zyx[z], labels, range(1, count + 1)))
        beside_mm = np.abs(centres[:, 1] - anatomy.spine.x[z]) * spacing
        before_mm = (anatomy.spine.front_y[z] - centres[:, 0]) * spacing
        alone = (areas_mm2 < _VENA_CAVA_MM2) & (beside_mm < 45.0) & (before_mm < 45.0)
        cleaned[z] &= ~np.isin(labels, np.flatnonzero(alone) + 1)
    labels, _ = ndimage.label(cleaned)
    seeded = labels[seed.core_zyx & cleaned]
    return np.asarray(labels == int(np.bincount(seeded).argmax())) if seeded.size else cleaned


def _columns(anatomy: Anatomy) -> NDArray[np.intp]:
    return np.arange(anatomy.smooth_hu_zyx.shape[2])[None, None, :]


def _depth_mm(mask_zyx: NDArray[np.bool_], spacing_mm: float) -> NDArray[np.float64]:
    """Distance to what is outside of a mask; a lateral border of the field counts as outside, an end of it does not.

    Else a muscle that the field cuts would be as deep as a liver.
    """
    padded = np.pad(_padded_in_z(mask_zyx), ((0, 0), (1, 1), (1, 1)))
    depth: NDArray[np.float64] = ndimage.distance_transform_edt(padded)[1:-1, 1:-1, 1:-1] * spacing_mm
    return depth


def _padded_in_z(mask_zyx: NDArray[np.bool_], planes: int = 1) -> NDArray[np.bool_]:
    """Repeat the outermost planes: a scan that ends inside of an organ is no border of the organ."""
    return np.pad(mask_zyx, ((planes, planes), (0, 0), (0, 0)), mode="edge")
