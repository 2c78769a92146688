"""Codes: real, short enough, and one meaning for each key."""

from __future__ import annotations

from typing import Any

import pytest
from pydicom.sr._concepts_dict import concepts

from analyzers import vocabulary
from analyzers.contract import Code

CODES = sorted(vocabulary._ALL, key=lambda code: (code.scheme, code.value, code.meaning))
NOT_IN_PYDICOM = {"430033006", "83908009"}
"""Infusion pump and abdominal wall: SNOMED CT concepts that no context group of the library lists."""

# Verhoeff's dihedral check digit, which ends every SNOMED CT identifier.
_TURN = (1, 5, 7, 6, 2, 8, 3, 0, 9, 4)


def _product(a: int, b: int) -> int:
    if a < 5:
        return (a + b) % 5 if b < 5 else 5 + (a + b - 5) % 5
    return 5 + (a - b - 5) % 5 if b < 5 else (a - b) % 5


def verhoeff(number: str) -> int:
    check = 0
    for place, digit in enumerate(reversed(number)):
        value = int(digit)
        for _ in range(place % 8):
            value = _TURN[value]
        check = _product(check, value)
    return check


def test_the_check_digit_is_computed_right() -> None:
    assert verhoeff("2363") == 0
    assert verhoeff("2364") != 0


@pytest.mark.parametrize("code", CODES, ids=lambda code: f"{code.scheme}-{code.value}")
def test_every_code_can_be_encoded(code: Code) -> None:
    assert 0 < len(code.meaning) <= 64
    assert 0 < len(code.value) <= 16
    assert code.meaning.isascii()


@pytest.mark.parametrize(
    "code",
    [code for code in CODES if code.scheme not in (vocabulary.PRIVATE_SCHEME, "LN")],
    ids=lambda code: f"{code.scheme}-{code.value}",
)
def test_every_standard_code_exists(code: Code) -> None:
    if code.scheme == "SCT":
        assert verhoeff(code.value) == 0
    listed: Any = concepts[code.scheme]
    known = {value for values in listed.values() for value in values}
    assert code.value in known or code.value in NOT_IN_PYDICOM


def test_a_code_has_one_meaning() -> None:
    assert len({(code.scheme, code.value) for code in CODES}) == len(CODES)


def test_every_quantity_is_said_with_known_codes_in_ucum() -> None:
    for key, quantity in vocabulary.QUANTITIES.items():
        assert vocabulary.is_known(quantity.concept), key
        assert quantity.unit.scheme == "UCUM", key
        assert quantity.derivation is None or vocabulary.is_known(quantity.derivation), key
