"""The montage: one page of sequences and the liver, one of each candidate's key slice, with the numbers beside them."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from analyzers.contract import Assessed, Measurement, NotAssessable, Picture, Segment
from analyzers.mri.pages import rendered
from analyzers.mri.roles import Role
from analyzers.mri.stacks import NAMES, RoledStack, read_stacks
from analyzers.mri.thresholds import DEFAULT, MriThresholds
from analyzers.volume import StudyImages, Volume

_INCHES = (14.0, 10.0)
_DPI = 100
_TEXT_WIDTH = 46
_KEY_SLICES = 12
_LIVER_SLICES = 8
_SEQUENCES = 8
_MOST_TELLING = (
    Role.T1_PRE, Role.T1_ARTERIAL, Role.T1_PORTAL, Role.T1_TRANSITIONAL, Role.T1_HBP, Role.DWI, Role.T2, Role.HASTE,
    Role.ADC, Role.T1, Role.T1_IN, Role.T1_OPPOSED,
)  # fmt: skip


def illustrate(
    images: StudyImages, result: Assessed | NotAssessable, thresholds: MriThresholds = DEFAULT
) -> Sequence[Picture]:
    """Draw the pages of a result."""
    stacks = read_stacks(images, thresholds).stacks
    if not stacks:
        return ()
    pages = [_overview(stacks, images, result)]
    if isinstance(result, Assessed) and len(result.segments) > 1:
        pages.append(_key_slices(images, result))
    return tuple(pages)


def _volume_of(images: StudyImages, segment: Segment) -> Volume:
    volumes = images.load(segment.series_instance_uid).volumes
    return next(volume for volume in volumes if volume.planes == segment.planes)


def _overview(stacks: Sequence[RoledStack], images: StudyImages, result: Assessed | NotAssessable) -> Picture:
    figure = Figure(figsize=_INCHES, dpi=_DPI, facecolor="white")
    first = stacks[0].volume
    height_mm = float(first.to_lps_mm(np.array([[len(first.planes) / 2.0, 0.0, 0.0]]))[0, 2])
    frame = None
    if isinstance(result, Assessed) and result.segments:
        liver = result.segments[0]
        volume = _volume_of(images, liver)
        areas = liver.mask_planes.sum(axis=(1, 2))
        middle = int(areas.argmax())
        frame = volume.planes[middle]
        height_mm = float(volume.to_lps_mm(np.array([[middle, *np.array(volume.voxels_zyx.shape[1:]) / 2]]))[0, 2])
        shown = np.flatnonzero(areas)
        for number, z in enumerate(np.linspace(shown[0], shown[-1], _LIVER_SLICES).round().astype(int)):
            row, column = divmod(number, 4)
            axes = figure.add_axes((0.005 + 0.175 * column, 0.245 - 0.235 * row, 0.17, 0.215))
            _draw_slice(axes, volume, int(z), result.segments)
    for number, stack in enumerate(_shown(stacks)):
        row, column = divmod(number, 4)
        axes = figure.add_axes((0.005 + 0.175 * column, 0.745 - 0.245 * row, 0.17, 0.215))
        _draw_slice(axes, stack.volume, _plane_at(stack.volume, height_mm), ())
        label = f" {stack.volume.label}" if stack.volume.label and stack.b_value is not None else ""
        axes.set_title(f"{NAMES.get(stack.role, stack.role.value)}{label}", fontsize=8)
    _write(figure, result)
    return Picture(name="mri", rgb=rendered(figure), frame=frame)


def _shown(stacks: Sequence[RoledStack]) -> list[RoledStack]:
    """One stack of each role, of diffusion the strongest weighted, those first that tell most."""
    ordered = sorted(stacks, key=lambda one: -(one.b_value or 0.0))
    first = [next((one for one in ordered if one.role is role), None) for role in _MOST_TELLING]
    return [one for one in first if one is not None][:_SEQUENCES]


def _plane_at(volume: Volume, height_mm: float) -> int:
    centre = np.array(volume.voxels_zyx.shape[1:]) / 2.0
    places = np.array([[z, *centre] for z in range(len(volume.planes))])
    return int(np.abs(volume.to_lps_mm(places)[:, 2] - height_mm).argmin())


def _draw_slice(axes: Axes, volume: Volume, z: int, segments: Sequence[Segment]) -> None:
    rows, columns = volume.voxels_zyx.shape[1:]
    bright = float(np.percentile(volume.voxels_zyx[z], 99.5)) or 1.0
    _, row_mm, column_mm = volume.spacing_zyx_mm
    axes.imshow(
        volume.voxels_zyx[z], cmap="gray", vmin=0.0, vmax=bright, extent=(0.0, columns, rows, 0.0),
        aspect=row_mm / column_mm,
    )  # fmt: skip
    for segment in segments:
        _outline(axes, segment.mask_planes[z], segment.rgb)
    # Feet-first and mirrored grids: what lies left in the picture is told, not assumed.
    axes.text(
        0.02, 0.5, "R" if volume.affine_lps[0, 0] > 0 else "L", transform=axes.transAxes, color="white", fontsize=8
    )
    axes.set_axis_off()


def _outline(axes: Axes, section: NDArray[np.bool_], rgb: tuple[int, int, int]) -> None:
    if section.any() and not section.all():
        rows, columns = section.shape
        axes.contour(
            np.arange(columns) + 0.5, np.arange(rows) + 0.5, section.astype(np.float64), [0.5],
            colors=[tuple(channel / 255.0 for channel in rgb)], linewidths=1.0,
        )  # fmt: skip


def _key_slices(images: StudyImages, result: Assessed) -> Picture:
    figure = Figure(figsize=_INCHES, dpi=_DPI, facecolor="white")
    volume = _volume_of(images, result.segments[0])
    lesions = result.segments[1 : _KEY_SLICES + 1]
    first = None
    for number, lesion in enumerate(lesions):
        own = [one for one in result.measurements if one.subject == lesion.name]
        frame = next(one.lines[0].frame for one in own if one.lines)
        first = first or frame
        row, column = divmod(number, 4)
        axes = figure.add_axes((0.005 + 0.25 * column, 0.675 - 0.325 * row, 0.24, 0.27))
        _draw_slice(axes, volume, volume.planes.index(frame), (lesion,))
        _draw_axes(axes, own)
        _zoom(axes, own, volume)
        axes.set_title(_lesion_words(lesion.name, own), fontsize=8)
    return Picture(name="lesions", rgb=rendered(figure), frame=first)


def _draw_axes(axes: Axes, own: Sequence[Measurement]) -> None:
    for measurement in own:
        for line in measurement.lines:
            points = np.asarray(line.points_col_row)
            axes.plot(points[:, 0], points[:, 1], color="#56b4e9", linewidth=1.2)


def _zoom(axes: Axes, own: Sequence[Measurement], volume: Volume) -> None:
    points = np.concatenate([np.asarray(line.points_col_row) for one in own for line in one.lines])
    _, row_mm, column_mm = volume.spacing_zyx_mm
    centre, half_mm = points.mean(axis=0), max([50.0, *(one.value for one in own if one.lines)])
    axes.set_xlim(centre[0] - half_mm / column_mm, centre[0] + half_mm / column_mm)
    axes.set_ylim(centre[1] + half_mm / row_mm, centre[1] - half_mm / row_mm)


def _lesion_words(name: str, own: Sequence[Measurement]) -> str:
    values = {one.key: one.value for one in own}
    score = own[0].remark.split(";")[0].removeprefix("candidate, ")
    return (
        f"{name}: {values['lesion_long_axis']:.0f} x {values['lesion_short_axis']:.0f} mm, "
        f"{values['lesion_volume']:.1f} mL, {score}"
    )


def _write(figure: Figure, result: Assessed | NotAssessable) -> None:
    """The column of text on the right."""
    lines: list[tuple[str, str, str]] = []

    def add(text: str, colour: str = "black", weight: str = "normal") -> None:
        lines.extend((part, colour, weight) for part in textwrap.wrap(text, _TEXT_WIDTH))

    if isinstance(result, Assessed):
        add(result.conclusion, weight="bold")
        for one in result.measurements:
            if one.key in {"liver_volume", "lesion_long_axis"}:
                limited = "" if one.grade == "good" else " (limited)"
                unit = "mL" if one.key == "liver_volume" else "mm"
                add(f"{one.subject}: {one.concept.meaning.lower()} {one.value:.0f} {unit}{limited}")
    else:
        add("Not assessable", "#a00000", "bold")
        for reason in result.reasons:
            add(reason)
    for gate in result.gates:
        add(
            f"{gate.name}: {gate.seen} - {'passed' if gate.passed else 'FAILED'}",
            "#006040" if gate.passed else "#a00000",
        )
    for limitation in result.limitations if isinstance(result, Assessed) else ():
        add(limitation, "#505050")
    for number, (text, colour, weight) in enumerate(lines[:60]):
        figure.text(0.71, 0.975 - 0.016 * number, text, fontsize=8.5, color=colour, fontweight=weight, va="top")
