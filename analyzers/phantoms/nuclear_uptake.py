"""Where the tracer is: activity maps of a pump perfusion study and of a colloid liver scan.

Macroaggregates infused through the pump are trapped by the first capillaries that they meet. Most stay in the liver,
in proportion to the arterial flow of each lobe and lesion; what passes arteriovenous shunts stays in the lungs; what
leaves the hepatic territory by an unligated branch marks another organ. All shares are of activity, before any camera.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from analyzers.phantoms.nuclear_body import NuclearBody
from analyzers.phantoms.nuclear_shapes import FloatArray, Point, Solid, ellipsoid_mm, occupancy_of, smooth_noise_zyx
from analyzers.phantoms.request import PhantomRequest

EXTRAHEPATIC_ORGANS = ("stomach", "duodenum", "spleen", "bowel", "pancreas")


@dataclass(frozen=True, slots=True, kw_only=True)
class Focus:
    """Uptake outside liver and lungs that a reader would name.

    Attributes
    ----------
    name, organ : str
    origin : str
        ``extrahepatic`` (perfusion of another organ), ``device`` (tip, pocket) or ``pertechnetate`` (free tracer).
    liver_share_fraction : float
        Activity relative to that of the liver.
    solid : Solid
        Occupancy weighted by uptake.
    """

    name: str
    organ: str
    origin: str
    liver_share_fraction: float
    solid: Solid


@dataclass(frozen=True, slots=True, kw_only=True)
class LiverLesion:
    """A tumour in the liver with its uptake relative to normal liver per volume (below 1 = cold)."""

    name: str
    centre_lps_mm: Point
    radius_mm: float
    uptake_ratio: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Uptake:
    """Distribution of one tracer.

    Attributes
    ----------
    activity_zyx : float32 array
        Share of the administered activity per voxel; sums to 1 over a grid that holds the whole body.
    lung_shunt_fraction : float
        Lung / (lung + liver), of trapped activity.
    left_share_fraction : float
        Left lobe / liver, of activity.
    liver_fraction : float
        Share of the given activity that the liver trapped.
    foci, lesions : tuples
    """

    activity_zyx: FloatArray
    lung_shunt_fraction: float
    left_share_fraction: float
    liver_fraction: float
    foci: tuple[Focus, ...]
    lesions: tuple[LiverLesion, ...]


def draw_lung_shunt(request: PhantomRequest) -> float:
    """Draw the true lung shunt fraction.

    Log-normal with mean 0.06 and most values from 0.02 to 0.15, cut at 0.004 and 0.20, as published for pump patients
    (mean 6.2 %, range 0.4 to 32 %); the variant ``lung-shunt-high`` lies from 0.20 to 0.32, ``lung-shunt-raised`` from
    0.07 to 0.10: usual in patients, and large beside the error of the measurement.
    """
    rng = request.rng("lung shunt")
    usual = float(np.clip(np.exp(rng.normal(np.log(0.051), 0.6)), 0.004, 0.20))
    high = float(rng.uniform(0.20, 0.32))
    raised = float(rng.uniform(0.07, 0.10))
    if request.has("lung-shunt-raised"):
        return raised
    return high if request.has("lung-shunt-high") else usual


def draw_uptake(body: NuclearBody, request: PhantomRequest) -> Uptake:
    """Distribute the macroaggregates of one pump study."""
    shunt = draw_lung_shunt(request)
    liver_zyx, lesions = _liver_weights(body, request)
    relative: list[tuple[Solid, float]] = [(_block(body, "liver", liver_zyx), 1.0)]
    lungs = shunt / (1.0 - shunt)
    relative += [(solid, lungs * share) for solid, share in _lung_blocks(body, request)]
    foci = draw_foci(body, request)
    relative += [(focus.solid, focus.liver_share_fraction) for focus in foci]
    activity = np.zeros(body.grid.shape_zyx, np.float32)
    for solid, weight in relative:
        _deposit(activity, solid, weight)
    activity += _circulating(body, request)
    total = float(activity.sum(dtype=np.float64))
    activity /= np.float32(total)
    liver_sum = float(liver_zyx.sum(dtype=np.float64))
    left = liver_zyx * (1.0 - body.right_lobe_share_zyx)
    return Uptake(
        activity_zyx=activity,
        lung_shunt_fraction=shunt,
        left_share_fraction=float(left.sum(dtype=np.float64)) / liver_sum,
        liver_fraction=1.0 / total,
        foci=tuple(foci),
        lesions=tuple(lesions),
    )


def draw_colloid(body: NuclearBody, request: PhantomRequest) -> FloatArray:
    """Share of activity per voxel of an intravenous colloid: liver, spleen and a little marrow.

    Phagocytic cells take up 80 to 90 % in the liver and 5 to 10 % in the spleen, the rest in marrow.
    """
    rng = request.rng("colloid")
    spleen, marrow = float(rng.uniform(0.06, 0.12)), float(rng.uniform(0.03, 0.06))
    activity = np.zeros(body.grid.shape_zyx, np.float32)
    texture = np.exp(0.05 * smooth_noise_zyx(body.grid, 40.0, rng))
    liver = body.solids["liver"]
    _deposit(activity, liver.times(texture[liver.box]), 1.0 - spleen - marrow)
    _deposit(activity, body.solids["spleen"], spleen)
    _deposit(activity, body.solids["spine"], marrow)
    _deposit(activity, body.solids["body"], 0.02)
    return np.asarray(activity / np.float32(activity.sum(dtype=np.float64)), np.float32)


def focus_activity(body: NuclearBody, uptake: Uptake, focus: Focus) -> FloatArray:
    """Share of the given activity per voxel that one focus alone holds."""
    activity = np.zeros(body.grid.shape_zyx, np.float32)
    _deposit(activity, focus.solid, focus.liver_share_fraction * uptake.liver_fraction)
    return activity


def draw_foci(body: NuclearBody, request: PhantomRequest) -> list[Focus]:
    """Uptake outside liver and lungs that the variants ask for, each with its own share."""
    foci = []
    for organ in EXTRAHEPATIC_ORGANS:
        if request.has(f"extrahepatic-{organ}"):
            share = _extrahepatic_share(request, organ)
            foci.append(_focus(organ, organ, "extrahepatic", share, _territory(body, request, organ)))
    rng = request.rng("device uptake")
    tip_share, pocket_share = float(rng.uniform(0.03, 0.10)), float(rng.uniform(0.15, 0.45))
    if request.has("hot-tip"):
        foci.append(_focus("catheter tip", "hepatic artery", "device", tip_share, body.solids["tip"]))
    if request.has("pocket-extravasation"):
        foci.append(_focus("pump pocket", "abdominal wall", "device", pocket_share, _leak(body, rng)))
    if request.has("free-pertechnetate"):
        rng = request.rng("pertechnetate")
        for organ, low, high in (
            ("stomach_wall", 0.03, 0.07), ("thyroid", 0.004, 0.010), ("bladder", 0.008, 0.03),
            ("kidney_right", 0.004, 0.010), ("kidney_left", 0.004, 0.010), ("salivary_glands", 0.004, 0.010),
        ):  # fmt: skip
            share = float(rng.uniform(low, high))
            foci.append(_focus(organ.replace("_", " "), organ, "pertechnetate", share, body.solids[organ]))
    # What lies outside the simulated length of the body cannot be seen and is not part of this study.
    return [focus for focus in foci if focus.solid.occupancy_zyx.sum() > 0]


def _extrahepatic_share(request: PhantomRequest, organ: str) -> float:
    """Activity of a misperfused organ relative to the liver."""
    rng = request.rng(f"extrahepatic {organ}")
    position = float(rng.uniform())
    low, high = (0.02, 0.06)
    if request.has("strong"):
        low, high = (0.06, 0.15)
    if request.has("faint"):
        low, high = (0.001, 0.005)
    if request.has("any-strength"):
        low, high = (0.005, 0.15)
    return float(low * (high / low) ** position)


def _territory(body: NuclearBody, request: PhantomRequest, organ: str) -> Solid:
    """The part of an organ that one stray branch supplies: all of the spleen, a patch of the others."""
    rng = request.rng(f"territory {organ}")
    name, centre_index, radius_mm = {
        "stomach": ("stomach_wall", (float(rng.uniform(0.25, 0.75)), 0.35, 0.45), float(rng.uniform(26, 48))),
        "duodenum": ("duodenum", (float(rng.uniform(0.3, 0.9)), 0.5, 0.3), float(rng.uniform(24, 45))),
        "spleen": ("spleen", (0.5, 0.5, 0.5), 500.0),
        "bowel": ("small_bowel", (0.97, 0.40, float(rng.uniform(0.55, 0.75))), float(rng.uniform(30, 45))),
        "pancreas": ("pancreas", (0.35, 0.4, 0.25), float(rng.uniform(30, 50))),
    }[organ]
    solid = body.solids[name]
    shape = solid.occupancy_zyx.shape
    z, y, x = (
        body.grid.axis_mm(axis)[solid.box[axis]].reshape([-1 if a == axis else 1 for a in range(3)])
        for axis in range(3)
    )
    z0, y0, x0 = (
        float(axis.ravel()[min(int(share * n), n - 1)])
        for axis, share, n in zip((z, y, x), centre_index, shape, strict=True)
    )
    nearest = np.argmin(np.where(solid.occupancy_zyx > 0.5, (x - x0) ** 2 + (y - y0) ** 2 + (z - z0) ** 2, 1e9))
    iz, iy, ix = np.unravel_index(int(nearest), shape)
    centre = (float(x.ravel()[ix]), float(y.ravel()[iy]), float(z.ravel()[iz]))
    square = (x - centre[0]) ** 2 + (y - centre[1]) ** 2 + (z - centre[2]) ** 2
    falloff = np.exp(-0.5 * (square / radius_mm**2) ** 2)
    return solid.times(falloff.astype(np.float32))


def _leak(body: NuclearBody, rng: np.random.Generator) -> Solid:
    """Tracer spilt round the pump: uneven over the pocket, most on the side of the puncture."""
    pocket = body.solids["pocket"]
    texture = np.exp(0.9 * smooth_noise_zyx(body.grid, 30.0, rng))[pocket.box]
    return pocket.times(texture.astype(np.float32))


def _focus(name: str, organ: str, origin: str, share: float, solid: Solid) -> Focus:
    return Focus(name=name, organ=organ, origin=origin, liver_share_fraction=share, solid=solid)


def _liver_weights(body: NuclearBody, request: PhantomRequest) -> tuple[FloatArray, list[LiverLesion]]:
    """Relative uptake per voxel of the liver's box, with lobes, texture and lesions."""
    rng = request.rng("liver uptake")
    right, left = np.exp(rng.normal(0.0, 0.18, 2))
    remnant = float(rng.uniform(0.01, 0.05))
    if request.has("missing-left-lobe") or request.has("y90-mapping"):
        left = remnant * right
    if request.has("missing-right-lobe"):
        right = remnant * left
    liver = body.solids["liver"]
    coarse, fine = smooth_noise_zyx(body.grid, 34.0, rng), smooth_noise_zyx(body.grid, 15.0, rng)
    texture = np.exp(0.22 * coarse[liver.box] + 0.12 * fine[liver.box])
    lesions = draw_lesions(body, request.rng("liver lesions"))
    share = body.right_lobe_share_zyx
    weights = liver.occupancy_zyx * texture
    for lesion in lesions:
        weights = weights * _lesion_factor(body, liver, lesion)
    # Applied last: a lesion of a lobe that receives nothing receives nothing either.
    weights = weights * (share * right + (1 - share) * left)
    return np.asarray(weights, np.float32), lesions


