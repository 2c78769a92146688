"""One way to make a :class:`~analyzers.contract.Measurement`: the key alone decides concept, unit and derivation."""

from __future__ import annotations

from typing import NotRequired, TypedDict, Unpack

from analyzers import vocabulary
from analyzers.contract import Code, FrameRef, Grade, Measurement, Outline


class Circumstances(TypedDict):
    """What may be said of a number besides; the fields of ``Measurement`` with the same names."""

    uncertainty: NotRequired[float | None]
    method: NotRequired[str]
    site: NotRequired[Code | None]
    laterality: NotRequired[Code | None]
    lines: NotRequired[tuple[Outline, ...]]
    sources: NotRequired[tuple[FrameRef, ...]]
    grade: NotRequired[Grade]
    remark: NotRequired[str]


def measurement(key: str, value: float, subject: str | None, **circumstances: Unpack[Circumstances]) -> Measurement:
    """A measurement whose concept, unit and derivation are those of its key.

    Parameters
    ----------
    key : str
        In :data:`analyzers.vocabulary.QUANTITIES`.
    value : float
        In the unit of the key.
    subject : str or None
        Name of the segment or region it is measured on; ``None``: of the whole examination.
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
        **circumstances,
    )
