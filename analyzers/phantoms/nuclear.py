"""The kind ``scintigraphy``: a perfusion study of the liver with Tc-99m macroaggregates through the pump."""

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analyzers.phantoms.nuclear_camera import GENERAL_PURPOSE, HIGH_RESOLUTION
from analyzers.phantoms.nuclear_ct import ct_instances
from analyzers.phantoms.nuclear_headers import (
    IN_111_WINDOW,
    LOWER_SCATTER,
    PHOTOPEAK,
    UPPER_SCATTER,
    EnergyWindow,
    NuclearSeries,
    Tracer,
    indium_cells,
    macroaggregates,
    sulfur_colloid,
)
from analyzers.phantoms.nuclear_planar import (
    Expected,
    dynamic_instance,
    expected_views,
    planar_counts,
    planar_instances,
    planar_views,
    summed,
)
from analyzers.phantoms.nuclear_posture import STILL, Stay, colloid_stays, slip
from analyzers.phantoms.nuclear_scene import PIXEL_MM, Scene, Source, build_scene
from analyzers.phantoms.nuclear_screen import screen_instance
from analyzers.phantoms.nuclear_shapes import FloatArray
from analyzers.phantoms.nuclear_tomography import projections_instance, tomography_series, volume_instance
from analyzers.phantoms.nuclear_truth import (
    expected_geometric_mean_fraction,
    planar_masks,
    truth_foci,
    truth_measurements,
    truth_structures,
    volume_masks,
)
from analyzers.phantoms.nuclear_uptake import draw_colloid, focus_activity
from analyzers.phantoms.nuclear_variants import CONFLICTS, VARIANTS
from analyzers.phantoms.request import PhantomRequest
from analyzers.phantoms.study import PhantomInstance, PhantomKind, PhantomStudy, study_time

_TOMOGRAPHY = ("spect", "spect-nac", "tomo", "spect-ct")
_INFUSION_SLICES = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanarExam:
    """The perfusion series: its header, what was in the patient, what was counted."""

    series: NuclearSeries
    source: Source
    expected: Expected
    counts: dict[str, NDArray[np.uint16]]


def make(request: PhantomRequest) -> PhantomStudy:
    """Make the study of one patient."""
    scene = build_scene(request)
    exam = planar_exam(scene)
    peak = exam.expected.peak
    fraction = expected_geometric_mean_fraction(scene, peak)
    alone = foci_alone(scene, exam)
    tomography = any(request.has(name) for name in _TOMOGRAPHY)
    masks = {} if request.has("no-planar") else planar_masks(scene, tuple(exam.counts))
    counts = {view: int(image[0].sum(dtype=np.int64)) for view, image in exam.counts.items()}
    # A liver scan with colloid has no shunt and nothing extrahepatic to find.
    perfusion = not request.has("not-hai")
    return PhantomStudy(
        instances=study_instances(scene, exam),
        measurements=truth_measurements(scene, fraction, alone, peak["anterior"]) if perfusion else (),
        masks={**masks, **(volume_masks(scene) if tomography else {})},
        structures=truth_structures(scene, fraction, counts),
        lists={"foci": truth_foci(scene, alone, peak["anterior"]) if perfusion else []},
    )


def foci_alone(scene: Scene, exam: PlanarExam) -> dict[str, FloatArray]:
    """Expected anterior counts of each focus by itself, under the name of the focus."""
    images = {}
    for focus in scene.uptake.foci:
        source = Source(activity_zyx=focus_activity(scene.body, scene.uptake, focus), tracer=exam.source.tracer)
        images[focus.name] = expected_views(scene, source, exam.series, ("anterior",)).peak["anterior"]
    return images


def planar_exam(scene: Scene) -> PlanarExam:
    """Expose the perfusion series, with whatever else is in the patient at the time."""
    request = scene.request
    # The study begins with its first series: the colloid scan, or the infusion, or these views.
    earlier_min = 40 if request.has("sulfur-colloid") else 12 if request.has("dynamic") else 0
    begun_at = study_time(request) + dt.timedelta(minutes=earlier_min)
    views = planar_views(request)
    if request.has("not-hai"):
        source = colloid_source(scene, begun_at)
    else:
        source = Source(activity_zyx=scene.uptake.activity_zyx, tracer=macroaggregates(request, begun_at))
    tracers, windows = _tracers_and_windows(request, source.tracer, begun_at)
    series = perfusion_series(request, begun_at, tracers, windows)
    expected = expected_views(scene, source, series, views)
    if request.has("sulfur-colloid"):
        # The colloid of the scan before is still there.
        remaining = colloid_source(scene, begun_at - dt.timedelta(minutes=40))
        expected = summed(expected, expected_views(scene, remaining, series, views))
    images = [expected.peak]
    if request.has("scatter-window") or request.has("triple-window"):
        images.append(expected.lower)
    if request.has("triple-window"):
        images.append(expected.upper)
    if request.has("dual-isotope"):
        indium = Source(activity_zyx=draw_colloid(scene.body, request), tracer=tracers[1])
        other = expected_views(scene, indium, series, views)
        images.append({view: image * np.float32(0.4) for view, image in other.peak.items()})
        expected = summed(expected, Expected(peak=_weakened(other, 0.15), lower=_weakened(other, 0.2)))
        images[0] = expected.peak
    return PlanarExam(
        series=series, source=source, expected=expected, counts=planar_counts(request, series, tuple(images))
    )


def _weakened(expected: Expected, factor: float) -> dict[str, NDArray[np.float32]]:
    """Down-scatter of another nuclide into the window of Tc-99m."""
    return {view: image * np.float32(factor) for view, image in expected.peak.items()}


