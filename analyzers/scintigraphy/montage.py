"""The montage: what was found where, readable at a glance.

Planar page: both views as received, in inverse grey and, below, on a logarithmic scale in a perceptual colour map where
faint uptake shows; regions outlined, foci numbered as in the report, numbers with units beside them. SPECT page:
maximum intensity projection from in front and planes through the liver's centre and the largest focus.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from analyzers.contract import Assessed, FrameRef, Measurement, NotAssessable, Picture, Region
from analyzers.scintigraphy.expectations import Role
from analyzers.scintigraphy.pages import colour_map, rendered, without_axes, wrapped
from analyzers.scintigraphy.spect_montage import spect_page
from analyzers.scintigraphy.views import POSTERIOR, settle_directions
from analyzers.volume import PlanarView, StudyImages

_WIDTH_IN, _LEAST_HEIGHT_IN, _MOST_HEIGHT_IN = 14.0, 7.5, 14.0
_LINE_IN = 0.163
_TITLE_IN = 0.4
_DPI = 100
_TEXT_WIDTH = 62
_BOLD_TEXT_WIDTH = 54
_LABELS = {
    "lung_shunt_fraction": "Lung shunt, before attenuation correction",
    "lung_shunt_fraction_corrected": "Lung shunt, corrected for scatter and attenuation",
    "liver_geometric_mean_counts": "Liver, geometric mean",
    "lung_geometric_mean_counts": "Lungs, geometric mean",
    "lung_shunt_fraction_spect": "Lung shunt by SPECT/CT",
    "left_lobe_share": "Liver counts left of the dividing line",
    "left_to_right_level": "Left to right uptake level (ratio)",
    "outside_colloid_share": "Foci outside the colloid outline, relative to liver",
    "perfused_outline_share_10": "Colloid outline perfused, above 10 %",
    "perfused_outline_share_20": "Colloid outline perfused, above 20 %",
    "perfused_outline_share_40": "Colloid outline perfused, above 40 %",
    "extrahepatic_focus_count": "Extrahepatic foci, planar",
    "extrahepatic_focus_count_spect": "Extrahepatic foci, SPECT",
}
_COLLOID = "liver-by-colloid"
_LEGEND = (
    ("liver", "green liver"),
    (_COLLOID, "dashed liver by colloid"),
    ("lung", "blue lungs"),
    ("focus-", "red or purple foci, numbered"),
)
_PLANAR_ROLES = (Role.PLANAR_MAA, Role.WHOLE_BODY, Role.PLANAR_COLLOID)


def illustrate(images: StudyImages, result: Assessed | NotAssessable) -> Sequence[Picture]:
    """Draw the pages of a result."""
    pages = []
    views = _views_to_show(images, result)
    if views:
        pages.append(_planar_page(views, result))
    if isinstance(result, Assessed):
        page = spect_page(images, result)
        if page is not None:
            pages.append(page)
    return tuple(pages)


def _views_to_show(images: StudyImages, result: Assessed | NotAssessable) -> tuple[PlanarView, ...]:
    """The two views that were read; where none were, the first two of the study."""
    views = [view for role in _PLANAR_ROLES for loaded in images.with_role(role) for view in loaded.views]
    directed, _ = settle_directions(views) if views else ((), ())
    if isinstance(result, Assessed):
        read = {outline.frame for region in result.regions for outline in region.outlines}
        chosen = [view for view in directed if view.frame in read]
        return tuple(sorted(chosen, key=lambda view: view.direction == POSTERIOR))
    return tuple(directed[:2])


def _planar_page(views: Sequence[PlanarView], result: Assessed | NotAssessable) -> Picture:
    regions = result.regions if isinstance(result, Assessed) else ()
    lines = _lines(result)
    frames = _equally_high([_shown(view, regions) for view in views])
    width_in = 0.305 * _WIDTH_IN
    heights_in = [width_in * (bottom - top) / max(right - left, 1.0) for top, bottom, left, right in frames]
    # The page is as high as its pictures or its text need.
    wanted_in = max(2.0 * (max(heights_in) + _TITLE_IN) + 0.15, height_of_lines_in(len(lines)))
    height_in = min(max(wanted_in, _LEAST_HEIGHT_IN), _MOST_HEIGHT_IN)
    figure = Figure(figsize=(_WIDTH_IN, height_in), dpi=_DPI, facecolor="white")
    for number, (view, frame, own_in) in enumerate(zip(views, frames, heights_in, strict=True)):
        high = min(own_in, height_in / 2.0 - _TITLE_IN - 0.1) / height_in
        for row, logarithmic in enumerate((False, True)):
            top = 1.0 - _TITLE_IN / height_in - row * (high + _TITLE_IN / height_in)
            place = (0.015 + 0.315 * number, top - high, 0.305, high)
            _draw_view(figure.add_axes(place), view, regions, frame, logarithmic=logarithmic)
    _write(figure, lines, height_in)
    return Picture(name="planar", rgb=rendered(figure), frame=views[0].frame)


def _draw_view(
    axes: Axes,
    view: PlanarView,
    regions: Sequence[Region],
    shown: tuple[float, float, float, float],
    *,
    logarithmic: bool,
) -> None:
    rows, columns = view.counts.shape
    extent = (0.0, float(columns), float(rows), 0.0)
    if logarithmic:
        axes.imshow(
            np.log10(np.maximum(view.counts, 0.0) + 1.0),
            cmap=colour_map("batlow"),
            extent=extent,
            interpolation="nearest",
        )
    else:
        bright = float(np.percentile(view.counts[view.counts > 0], 99.5)) if (view.counts > 0).any() else 1.0
        axes.imshow(view.counts, cmap="gray_r", vmin=0.0, vmax=bright, extent=extent, interpolation="nearest")
    for region in regions:
        _draw_region(axes, region, view.frame, dark=logarithmic)
    top, bottom, left, right = shown
    axes.set_xlim(left, right)
    axes.set_ylim(bottom, top)
    without_axes(axes)
    scale = "logarithmic, faint uptake shown" if logarithmic else "linear"
    kilocounts = float(view.counts.sum(dtype=np.float64)) / 1000.0
    name = view.direction.upper() or "DIRECTION UNKNOWN"
    axes.set_title(f"{name}  ({scale})  {kilocounts:,.0f} kcounts", fontsize=9, color="black")
    sides = ("L", "R") if view.direction == POSTERIOR else ("R", "L")
    for x, letter in zip((0.03, 0.97), sides, strict=True):
        axes.text(
            x, 0.5, letter, transform=axes.transAxes, ha="center", va="center", fontsize=13, fontweight="bold",
            color="white" if logarithmic else "black",
        )  # fmt: skip


def _equally_high(frames: list[tuple[float, float, float, float]]) -> list[tuple[float, float, float, float]]:
    """The same rows and as many columns of every view, so that heights can be compared from picture to picture."""
    top, bottom = min(frame[0] for frame in frames), max(frame[1] for frame in frames)
    width = max(right - left for _, _, left, right in frames)
    middles = [(left + right) / 2.0 for _, _, left, right in frames]
    return [(top, bottom, middle - width / 2.0, middle + width / 2.0) for middle in middles]


def _shown(view: PlanarView, regions: Sequence[Region]) -> tuple[float, float, float, float]:
    """What to show of a view: all that holds counts, but of a whole-body scan only where regions are, and around."""
    top, bottom, left, right = _occupied(view.counts)
    points = [
        point
        for region in regions
        for outline in region.outlines
        if outline.frame == view.frame
        for point in outline.points_col_row
    ]
    if points and bottom - top > 1.4 * (right - left):
        rows = [row for _, row in points]
        middle, half = (min(rows) + max(rows)) / 2.0, max(0.7 * (max(rows) - min(rows)), 0.5 * (right - left))
        top, bottom = max(top, middle - half), min(bottom, middle + half)
    return top, bottom, left, right


def _occupied(counts: NDArray[np.float32]) -> tuple[float, float, float, float]:
    """Top, bottom, left, right of the rectangle that holds counts."""
    rows, columns = np.flatnonzero(counts.any(axis=1)), np.flatnonzero(counts.any(axis=0))
    if not rows.size:
        return 0.0, float(counts.shape[0]), 0.0, float(counts.shape[1])
    return float(rows[0]), float(rows[-1] + 1), float(columns[0]), float(columns[-1] + 1)


def _draw_region(axes: Axes, region: Region, frame: FrameRef, *, dark: bool) -> None:
    colour = tuple(channel / 255.0 for channel in region.rgb)
    for outline in region.outlines:
        if outline.frame != frame:
            continue
        points = np.asarray((*outline.points_col_row, outline.points_col_row[0]))
        line = "--" if region.name == _COLLOID else "-"
        axes.plot(points[:, 0], points[:, 1], color=colour, linewidth=1.4, linestyle=line)
        if region.name.startswith("focus-"):
            axes.annotate(
                region.name.removeprefix("focus-"), (float(points[:, 0].max()), float(points[:, 1].min())),
                fontsize=12, fontweight="bold", color="white" if dark else "black",
            )  # fmt: skip


def height_of_lines_in(count: int) -> float:
    """Height in inches that so many lines of text need."""
    return count * _LINE_IN + _TITLE_IN


def lines_in_height(height_in: float) -> int:
    """How many lines of text a height has room for; the height that lines need has room for just these."""
    return int((height_in - _TITLE_IN) / _LINE_IN + 1e-6)


def _write(figure: Figure, lines: Sequence[tuple[str, str, str]], height_in: float) -> None:
    """The column of text on the right; what has no room is said to be in the report."""
    room = lines_in_height(height_in)
    kept = list(lines if len(lines) <= room else lines[: room - 1])
    if len(kept) < len(lines):
        kept.append(("... more in the report", "black", "normal"))
    for number, (text, colour, weight) in enumerate(kept):
        at = 1.0 - (0.3 + _LINE_IN * number) / height_in
        figure.text(0.655, at, text, fontsize=8.5, color=colour, fontweight=weight, va="top")


def _lines(result: Assessed | NotAssessable) -> list[tuple[str, str, str]]:
    """Text, colour and weight of every line."""
    lines: list[tuple[str, str, str]] = []
    if isinstance(result, Assessed):
        lines += [(text, "black", "bold") for text in wrapped(result.conclusion, _BOLD_TEXT_WIDTH)]
        lines.append(("", "black", "normal"))
        lines += [(text, "#505050", "normal") for text in wrapped(_legend(result), _TEXT_WIDTH)]
        for measurement in result.measurements:
            if measurement.subject is None or measurement.subject == "liver":
                lines += [(text, "black", "normal") for text in wrapped(in_words(measurement), _TEXT_WIDTH)]
        lines.append(("", "black", "normal"))
        for finding in result.findings[1:]:
            lines += [(text, "#a04000", "normal") for text in wrapped(finding.sentence, _TEXT_WIDTH)]
    else:
        lines.append(("Not assessable", "#a00000", "bold"))
        for reason in result.reasons:
            lines += [(text, "black", "normal") for text in wrapped(reason, _TEXT_WIDTH)]
    lines.append(("", "black", "normal"))
    for gate in result.gates:
        mark, colour = ("passed", "#006040") if gate.passed else ("FAILED", "#a00000")
        lines += [(text, colour, "normal") for text in wrapped(f"{gate.name}: {gate.seen} - {mark}", _TEXT_WIDTH)]
    if isinstance(result, Assessed):
        lines.append(("", "black", "normal"))
        for limitation in result.limitations:
            lines += [(text, "#505050", "normal") for text in wrapped(limitation, _TEXT_WIDTH)]
    return lines


def _legend(result: Assessed) -> str:
    """What the outlines mean, as far as they are drawn."""
    names = {region.name for region in result.regions}
    drawn = [words for start, words in _LEGEND if any(name.startswith(start) for name in names)]
    return f"Outlines: {', '.join(drawn)}. In brackets: 95 % interval." if drawn else ""


def in_words(measurement: Measurement) -> str:
    """A measurement with its unit as a line of text."""
    unit = measurement.unit.value
    if measurement.key.startswith("lung_shunt") or "_share" in measurement.key:
        value = _percent(measurement)
    elif unit in {"1", "{ratio}"}:
        value = f"{measurement.value:.3g}"
    else:
        value = f"{measurement.value:,.0f} {unit.strip('{}')}"
    grade = "" if measurement.grade == "good" else " (limited)"
    return f"{_LABELS.get(measurement.key, measurement.concept.meaning)}: {value}{grade}"


def _percent(measurement: Measurement) -> str:
    """A share in percent with its interval in brackets; one without an upper end is a lower limit."""
    interval, value = measurement.interval, f"{100 * measurement.value:.1f}"
    if interval is None:
        return f"{value} %"
    if interval.high is None:
        return f"at least {value} % (from {100 * interval.low:.1f})"
    return f"{value} % ({100 * interval.low:.1f} to {100 * interval.high:.1f})"
