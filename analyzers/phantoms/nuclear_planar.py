"""Planar acquisitions: static views, whole-body scan, infusion series, with one or two energy windows."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from analyzers.phantoms.nuclear_camera import Camera
from analyzers.phantoms.nuclear_frames import add_dynamic, add_views
from analyzers.phantoms.nuclear_headers import NuclearSeries, nuclear_object
from analyzers.phantoms.nuclear_posture import Stay
from analyzers.phantoms.nuclear_scene import Scene, Source, counted, exposed, view_of
from analyzers.phantoms.nuclear_shapes import FloatArray
from analyzers.phantoms.request import PhantomRequest
from analyzers.phantoms.study import PhantomInstance

_VIEW_WORDS = {
    "anterior": ("ANT", "ventral"),
    "posterior": ("POST", "dorsal"),
    "left lateral": ("LLAT", "links lateral"),
    "right lateral": ("RLAT", "rechts lateral"),
}
# Height of the crystal: what a scanning head sees of the body at one time.
_SCAN_APERTURE_MM = 400.0
_SLIP_AT = 0.6


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """Noise-free counts of one planar series.

    Attributes
    ----------
    peak, lower, upper : mapping of view to (rows, columns) float32
        In the photopeak window, in the window below it and in the one above.
    """

    peak: Mapping[str, FloatArray]
    lower: Mapping[str, FloatArray]
    upper: Mapping[str, FloatArray] = field(default_factory=dict)


def planar_views(request: PhantomRequest) -> tuple[str, ...]:
    """The views of a study, in the order in which they are stored."""
    if request.has("no-posterior"):
        return ("anterior",)
    both = ("anterior", "posterior")
    return (*both, "left lateral", "right lateral") if request.has("laterals") else both


def expected_views(
    scene: Scene,
    source: Source,
    series: NuclearSeries,
    views: tuple[str, ...],
    spent: tuple[Stay, ...] | None = None,
) -> Expected:
    """Expected counts of one source in each view.

    A whole-body scan shows every point for the time that the crystal takes to pass it. Where the patient lies follows
    from the variants, unless ``spent`` says it.
    """
    whole_body = series.image_kind == "WHOLE BODY"
    camera = Camera(collimator=series.collimator, pixel_mm=series.pixel_mm, gap_mm=0.0, model=scene.request.model)
    length_mm = scene.body.grid.shape_zyx[0] * series.pixel_mm
    seconds = series.frame_s * (_SCAN_APERTURE_MM / length_mm if whole_body else 1.0)
    in_air = np.float32(source.activity_mbq(series.begun_at) * series.collimator.sensitivity_cps_per_mbq * seconds)
    peak, lower, upper = {}, {}, {}
    for view in views:
        seen = view_of(scene, source.activity_zyx, camera, view, spent)
        peak[view] = exposed(seen.photopeak() * in_air, series.pixel_mm, whole_body)
        lower[view] = exposed(seen.lower_window() * in_air, series.pixel_mm, whole_body)
        upper[view] = exposed(seen.upper_window() * in_air, series.pixel_mm, whole_body)
    return Expected(peak=peak, lower=lower, upper=upper)


def summed(first: Expected, second: Expected) -> Expected:
    """Counts of two sources that are in the patient at the same time."""
    return Expected(
        peak={view: image + second.peak[view] for view, image in first.peak.items()},
        lower={view: image + second.lower[view] for view, image in first.lower.items()},
        upper={view: image + second.upper.get(view, np.float32(0)) for view, image in first.upper.items()},
    )


def planar_counts(
    request: PhantomRequest, series: NuclearSeries, windows: tuple[Mapping[str, FloatArray], ...]
) -> dict[str, NDArray[np.uint16]]:
    """Poisson counts per view, (windows, rows, columns)."""
    return {
        view: np.stack(
            [
                counted(window[view], request.rng(f"counts {series.number} {view} {number}"))
                for number, window in enumerate(windows)
            ]
        )
        for view in windows[0]
    }


def planar_instances(
    request: PhantomRequest, series: NuclearSeries, counts: Mapping[str, NDArray[np.uint16]]
) -> Iterator[PhantomInstance]:
    """One object with all views, or one object and series per view.

    Parameters
    ----------
    counts : mapping of view to (windows, rows, columns) uint16
    """
    views = tuple(counts)
    together = not (request.has("separate-views") or request.has("views-by-text"))
    groups = [views] if together else [(view,) for view in views]
    for index, group in enumerate(groups):
        ds = nuclear_object(request, series, 1 + index)
        ds.SeriesNumber = series.number + index
        # Objects of their own are series of their own, since their descriptions differ.
        ds.SeriesInstanceUID = request.uid("series", series.number, index)
        ds.SeriesDescription = f"{series.description} {'/'.join(view_word(request, view) for view in group)}"
        # Energy windows vary slowest.
        frames = np.stack([counts[view][window] for window in range(len(series.windows)) for view in group])
        add_views(ds, request, series, group, frames)
        yield PhantomInstance(folder=f"series{series.number + index}", stem="image001", dataset=ds)


def view_word(request: PhantomRequest, view: str) -> str:
    """How a technologist names a view."""
    return _VIEW_WORDS[view][1 if request.has("german") else 0]


def dynamic_instance(
    request: PhantomRequest, series: NuclearSeries, slices: int, expected: Expected, slipped: Expected | None = None
) -> PhantomInstance:
    """The infusion seen as time slices of equal length, anterior first.

    Activity arrives at a constant rate from one tenth to seven tenths of the series, then stays.

    Parameters
    ----------
    slices : int
    expected : Expected
        Of one slice's length, with all activity arrived.
    slipped : Expected, optional
        The same after the patient slipped, which happens when six tenths of the series are over.
    """
    time = (np.arange(slices) + 0.5) / slices
    arrived = np.clip((time - 0.1) / 0.6, 0.0, 1.0).astype(np.float32)
    views = tuple(expected.peak)
    after = expected if slipped is None else slipped
    lying = [after if number >= _SLIP_AT * slices else expected for number in range(slices)]
    frames = [
        counted(lying[number].peak[view] * share, request.rng(f"counts {series.number} {view} slice {number}"))
        for view in views
        for number, share in enumerate(arrived)
    ]
    ds = nuclear_object(request, series, 1)
    add_dynamic(ds, request, series, views, np.stack(frames))
    return PhantomInstance(folder=f"series{series.number}", stem="image001", dataset=ds)
