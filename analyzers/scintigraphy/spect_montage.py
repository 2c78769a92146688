"""The SPECT page of the montage: projections, planes through liver and largest focus over the CT, and the numbers.

Inverse grey for projections, as departments print them; a perceptual colour map for uptake over the CT. The numbers
of foci are those of the report. Outlines: liver of the CT in orange, else of the uptake in green; foci in vermilion;
hot regions in yellow; the border of the lobes dashed; lesions that others outlined dotted.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray
from scipy import ndimage

from analyzers.contract import Assessed, Picture, Segment
from analyzers.scintigraphy.pages import colour_map, rendered, without_axes
from analyzers.scintigraphy.spect_given import ShownLesion, shown_lesions
from analyzers.scintigraphy.spect_legend import hot_mark_of, legend_lines, mark_of
from analyzers.scintigraphy.spect_names import CT_LIVER_SEGMENT, LIVER_SEGMENT, LOBE_SEGMENTS
from analyzers.scintigraphy.spect_planes import Sheet, projected, sampled, sheet
from analyzers.volume import StudyImages, Volume

_WIDTH_IN, _DPI = 15.0, 100
_TEXT_LEFT, _VALUES_RIGHT = 0.665, 0.125
_TITLE_IN = 0.32
_ROOM_MM, _AROUND_MM = 12.0, 45.0
_OFFSETS = ((11.0, 11.0), (11.0, -22.0), (-30.0, 11.0), (-30.0, -22.0))
_LABEL_POINTS = (21.0, 14.0)
"""Width and height of a label of two letters."""
_PLANES = ("axial", "coronal", "sagittal")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Scene:
    """What is drawn: the SPECT, the CT if there is one, and what was outlined on either."""

    spect: Volume
    ct: Volume | None
    segments: tuple[Segment, ...]
    box_lps_mm: NDArray[np.float64]
    planes_box_lps_mm: NDArray[np.float64]
    bright: float
    lesions: tuple[ShownLesion, ...] = ()

    def grid_of(self, segment: Segment) -> Volume:
        """The volume that a segment lies on."""
        return self.ct if self.ct is not None and segment.planes == self.ct.planes else self.spect

    @property
    def hot(self) -> list[Segment]:
        """Hot regions of the liver."""
        return [segment for segment in self.segments if hot_mark_of(segment.name)]

    def named(self, name: str) -> Segment | None:
        """A segment by its name."""
        return next((segment for segment in self.segments if segment.name == name), None)


def spect_page(images: StudyImages, result: Assessed) -> Picture | None:
    """Draw the SPECT that the result's segments lie on; ``None`` where there are none."""
    scene = _scene(images, result)
    if scene is None:
        return None
    liver, foci = scene.named(LIVER_SEGMENT), [segment for segment in scene.segments if mark_of(segment.name)]
    if liver is None:
        return None
    centre = _centroid(liver, scene)
    rows: list[tuple[str, NDArray[np.float64] | None]] = [("", None), ("through the liver's centre", centre)]
    bright = [scene.bright] * len(rows)
    if foci:
        # Beside a liver a focus is faint: its own planes are scaled to it.
        rows.append((f"through {mark_of(foci[0].name)}, scaled to it", _centroid(foci[0], scene)))
        bright.append(min(scene.bright, 2.0 * float(scene.spect.voxels_zyx[foci[0].mask_planes].max())))
    if scene.lesions:
        first = scene.lesions[0]
        rows.append((f"through {first.mark}, outline given", first.mask.points_lps_mm().mean(axis=0)))
        bright.append(scene.bright)
    lines = legend_lines(result, fused=scene.ct is not None)
    figure, frames = _framed(scene, len(rows), 0.19 * len(lines) + 0.3)
    for (words, through), top, places in zip(rows, bright, frames, strict=True):
        for number, place in enumerate(places):
            axes = figure.add_axes(place)
            if through is None:
                _draw_projection(axes, number, scene, foci)
            else:
                _draw_plane(
                    axes,
                    sheet(_PLANES[number], through, scene.planes_box_lps_mm),
                    words,
                    replace(scene, bright=top),
                    foci,
                )
    _write(figure, lines)
    middle = liver.planes[int(np.argwhere(liver.mask_planes.any(axis=(1, 2))).mean())]
    return Picture(name="spect", rgb=rendered(figure), frame=middle)


