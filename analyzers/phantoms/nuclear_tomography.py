"""Tomography: raw projections round the patient, and reconstructed volumes.

The reconstructed volume is made directly from the activity, not by reconstructing the projections: the map is blurred
to the resolution of a filtered iterative reconstruction (12 mm, and breathing), weakened by the mean attenuation over
all directions where no attenuation correction was done (the factor that Chang's correction would divide out), and
given noise that is correlated over a resolution element and log-normal, with a spread that follows the counts, as in
images reconstructed by expectation maximisation (Barrett, Wilson and Tsui 1994).
"""

import datetime as dt
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from analyzers.phantoms.nuclear_camera import Camera, project, turned
from analyzers.phantoms.nuclear_frames import Orbit, add_projections, add_volume
from analyzers.phantoms.nuclear_headers import NuclearSeries, nuclear_object
from analyzers.phantoms.nuclear_scene import Scene, Source, counted, exposed, squared
from analyzers.phantoms.nuclear_shapes import FloatArray, Grid, Point, blurred
from analyzers.phantoms.request import PhantomRequest
from analyzers.phantoms.study import PhantomInstance

_AXIAL_FIELD_MM = 390.0
_RESOLUTION_FWHM_MM = {"development": 12.0, "evaluation": 14.5}
_BREATHING_FWHM_MM = 10.0
# Variance of reconstructed counts over that of Poisson counts in a resolution element.
_NOISE_AMPLIFICATION = 9.0
_HEAD_RADIUS_MM = 250.0


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
    grid, rows = tomography_grid(scene)
    expected = reconstructed(scene, source, series, rows, attenuation_corrected=attenuation_corrected)
    rng = request.rng(f"reconstruction noise {attenuation_corrected}")
    volume = with_reconstruction_noise(expected, grid.voxel_mm, rng)
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
    scene: Scene, source: Source, series: NuclearSeries, rows: slice, *, attenuation_corrected: bool
) -> FloatArray:
    """Expected reconstructed counts per voxel, (z, y, x) on the tomography grid."""
    voxel_mm = scene.body.grid.voxel_mm
    activity = squared(source.activity_zyx[rows])
    in_air = source.activity_mbq(series.begun_at) * series.collimator.sensitivity_cps_per_mbq * 1500.0
    resolved = blurred(activity, _RESOLUTION_FWHM_MM[scene.request.model], voxel_mm)
    breathing_sigma = _BREATHING_FWHM_MM / 2.355 / voxel_mm
    resolved = np.asarray(ndimage.gaussian_filter1d(resolved, breathing_sigma, axis=0), np.float32)
    # A corrected image is scaled to the counts in air; its share of scattered photons was taken out.
    if attenuation_corrected:
        return np.asarray(resolved * np.float32(in_air * 0.25), np.float32)
    weakened = resolved * mean_transmission(squared(scene.body.attenuation_per_mm_zyx[rows]), voxel_mm)
    scattered = 0.30 * blurred(np.asarray(weakened, np.float32), 90.0, voxel_mm)
    return np.asarray((weakened + scattered) * np.float32(in_air), np.float32)


def mean_transmission(attenuation_per_mm_zyx: FloatArray, voxel_mm: float) -> FloatArray:
    """Mean over twelve directions of the share of photons that leave the body unattenuated, per voxel."""
    total = np.zeros_like(attenuation_per_mm_zyx)
    directions = 12
    for number in range(directions):
        angle_deg = number * 360.0 / directions
        faced = turned(attenuation_per_mm_zyx, angle_deg)
        path = np.cumsum(faced, axis=1, dtype=np.float32) * np.float32(voxel_mm)
        total += turned(np.exp(-path), 360.0 - angle_deg)
    return np.asarray(total / directions, np.float32)


def with_reconstruction_noise(
    expected_zyx: FloatArray, voxel_mm: float, rng: np.random.Generator
) -> NDArray[np.uint16]:
    """Correlated log-normal noise whose relative spread falls with the counts in a resolution element."""
    element_voxels = max((10.0 / voxel_mm) ** 3, 1.0)
    in_element = blurred(expected_zyx, 10.0, voxel_mm) * np.float32(element_voxels)
    spread = np.minimum(np.sqrt(_NOISE_AMPLIFICATION / np.maximum(in_element, 1e-3)), 0.7)
    grain = blurred(rng.standard_normal(expected_zyx.shape).astype(np.float32), 9.0, voxel_mm)
    grain /= np.float32(grain.std())
    noisy = expected_zyx * np.exp(spread * grain - spread**2 / 2)
    return np.asarray(np.clip(np.rint(noisy), 0, 65535), np.uint16)


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
