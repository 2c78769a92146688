"""CT phantom: native, arterial and portal phase of the liver, before or after the pump's implantation.

Two forward models exist. ``development`` (default) and ``evaluation`` differ in point spread, slice profile,
noise texture, metal artefact, and in how widely the liver and the bending of the organs are drawn; see
`ct_scanner`, `ct_metal`, `liver` and `anatomy`. What is tuned on one must be measured on the other.

``small`` is for demonstrations: 256 x 256, 2.5 mm slices from the dome of the liver to the pump (native: 5 mm, liver
only). Liver, aorta, pump and catheter can be measured on it; calibres of arteries below 3 mm cannot. ``full`` is
512 x 512 in slices of 1 mm.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analyzers.phantoms.anatomy import Anatomy, make_anatomy
from analyzers.phantoms.ct_headers import CtSeriesHeader
from analyzers.phantoms.ct_images import CtSeriesImages, instances_of
from analyzers.phantoms.ct_scanner import Exposure, scan
from analyzers.phantoms.ct_tissues import attenuation_table
from analyzers.phantoms.ct_truth import ct_masks, ct_measurements, ct_structures, lesion_list
from analyzers.phantoms.layers import Grid, Painting, paint
from analyzers.phantoms.request import PhantomRequest
from analyzers.phantoms.stacks import STACK_VARIANTS
from analyzers.phantoms.study import PhantomInstance, PhantomKind, PhantomStudy
from analyzers.phantoms.texture import mottle

VARIANTS = {
    **STACK_VARIANTS,
    "post-op": "after implantation, with pump, catheter and clips (default)",
    "pump": "the same as post-op",
    "pre-op": "before implantation, with gallbladder",
    "no-pump": "headers of a post-operative study, but nothing was implanted",
    "pump-flipped": "the pump has turned over, its septum faces inwards",
    "variant-artery": "right hepatic artery replaced to the superior mesenteric artery",
    "native-only": "only the unenhanced series",
    "arterial-only": "only the arterial series",
    "portal-only": "only the portal series",
    "two-phases-in-one-series": "arterial and portal images share one series",
    "gantry-tilt": "gantry tilted by 12 degrees, slices shifted along the table",
    "localizer-inside": "a scout view inside the first series",
    "derived-inside": "a coronal reformat inside the first series",
    "padding": "outside of the circle of reconstruction padded at -3024 HU",
    "y90-mapping": "headers of planning for Y-90 radioembolisation",
    "german": "German descriptions",
    "not-hai": "no word or code of an infusion pump",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Phase:
    role: str
    description: str
    german: str
    delay_s: float


_PHASES = (
    _Phase(role="native", description="Liver native 5.0", german="Leber nativ", delay_s=0.0),
    _Phase(role="arterial", description="Liver arterial", german="Leber arteriell", delay_s=34.0),
    _Phase(role="portal", description="Liver portal venous", german="Leber portalvenös", delay_s=72.0),
)


def make_ct(request: PhantomRequest) -> PhantomStudy:
    """Make one CT study."""
    operated = not (request.has("pre-op") or request.has("no-pump"))
    anatomy = make_anatomy(request, operated=operated)
    phases = _phases(request)
    grid = _grid(request, anatomy)
    table = attenuation_table(request, tuple(phase.delay_s for phase in phases))
    painting = paint(anatomy.layers, grid, table, "air")
    mottle(painting, "liver", tuple(2.0 + 0.01 * hu for hu in table["liver"]), request.rng("mottle"))
    exposures = tuple(_exposure(request, anatomy, phase) for phase in phases)
    main = exposures[-1]
    return PhantomStudy(
        instances=_instances(request, painting, phases, exposures),
        measurements=ct_measurements(request, anatomy, painting, table, [phase.role for phase in phases]),
        masks=ct_masks(request, painting, main),
        structures=ct_structures(request, anatomy, painting, phases[-1].role),
        lists={"lesions": lesion_list(anatomy)},
    )


def _phases(request: PhantomRequest) -> tuple[_Phase, ...]:
    for phase in _PHASES:
        if request.has(f"{phase.role}-only"):
            return (phase,)
    return _PHASES[1:] if request.has("two-phases-in-one-series") else _PHASES


def _grid(request: PhantomRequest, anatomy: Anatomy) -> Grid:
    """Voxels to paint: the image's pixels, and heights at least twice as fine as thick slices."""
    pixels, step = (256, 1.25) if request.size == "small" else (512, 1.0)
    field_mm = float(np.ceil(2 * (anatomy.half_width_mm + 14)))
    pixel = field_mm / pixels
    spare = 40.0 if request.has("gantry-tilt") else 8.0
    half = 0.5 * field_mm - 0.5 * pixel
    low = (-half, anatomy.middle_y_mm - half, anatomy.z_low_mm - 14 - spare)
    high = (half + pixel, anatomy.middle_y_mm + half + pixel, anatomy.z_dome_mm + 12 + spare)
    return Grid.spanning(low, high, (step, pixel, pixel))


