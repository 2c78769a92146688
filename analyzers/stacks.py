"""Sort the planes of one series into stacks.

One series may hold several: two contrast phases, echoes, b-values, orientations, derived images, a localizer. Planes
are parted

1. by what never belongs together: grid, orientation, frame of reference, original or derived, localizer, energy
   window;
2. by attributes that mean another image of the same place (echo time, b-value, kernel, phase ...), wherever the parts
   so made overlap along the slice normal;
3. where positions still repeat, by attributes that may mean so (acquisition number, gradient direction, time).

Names and numbers of files and instances are never asked. What is left with two planes at one place is for the caller
to compare: the same pixels are a duplicate, different ones a reason to refuse.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from analyzers.geometry import SAME_PLACE_MM, Orientation, distances_along, slice_normal
from analyzers.planes import Plane, Values, positions_lps_mm

Discriminator = Callable[[Plane], Values]

ORIENTATION_TOLERANCE = 2e-3
"""Largest difference of a direction cosine within one stack (0.1 degree): headers jitter in the sixth digit."""
FEW_REPEATS_FRACTION = 0.1
"""Up to this part of the positions repeated, duplicates are likelier than a second phase."""

_MEANINGFUL = (
    "StackID",
    "ImageType",
    "ComplexImageComponent",
    "ConvolutionKernel",
    "InversionTime",
    "EchoTime",
    "EchoNumbers",
    "DiffusionBValue",
    "TemporalPositionIdentifier",
    "TemporalPositionIndex",
    "ContrastBolusAgentPhase",
)
_MEANINGFUL_IN_CT = ("AcquisitionNumber",)
_POSSIBLE = (
    "AcquisitionNumber",
    "DiffusionGradientOrientation",
    "TriggerTime",
    "NominalCardiacTriggerDelayTime",
    "FrameReferenceTime",
)

VARYING_ATTRIBUTES: tuple[str, ...] = tuple(dict.fromkeys((*_MEANINGFUL, *_MEANINGFUL_IN_CT, *_POSSIBLE)))
"""Attributes that may tell the stacks of one series apart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """Planes that belong together, sorted along their normal, with what tells them from the rest of the series."""

    planes: tuple[Plane, ...]
    label_parts: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """Words for people; empty when the series holds nothing else."""
        return ", ".join(self.label_parts)


def part_planes(planes: Sequence[Plane]) -> list[Stack]:
    """Sort planes with geometry into stacks, originals first, then by time.

    Parameters
    ----------
    planes : sequence of Plane
        All of one series, each with position, orientation and spacing.
    """
    stacks = [Stack(planes=tuple(part)) for part in _apart(planes)]
    originals = [stack for stack in stacks if not stack.planes[0].is_derived]
    if originals and len(originals) < len(stacks):
        stacks = [replace(stack, label_parts=("derived",)) if stack.planes[0].is_derived else stack for stack in stacks]
    parted = [part for stack in stacks for part in _part_by_meaning(stack)]
    return sorted(
        parted, key=lambda stack: (stack.planes[0].is_derived, stack.planes[0].is_localizer, -len(stack.planes))
    )


def repeats(planes: Sequence[Plane]) -> list[list[Plane]]:
    """Groups of planes that lie at the same place, each in the order of Instance Number."""
    ordered = sort_along_normal(planes)
    distances_mm = _distances_mm(ordered)
    starts = [0, *(np.flatnonzero(np.diff(distances_mm) > SAME_PLACE_MM) + 1).tolist(), len(ordered)]
    groups = [ordered[a:b] for a, b in itertools.pairwise(starts)]
    return [list(group) for group in groups if len(group) > 1]


def has_few_repeats(planes: Sequence[Plane]) -> bool:
    """True when a small part of the positions is repeated once or twice."""
    repeated = repeats(planes)
    places = len(planes) - sum(len(group) - 1 for group in repeated)
    return bool(repeated) and len(repeated) <= max(3, FEW_REPEATS_FRACTION * places) and places > len(repeated)


def part_by_attribute(stack: Stack) -> list[Stack]:
    """Part a stack whose positions repeat by an attribute that may tell the planes at one place apart.

    Returns the stack itself, alone, if none does.
    """
    most = max((len(group) for group in repeats(stack.planes)), default=1)
    for keyword in _POSSIBLE if most > 1 else ():
        parts = _grouped(stack.planes, _asking(keyword))
        if len(parts) <= 2 * most and not any(repeats(part) for part in parts):
            return _labelled(stack, keyword, parts)
    return [stack]


def part_by_time(stack: Stack) -> list[Stack]:
    """Part a stack whose positions repeat by when its planes were acquired.

    Duplicates must be gone: one of them would look like the beginning of a phase. Returns the stack itself, alone, if
    times are missing or equal.
    """
    parts = _parted_by_time(stack.planes) if repeats(stack.planes) else []
    if parts and not any(repeats(part) for part in parts):
        return _labelled(stack, "AcquisitionTime", parts)
    return [stack]


def sort_along_normal(planes: Iterable[Plane]) -> tuple[Plane, ...]:
    """Planes by their distance along the slice normal; at one place by Instance Number, then UID."""
    listed = list(planes)
    order = _distances_mm(listed)
    keys = [
        (
            round(float(distance), 3),
            plane.number("InstanceNumber") or 0.0,
            plane.ref.sop_instance_uid,
            plane.index,
        )
        for distance, plane in zip(order, listed, strict=True)
    ]
    return tuple(listed[index] for index in sorted(range(len(listed)), key=keys.__getitem__))


# --- what never belongs together ---------------------------------------------------------------------------


