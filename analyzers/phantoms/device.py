"""The implanted infusion pump, its catheter, and the surgeon's clips.

Sizes are the makers': constant-flow Model 3000, disc 78 mm by 24 mm with a central septum dome of 10 mm (FDA summary
P890055); SynchroMed II, 87.5 mm by 19.5 or 26 mm. Silicone catheter 2.3 mm outside, tangential to the edge.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analyzers.phantoms.body import Build
from analyzers.phantoms.layers import Layer, SolidLayer, SolidShape, TubeLayer
from analyzers.phantoms.request import PhantomRequest
from analyzers.phantoms.shapes import Field, Lattice, Point, ellipsoid, smooth_path
from analyzers.phantoms.vessels import Vessels

CATHETER_RADIUS_MM = 1.15
STUMP_MM = 18.0
_SHELL_MM = 1.3


@dataclass(frozen=True, slots=True, kw_only=True)
class PumpModel:
    """Outer size of a pump: disc, and the dome of the septum above it."""

    name: str
    diameter_mm: float
    thickness_mm: float
    dome_mm: float


PUMP_MODELS = (
    PumpModel(name="constant flow, 3000", diameter_mm=78.0, thickness_mm=24.0, dome_mm=10.0),
    PumpModel(name="programmable, 20 ml", diameter_mm=87.5, thickness_mm=19.5, dome_mm=0.0),
    PumpModel(name="programmable, 40 ml", diameter_mm=87.5, thickness_mm=26.0, dome_mm=0.0),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """An implanted pump.

    Attributes
    ----------
    centre : Point
        Middle of the disc (the dome left out), LPS mm.
    normal : (3,) float
        Unit vector along the disc's axis, towards the septum.
    outward : (3,) float
        Unit vector of the skin there; opposite to ``normal`` when the pump has flipped.
    catheter : (n, 4) float
        Centre line from the pump to the tip, x, y, z, radius in LPS mm.
    clips : tuple of (2, 4) float
        Clip ends.
    """

    model: PumpModel
    centre: Point
    normal: NDArray[np.float64]
    outward: NDArray[np.float64]
    catheter: NDArray[np.float64]
    clips: tuple[NDArray[np.float64], ...]


def draw_device(request: PhantomRequest, build: Build, vessels: Vessels) -> Device:
    """Implant a pump in a lower quadrant and lead its catheter into the gastroduodenal stump."""
    rng = request.rng("device")
    model = PUMP_MODELS[int(rng.choice(3, p=[0.7, 0.15, 0.15]))]
    side = 1.0 if rng.uniform() < 0.5 else -1.0
    across = np.radians(rng.uniform(33, 40))  # from the midline in front, about the middle of the trunk
    a, b = build.cavity_half_x_mm * 0.95 + build.wall_mm, build.cavity_half_y_mm * 0.95 + build.wall_mm + 14
    y_centre = build.cavity_centre_y_mm + 10
    direction = np.array([side * np.sin(across), -np.cos(across)])
    reach = (abs(direction[0] / a) ** 2.4 + abs(direction[1] / b) ** 2.4) ** (-1 / 2.4)
    wall = np.array([direction[0] * reach, direction[1] * reach + y_centre])
    slope = np.array([abs(direction[0]) ** 1.4 * side / a**2.4, -(abs(direction[1]) ** 1.4) / b**2.4])
    outward = np.array([*(slope / np.linalg.norm(slope)), 0.0])
    height = -128.0 * build.long_scale + rng.normal(0, 4)
    centre = np.array([*wall, height]) + outward * (0.5 * model.thickness_mm - 4.0)
    tilt = rng.normal(0, 0.06, 3)
    outward = (outward + tilt) / np.linalg.norm(outward + tilt)
    normal = -outward if request.has("pump-flipped") else outward
    return Device(
        model=model,
        centre=(float(centre[0]), float(centre[1]), float(centre[2])),
        normal=normal,
        outward=outward,
        catheter=_catheter(rng, build, vessels, model, centre, outward),
        clips=_clips(rng, vessels),
    )


def _catheter(
    rng: np.random.Generator,
    build: Build,
    vessels: Vessels,
    model: PumpModel,
    centre: NDArray[np.float64],
    outward: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Tangentially off the rim, a loop in the pocket, through the fascia, up to the artery."""
    side = np.sign(centre[0])
    up = np.array([0.0, 0.0, 1.0]) - outward[2] * outward
    up /= np.linalg.norm(up)
    medial = np.cross(outward, up)
    medial *= -side * np.sign(medial[0])
    rim = 0.5 * model.diameter_mm + 0.5
    behind = -outward * (0.5 * model.thickness_mm)

    def on_disc(right: float, above: float, depth: float) -> NDArray[np.float64]:
        return np.asarray(centre + right * medial + above * up + depth * behind)

    angle = float(rng.uniform(0.1, 0.4))
    start = on_disc(rim * np.cos(angle), rim * np.sin(angle), 0.2)
    tangent = -np.sin(angle) * medial + np.cos(angle) * up
    gda = vessels.arteries["gastroduodenal"]
    wall_y = build.cavity_centre_y_mm - build.cavity_half_y_mm
    entry = gda[int(STUMP_MM / 2.0), :3]
    points = [
        start,
        start + 10 * tangent + 0.3 * behind,
        on_disc(0.62 * rim, rim + 10, 0.7),
        on_disc(0.15 * rim, rim + 13, 0.95),
        on_disc(0.05 * rim, rim + 2, 1.35),
        np.array([0.42 * centre[0], wall_y + 16 + rng.normal(0, 2), centre[2] + rim + 22]),
        np.array([0.15 * centre[0] - 6, wall_y + 15 + rng.normal(0, 2), -70.0]),
        np.array([-20.0, entry[1] - 20, -52.0]) + rng.normal(0, 2, 3),
        entry + np.array([2.0, -7.0, -13.0]),
        entry,
        gda[int(STUMP_MM / 4.0), :3],
        gda[0, :3],
    ]
    line = smooth_path(np.asarray(points), 1.5)
    return np.column_stack([line, np.full(len(line), CATHETER_RADIUS_MM)])