def _exposure(request: PhantomRequest, anatomy: Anatomy, phase: _Phase) -> Exposure:
    """Slices of one phase: where they lie and how noisy they are."""
    small = request.size == "small"
    spacing = 2.5 if small else 1.0
    low = anatomy.z_low_mm - 14
    if small and phase.role == "native":
        spacing, low = 5.0, anatomy.z_liver_low_mm - 10
    thickness = spacing * (1.6 if request.has("overlapping") else 1.0)
    centres = np.arange(np.round(low, 1), anatomy.z_dome_mm + 12, spacing)
    noise_hu = 10.5 * float(np.sqrt(2.5 / max(thickness, 1.0))) * (1.15 if phase.role == "arterial" else 1.0)
    return Exposure(
        centres_z_mm=centres,
        thickness_mm=thickness,
        noise_hu=noise_hu,
        tilt_rad=float(np.radians(12)) if request.has("gantry-tilt") else 0.0,
    )


def _table(grid: Grid, painting: Painting) -> NDArray[np.float32]:
    """The couch under the body: a thin curved shell filled with foam."""
    below = np.flatnonzero((painting.mask("body") > 127).any(axis=(0, 2)))
    y, x = grid.y_mm[:, None], grid.x_mm[None, :]
    top = grid.y_mm[below[-1]] + 5 - (x / 200) ** 2 * 22
    depth = y - top
    shell = (np.abs(depth) < 1.6) | (np.abs(depth - 20) < 1.6)
    inside = (depth > 0) & (depth < 20)
    couch = np.where(shell, -260.0, np.where(inside, -935.0, -1000.0))
    return np.where(np.abs(x) < 205, couch, -1000.0).astype(np.float32)


def _instances(
    request: PhantomRequest, painting: Painting, phases: tuple[_Phase, ...], exposures: tuple[Exposure, ...]
) -> Iterator[PhantomInstance]:
    """Images of all series, made one series at a time."""
    couch = _table(painting.grid, painting)
    for number, (phase, exposure) in enumerate(zip(phases, exposures, strict=True)):
        images = scan(
            painting.values_czyx[number],
            painting.grid,
            exposure,
            couch,
            request.rng(f"noise {phase.role}"),
            evaluation=request.model == "evaluation",
        )
        shared = request.has("two-phases-in-one-series")
        header = CtSeriesHeader(
            role="two phases" if shared else phase.role,
            number=2 if shared else number + 2,
            description=_description(request, phase, shared=shared),
            delay_s=phase.delay_s,
            thickness_mm=exposure.thickness_mm,
            spacing_mm=float(exposure.centres_z_mm[1] - exposure.centres_z_mm[0]),
            kernel="B30f" if request.model == "development" else "STANDARD",
        )
        yield from instances_of(
            request,
            CtSeriesImages(
                header=header,
                acquisition=number + 1,
                images_hu_zyx=images,
                exposure=exposure,
                grid=painting.grid,
                first_of_study=number == 0,
                numbered_from=1 + (number * len(images) if shared else 0),
            ),
        )


def _description(request: PhantomRequest, phase: _Phase, *, shared: bool) -> str:
    if shared:
        return "Leber arteriell und portalvenös" if request.has("german") else "Liver art and pv"
    return phase.german if request.has("german") else phase.description


KIND = PhantomKind(
    variants=VARIANTS,
    make=make_ct,
    conflicts=(
        frozenset({"native-only", "arterial-only", "portal-only", "two-phases-in-one-series"}),
        frozenset({"post-op", "pre-op", "no-pump"}),
        frozenset({"pump", "pre-op", "no-pump"}),
        frozenset({"pump-flipped", "pre-op", "no-pump"}),
        frozenset({"enhanced", "gantry-tilt"}),
        frozenset({"enhanced", "localizer-inside"}),
        frozenset({"enhanced", "derived-inside"}),
        frozenset({"not-hai", "y90-mapping", "german"}),
    ),
)
