"""Tomography: raw projections round the patient, and volumes reconstructed from them.

The patient breathes while the heads go round. Each view is projected with the camera's blur, attenuation and scatter
and counted; the volume is reconstructed by `nuclear_reconstruction`, with the true attenuation and an estimate of
scatter that is some per cent wrong, or with neither, and smoothed as departments do.
"""

import datetime as dt
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from analyzers.phantoms.nuclear_camera import Camera, project, turned
from analyzers.phantoms.nuclear_frames import Orbit, add_projections, add_volume
from analyzers.phantoms.nuclear_headers import NuclearSeries, nuclear_object
from analyzers.phantoms.nuclear_reconstruction import Effort, Projections, reconstruct
from analyzers.phantoms.nuclear_scene import Scene, Source, counted, exposed, squared
from analyzers.phantoms.nuclear_shapes import FloatArray, Grid, Point, blurred
from analyzers.phantoms.request import PhantomRequest
from analyzers.phantoms.study import PhantomInstance

_AXIAL_FIELD_MM = 390.0
_BREATHING_FWHM_MM = {"development": 10.0, "evaluation": 12.0}
_EFFORT = {"development": Effort(iterations=4, subsets=8), "evaluation": Effort(iterations=6, subsets=6)}
_FILTER_FWHM_MM = {"development": 8.0, "evaluation": 9.5}
# Relative error of the scatter estimate: its level differs between patients, its shape is smoother than the truth.
_SCATTER_ERROR = {"development": 0.08, "evaluation": 0.12}
_VIEWS, _ROTATION_S = 48, 1500.0
_HEAD_RADIUS_MM = 250.0
_BRIGHTEST = 30000.0
# A field that ends in the liver begins so much higher than it should.
_TOO_HIGH_MM = 105.0


def orbit_of(request: PhantomRequest) -> Orbit:
    """A full turn that starts in front: 30 views, or 60 in full size."""
    views = 60 if request.size == "full" else 30
    return Orbit(
        views=views,
        start_angle_deg=180.0,
        step_deg=360.0 / views,
        radius_mm=_HEAD_RADIUS_MM,
        view_s=1500.0 / views,
    )


def tomography_grid(scene: Scene) -> tuple[Grid, slice]:
    """Grid of the axial field with square slices, and its rows (z) in the grid of the scene."""
    grid = scene.body.grid
    slices = min(int(_AXIAL_FIELD_MM / grid.voxel_mm), grid.shape_zyx[0])
    first = (grid.shape_zyx[0] - slices) // 2
    if scene.request.has("field-cuts-liver"):
        first = min(first + round(_TOO_HIGH_MM / grid.voxel_mm), grid.shape_zyx[0] - slices)
    padded = (grid.shape_zyx[2] - grid.shape_zyx[1]) // 2
    x, y, z = grid.first_centre_lps_mm
    part = Grid(
        voxel_mm=grid.voxel_mm,
        shape_zyx=(slices, grid.shape_zyx[2], grid.shape_zyx[2]),
        first_centre_lps_mm=(x, y - padded * grid.voxel_mm, z + first * grid.voxel_mm),
    )
    return part, slice(first, first + slices)


def projections_instance(scene: Scene, source: Source, series: NuclearSeries) -> PhantomInstance:
    """The raw TOMO object. Heads stay on a circle, so their distance to the skin varies with the angle."""
    request, orbit = scene.request, orbit_of(scene.request)
    _, rows = tomography_grid(scene)
    activity, attenuation = squared(source.activity_zyx[rows]), squared(scene.body.attenuation_per_mm_zyx[rows])
    in_air = np.float32(source.activity_mbq(series.begun_at) * series.collimator.sensitivity_cps_per_mbq * orbit.view_s)
    camera = Camera(collimator=series.collimator, pixel_mm=series.pixel_mm, gap_mm=0.0, model=request.model)
    frames = []
    for number in range(orbit.views):
        angle_deg = orbit.start_angle_deg + number * orbit.step_deg
        faced = turned(attenuation, angle_deg)
        skin = int(np.flatnonzero(faced.max(axis=(0, 2)) > 0.005)[0])
        skin_radius_mm = (faced.shape[1] / 2 - skin) * series.pixel_mm
        seen = project(turned(activity, angle_deg), faced, camera.with_gap(_HEAD_RADIUS_MM - skin_radius_mm))
        expected = exposed(seen.photopeak() * in_air, series.pixel_mm, whole_body=False)
        frames.append(counted(expected, request.rng(f"counts {series.number} projection {number}")))
    ds = nuclear_object(request, series, 1)
    add_projections(ds, request, series, orbit, np.stack(frames))
    return PhantomInstance(folder=f"series{series.number}", stem="image001", dataset=ds)


