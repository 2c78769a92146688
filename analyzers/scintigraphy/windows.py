"""Energy windows: which views hold the photopeak of Tc-99m, and which cannot be told.

The limits of a window are optional in a header (Energy Window Range Sequence is Type 3, PS3.3 C.8.4.10), and one window
may add up several ranges.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from analyzers.contract import FrameSummary, InstanceSummary
from analyzers.volume import PlanarView

_TOUCHING_KEV = 1.0
_SCATTER_NAME = re.compile(r"scat|streu|compton|diffus|dispers|verstrooi", re.IGNORECASE)

Ranges = tuple[tuple[float, float], ...]
"""Lower and upper limits in keV, from low to high; ranges that touch are one."""


def ranges_kev(header: InstanceSummary, frame: int | None) -> Ranges:
    """Ranges of the window that a frame was recorded in; empty where the header names none.

    Parameters
    ----------
    header : InstanceSummary
    frame : int or None
        Frame number from 1; ``None`` in an object of one frame.
    """
    summary = _summary(header, frame)
    if summary is None:
        return ()
    limits = [summary.attributes.get(f"EnergyWindow{end}Limit", ()) for end in ("Lower", "Upper")]
    try:
        pairs = sorted((float(low), float(high)) for low, high in zip(*limits, strict=True))
    except ValueError:
        return ()
    joined: list[tuple[float, float]] = []
    for low, high in pairs:
        if joined and low <= joined[-1][1] + _TOUCHING_KEV:
            joined[-1] = (joined[-1][0], max(high, joined[-1][1]))
        else:
            joined.append((low, high))
    return tuple(joined)


def range_faults(ranges: Sequence[Ranges], photopeak_kev: float, subject: str) -> tuple[str, ...]:
    """Why windows that the headers name give no counts of the photopeak alone; empty where one does.

    Parameters
    ----------
    ranges : sequence of Ranges
        Of every window; those that name none count for nothing.
    photopeak_kev : float
    subject : str
        What was recorded in them, at the head of the sentence.
    """
    named = [one for one in ranges if one]
    holding = [one for one in named if any(low < photopeak_kev < high for low, high in one)]
    if not named or any(len(one) == 1 for one in holding):
        return ()
    words = "; ".join(dict.fromkeys(" and ".join(f"{low:.0f} to {high:.0f} keV" for low, high in one) for one in named))
    if holding:
        return (f"{subject} adds up several ranges of energy ({words}): counts of another energy lie in it.",)
    return (f"{subject} does not hold the photopeak of Tc-99m at 140 keV: {words}.",)


def unnamed_windows_fault(headers: Sequence[InstanceSummary]) -> tuple[str, ...]:
    """The reason where an object holds several windows and neither limits nor names tell the photopeak."""
    for header in headers:
        numbers = {number for frame in header.frames for number in frame.attributes.get("EnergyWindowVector", ())}
        if len(numbers) < 2 or any(ranges_kev(header, frame.frame) for frame in header.frames):
            continue
        others = {
            number
            for frame in header.frames
            for number in frame.attributes.get("EnergyWindowVector", ())
            if not _is_named_scatter(frame)
        }
        if len(others) != 1:
            return (f"{len(numbers)} energy windows without limits: which of them holds the photopeak cannot be told.",)
    return ()


def photopeak_views(views: Sequence[PlanarView], photopeak_kev: float) -> tuple[PlanarView, ...]:
    """Views whose energy window holds the photopeak and nothing else; all that are not named scatter if none is known.

    A view whose own window is not known is left where another's is.
    """
    known = [(view, one) for view in views if (one := view_ranges(view))]
    if not known:
        return tuple(view for view in views if not is_named_scatter(view.header, view.frame.frame))
    return tuple(view for view, one in known if len(one) == 1 and one[0][0] < photopeak_kev < one[0][1])


def view_ranges(view: PlanarView) -> Ranges:
    """Ranges of a view's window, from its header or as it was read."""
    return ranges_kev(view.header, view.frame.frame) or ((view.window_kev,) if view.window_kev is not None else ())


def is_named_scatter(header: InstanceSummary, frame: int | None) -> bool:
    """Whether a frame's window is called one for scatter."""
    summary = _summary(header, frame)
    return summary is not None and _is_named_scatter(summary)


def _is_named_scatter(frame: FrameSummary) -> bool:
    return any(_SCATTER_NAME.search(name) for name in frame.attributes.get("EnergyWindowName", ()))


def _summary(header: InstanceSummary, frame: int | None) -> FrameSummary | None:
    return next((one for one in header.frames if one.frame == frame), None)