def _clips(rng: np.random.Generator, vessels: Vessels) -> tuple[NDArray[np.float64], ...]:
    """Clips on the stump, the cystic duct and a branch or two."""
    gda = vessels.arteries["gastroduodenal"]
    places = [
        gda[int(STUMP_MM / 2.0) + 2, :3] + (3.0, 1.0, 0.0),
        gda[int(STUMP_MM / 2.0) + 3, :3] + (-3.0, 0.0, -3.0),
        np.array([-44.0, -24.0, -8.0]),
        np.array([-47.0, -27.0, -13.0]),
    ]
    clips = []
    for place in places:
        axis = rng.normal(size=3)
        axis *= 2.2 / np.linalg.norm(axis)
        middle = place + rng.normal(0, 1.0, 3)
        clips.append(np.array([[*(middle - axis), 0.7], [*(middle + axis), 0.7]]))
    return tuple(clips)


def bulge_field(at: Lattice, device: Device) -> Field:
    """The skin's bump over the pump."""
    top = np.asarray(device.centre) + device.outward * 2.0
    radius = 0.5 * device.model.diameter_mm + 16
    height = 0.5 * device.model.thickness_mm + max(device.model.dome_mm, 4.0) + 8
    turn = float(np.arctan2(device.outward[1], device.outward[0]))
    return ellipsoid(at, (float(top[0]), float(top[1]), float(top[2])), (height, radius, radius), turn)


@dataclass(frozen=True, slots=True, kw_only=True)
class Disc(SolidShape):
    """A disc with rounded edge; ``dome_mm`` adds a blunt cone on the side of the normal."""

    centre: Point
    normal: Point
    radius_mm: float
    half_height_mm: float
    dome_mm: float
    edge_mm: float = 4.0

    def distance(self, x: Field, y: Field, z: Field) -> Field:
        """See `SolidShape`."""
        dx, dy, dz = x - self.centre[0], y - self.centre[1], z - self.centre[2]
        along = dx * self.normal[0] + dy * self.normal[1] + dz * self.normal[2]
        across = np.sqrt(np.maximum(dx * dx + dy * dy + dz * dz - along * along, 0))
        out = across - (self.radius_mm - self.edge_mm)
        over = np.abs(along) - (self.half_height_mm - self.edge_mm)
        disc = np.hypot(np.maximum(out, 0), np.maximum(over, 0)) + np.minimum(np.maximum(out, over), 0) - self.edge_mm
        if self.dome_mm <= 0:
            return np.asarray(disc, dtype=np.float32)
        top = self.half_height_mm + self.dome_mm
        cone = np.maximum(across - 15 + 0.5 * np.maximum(along - self.half_height_mm, 0), along - top)
        return np.asarray(np.minimum(disc, np.maximum(cone, -along)), dtype=np.float32)


def device_layers(device: Device) -> Iterator[Layer]:
    """Titanium shell, reservoir and gas chamber, septum, catheter and clips."""
    model = device.model
    normal: Point = (float(device.normal[0]), float(device.normal[1]), float(device.normal[2]))
    radius, half = 0.5 * model.diameter_mm, 0.5 * model.thickness_mm
    reach = float(np.hypot(radius, half + model.dome_mm)) + 2

    def disc(tissue: str, shrink_mm: float, offset_mm: float, half_mm: float, dome_mm: float, mask: str) -> Layer:
        centre = np.asarray(device.centre) + offset_mm * device.normal
        shape = Disc(
            centre=(float(centre[0]), float(centre[1]), float(centre[2])),
            normal=normal,
            radius_mm=radius - shrink_mm,
            half_height_mm=half_mm,
            dome_mm=dome_mm,
            edge_mm=min(4.0, 0.8 * half_mm),
        )
        within = frozenset({"body"}) if mask == "pump" else frozenset({"body", "pump"})
        return SolidLayer(tissue=tissue, mask=mask, within=within, shape=shape, centre=shape.centre, reach_mm=reach)

    yield disc("titanium", 0.0, 0.0, half, model.dome_mm, "pump")
    chamber = 0.5 * (model.thickness_mm - 3 * _SHELL_MM)
    gas_half, fluid_half = 0.3 * chamber, 0.7 * chamber
    yield disc("propellant", _SHELL_MM, -half + _SHELL_MM + gas_half, gas_half, 0.0, "")
    yield disc("drug", _SHELL_MM, half - _SHELL_MM - fluid_half, fluid_half, 0.0, "")
    post = np.array([[*(np.asarray(device.centre) + device.normal * t), 8.0] for t in (-0.1 * half, half - 2)])
    kept = frozenset({"body", "pump"})
    yield TubeLayer(tissue="titanium", within=kept, path=post)
    yield TubeLayer(tissue="silicone", within=kept, path=post - np.array([0, 0, 0, _SHELL_MM]))
    septum = np.array(
        [[*(np.asarray(device.centre) + device.normal * t), 5.5] for t in (half - 2, half + model.dome_mm - 1)]
    )
    yield TubeLayer(tissue="silicone", within=kept, path=septum)
    kept = frozenset({"body", "hepatic_arteries"})
    yield TubeLayer(tissue="catheter", mask="catheter", within=kept, path=device.catheter)
    for clip in device.clips:
        yield TubeLayer(tissue="titanium", mask="clips", within=frozenset({"body", "liver"}), path=clip)
