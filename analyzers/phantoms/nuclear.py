"""The kind ``scintigraphy``: a perfusion study of the liver with Tc-99m macroaggregates through the pump."""

import datetime as dt
from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from analyzers.phantoms.nuclear_camera import GENERAL_PURPOSE, HIGH_RESOLUTION, Camera
from analyzers.phantoms.nuclear_headers import (
    PHOTOPEAK,
    NuclearSeries,
    add_views,
    macroaggregates,
    nuclear_object,
)
from analyzers.phantoms.nuclear_scene import PIXEL_MM, Scene, Source, build_scene, counted, exposed, view_of
from analyzers.phantoms.nuclear_shapes import FloatArray
from analyzers.phantoms.nuclear_truth import (
    expected_geometric_mean_fraction,
    planar_masks,
    truth_foci,
    truth_measurements,
    truth_structures,
)
from analyzers.phantoms.request import PhantomRequest
from analyzers.phantoms.study import PhantomInstance, PhantomKind, PhantomStudy, study_time

VARIANTS = {
    "complete": "both lobes perfused, nothing outside (the default)",
    "missing-left-lobe": "the left lobe receives almost nothing",
    "missing-right-lobe": "the right lobe receives almost nothing",
    "extrahepatic-stomach": "a patch of the stomach wall is perfused",
    "extrahepatic-duodenum": "part of the duodenum is perfused",
    "extrahepatic-spleen": "the spleen is perfused",
    "extrahepatic-bowel": "loops of small bowel are perfused",
    "extrahepatic-pancreas": "the head of the pancreas is perfused",
    "strong": "extrahepatic foci hold 6 to 15 % of the liver's activity (2 to 6 % otherwise)",
    "faint": "extrahepatic foci hold 0.4 to 1.2 % of the liver's activity",
    "lung-shunt-high": "lung shunt fraction from 0.20 to 0.32",
    "free-pertechnetate": "free tracer in stomach wall, thyroid, salivary glands, kidneys and bladder",
    "hot-tip": "tracer clings to the tip of the catheter",
    "pocket-extravasation": "a large part was spilt round the pump",
    "low-counts": "exposed for a tenth of the time",
    "motion": "the patient slips during the exposure",
    "separate-views": "one object per view",
    "no-posterior": "the posterior view is missing",
    "whole-body": "whole-body scan from head to thighs in place of static views",
    "views-by-startangle": "views are known from Start Angle alone",
    "views-by-text": "views are known from the series description alone; one object each",
    "german": "descriptions in German",
    "feet-first": "the patient enters the gantry feet first",
    "no-frame-of-reference": "without FrameOfReferenceUID",
    "no-patient-position": "without patient orientation and gantry relationship",
    "y90-mapping": "mapping before radioembolisation: right lobe alone, headers that say so",
    "not-hai": "headers of a liver and spleen scan, no word of a pump",
}
CONFLICTS = (
    frozenset({"missing-left-lobe", "missing-right-lobe", "complete", "y90-mapping"}),
    frozenset({"strong", "faint"}),
    frozenset({"y90-mapping", "not-hai"}),
    frozenset({"views-by-startangle", "views-by-text"}),
    frozenset({"no-posterior", "whole-body"}),
)
_VIEW_WORDS = {
    "anterior": ("ANT", "ventral"),
    "posterior": ("POST", "dorsal"),
}


def make(request: PhantomRequest) -> PhantomStudy:
    """Make the study of one patient."""
    scene = build_scene(request)
    begun_at = study_time(request)
    views = ("anterior",) if request.has("no-posterior") else ("anterior", "posterior")
    source = Source(activity_zyx=scene.uptake.activity_zyx, tracer=macroaggregates(request, begun_at))
    series = planar_series(request, source, begun_at)
    expected = expected_views(scene, source, series, views)
    fraction = expected_geometric_mean_fraction(scene, expected)
    counts = {view: counted(image, request.rng(f"counts {series.number} {view}")) for view, image in expected.items()}
    return PhantomStudy(
        instances=planar_instances(request, series, counts),
        measurements=truth_measurements(scene, fraction),
        masks=planar_masks(scene, views),
        structures=truth_structures(
            scene, fraction, {view: int(image.sum(dtype=np.int64)) for view, image in counts.items()}
        ),
        lists={"foci": truth_foci(scene, expected.get("anterior"))},
    )


def planar_series(request: PhantomRequest, source: Source, begun_at: dt.datetime) -> NuclearSeries:
    """The series of static views, or of a whole-body scan."""
    whole_body = request.has("whole-body")
    frame_s = 900.0 if whole_body else 300.0
    german = request.has("german")
    name = (
        ("Ganzkörper" if german else "WHOLE BODY") if whole_body else ("Thorax/Abdomen" if german else "CHEST ABDOMEN")
    )
    return NuclearSeries(
        number=1,
        description=name,
        image_kind="WHOLE BODY" if whole_body else "STATIC",
        begun_at=begun_at,
        frame_s=frame_s / 10 if request.has("low-counts") else frame_s,
        tracers=(source.tracer,),
        windows=(PHOTOPEAK,),
        collimator=HIGH_RESOLUTION if request.rng("collimator").random() < 0.6 else GENERAL_PURPOSE,
        pixel_mm=PIXEL_MM[request.size],
    )


def expected_views(
    scene: Scene, source: Source, series: NuclearSeries, views: tuple[str, ...]
) -> Mapping[str, FloatArray]:
    """Expected photopeak counts of each view."""
    camera = Camera(collimator=series.collimator, pixel_mm=series.pixel_mm, gap_mm=20.0, model=scene.request.model)
    whole_body = series.image_kind == "WHOLE BODY"
    seconds = series.frame_s
    if whole_body:
        # Each point of the body is before the crystal for only a part of the scan.
        seconds *= 400.0 / (scene.body.grid.shape_zyx[0] * series.pixel_mm)
    counts_in_air = np.float32(
        source.activity_mbq(series.begun_at) * series.collimator.sensitivity_cps_per_mbq * seconds
    )
    images = {}
    for view in views:
        seen = view_of(scene, source.activity_zyx, camera, view)
        images[view] = exposed(seen.photopeak() * counts_in_air, series.pixel_mm, whole_body)
    return images


def planar_instances(
    request: PhantomRequest, series: NuclearSeries, counts: Mapping[str, NDArray[np.uint16]]
) -> Iterable[PhantomInstance]:
    """One object with all views, or one per view."""
    views = tuple(counts)
    if not (request.has("separate-views") or request.has("views-by-text")):
        ds = nuclear_object(request, series, 1)
        ds.SeriesDescription = f"{series.description} {'/'.join(view_word(request, view) for view in views)}"
        add_views(ds, request, series, views, np.stack([counts[view] for view in views]))
        yield PhantomInstance(folder="series1", stem="image001", dataset=ds)
        return
    for number, view in enumerate(views, start=1):
        ds = nuclear_object(request, series, number)
        # Views in objects of their own are also series of their own, since their descriptions differ.
        ds.SeriesNumber = number
        ds.SeriesInstanceUID = request.uid("series", series.number, view)
        ds.SeriesDescription = f"{series.description} {view_word(request, view)}"
        add_views(ds, request, series, (view,), counts[view][None])
        yield PhantomInstance(folder=f"series{number}", stem="image001", dataset=ds)


def view_word(request: PhantomRequest, view: str) -> str:
    """How a technologist names a view."""
    return _VIEW_WORDS[view][1 if request.has("german") else 0]


KIND = PhantomKind(variants=VARIANTS, make=make, conflicts=CONFLICTS)
