"""Specific Character Set of the objects: the one that the patient's name came in, as long as everything fits."""

from __future__ import annotations

import warnings

from pydicom.charset import convert_encodings, decode_bytes, encode_string, python_encoding
from pydicom.dataset import Dataset
from pydicom.valuerep import PersonName

UTF8 = "ISO_IR 192"
_TEXT_VRS = frozenset({"LO", "LT", "PN", "SH", "ST", "UC", "UT"})
_DELIMITERS = {0x5C, 0x0A, 0x0C, 0x0D, 0x5E, 0x3D}


def chosen_character_set(character_set: str, dataset: Dataset) -> list[str] | None:
    """Character set in which every text of a data set can be written and read back unchanged.

    Parameters
    ----------
    character_set : str
        The wish: value of Specific Character Set with backslashes; empty for the default repertoire.
    dataset : Dataset
        Holds decoded texts.

    Returns
    -------
    list of str or None
        Values of Specific Character Set; ``None`` for the default repertoire; UTF-8 when the wish does not do.
    """
    wished = character_set.split("\\") if character_set else []
    known = all(term in python_encoding for term in wished)
    if known and all(_survives(text, wished) for text in texts_of(dataset)):
        return wished or None
    return [UTF8]


def texts_of(dataset: Dataset) -> list[str]:
    """Every text of a data set that is written in its character set, sequences included."""
    texts: list[str] = []
    for element in dataset.iterall():
        if element.VR in _TEXT_VRS and element.value:
            values = [element.value] if isinstance(element.value, str | PersonName) else list(element.value)
            texts.extend(str(value) for value in values)
    return texts


def _survives(text: str, character_set: list[str]) -> bool:
    if text.isascii():
        return True
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        encodings = convert_encodings(character_set or [""])
        try:
            return all(
                decode_bytes(encode_string(part, encodings), encodings, _DELIMITERS) == part
                for group in text.split("=")
                for part in group.split("^")
            )
        except (UnicodeError, LookupError, ValueError):
            return False