def draw_lesions(body: NuclearBody, rng: np.random.Generator) -> list[LiverLesion]:
    """Up to five tumours of 8 to 32 mm radius; three in four take up more than liver, the others less."""
    liver = body.solids["liver"]
    inside = np.argwhere(liver.occupancy_zyx > 0.99)
    lesions = []
    first = np.array(body.grid.first_centre_lps_mm)
    for number in range(int(rng.integers(0, 6))):
        place = rng.uniform(size=3)
        radius_mm = float(np.exp(rng.uniform(np.log(8), np.log(32))))
        ratio = float(rng.uniform(1.8, 5.0)) if rng.random() < 0.75 else float(rng.uniform(0.1, 0.5))
        # The nearest liver to a random point of its bounding box: the same place on a grid of another extent.
        wanted = inside.min(axis=0) + place * np.ptp(inside, axis=0)
        nearest = inside[np.argmin(((inside - wanted) ** 2).sum(axis=1))]
        z, y, x = nearest + [s.start for s in liver.box]
        centre = first + body.grid.voxel_mm * np.array([x, y, z])
        lesions.append(
            LiverLesion(
                name=f"L{number + 1}",
                centre_lps_mm=(float(centre[0]), float(centre[1]), float(centre[2])),
                radius_mm=radius_mm,
                uptake_ratio=ratio,
            )
        )
    return lesions