def _scene(images: StudyImages, result: Assessed) -> _Scene | None:
    first = next((segment for segment in result.segments if segment.name == LIVER_SEGMENT), None)
    spect = _volume_of(images, first) if first is not None else None
    if first is None or spect is None:
        return None
    on_ct = next((segment for segment in result.segments if segment.name == CT_LIVER_SEGMENT), None)
    inside = spect.voxels_zyx[first.mask_planes]
    return _Scene(
        spect=spect,
        ct=_volume_of(images, on_ct) if on_ct is not None else None,
        segments=tuple(result.segments),
        box_lps_mm=_box(spect),
        planes_box_lps_mm=_planes_box(spect, result.segments),
        bright=max(float(np.percentile(inside, 97)) if inside.size else 0.0, 1e-6),
        lesions=shown_lesions(images, result, spect),
    )


def _volume_of(images: StudyImages, segment: Segment) -> Volume | None:
    loaded = images.load(segment.series_instance_uid)
    return next((volume for volume in loaded.volumes if volume.planes == segment.planes), None)


def _box(spect: Volume) -> NDArray[np.float64]:
    """Corners (LPS mm) of what holds the patient: above 3 per mille of the brightest, and a little more."""
    counts = spect.voxels_zyx
    body = np.argwhere(counts > 3e-3 * float(np.percentile(counts, 99.9))).astype(np.float64)
    points = spect.to_lps_mm(body)
    # A few bright voxels of noise far out must not shrink the patient.
    low, high = np.percentile(points, 0.5, axis=0) - _ROOM_MM, np.percentile(points, 99.5, axis=0) + _ROOM_MM
    size = np.asarray(counts.shape, np.float64)
    corners = spect.to_lps_mm(np.asarray([[0.0, 0.0, 0.0], size - 1.0]))
    low[2], high[2] = corners[:, 2].min(), corners[:, 2].max()
    return np.stack([low, high])


def _planes_box(spect: Volume, segments: tuple[Segment, ...]) -> NDArray[np.float64]:
    """The same, no higher and no lower than liver and foci with room around them."""
    box = _box(spect)
    shown = [one for one in segments if one.name == LIVER_SEGMENT or mark_of(one.name)]
    heights = np.concatenate([spect.to_lps_mm(np.argwhere(one.mask_planes).astype(np.float64))[:, 2] for one in shown])
    box[0, 2] = max(box[0, 2], float(heights.min()) - _AROUND_MM)
    box[1, 2] = min(box[1, 2], float(heights.max()) + _AROUND_MM)
    return box


def _centroid(segment: Segment, scene: _Scene) -> NDArray[np.float64]:
    places = np.argwhere(segment.mask_planes).astype(np.float64)
    return np.asarray(scene.grid_of(segment).to_lps_mm(places.mean(axis=0, keepdims=True))[0], np.float64)


def _framed(scene: _Scene, rows: int, least_in: float) -> tuple[Figure, list[list[tuple[float, float, float, float]]]]:
    """A figure whose rows are as high as their pictures need, and the places of three pictures in each row."""
    across, deep, high = (float(length) for length in scene.box_lps_mm[1] - scene.box_lps_mm[0])
    low = float(scene.planes_box_lps_mm[1, 2] - scene.planes_box_lps_mm[0, 2])
    projections = ((across, high), (across, high), (deep, high))
    planes = ((across, deep), (across, low), (deep, low))
    width_in = _TEXT_LEFT * _WIDTH_IN - 0.2
    heights = []
    for kind in (projections, *((planes,) * (rows - 1))):
        scale = (width_in - 0.3) / sum(size[0] for size in kind)
        heights.append(scale * max(size[1] for size in kind) + _TITLE_IN)
    total = max(sum(heights) + 0.1, 7.5, least_in)
    figure = Figure(figsize=(_WIDTH_IN, total), dpi=_DPI, facecolor="white")
    frames, top = [], total
    for kind, height in zip((projections, *((planes,) * (rows - 1))), heights, strict=True):
        scale = (width_in - 0.3) / sum(size[0] for size in kind)
        left, places = 0.1, []
        for size in kind:
            places.append((
                left / _WIDTH_IN, (top - height) / total, scale * size[0] / _WIDTH_IN, (height - _TITLE_IN) / total,
            ))  # fmt: skip
            left += scale * size[0] + 0.15
        frames.append(places)
        top -= height
    return figure, frames


