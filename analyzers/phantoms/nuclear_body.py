"""A random patient with a hepatic arterial infusion pump, as solids and as an attenuation map.

The atlas is a set of ellipsoids, tubes and level sets in the patient frame (LPS mm) whose origin lies in the
midline, half way through the trunk, at the height of the right dome of the diaphragm. It is scaled to the patient's
stature and girth, the liver is scaled to a drawn volume, and everything is bent by one smooth random displacement,
so that no two seeds have the same outline. Proportions are those of textbooks of surface anatomy for a patient who
lies on the back with the arms raised; they are not taken from any one person.
"""

from dataclasses import dataclass

import numpy as np

from analyzers.phantoms.nuclear_atlas import BodyBuilder, Stature, trunk_mm
from analyzers.phantoms.nuclear_evaluation import (
    evaluation_warp,
    place_evaluation_chest,
    place_evaluation_liver,
)
from analyzers.phantoms.nuclear_organs import (
    place_abdomen,
    place_bowel,
    place_chest,
    place_device,
    place_liver,
    place_skeleton,
)
from analyzers.phantoms.nuclear_shapes import (
    FloatArray,
    Grid,
    Point,
    Solid,
    random_warp,
)
from analyzers.phantoms.request import Model

# Linear attenuation at 140 keV in 1/mm, narrow beam (NIST XCOM, mixtures of ICRU 44 tissues).
SOFT_PER_MM = 0.0154
BONE_PER_MM = 0.0235
GAS_PER_MM = 0.0002
PUMP_PER_MM = 0.0270  # titanium walls round a reservoir of fluid


@dataclass(frozen=True, slots=True, kw_only=True)
class NuclearBody:
    """One patient on a grid.

    Attributes
    ----------
    grid : Grid
    stature : Stature
    solids : dict of Solid
        By name; they do not overlap, except ``body`` which holds them all, and ``tip`` and ``pocket`` inside it.
        Without a pump there is no ``pump``, ``pocket`` or ``tip``.
    right_lobe_share_zyx : float32 array
        Share of right lobe per voxel of the liver's box (0 = left, 1 = right; the plane of the main fissure).
    catheter_lps_mm : tuple of points
        From the pump to the tip; empty without a pump.
    attenuation_per_mm_zyx : float32 array
        At 140 keV.
    """

    grid: Grid
    stature: Stature
    solids: dict[str, Solid]
    right_lobe_share_zyx: FloatArray
    catheter_lps_mm: tuple[Point, ...]
    attenuation_per_mm_zyx: FloatArray


def build_body(grid: Grid, stature: Stature, rng: np.random.Generator, *, with_pump: bool, model: Model) -> NuclearBody:
    """Place all structures of one patient on a grid and make the attenuation map.

    Parameters
    ----------
    grid : Grid
        Must reach beyond the skin at the front and the back.
    stature : Stature
    rng : numpy.random.Generator
        Source of shape.
    with_pump : bool
        Without a pump there is neither pocket nor catheter.
    model : {"development", "evaluation"}
        Which generator of anatomy (see `nuclear_evaluation`).
    """
    evaluation = model == "evaluation"
    warp = evaluation_warp(grid, rng) if evaluation else random_warp(grid, 5.0, 75.0, rng)
    builder = BodyBuilder(grid, stature, warp)
    # Draws come in a fixed order, so that a grid of another extent shows the same patient.
    liver_slant, stomach_size, bladder_mm, kidney_drop_mm = (
        float(rng.normal(0, 5)), float(rng.uniform(0.85, 1.2)), float(rng.uniform(30, 42)), float(rng.uniform(0, 15)),
    )  # fmt: skip
    bowel_rng, liver_rng = (np.random.default_rng(rng.integers(2**63)) for _ in range(2))
    everything = (slice(None), slice(None), slice(None))
    skin_mm = trunk_mm(builder.points(everything))
    builder.lay_over("body", everything, skin_mm)
    place_skeleton(builder, skin_mm)
    if evaluation:
        place_evaluation_chest(builder, skin_mm)
        share = place_evaluation_liver(builder, skin_mm, liver_rng)
    else:
        place_chest(builder, skin_mm)
        share = place_liver(builder, skin_mm, liver_slant)
    catheter = place_device(builder, skin_mm) if with_pump else ()
    place_abdomen(builder, skin_mm, stomach_size, bladder_mm, kidney_drop_mm)
    place_bowel(builder, skin_mm, bowel_rng)
    return NuclearBody(
        grid=grid,
        stature=stature,
        solids=builder.solids,
        right_lobe_share_zyx=share,
        catheter_lps_mm=catheter,
        attenuation_per_mm_zyx=attenuation_map(builder),
    )


def attenuation_map(builder: BodyBuilder) -> FloatArray:
    """Attenuation at 140 keV in 1/mm on the whole grid, air outside."""
    result = builder.solids["body"].occupancy_zyx * np.float32(SOFT_PER_MM)
    materials = {
        "spine": BONE_PER_MM,
        "ribs": BONE_PER_MM,
        "lung_right": builder.stature.lung_per_mm,
        "lung_left": builder.stature.lung_per_mm,
        "pump": PUMP_PER_MM,
        "colon": 0.7 * SOFT_PER_MM + 0.3 * GAS_PER_MM,
    }
    for name, per_mm in materials.items():
        if name not in builder.solids:
            continue
        solid = builder.solids[name]
        result[solid.box] += solid.occupancy_zyx * np.float32(per_mm - SOFT_PER_MM)
    stomach = builder.solids["stomach_lumen"]
    # Gas rises to the front of a patient who lies on the back.
    y_mm = builder.grid.axis_mm(1)[stomach.box[1]][None, :, None]
    gas = stomach.occupancy_zyx * (y_mm < stomach.centroid_lps_mm(builder.grid)[1] - 4.0)
    result[stomach.box] += gas.astype(np.float32) * np.float32(GAS_PER_MM - SOFT_PER_MM)
    return np.asarray(np.maximum(result, 0.0), np.float32)
