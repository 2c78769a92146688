"""Text of one element, whatever the sender made of it."""

from __future__ import annotations

import struct

from pydicom.charset import default_encoding
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.errors import BytesLengthException
from pydicom.multival import MultiValue
from pydicom.tag import BaseTag

UNREADABLE = (
    BytesLengthException,
    ValueError,
    TypeError,
    ArithmeticError,
    LookupError,
    AttributeError,
    NotImplementedError,
    EOFError,
    OSError,
    RecursionError,
    struct.error,
)
"""What pydicom raises on broken or hostile bytes; OSError, without a number, for a sequence that breaks off."""


def text_of(dataset: Dataset, tag: BaseTag) -> str:
    """Values as one text, several joined by backslashes; empty when absent.

    What cannot be decoded in the declared character set is decoded as Latin-1: a wrong letter in a name is for a
    person to mend, a lost study is not.
    """
    if tag not in dataset:
        return ""
    value: object
    try:
        value = dataset[tag].value
    except UNREADABLE:
        value = _raw_value(dataset, tag)
    if value is None:
        return ""
    if isinstance(value, bytes):
        return value.decode(default_encoding, errors="replace").strip(" \0")
    if isinstance(value, MultiValue | list):
        return "\\".join(str(part).strip(" \0") for part in value)
    return str(value).strip(" \0")


def _raw_value(dataset: Dataset, tag: BaseTag) -> bytes | None:
    elements: list[object] = list(dataset.values())
    raw = [element for element in elements if isinstance(element, RawDataElement) and element.tag == tag]
    return raw[0].value if raw else None
