"""MR phantom: a gadoxetate study of the liver with dual echo, T2, diffusion and five T1 phases.

Two forward models exist, ``development`` (default) and ``evaluation``: see `mr_scanner` for what differs in the images,
`liver` and `anatomy` for what differs in the shapes. ``small`` has pixels of 2.5 mm and dynamic slices of 4 mm,
``full`` 1.2 mm and 3 mm. Lesions are measured on the model; in diffusion and T2 slices of 6 mm with gaps small ones are
missed, as they would be.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from analyzers.phantoms.anatomy import Anatomy, make_anatomy
from analyzers.phantoms.ct_scanner import slice_weights
from analyzers.phantoms.layers import Grid, Painting, paint
from analyzers.phantoms.mr_images import MrImages, MrSeries, instances_of
from analyzers.phantoms.mr_protocol import Recipe, protocol
from analyzers.phantoms.mr_scanner import Void, acquire, coil_sensitivity, finish, implant_void
from analyzers.phantoms.mr_tissues import B_VALUES, CHANNELS, OPPOSED_ECHO_MS, signal_table
from analyzers.phantoms.mr_truth import lesion_list, mr_masks, mr_measurements, mr_structures
from analyzers.phantoms.request import PhantomRequest
from analyzers.phantoms.stacks import STACK_VARIANTS
from analyzers.phantoms.study import PhantomInstance, PhantomKind, PhantomStudy
from analyzers.phantoms.texture import mottle

VARIANTS = {
    **STACK_VARIANTS,
    "post-op": "after implantation (default); the pump's void reaches into the lowest slices",
    "pump": "the same as post-op",
    "pre-op": "before implantation, with gallbladder",
    "no-pump": "headers of a pump study, but nothing was implanted",
    "extracellular": "an extracellular agent, so no hepatobiliary phase",
    "no-diffusion": "no diffusion-weighted series",
    "motion": "breathing ghosts, worst in the arterial phase",
    "two-phases-in-one-series": "all phases with contrast share one series",
    "localizer-inside": "coronal images inside the first axial T1 series",
    "derived-inside": "subtraction images inside the arterial series",
    "y90-mapping": "headers of planning for Y-90 radioembolisation",
    "german": "German descriptions",
    "not-hai": "no word or code of an infusion pump",
}

_FULL_SCALE = 4095


def make_mr(request: PhantomRequest) -> PhantomStudy:
    """Make one MR study."""
    operated = not (request.has("pre-op") or request.has("no-pump"))
    anatomy = make_anatomy(request, operated=operated)
    grid = _grid(request, anatomy)
    table = signal_table(request)
    painting = paint(anatomy.layers, grid, table, "air")
    mottle(painting, "liver", tuple(0.03 * signal for signal in table["liver"]), request.rng("mottle"))
    recipes = protocol(request)
    reference = recipes[-1]
    centres = _centres(grid, reference)
    return PhantomStudy(
        instances=_instances(request, anatomy, painting, recipes),
        measurements=mr_measurements(anatomy, painting, grid.steps_zyx_mm[1], reference.readout.thickness_mm),
        masks=mr_masks(request, painting, centres, reference.readout.thickness_mm),
        structures=mr_structures(request, anatomy, painting, reference.role),
        lists={"lesions": lesion_list(anatomy)},
    )


def _grid(request: PhantomRequest, anatomy: Anatomy) -> Grid:
    """Voxels to paint: square pixels, heights finer than the slices."""
    pixel, step = (2.5, 2.0) if request.size == "small" else (1.2, 1.5)
    half = np.ceil((anatomy.half_width_mm + 14) / pixel / 8) * 8 * pixel - 0.5 * pixel
    low = (-half, anatomy.middle_y_mm - half, anatomy.z_liver_low_mm - 22)
    high = (half + pixel, anatomy.middle_y_mm + half + pixel, anatomy.z_dome_mm + 18)
    return Grid.spanning(low, high, (step, pixel, pixel))


def _centres(grid: Grid, recipe: Recipe) -> NDArray[np.float64]:
    """Positions of the slices of a series along its axis."""
    spacing = recipe.readout.spacing_mm
    if recipe.coronal:
        middle = float(grid.y_mm.mean())
        return np.arange(middle - 80, middle + 80, spacing)
    return np.arange(grid.z_mm[0] + 6, grid.z_mm[-1] - 6, spacing)


def _instances(
    request: PhantomRequest, anatomy: Anatomy, painting: Painting, recipes: tuple[Recipe, ...]
) -> Iterator[PhantomInstance]:
    """Images of all series, made one series at a time."""
    grid = painting.grid
    void = implant_void(grid, anatomy.device)
    coil = coil_sensitivity(grid, request.rng("coil"), evaluation=request.model == "evaluation")
    coronal: list[MrImages] = []
    arterial: MrImages | None = None
    for recipe in recipes:
        images = _series_images(request, recipe, painting, void, coil)
        extra: list[MrImages] = []
        if recipe.coronal:
            coronal = images
        if recipe.role == "pre":
            arterial = images[0]
        if recipe.role == "dual" and request.has("localizer-inside"):
            extra = coronal
        if recipe.role == "arterial" and request.has("derived-inside") and arterial is not None:
            extra = [_subtraction(images[0], arterial)]
        yield from instances_of(request, MrSeries(recipe=recipe, grid=grid, images=tuple(images), extra=tuple(extra)))


def _series_images(
    request: PhantomRequest, recipe: Recipe, painting: Painting, void: Void | None, coil: NDArray[np.float32]
) -> list[MrImages]:
    """Noisy magnitude images of one series, one stack per echo or b value."""
    grid, axis = painting.grid, int(recipe.coronal)
    centres = _centres(grid, recipe)
    channels = tuple(painting.values_czyx[CHANNELS.index(name)] for name in recipe.channels)
    signals = acquire(channels, grid, centres, recipe.readout, void, axis=axis)
    weights = slice_weights((grid.z_mm, grid.y_mm)[axis], centres, recipe.readout.thickness_mm, bell=False)
    field = np.tensordot(weights, coil, axes=(1, axis)).astype(np.float32)
    rng = request.rng(f"noise {'dwi' if recipe.product == 'adc' else recipe.role}")
    evaluation = request.model == "evaluation"

    def measured(images: NDArray[np.float32]) -> NDArray[np.float32]:
        return finish(images, grid.steps_zyx_mm[1], recipe.readout, field, rng, evaluation=evaluation)

    if recipe.product == "dual":
        opposed, in_phase = measured(np.abs(signals[0] - signals[1])), measured(signals[0] + signals[1])
        timing = recipe.sequence.timing
        return [
            _stored("opposed", opposed, centres, 6500, echo_ms=OPPOSED_ECHO_MS, echo_number=1),
            _stored("in", in_phase, centres, 6500, echo_ms=timing.echo_ms, echo_number=2),
        ]
    if recipe.product in {"weighted", "adc"}:
        weighted = [measured(signal) for signal in signals]
        if recipe.product == "adc":
            return [MrImages(label="adc", centres_mm=centres, pixels_zyx=adc_map(weighted))]
        return [_stored(f"b{b}", image, centres, 4500, b_value=b) for b, image in zip(B_VALUES, weighted, strict=True)]
    total = measured(np.sum(signals, axis=0))
    scale = 2600 if recipe.role in {"haste", "coronal"} else 12500
    return [_stored("", total, centres, scale)]


def _stored(
    label: str,
    images: NDArray[np.float32],
    centres: NDArray[np.float64],
    scale: float,
    *,
    echo_ms: float | None = None,
    echo_number: int = 1,
    b_value: int | None = None,
) -> MrImages:
    """Scale magnitudes to the scanner's 12 bits."""
    pixels = np.clip(np.rint(images * np.float32(scale)), 0, _FULL_SCALE).astype(np.uint16)
    return MrImages(
        label=label, centres_mm=centres, pixels_zyx=pixels, echo_ms=echo_ms, echo_number=echo_number, b_value=b_value
    )


