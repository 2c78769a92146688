"""One way to make a :class:`~analyzers.contract.Measurement`: the key alone decides concept, unit and derivation."""

from __future__ import annotations

from typing import NotRequired, TypedDict, Unpack

from analyzers import vocabulary
from analyzers.contract import Code, FrameRef, Grade, Interval, Measurement, Outline


class Circumstances(TypedDict):
    """What may be said of a number besides; the fields of ``Measurement`` with the same names."""

    method: NotRequired[str]
    site: NotRequired[Code | None]
    laterality: NotRequired[Code | None]
    lines: NotRequired[tuple[Outline, ...]]
    sources: NotRequired[tuple[FrameRef, ...]]
    grade: NotRequired[Grade]
    remark: NotRequired[str]


def measurement(
    key: str,
    value: float,
    subject: str | None,
    *,
    uncertainty: float | Interval | None = None,
    **circumstances: Unpack[Circumstances],
) -> Measurement:
    """A measurement whose concept, unit and derivation are those of its key.

    Parameters
    ----------
    key : str
        In :data:`analyzers.vocabulary.QUANTITIES`.
    value : float
        In the unit of the key.
    subject : str or None
        Name of the segment or region it is measured on; ``None``: of the whole examination.
    uncertainty : float, Interval or None
        Half width of the 95 % interval, or the interval itself; neither reaches beyond what the quantity can be.
    **circumstances
        See :class:`Circumstances`.

    Raises
    ------
    KeyError
        If the vocabulary has no such quantity.
    """
    quantity = vocabulary.QUANTITIES[key]
    return Measurement(
        key=key,
        concept=quantity.concept,
        value=value,
        unit=quantity.unit,
        derivation=quantity.derivation,
        subject=subject,
        interval=_interval(value, uncertainty, quantity),
        **circumstances,
    )


def _interval(value: float, uncertainty: float | Interval | None, quantity: vocabulary.Quantity) -> Interval | None:
    """Interval within the bounds of the quantity; a value beyond them is not moved, and stays in its interval."""
    if uncertainty is None:
        return None
    stated = uncertainty
    if not isinstance(stated, Interval):
        stated = Interval(low=value - stated, high=value + stated)
    low, high = stated.low, stated.high
    if quantity.least is not None:
        low = max(low, min(quantity.least, value))
    if quantity.most is not None and high is not None:
        high = min(high, max(quantity.most, value))
    return Interval(low=low, high=high)
