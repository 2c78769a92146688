"""One part of the answer, and how its measurements and segments are written."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analyzers import measuring, vocabulary
from analyzers.contract import Code, Finding, FrameRef, Gate, Grade, Interval, Measurement, Segment
from analyzers.volume import Volume

SCALE_DOUBT_HU = 5.0
"""Tolerance of a scanner's water value in acceptance tests: how far all attenuations of a scan may be off."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What one structure adds to the answer; ``found`` says whether the structure itself was delineated."""

    found: bool
    measurements: tuple[Measurement, ...] = ()
    findings: tuple[Finding, ...] = ()
    segments: tuple[Segment, ...] = ()
    gates: tuple[Gate, ...] = ()
    limitations: tuple[str, ...] = ()


def measurement(
    key: str,
    value: float,
    subject: str | None,
    *,
    uncertainty: float | None = None,
    lower_limit: bool = False,
    method: str,
    sources: tuple[FrameRef, ...] = (),
    doubts: Iterable[str] = (),
) -> Measurement:
    """A measurement whose concept and unit come from the vocabulary; any doubt makes it limited.

    ``uncertainty`` is the half width of its 95 % interval; of a lower limit only the lower half is stated.
    """
    remark = "; ".join(doubts)
    value, interval = round(float(value), 2), None
    if uncertainty is not None:
        half = round(float(uncertainty), 2)
        interval = Interval(low=round(value - half, 2), high=None if lower_limit else round(value + half, 2))
    return measuring.measurement(
        key,
        value,
        subject,
        uncertainty=interval,
        method=method,
        sources=sources,
        grade=Grade.LIMITED if remark else Grade.GOOD,
        remark=remark,
    )


def segment(
    name: str,
    label: str,
    code: Code,
    mask_zyx: NDArray[np.bool_],
    volume: Volume,
    rgb: tuple[int, int, int],
    *,
    device: bool = False,
) -> Segment:
    """A segment on all planes of a volume; a plane without the structure stays empty."""
    return Segment(
        name=name,
        label=label,
        category=vocabulary.PHYSICAL_OBJECT if device else vocabulary.ANATOMICAL_STRUCTURE,
        type=code,
        mask_planes=np.ascontiguousarray(mask_zyx),
        planes=volume.planes,
        series_instance_uid=volume.series_instance_uid,
        rgb=rgb,
    )


def frames_of(mask_zyx: NDArray[np.bool_], volume: Volume) -> tuple[FrameRef, ...]:
    """First, largest and last plane of a structure."""
    areas = mask_zyx.sum(axis=(1, 2))
    planes = np.flatnonzero(areas)
    if planes.size == 0:
        return ()
    chosen = dict.fromkeys((int(planes[0]), int(np.argmax(areas)), int(planes[-1])))
    return tuple(volume.planes[plane] for plane in chosen)