def _lesion_factor(body: NuclearBody, liver: Solid, lesion: LiverLesion) -> FloatArray:
    """Factor on the uptake of the liver's box; large tumours have a core without perfusion."""
    z = body.grid.axis_mm(0)[liver.box[0]][:, None, None]
    y = body.grid.axis_mm(1)[liver.box[1]][None, :, None]
    x = body.grid.axis_mm(2)[liver.box[2]][None, None, :]
    r = lesion.radius_mm
    points = (x + 0 * y + 0 * z, y + 0 * x + 0 * z, z + 0 * x + 0 * y)
    inside = occupancy_of(ellipsoid_mm(points, lesion.centre_lps_mm, (r, r * 0.9, r * 1.1)), body.grid.voxel_mm)
    factor = 1.0 + inside * (lesion.uptake_ratio - 1.0)
    if r > 22:
        core = ellipsoid_mm(points, lesion.centre_lps_mm, (r * 0.5, r * 0.45, r * 0.55))
        factor = factor * (1.0 - 0.8 * occupancy_of(core, body.grid.voxel_mm))
    return np.asarray(factor, np.float32)


def _lung_blocks(body: NuclearBody, request: PhantomRequest) -> Sequence[tuple[Solid, float]]:
    """Both lungs with their share: more blood flow to the back and the base, a little patchy."""
    rng = request.rng("lung uptake")
    patches = np.exp(0.12 * smooth_noise_zyx(body.grid, 45.0, rng))
    y = body.grid.axis_mm(1)[None, :, None]
    z = body.grid.axis_mm(0)[:, None, None]
    flow = patches * (1.0 + 0.0035 * y) * (1.0 - 0.0012 * np.clip(z, 0, 220))
    blocks = []
    for name in ("lung_right", "lung_left"):
        solid = body.solids[name]
        blocks.append(solid.times(flow[solid.box].astype(np.float32)))
    sums = [float(block.occupancy_zyx.sum(dtype=np.float64)) for block in blocks]
    return [(block, part / sum(sums)) for block, part in zip(blocks, sums, strict=True)]