def _draw_projection(axes: Axes, number: int, scene: _Scene, foci: list[Segment]) -> None:
    name = "sagittal" if number == 2 else "coronal"
    counts = np.maximum(scene.spect.voxels_zyx, np.float32(0.0))
    image, plane = projected(name, counts, scene.spect, scene.box_lps_mm)
    logarithmic = number == 1
    title = ("MIP from in front", "MIP from in front, log scale (faint uptake)", "MIP from the left")[number]
    if logarithmic:
        top = float(np.log10(scene.bright))
        axes.imshow(
            np.log10(np.maximum(image, 1e-6)), cmap=colour_map("batlow"), vmin=top - 3.0, vmax=top, extent=plane.extent
        )
    else:
        axes.imshow(image, cmap="gray_r", vmin=0.0, vmax=1.15 * scene.bright, extent=plane.extent)
    # One projection shows which hot region is which; on all of them they would hide the foci.
    hot = scene.hot if number == 0 else []
    for segment in (*_livers(scene), *hot, *foci):
        mask, _ = projected(name, segment.mask_planes, scene.grid_of(segment), _as_deep_as(segment, scene, name))
        _outline(axes, mask, plane, segment.rgb, 0.9 if segment.name in {LIVER_SEGMENT, CT_LIVER_SEGMENT} else 1.4)
    _finish(axes, title, plane, scene, [*foci, *hot], "white" if logarithmic else "black")


def _as_deep_as(segment: Segment, scene: _Scene, name: str) -> NDArray[np.float64]:
    """The patient's box, along the line of sight no deeper than a segment: nothing else of it can be seen."""
    depth, box = (0 if name == "sagittal" else 1), scene.box_lps_mm.copy()
    found = ndimage.find_objects(segment.mask_planes.astype(np.int8))
    if not found:
        return box
    corners = np.asarray(list(product(*((part.start - 1.0, part.stop) for part in found[0]))), np.float64)
    reach = scene.grid_of(segment).to_lps_mm(corners)[:, depth]
    low, high = np.clip([reach.min(), reach.max()], box[0, depth], box[1, depth])
    box[:, depth] = low, max(high, low + 1.0)
    return box


def _draw_plane(axes: Axes, plane: Sheet, words: str, scene: _Scene, foci: list[Segment]) -> None:
    uptake = np.maximum(sampled(plane, scene.spect.voxels_zyx, scene.spect, 0.0), np.float32(0.0)) / scene.bright
    if scene.ct is None:
        axes.imshow(uptake, cmap="gray_r", vmin=0.0, vmax=1.1, extent=plane.extent)
    else:
        anatomy = sampled(plane, scene.ct.voxels_zyx, scene.ct, -1000.0)
        axes.imshow(anatomy, cmap="gray", vmin=-180.0, vmax=260.0, extent=plane.extent)
        # The square root lets a focus of a tenth of the liver's level show; below two per cent nothing is drawn.
        root = np.sqrt(np.clip(uptake, 0.0, 1.2))
        opacity = np.clip((root - 0.15) / 0.25, 0.0, 1.0) * 0.62
        axes.imshow(root, cmap=colour_map("lajolla"), vmin=0.0, vmax=1.1, alpha=opacity, extent=plane.extent)
    near = []
    for segment in (*_livers(scene), *scene.hot, *foci):
        mask = sampled(plane, segment.mask_planes, scene.grid_of(segment), 0.0)
        _outline(axes, mask, plane, segment.rgb, 1.1)
        if (mark_of(segment.name) or hot_mark_of(segment.name)) and mask.max() > 0.5:
            near.append(segment)
    dark = scene.ct is not None
    _draw_lesions(axes, plane, scene)
    if plane.name != "sagittal":
        # A sagittal plane is nearly parallel to the border of the lobes and would show it where it happens to cross.
        _draw_lobe_border(axes, plane, scene)
    _finish(axes, f"{plane.name.capitalize()} {words}", plane, scene, near, "white" if dark else "black")