def adc_map(weighted: list[NDArray[np.float32]]) -> NDArray[np.uint16]:
    """Fit a line to the logarithm of the signals, as scanners do; stored in 1e-6 mm²/s, 0 where there is no signal."""
    b = np.asarray(B_VALUES, dtype=np.float32) - np.float32(np.mean(B_VALUES))
    logs = [np.log(np.maximum(image, 1e-5)) for image in weighted]
    slope = sum(value * log for value, log in zip(b, logs, strict=True)) / np.float32((b * b).sum())
    signal = weighted[0] > 0.030
    return np.where(signal, np.clip(-slope * 1e6, 0, _FULL_SCALE), 0).astype(np.uint16)


def _subtraction(later: MrImages, earlier: MrImages) -> MrImages:
    """Enhancement, as consoles compute it."""
    gain = np.clip(later.pixels_zyx.astype(np.int32) - earlier.pixels_zyx, 0, _FULL_SCALE).astype(np.uint16)
    return MrImages(label="subtraction", centres_mm=later.centres_mm, pixels_zyx=gain, derived=True)


KIND = PhantomKind(
    variants=VARIANTS,
    make=make_mr,
    conflicts=(
        frozenset({"post-op", "pre-op", "no-pump"}),
        frozenset({"pump", "pre-op", "no-pump"}),
        frozenset({"enhanced", "localizer-inside"}),
        frozenset({"enhanced", "derived-inside"}),
        frozenset({"not-hai", "y90-mapping", "german"}),
    ),
)
