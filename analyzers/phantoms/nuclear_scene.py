"""A patient with tracer in front of the camera: from a request to expected and to counted images."""

import datetime as dt
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from analyzers.phantoms.nuclear_atlas import draw_stature
from analyzers.phantoms.nuclear_attenuation import drawn_factor, lung_gain, with_lungs_times
from analyzers.phantoms.nuclear_body import NuclearBody, build_body
from analyzers.phantoms.nuclear_camera import Camera, View, field_of_view, project, turned
from analyzers.phantoms.nuclear_frames import START_ANGLE_DEG
from analyzers.phantoms.nuclear_headers import Tracer
from analyzers.phantoms.nuclear_posture import Stay, exposed_in, stays
from analyzers.phantoms.nuclear_shapes import FloatArray, Grid
from analyzers.phantoms.nuclear_surgery import after_surgery
from analyzers.phantoms.nuclear_uptake import Uptake, draw_uptake
from analyzers.phantoms.request import PhantomRequest
from analyzers.phantoms.study import draw_patient

# Matrices of 128 and 256 on a crystal whose side of 614 mm they sample, as large cameras do at zoom 1.
PIXEL_MM = {"small": 4.7952, "full": 2.3976}
_MATRIX = {"small": 128, "full": 256}
_CRYSTAL_WIDTH_MM, _CRYSTAL_HEIGHT_MM = 540.0, 400.0
_TC_99M_HALF_LIFE_S = 6.0067 * 3600.0
_BREATHING_SIGMA_MM = 4.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """One patient after the infusion.

    Attributes
    ----------
    request : PhantomRequest
    body : NuclearBody
    uptake : Uptake
    attenuation_factor : float
        k, the ratio of the attenuation factors of liver and lung in planar views (see `nuclear_attenuation`).
    lung_gain : float
        How much brighter the lungs are in planar views than the atlas makes them, so that k holds.
    """

    request: PhantomRequest
    body: NuclearBody
    uptake: Uptake
    attenuation_factor: float
    lung_gain: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """An activity map with what was given of it.

    Attributes
    ----------
    activity_zyx : float32 array
        Share of the given activity per voxel.
    tracer : Tracer
    """

    activity_zyx: FloatArray
    tracer: Tracer

    def activity_mbq(self, at: dt.datetime) -> float:
        """What is left by physical decay of Tc-99m."""
        elapsed_s = (at - self.tracer.given_at).total_seconds()
        return self.tracer.activity_mbq * float(0.5 ** (elapsed_s / _TC_99M_HALF_LIFE_S))


def build_scene(request: PhantomRequest) -> Scene:
    """Draw the patient of a request on a grid that suits its acquisitions."""
    patient = draw_patient(request)
    stature = draw_stature(patient.sex, patient.height_m, patient.weight_kg, request.rng("nuclear stature"))
    pixel_mm = PIXEL_MM[request.size]
    columns = _MATRIX[request.size]
    if request.has("whole-body"):
        # From above the head to the thighs.
        rows, centre_mm = columns * 2, -70.0 * stature.scale
    else:
        rows, centre_mm = columns, static_centre_mm(request, stature.scale)
    depth = int(np.ceil(125.0 * 2 * stature.girth / pixel_mm)) + 4
    grid = Grid(
        voxel_mm=pixel_mm,
        shape_zyx=(rows, depth, columns),
        first_centre_lps_mm=(
            -(columns - 1) / 2 * pixel_mm, -(depth - 1) / 2 * pixel_mm, centre_mm - (rows - 1) / 2 * pixel_mm,
        ),
    )  # fmt: skip
    whole = build_body(grid, stature, request.rng("nuclear anatomy"), with_pump=has_pump(request), model=request.model)
    body = after_surgery(whole, request)
    factor = drawn_factor(request)
    return Scene(
        request=request,
        body=body,
        uptake=draw_uptake(body, request),
        attenuation_factor=factor,
        lung_gain=lung_gain(whole, factor),
    )


def has_pump(request: PhantomRequest) -> bool:
    """Whether the patient carries a pump: neither before radioembolisation nor in a plain liver scan."""
    return not (request.has("y90-mapping") or request.has("not-hai"))


def static_centre_mm(request: PhantomRequest, scale: float) -> float:
    """Height of the middle of a static field: lungs and liver together, or lower when the pocket must be seen."""
    middle = 5.0 * scale
    return middle - 75.0 if request.has("pocket-extravasation") else middle


def camera_gap_mm(request: PhantomRequest, view: str) -> float:
    """Air between skin and collimator."""
    return float(request.rng(f"gap {view}").uniform(12.0, 45.0))


def view_of(
    scene: Scene, activity_zyx: FloatArray, camera: Camera, view: str, spent: tuple[Stay, ...] | None = None
) -> View:
    """Expected image of one named view per unit of activity, blurred by free breathing.

    Where the patient lies follows from the variants, unless ``spent`` says it.
    """
    angle_deg = START_ANGLE_DEG[view]
    activity = with_lungs_times(scene.body, activity_zyx, scene.lung_gain)
    attenuation = scene.body.attenuation_per_mm_zyx
    if angle_deg not in {0.0, 180.0}:
        activity, attenuation = squared(activity), squared(attenuation)
    seen = project(
        turned(activity, angle_deg), turned(attenuation, angle_deg),
        camera.with_gap(camera_gap_mm(scene.request, view)),
    )  # fmt: skip
    mirror = -1.0 if view == "posterior" else 1.0
    lying = stays(scene.request, view) if spent is None else spent
    return View(
        primary=exposed_in(_breathing(seen.primary, camera.pixel_mm), lying, camera.pixel_mm, mirror),
        scatter=exposed_in(_breathing(seen.scatter, camera.pixel_mm), lying, camera.pixel_mm, mirror),
    )


def squared(volume_zyx: FloatArray) -> FloatArray:
    """Pad y with air on both sides until it is as long as x, so that the patient can be turned."""
    missing = volume_zyx.shape[2] - volume_zyx.shape[1]
    before = missing // 2
    return np.pad(volume_zyx, ((0, 0), (before, missing - before), (0, 0)))


def _breathing(image: FloatArray, pixel_mm: float) -> FloatArray:
    """Free breathing along the body."""
    return np.asarray(ndimage.gaussian_filter1d(image, _BREATHING_SIGMA_MM / pixel_mm, axis=0), np.float32)


def exposed(expected: FloatArray, pixel_mm: float, whole_body: bool) -> FloatArray:
    """What the crystal can see of an expected image: its rectangle, or for a scan the full length."""
    height_mm = 1e6 if whole_body else _CRYSTAL_HEIGHT_MM
    shape = (expected.shape[0], expected.shape[1])
    return np.asarray(expected * field_of_view(shape, pixel_mm, _CRYSTAL_WIDTH_MM, height_mm), np.float32)


def counted(expected: FloatArray, rng: np.random.Generator) -> NDArray[np.uint16]:
    """Poisson counts of an expected image."""
    return np.minimum(rng.poisson(expected.astype(np.float64)), 65535).astype(np.uint16)