def _draw_lesions(axes: Axes, plane: Sheet, scene: _Scene) -> None:
    """Outlines that others made, dotted, each with its mark beside it."""
    for lesion in scene.lesions:
        held = lesion.mask.holds(plane.points_lps_mm.reshape(-1, 3)).reshape(plane.points_lps_mm.shape[:2])
        if not held.any():
            continue
        _outline(axes, held.astype(np.float32), plane, lesion.region.rgb, 1.6, "dotted")
        x, y = plane.shown(plane.points_lps_mm[held].mean(axis=0))
        axes.text(
            x, y, lesion.mark, ha="center", va="center", color="white", fontsize=9, fontweight="bold",
            path_effects=[withStroke(linewidth=2.0, foreground="black")],
        )  # fmt: skip


def _draw_lobe_border(axes: Axes, plane: Sheet, scene: _Scene) -> None:
    """Dashed, where counts were divided between right and left lobe; nothing where they were not."""
    lobes = [scene.named(LOBE_SEGMENTS[side]) for side in ("right", "left")]
    right, left = (
        None if lobe is None else sampled(plane, lobe.mask_planes, scene.grid_of(lobe), 0.0) for lobe in lobes
    )
    if right is None or left is None or right.max() < 0.5 or left.max() < 0.5:
        return
    border = np.where(right + left > 0.5, right - left, np.float32(np.nan))
    axes.contour(
        border, [0.0], colors=["white"], linewidths=1.1, linestyles="dashed", extent=plane.extent, origin="upper"
    )


def _livers(scene: _Scene) -> list[Segment]:
    """The liver of the CT where there is one, else that of the uptake."""
    found = scene.named(CT_LIVER_SEGMENT) or scene.named(LIVER_SEGMENT)
    return [found] if found is not None else []


def _outline(
    axes: Axes,
    mask: NDArray[np.float32],
    plane: Sheet,
    rgb: tuple[int, int, int],
    width: float,
    style: str = "solid",
) -> None:
    if mask.max() < 0.5 or mask.min() > 0.5:
        return
    colour = tuple(channel / 255.0 for channel in rgb)
    axes.contour(mask, [0.5], colors=[colour], linewidths=width, linestyles=style, extent=plane.extent, origin="upper")


def _finish(axes: Axes, title: str, plane: Sheet, scene: _Scene, foci: list[Segment], colour: str) -> None:
    axes.set_xlim(plane.extent[0], plane.extent[1])
    axes.set_ylim(plane.extent[2], plane.extent[3])
    taken: list[NDArray[np.float64]] = []
    for segment in foci:
        x, y = plane.shown(_centroid(segment, scene))
        offset = _free_offset(axes, (x, y), taken)
        axes.annotate(
            mark_of(segment.name) or hot_mark_of(segment.name),
            (x, y),
            xytext=offset,
            textcoords="offset points",
            color="white",
            fontsize=11,
            fontweight="bold",
            path_effects=[withStroke(linewidth=2.5, foreground="black")],
            arrowprops={"arrowstyle": "-", "color": colour, "linewidth": 0.7},
        )
    left, right = ("A", "P") if plane.name == "sagittal" else ("R", "L")
    for side, place in ((left, 0.02), (right, 0.95)):
        axes.text(place, 0.5, side, transform=axes.transAxes, color=colour, fontsize=9)
    axes.set_title(title, fontsize=9.5, pad=3)
    without_axes(axes)


def _free_offset(axes: Axes, place: tuple[float, float], taken: list[NDArray[np.float64]]) -> tuple[float, float]:
    """Where a label goes, in points from its place: the first of four corners that no other label lies on."""
    per_point = _DPI / 72.0
    at = np.asarray(axes.transData.transform(place), np.float64) / per_point
    for offset in _OFFSETS:
        label = at + offset
        if all(abs(label[0] - x) > _LABEL_POINTS[0] or abs(label[1] - y) > _LABEL_POINTS[1] for x, y in taken):
            break
    else:
        label, offset = at + _OFFSETS[0], _OFFSETS[0]
    taken.append(label)
    return offset


def _write(figure: Figure, lines: list[tuple[str, bool]]) -> None:
    height_in = float(figure.get_size_inches()[1])
    at = 0.12
    for text, strong in lines:
        for part, left in zip(text.split("\t"), (_TEXT_LEFT, _TEXT_LEFT + _VALUES_RIGHT), strict=False):
            figure.text(
                left,
                1.0 - at / height_in,
                part,
                fontsize=10.5 if strong else 9.3,
                fontweight="bold" if strong else "normal",
                va="top",
            )
        at += 0.2 if strong else 0.172
