"""What the headers allow to be corrected: scatter by energy windows, duration and decay between views.

Scatter under the photopeak is the trapezoid between the counts per keV of the neighbouring windows: with one window
below it (dual energy window) the upper side is taken as zero, which is right for Tc-99m; with one on each side it is
the triple energy window method. The estimate is smoothed, since scatter is broad and its window holds few counts.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from analyzers.contract import InstanceSummary
from analyzers.volume import PlanarView

_Gap = Callable[[tuple[float, float]], float]
_SCATTER_BLUR_MM = 12.0
_TOUCHING_KEV = 3.0
_FAR_KEV = 15.0
_HALF_LIFE_S = 6.0067 * 3600.0
_NO_DIGIT = re.compile(r"\D")
_WITHOUT_SECONDS = len("202402151528")
_DECAY_CORRECTED = frozenset({"DECY"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Scatter:
    """Estimated scatter in the photopeak window of one view, and from which windows.

    Attributes
    ----------
    counts : (rows, columns) float64
        On the pixels of the view as received.
    words : str
        For the report; plain ASCII.
    """

    counts: NDArray[np.float64]
    words: str


def scatter_under(view: PlanarView, others: Sequence[PlanarView], pixel_mm: float) -> Scatter | None:
    """Estimate scatter from the windows beside the photopeak of the same projection; ``None`` without one below it.

    Parameters
    ----------
    view : PlanarView
        The photopeak.
    others : sequence of PlanarView
        All views of the study; those of other objects, directions or matrices are left aside.
    pixel_mm : float
    """
    if view.window_kev is None:
        return None
    low, high = view.window_kev
    same = [
        other
        for other in others
        if other.frame.sop_instance_uid == view.frame.sop_instance_uid
        and other.direction == view.direction
        and other.counts.shape == view.counts.shape
        and other.window_kev is not None
    ]
    below = _beside(same, lambda window: low - window[1])
    if below is None or below.window_kev is None:
        return None
    per_kev = [_per_kev(below)]
    words = f"dual energy window ({below.window_kev[0]:g} to {below.window_kev[1]:g} keV)"
    above = _beside(same, lambda window: window[0] - high)
    if above is not None and above.window_kev is not None:
        per_kev.append(_per_kev(above))
        words = (
            f"triple energy window ({below.window_kev[0]:g} to {below.window_kev[1]:g} and "
            f"{above.window_kev[0]:g} to {above.window_kev[1]:g} keV)"
        )
    estimate = np.sum(per_kev, axis=0) * (high - low) / 2.0
    smooth = ndimage.gaussian_filter(estimate, _SCATTER_BLUR_MM / pixel_mm)
    return Scatter(counts=np.asarray(smooth, np.float64), words=words)


def _beside(views: Sequence[PlanarView], gap_kev: _Gap) -> PlanarView | None:
    """The view whose window is nearest to one side of the photopeak, neither overlapping it nor far away."""
    near = [
        (abs(gap), index)
        for index, view in enumerate(views)
        if view.window_kev is not None and -_TOUCHING_KEV <= (gap := gap_kev(view.window_kev)) <= _FAR_KEV
    ]
    return views[min(near)[1]] if near else None


def _per_kev(view: PlanarView) -> NDArray[np.float64]:
    low, high = view.window_kev or (0.0, 1.0)
    return np.asarray(view.counts, np.float64) / (high - low)


def posterior_scale(front: PlanarView, back: PlanarView) -> tuple[float, tuple[str, ...]]:
    """Factor that makes counts of the posterior view comparable with the anterior one, and what it corrects.

    Shares and fractions do not need it, for a factor on one view cancels in their geometric means; the ratio of
    anterior to posterior counts, which tells depth, does.
    """
    factor, words = 1.0, []
    if front.duration_s and back.duration_s and abs(front.duration_s - back.duration_s) > 0.01 * front.duration_s:
        factor *= front.duration_s / back.duration_s
        words.append(f"durations of {front.duration_s:g} and {back.duration_s:g} s")
    begun = (_acquired_at(front.header), _acquired_at(back.header))
    if begun[0] and begun[1] and not (_is_decay_corrected(front.header) or _is_decay_corrected(back.header)):
        later_s = (begun[1] - begun[0]).total_seconds()
        # Further apart than a day is another examination or a wrong clock.
        if 1.0 < abs(later_s) < 86400.0:
            factor *= float(2.0 ** (later_s / _HALF_LIFE_S))
            words.append(f"decay over {abs(later_s) / 60.0:.0f} min between the views")
    return factor, tuple(words)


def minutes_between(earlier: PlanarView, later: PlanarView) -> float | None:
    """Minutes from the start of one view to that of another, negative if it came before; ``None`` if not known."""
    begun, then = _acquired_at(earlier.header), _acquired_at(later.header)
    return (then - begun).total_seconds() / 60.0 if begun and then else None


def exposure_ratio(earlier: PlanarView, later: PlanarView) -> float | None:
    """Counts that what an earlier view showed still gives in a later one, relative to then; ``None`` if not known."""
    begun, then = _acquired_at(earlier.header), _acquired_at(later.header)
    if not (earlier.duration_s and later.duration_s and begun and then) or then <= begun:
        return None
    if _is_decay_corrected(earlier.header) or _is_decay_corrected(later.header):
        # To which moment, no header says.
        return None
    decayed = 0.5 ** ((then - begun).total_seconds() / _HALF_LIFE_S)
    return float(later.duration_s / earlier.duration_s * decayed)


def camera_corrections(header: InstanceSummary) -> tuple[str, ...]:
    """Corrections that the camera itself states (Corrected Image) and that bear on counts."""
    stated = {value.strip().upper() for value in header.attributes.get("CorrectedImage", ())}
    names = {"DTIM": "dead time", "DECY": "decay", "SCAT": "scatter"}
    return tuple(name for value, name in names.items() if value in stated)


def _is_decay_corrected(header: InstanceSummary) -> bool:
    stated = {value.strip().upper() for value in header.attributes.get("CorrectedImage", ())}
    return bool(stated & _DECAY_CORRECTED)


def _acquired_at(header: InstanceSummary) -> dt.datetime | None:
    """Start of the acquisition by the header's own clock; ``None`` where it does not say."""
    time = header.text("AcquisitionTime")
    text = header.text("AcquisitionDate") + time if time else header.text("AcquisitionDateTime")
    text = _NO_DIGIT.split(text, maxsplit=1)[0]
    if len(text) == _WITHOUT_SECONDS:
        text += "00"
    try:
        return dt.datetime.strptime(text, "%Y%m%d%H%M%S")  # noqa: DTZ007  two readings of one clock are compared
    except ValueError:
        return None