def volume_instance(
    scene: Scene, source: Source, series: NuclearSeries, *, attenuation_corrected: bool
) -> PhantomInstance:
    """The RECON TOMO object; with ``descending`` its frames run from head to feet."""
    request = scene.request
    grid, _ = tomography_grid(scene)
    volume = reconstructed(scene, source, series, attenuation_corrected=attenuation_corrected)
    x, y, z = grid.first_centre_lps_mm
    first, spacing_mm = (x, y, z), grid.voxel_mm
    if request.has("descending"):
        volume = volume[::-1]
        first, spacing_mm = (x, y, z + (grid.shape_zyx[0] - 1) * grid.voxel_mm), -grid.voxel_mm
    ds = nuclear_object(request, series, 1)
    ds.CorrectedImage = ["UNIF", "COR", "ATTN", "SCAT"] if attenuation_corrected else ["UNIF", "COR"]
    place: Point = first
    add_volume(ds, series, orbit_of(request), place, spacing_mm, volume)
    return PhantomInstance(folder=f"series{series.number}", stem="image001", dataset=ds)


def reconstructed(
    scene: Scene, source: Source, series: NuclearSeries, *, attenuation_corrected: bool
) -> NDArray[np.uint16]:
    """Reconstructed counts per voxel, (z, y, x) on the tomography grid, scaled to 16 bits."""
    request, voxel_mm = scene.request, scene.body.grid.voxel_mm
    _, rows = tomography_grid(scene)
    attenuation = squared(scene.body.attenuation_per_mm_zyx[rows])
    middle = _circle_round(attenuation)
    seen = _exposed_all_round(scene, source, series, middle)
    if not attenuation_corrected:
        seen = replace(seen, scatter=np.zeros_like(seen.scatter))
    weakening = attenuation[:, middle, middle] if attenuation_corrected else None
    image = np.zeros_like(attenuation)
    image[:, middle, middle] = reconstruct(seen, weakening, voxel_mm, _EFFORT[request.model])
    smooth = blurred(image, _FILTER_FWHM_MM[request.model], voxel_mm)
    return np.asarray(np.rint(smooth * np.float32(_BRIGHTEST / smooth.max())), np.uint16)


def _circle_round(attenuation_zyx: FloatArray) -> slice:
    """The middle part of square slices within which the patient stays on every turn; air outside need not be seen."""
    width = attenuation_zyx.shape[1]
    y, x = np.nonzero(attenuation_zyx.max(axis=0) > 0.005)
    radius = float(np.hypot(y - (width - 1) / 2, x - (width - 1) / 2).max()) + 4.0
    margin = max(0, int(width / 2 - radius))
    return slice(margin, width - margin)


def _exposed_all_round(scene: Scene, source: Source, series: NuclearSeries, middle: slice) -> Projections:
    """Counted projections of a breathing patient and the estimate of their scatter."""
    request, model, voxel_mm = scene.request, scene.request.model, scene.body.grid.voxel_mm
    _, rows = tomography_grid(scene)
    activity, attenuation = squared(source.activity_zyx), squared(scene.body.attenuation_per_mm_zyx)
    sigma = _BREATHING_FWHM_MM[model] / 2.355 / voxel_mm
    activity = np.asarray(ndimage.gaussian_filter1d(activity, sigma, axis=0)[rows], np.float32)
    activity, attenuation = activity[:, middle, middle], attenuation[rows, middle, middle]
    rng = request.rng("tomography counts")
    bias = 1.0 + _SCATTER_ERROR[model] * float(rng.standard_normal())
    view_s = _ROTATION_S / _VIEWS
    in_air = np.float32(source.activity_mbq(series.begun_at) * series.collimator.sensitivity_cps_per_mbq * view_s)
    camera = Camera(collimator=series.collimator, pixel_mm=series.pixel_mm, gap_mm=0.0, model=model)
    angles = tuple((180.0 + number * 360.0 / _VIEWS) % 360.0 for number in range(_VIEWS))
    counts, scatter = [], []
    for angle_deg in angles:
        faced = turned(attenuation, angle_deg)
        skin = int(np.flatnonzero(faced.max(axis=(0, 2)) > 0.005)[0])
        near = camera.with_gap(_HEAD_RADIUS_MM - (faced.shape[1] / 2 - skin) * voxel_mm)
        view = project(turned(activity, angle_deg), faced, near)
        counts.append(rng.poisson(view.photopeak()[::-1] * in_air).astype(np.float32))
        guess = ndimage.gaussian_filter(view.scatter[::-1] * in_air, 20.0 / voxel_mm) * np.float32(bias)
        scatter.append(np.asarray(guess, np.float32))
    return Projections(counts=np.stack(counts), scatter=np.stack(scatter), angles_deg=angles)


def tomography_series(series: NuclearSeries, number: int, kind: str, description: str) -> NuclearSeries:
    """A series of tomography, photopeak of the first tracer alone, that follows a planar one."""
    return replace(
        series,
        number=number,
        image_kind=kind,
        description=description,
        tracers=series.tracers[:1],
        windows=series.windows[:1],
        begun_at=series.begun_at + dt.timedelta(minutes=6 + 2 * number),
        frame_s=1500.0,
    )