def _tracers_and_windows(
    request: PhantomRequest, tracer: Tracer, begun_at: dt.datetime
) -> tuple[tuple[Tracer, ...], tuple[EnergyWindow, ...]]:
    """What is declared in the header of the perfusion series."""
    if request.has("dual-isotope"):
        return (tracer, indium_cells(begun_at)), (PHOTOPEAK, IN_111_WINDOW)
    if request.has("triple-window"):
        return (tracer,), (PHOTOPEAK, LOWER_SCATTER, UPPER_SCATTER)
    if request.has("scatter-window"):
        return (tracer,), (PHOTOPEAK, LOWER_SCATTER)
    return (tracer,), (PHOTOPEAK,)


def colloid_source(scene: Scene, begun_at: dt.datetime) -> Source:
    """The colloid of a liver scan."""
    return Source(activity_zyx=draw_colloid(scene.body, scene.request), tracer=sulfur_colloid(scene.request, begun_at))


def perfusion_series(
    request: PhantomRequest, begun_at: dt.datetime, tracers: tuple[Tracer, ...], windows: tuple[EnergyWindow, ...]
) -> NuclearSeries:
    """Static views, or a whole-body scan."""
    whole_body = request.has("whole-body")
    frame_s = 900.0 if whole_body else 300.0
    german = request.has("german")
    names = ("WHOLE BODY", "Ganzkörper") if whole_body else ("CHEST ABDOMEN", "Thorax Abdomen")
    return NuclearSeries(
        number=1,
        description=names[1 if german else 0],
        image_kind="WHOLE BODY" if whole_body else "STATIC",
        begun_at=begun_at,
        frame_s=frame_s / 20 if request.has("low-counts") else frame_s,
        tracers=tracers,
        windows=windows,
        collimator=HIGH_RESOLUTION if request.rng("collimator").random() < 0.6 else GENERAL_PURPOSE,
        pixel_mm=PIXEL_MM[request.size],
    )


def study_instances(scene: Scene, exam: PlanarExam) -> Iterator[PhantomInstance]:
    """All objects of the study; series numbers leave room for one series per view."""
    request = scene.request
    if not request.has("no-planar"):
        yield from planar_instances(request, exam.series, exam.counts)
    if request.has("sulfur-colloid"):
        yield from colloid_instances(scene, exam.series)
    if request.has("dynamic"):
        yield infusion_instance(scene, exam)
    yield from tomography_instances(scene, exam)
    if request.has("derived-inside"):
        yield screen_instance(request, exam.series, exam.counts)


def colloid_instances(scene: Scene, perfusion: NuclearSeries) -> Iterator[PhantomInstance]:
    """The liver scan with colloid, taken before the infusion."""
    begun_at = perfusion.begun_at - dt.timedelta(minutes=40)
    source = colloid_source(scene, begun_at)
    words = "Leber Kolloid" if scene.request.has("german") else "LIVER COLLOID"
    series = NuclearSeries(
        number=11,
        description=words,
        image_kind=perfusion.image_kind,
        begun_at=begun_at,
        frame_s=perfusion.frame_s,
        tracers=(source.tracer,),
        windows=(PHOTOPEAK,),
        collimator=perfusion.collimator,
        pixel_mm=perfusion.pixel_mm,
    )
    lying = colloid_stays(scene.request)
    expected = expected_views(scene, source, series, planar_views(scene.request), lying)
    yield from planar_instances(scene.request, series, planar_counts(scene.request, series, (expected.peak,)))


def infusion_instance(scene: Scene, exam: PlanarExam) -> PhantomInstance:
    """Ten minutes of infusion in thirty slices of 20 s."""
    slice_s = 20.0
    series = NuclearSeries(
        number=21,
        description="INFUSION",
        image_kind="DYNAMIC",
        begun_at=exam.series.begun_at - dt.timedelta(minutes=12),
        frame_s=slice_s,
        tracers=(exam.source.tracer,),
        windows=(PHOTOPEAK,),
        collimator=exam.series.collimator,
        pixel_mm=exam.series.pixel_mm,
    )
    share = np.float32(slice_s / exam.series.frame_s)
    views = ("anterior", "posterior") if "posterior" in exam.expected.peak else ("anterior",)
    if not scene.request.has("motion"):
        peak = {view: exam.expected.peak[view] * share for view in views}
        return dynamic_instance(scene.request, series, _INFUSION_SLICES, Expected(peak=peak, lower={}))
    _, slipped = slip(scene.request)
    before, after = (
        expected_views(scene, exam.source, series, views, spent)
        for spent in (STILL, (Stay(share=1.0, posture=slipped),))
    )
    return dynamic_instance(scene.request, series, _INFUSION_SLICES, before, after)


def tomography_instances(scene: Scene, exam: PlanarExam) -> Iterator[PhantomInstance]:
    """Projections, volumes and the CT, each in a series of its own."""
    request, planar = scene.request, exam.series
    if request.has("tomo"):
        series = tomography_series(planar, 31, "TOMO", "SPECT PROJECTIONS")
        yield projections_instance(scene, exam.source, series)
    if request.has("spect") or request.has("spect-ct"):
        series = tomography_series(planar, 32, "RECON TOMO", "SPECT AC")
        yield volume_instance(scene, exam.source, series, attenuation_corrected=True)
    if request.has("spect-nac"):
        series = tomography_series(planar, 33, "RECON TOMO", "SPECT NAC")
        yield volume_instance(scene, exam.source, series, attenuation_corrected=False)
    if request.has("spect-ct"):
        yield from ct_instances(scene, tomography_series(planar, 34, "AXIAL", "AC CT LOW DOSE"))


KIND = PhantomKind(variants=VARIANTS, make=make, conflicts=CONFLICTS)
