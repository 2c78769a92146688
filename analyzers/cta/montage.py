"""The montage for surgeons: three planes with outlines, projections of vessel and device, the numbers with units."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from analyzers.contract import Assessed, FrameRef, Grade, Interval, Measurement, NotAssessable, Picture, Segment
from analyzers.ct_anatomy.patient_grid import PatientGrid, patient_grid, share_on_grid
from analyzers.cta.expectations import READ_ROLES
from analyzers.volume import StudyImages, Volume

_PAGE_GRID_MM = 1.75
_WINDOW_HU = (-100.0, 250.0)
"""Soft tissue: centre 75, width 350 HU."""
_PROJECTION_WINDOW_HU = (0.0, 800.0)
_INCHES = (14.0, 8.0)
_DPI = 100
_NAMES = {
    "liver_volume": "Liver volume",
    "liver_attenuation": "Liver mean",
    "liver_attenuation_sd": "Liver SD",
    "aorta_diameter": "Aorta",
    "aorta_attenuation": "Aorta attenuation",
    "pump_diameter": "Pump diameter",
    "pump_thickness": "Pump thickness",
    "pump_tilt": "Pump tilt to skin",
    "pump_depth": "Pump depth below skin",
    "catheter_length": "Catheter length",
}
_UNITS = {"cm3": "mL", "[hnsf'U]": "HU", "mm": "mm", "deg": "deg"}


def illustrate(images: StudyImages, result: Assessed | NotAssessable) -> Sequence[Picture]:
    """Draw the pages: one of planes per series that bears segments, one of projections; or one that tells why not."""
    with mpl.rc_context({"font.size": 10, "text.color": "white", "axes.titlecolor": "white"}):
        if isinstance(result, NotAssessable):
            return _refusal_page(images, result)
        series = list(dict.fromkeys(segment.series_instance_uid for segment in result.segments))
        pages: list[Picture] = []
        for number, uid in enumerate(series, start=1):
            on_series = [segment for segment in result.segments if segment.series_instance_uid == uid]
            volume = _volume_of(images, on_series[0])
            if volume is None:
                continue
            grid = patient_grid(volume, _PAGE_GRID_MM)
            masks = {
                item.name: share_on_grid(item.mask_planes, volume, grid) >= _least_share(item) for item in on_series
            }
            pages.append(_planes_page(f"planes-{number}", grid, volume, on_series, masks, result))
            if masks.keys() & {"aorta", "pump"}:
                pages.append(_projections_page(f"projections-{number}", grid, volume, on_series, masks, result))
        return pages


def _least_share(segment: Segment) -> float:
    """A catheter is thinner than a voxel of the page, everything else is thicker."""
    return 0.15 if segment.name == "catheter" else 0.5


def _volume_of(images: StudyImages, segment: Segment) -> Volume | None:
    for volume in images.load(segment.series_instance_uid).volumes:
        if volume.planes == segment.planes:
            return volume
    return None


def _planes_page(
    name: str,
    grid: PatientGrid,
    volume: Volume,
    segments: Sequence[Segment],
    masks: dict[str, NDArray[np.bool_]],
    result: Assessed,
) -> Picture:
    """Five axial planes, a coronal and a sagittal one, and the numbers."""
    figure = _page(f"{volume.header.text('SeriesDescription') or 'CT'}: outlines")
    cells = figure.add_gridspec(2, 4, left=0.01, right=0.99, top=0.92, bottom=0.02, wspace=0.03, hspace=0.08)
    focus = masks.get("liver", next(iter(masks.values())))
    planes = _spread(np.flatnonzero(focus.any(axis=(1, 2))), len(focus), 5)
    for index, plane in enumerate(planes):
        axes = figure.add_subplot(cells[index // 4, index % 4])
        _show(axes, grid, masks, segments, 0, plane)
        axes.set_title(f"axial, z = {grid.origin_lps_mm[2] + plane * grid.spacing_mm:.0f} mm")
    _, y, x = _centre(focus)
    coronal = figure.add_subplot(cells[1, 1])
    _show(coronal, grid, masks, segments, 1, y)
    coronal.set_title("coronal")
    sagittal = figure.add_subplot(cells[1, 2])
    _show(sagittal, grid, masks, segments, 2, x)
    sagittal.set_title("sagittal")
    _numbers(figure.add_subplot(cells[1, 3]), result, segments)
    return Picture(name=name, rgb=_drawn(figure), frame=_frame_at(volume, grid, planes[len(planes) // 2]))


def _projections_page(
    name: str,
    grid: PatientGrid,
    volume: Volume,
    segments: Sequence[Segment],
    masks: dict[str, NDArray[np.bool_]],
    result: Assessed,
) -> Picture:
    """Maximum intensity from the front and from the left, with vessel and device in colour, and the findings."""
    figure = _page(f"{volume.header.text('SeriesDescription') or 'CT'}: maximum intensity, vessel and device")
    cells = figure.add_gridspec(
        1, 3, left=0.01, right=0.99, top=0.9, bottom=0.02, wspace=0.04, width_ratios=[1, 1, 0.9]
    )
    shown = [item for item in segments if item.name in ("aorta", "pump", "catheter")]
    for column, (axis, title) in enumerate(((1, "from the front"), (2, "from the left"))):
        axes = figure.add_subplot(cells[0, column])
        rgb = _grey(grid.hu_zyx.max(axis=axis)[::-1], _PROJECTION_WINDOW_HU)
        for item in shown:
            flat = np.asarray(masks[item.name].any(axis=axis))[::-1]
            share = 1.0 if item.name == "catheter" else 0.5
            rgb[flat] = (1 - share) * rgb[flat] + share * np.array(item.rgb) / 255.0
        axes.imshow(rgb, interpolation="nearest")
        axes.axis("off")
        axes.set_title(f"{title} ({'R on the left' if axis == 1 else 'front on the left'})")
    text = figure.add_subplot(cells[0, 2])
    _numbers(text, result, segments, with_findings=True)
    return Picture(name=name, rgb=_drawn(figure), frame=_frame_at(volume, grid, len(grid.hu_zyx) // 2))


def _refusal_page(images: StudyImages, result: NotAssessable) -> list[Picture]:
    """A middle plane of the first readable series, and the reasons."""
    figure = _page("Not assessable")
    cells = figure.add_gridspec(1, 2, left=0.02, right=0.98, top=0.9, bottom=0.02)
    frame = None
    for role in READ_ROLES:
        volumes = [volume for loaded in images.with_role(role) for volume in loaded.volumes]
        if volumes:
            plane = len(volumes[0].planes) // 2
            axes = figure.add_subplot(cells[0, 0])
            axes.imshow(_grey(volumes[0].voxels_zyx[plane], _WINDOW_HU), interpolation="nearest")
            axes.axis("off")
            frame = volumes[0].planes[plane]
            break
    axes = figure.add_subplot(cells[0, 1])
    axes.axis("off")
    lines = [line for reason in result.reasons for line in _wrapped(reason, 62)]
    axes.text(0, 1, "\n".join(lines[:40]), va="top", transform=axes.transAxes)
    return [Picture(name="not-assessable", rgb=_drawn(figure), frame=frame)]


def _show(
    axes: Axes,
    grid: PatientGrid,
    masks: dict[str, NDArray[np.bool_]],
    segments: Sequence[Segment],
    axis: int,
    index: int,
) -> None:
    """One plane of the grid with outlines; coronal and sagittal planes show the head on top."""
    plane = np.take(grid.hu_zyx, index, axis=axis)
    plane = plane if axis == 0 else plane[::-1]
    axes.imshow(_grey(plane, _WINDOW_HU), interpolation="nearest")
    for item in segments:
        mask = np.take(masks[item.name], index, axis=axis)
        mask = mask if axis == 0 else mask[::-1]
        if mask.any() and not mask.all():
            axes.contour(mask.astype(float), levels=[0.5], colors=[np.array(item.rgb) / 255.0], linewidths=1.0)
    axes.axis("off")
    if axis in (0, 1):
        axes.text(0.01, 0.5, "R", transform=axes.transAxes, va="center")
        axes.text(0.99, 0.5, "L", transform=axes.transAxes, va="center", ha="right")


def _numbers(axes: Axes, result: Assessed, segments: Sequence[Segment], *, with_findings: bool = False) -> None:
    axes.axis("off")
    height = 0.99
    step = 0.035 if with_findings else 0.062
    for item in segments:
        axes.text(0.02, height, item.label, color=np.array(item.rgb) / 255.0, va="top", transform=axes.transAxes)
        height -= step
    height -= step / 2
    for value in result.measurements:
        axes.text(0.02, height, _in_words(value), va="top", fontsize=8.5, transform=axes.transAxes)
        height -= step
    if with_findings:
        height -= step / 2
        for text in [*(finding.sentence for finding in result.findings), *result.limitations]:
            for line in _wrapped(text, 58):
                axes.text(0.02, height, line, va="top", fontsize=8, transform=axes.transAxes)
                height -= 0.028
            height -= 0.01


def _in_words(value: Measurement) -> str:
    unit = _UNITS.get(value.unit.value, value.unit.meaning)
    digits = 0 if unit in ("mL", "HU", "deg") else 1
    doubt = "" if value.interval is None else f" ({_range(value.interval, digits)})"
    limited = " (limited)" if value.grade is Grade.LIMITED else ""
    return f"{_NAMES.get(value.key, value.key)}: {value.value:.{digits}f}{doubt} {unit}{limited}"


def _range(interval: Interval, digits: int) -> str:
    low = f"{interval.low:.{digits}f}"
    return f"from {low}" if interval.high is None else f"{low} to {interval.high:.{digits}f}"


def _wrapped(text: str, width: int) -> list[str]:
    lines, line = [], ""
    for word in text.split():
        if line and len(line) + len(word) + 1 > width:
            lines.append(line)
            line = word
        else:
            line = f"{line} {word}".strip()
    return [*lines, line]


def _spread(found: NDArray[np.intp], size: int, count: int) -> list[int]:
    """Evenly spread indices among those found, else among all, from the head down."""
    if found.size == 0:
        found = np.arange(size)
    inner = np.linspace(found[-1], found[0], count + 2)[1:-1]
    return [round(float(value)) for value in inner]


def _centre(mask_zyx: NDArray[np.bool_]) -> tuple[int, int, int]:
    if not mask_zyx.any():
        z, y, x = (size // 2 for size in mask_zyx.shape)
        return z, y, x
    z, y, x = (int(np.median(index)) for index in np.nonzero(mask_zyx))
    return z, y, x


def _frame_at(volume: Volume, grid: PatientGrid, plane: int) -> FrameRef:
    """The source plane that is nearest to the middle of a plane of the grid."""
    middle = np.array([[plane, grid.hu_zyx.shape[1] / 2, grid.hu_zyx.shape[2] / 2]])
    index = round(float(volume.to_indices_zyx(grid.to_lps_mm(middle))[0, 0]))
    return volume.planes[int(np.clip(index, 0, len(volume.planes) - 1))]


def _grey(plane_hu: NDArray[np.float32], window_hu: tuple[float, float]) -> NDArray[np.float64]:
    low, high = window_hu
    grey = np.clip((plane_hu.astype(float) - low) / (high - low), 0.0, 1.0)
    return np.repeat(grey[..., None], 3, axis=2)


def _page(title: str) -> Figure:
    figure = Figure(figsize=_INCHES, dpi=_DPI, facecolor="black")
    FigureCanvasAgg(figure)
    figure.suptitle(title, color="white", fontsize=12)
    return figure


def _drawn(figure: Figure) -> NDArray[np.uint8]:
    canvas = FigureCanvasAgg(figure)
    canvas.draw()  # type: ignore[no-untyped-call]  # matplotlib types figures, not canvases
    rgba: NDArray[np.uint8] = np.asarray(canvas.buffer_rgba())  # type: ignore[no-untyped-call]
    return rgba[..., :3].copy()