def _apart(planes: Sequence[Plane]) -> list[list[Plane]]:
    directions: list[Orientation] = []

    def direction_number(plane: Plane) -> int:
        for number, known in enumerate(directions):
            if np.allclose(known, plane.orientation, rtol=0.0, atol=ORIENTATION_TOLERANCE):
                return number
        directions.append(plane.orientation)
        return len(directions) - 1

    groups: dict[tuple[object, ...], list[Plane]] = {}
    for plane in planes:
        instance = plane.source.instance
        spacing = plane.frame.spacing_row_col_mm or (0.0, 0.0)
        key = (
            instance.rows,
            instance.columns,
            round(spacing[0], 4),
            round(spacing[1], 4),
            direction_number(plane),
            instance.text("FrameOfReferenceUID"),
            plane.is_derived,
            plane.is_localizer,
            plane.text("EnergyWindowVector"),
        )
        groups.setdefault(key, []).append(plane)
    return list(groups.values())


# --- what means another image of the same place ------------------------------------------------------------


def _part_by_meaning(stack: Stack) -> list[Stack]:
    modality = stack.planes[0].source.instance.modality
    keywords = _MEANINGFUL + (_MEANINGFUL_IN_CT if modality == "CT" else ())
    for keyword in keywords:
        parts = _grouped(stack.planes, _asking(keyword))
        if len(parts) > 1 and _overlap(parts):
            return [smaller for part in _labelled(stack, keyword, parts) for smaller in _part_by_meaning(part)]
    return [stack]


def _asking(keyword: str) -> Discriminator:
    if keyword == "ImageType":
        return lambda plane: plane.image_type
    return lambda plane: plane.values(keyword)


def _grouped(planes: Sequence[Plane], ask: Discriminator) -> list[list[Plane]]:
    groups: dict[Values, list[Plane]] = {}
    for plane in planes:
        groups.setdefault(ask(plane), []).append(plane)
    return list(groups.values())


def _overlap(parts: Sequence[Sequence[Plane]]) -> bool:
    """Whether the extents of any two parts along the normal overlap."""
    normal = slice_normal(parts[0][0].orientation)
    extents = []
    for part in parts:
        distances_mm = distances_along(positions_lps_mm(part), normal)
        extents.append((float(distances_mm.min()), float(distances_mm.max())))
    extents.sort()
    highest = extents[0][1]
    for low, high in extents[1:]:
        if low < highest + SAME_PLACE_MM:
            return True
        highest = max(highest, high)
    return False


def _distances_mm(planes: Sequence[Plane]) -> NDArray[np.float64]:
    normal = slice_normal(planes[0].orientation)
    return distances_along(positions_lps_mm(planes), normal)


def _parted_by_time(planes: Sequence[Plane]) -> list[list[Plane]]:
    """Planes at one place, told apart by when they were acquired; empty when times are missing or equal."""
    if any(not plane.acquired_at for plane in planes):
        return []
    groups = repeats(planes)
    counts = Counter(len(group) for group in groups)
    everywhere = sum(len(group) for group in groups) == len(planes)
    if everywhere and len(counts) == 1:
        ranked = [sorted(group, key=lambda plane: plane.acquired_at) for group in groups]
        if any(len({plane.acquired_at for plane in group}) < len(group) for group in ranked):
            return []
        return [list(phase) for phase in zip(*ranked, strict=True)]
    return _parted_in_sequence(planes)


def _parted_in_sequence(planes: Sequence[Plane]) -> list[list[Plane]]:
    """Phases of unequal coverage: a new one begins when a place comes again; empty when one place has equal times."""
    if any(len({plane.acquired_at for plane in group}) < len(group) for group in repeats(planes)):
        return []
    parts: list[list[Plane]] = [[]]
    taken: set[float] = set()
    normal = slice_normal(planes[0].orientation)
    # Sorting is stable: planes of one moment stay in the order of their places, whatever order they came in.
    for plane in sorted(sort_along_normal(planes), key=lambda plane: plane.acquired_at):
        place = round(float(distances_along(positions_lps_mm([plane]), normal)[0]) / (2 * SAME_PLACE_MM))
        if place in taken:
            parts.append([])
            taken = set()
        parts[-1].append(plane)
        taken.add(place)
    return parts


# --- words -------------------------------------------------------------------------------------------------


def _labelled(stack: Stack, keyword: str, parts: Sequence[Sequence[Plane]]) -> list[Stack]:
    ordered = sorted(parts, key=lambda part: _order_of(keyword, part))
    labels = [_label(keyword, number, part, ordered) for number, part in enumerate(ordered, start=1)]
    return [
        replace(stack, planes=tuple(part), label_parts=(*stack.label_parts, label))
        for part, label in zip(ordered, labels, strict=True)
    ]


def _order_of(keyword: str, part: Sequence[Plane]) -> tuple[float, str, Values]:
    number = part[0].number(keyword) if keyword != "ImageType" else None
    earliest = min(plane.acquired_at for plane in part)
    return (number if number is not None else 0.0, earliest, _asking(keyword)(part[0]))


_LABELS = {
    "DiffusionBValue": "b={value}",
    "EchoTime": "echo {number}",
    "EchoNumbers": "echo {number}",
    "InversionTime": "TI={value}",
    "ConvolutionKernel": "kernel {value}",
    "StackID": "stack {value}",
    "ComplexImageComponent": "{value}",
    "DiffusionGradientOrientation": "direction {number}",
}


def _label(keyword: str, number: int, part: Sequence[Plane], all_parts: Sequence[Sequence[Plane]]) -> str:
    if keyword == "ImageType":
        shared = set.intersection(*(set(other[0].image_type) for other in all_parts))
        own = [word for word in part[0].image_type if word not in shared]
        return " ".join(own).lower() or f"image type {number}"
    value = part[0].text(keyword).lower() or "unknown"
    return _LABELS.get(keyword, "phase {number}").format(value=value, number=number)