def _circulating(body: NuclearBody, request: PhantomRequest) -> FloatArray:
    """Tracer that is trapped nowhere: small fragments in the blood, and what the kidneys take of them.

    Two to five per cent of the liver's activity within an hour of the infusion.
    """
    rng = request.rng("circulating")
    share = float(rng.uniform(0.02, 0.05)) * (1.8 if request.has("free-pertechnetate") else 1.0)
    level = body.solids["body"].full_zyx(body.grid)
    for name, factor in (("heart", 1.5), ("spleen", 0.8), ("kidney_right", 4.0), ("kidney_left", 4.0)):
        solid = body.solids[name]
        level[solid.box] += solid.occupancy_zyx * np.float32(factor)
    for name, factor in (("lung_right", 0.6), ("lung_left", 0.6), ("stomach_lumen", 0.9), ("pump", 1.0)):
        if name not in body.solids:
            continue
        solid = body.solids[name]
        level[solid.box] -= solid.occupancy_zyx * np.float32(factor)
    level = np.maximum(level, 0)
    # Density is set by the whole body (weight), so that a short simulated length does not concentrate it.
    density = share * body.grid.voxel_mm**3 / (body.stature.weight_kg * 1e6)
    return np.asarray(level * np.float32(density), np.float32)


def _block(body: NuclearBody, name: str, weights_zyx: FloatArray) -> Solid:
    return Solid(box=body.solids[name].box, occupancy_zyx=weights_zyx)


def _deposit(activity_zyx: FloatArray, solid: Solid, share: float) -> None:
    """Add a share of activity, spread by a solid's weights."""
    total = float(solid.occupancy_zyx.sum(dtype=np.float64))
    if total > 0:
        activity_zyx[solid.box] += solid.occupancy_zyx * np.float32(share / total)
