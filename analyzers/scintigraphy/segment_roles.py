"""What a segment of a stranger's segmentation is: a lesion of the liver, the liver, or neither.

Its coded property type decides; where that says no more than "tissue", the words of its label do. Codes of SNOMED CT
and the older ones of SNOMED RT are those that common software writes (3D Slicer, dcmqi, DICOM CID 7159).
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from enum import StrEnum

from analyzers import vocabulary
from analyzers.segmentations import GivenSegment

_LESION_CODES = frozenset(
    {
        vocabulary.LESION.value,
        vocabulary.NEOPLASM.value,
        vocabulary.METASTASIS.value,
        vocabulary.PRIMARY_NEOPLASM.value,
        "86049000",  # malignant neoplasm, primary
        "4147007",  # mass
        "M-01100",
        "M-8FFFF",
        "M-80006",
        "M-80003",
        "M-03000",
    }
)
_LIVER_CODES = frozenset({vocabulary.LIVER.value, "T-62000"})
_ELSEWHERE = frozenset(
    organ.value
    for organ in (
        vocabulary.LUNG, vocabulary.SPLEEN, vocabulary.STOMACH, vocabulary.DUODENUM, vocabulary.SMALL_INTESTINE,
        vocabulary.PANCREAS, vocabulary.KIDNEY, vocabulary.BONE, vocabulary.THORAX, vocabulary.THYROID,
        vocabulary.URINARY_BLADDER,
    )
)  # fmt: skip

_LESION_WORDS = re.compile(
    r"\b(lesi?on\w*|lasion\w*|laesion\w*|tumou?r(s|e|en|i)?|tumeurs?|metasta\w*|mets?|hcc|icc|crlm|gtv|neoplas\w*)\d*\b"
)
_LIVER_WORDS = re.compile(r"\b(liver|leber|foie|higado|fegato|lever|hepar|liver parenchyma|parenchyma)\b")
_WITHOUT_WORDS = re.compile(r"\b(minus|without|excluding|excl|no|non|sans|ohne|sin|senza|zonder|normal|healthy)\b")
_PART_WORDS = re.compile(
    r"\b(lobes?|segments?|right|left|caudate|remnant|flr|perfused|treated|dome|veins?|vessels?|arter\w+|portal|"
    r"necro\w+|cysts?|margin|ring|ablation|peritumou?ral|background|spleen|kidneys?|lungs?|bowel|stomach|node\w*|lymph\w*)\b"
)


class SegmentRole(StrEnum):
    """What a segment is to the tumour-to-normal ratio."""

    LESION = "lesion"
    LIVER = "liver"
    OTHER = "other"


@dataclass(frozen=True, slots=True, kw_only=True)
class RoledSegment:
    """A segment with its role and what told so, in words."""

    segment: GivenSegment
    role: SegmentRole
    because: str


def role_of(segment: GivenSegment) -> RoledSegment:
    """Say what a segment is, and by what."""
    by_code = _by_code(segment)
    if by_code is not None:
        return RoledSegment(segment=segment, role=by_code, because="its coded type")
    by_words = _by_words(segment)
    return RoledSegment(segment=segment, role=by_words, because="the words of its label")


def _by_code(segment: GivenSegment) -> SegmentRole | None:
    """``None`` where the code does not settle it."""
    kind = segment.type.value if segment.type else ""
    if kind in _LESION_CODES:
        elsewhere = segment.region is not None and segment.region.value in _ELSEWHERE
        return SegmentRole.OTHER if elsewhere or _PART_WORDS.search(_without_place(segment)) else SegmentRole.LESION
    if kind in _LIVER_CODES:
        # The code of the whole organ stands on its parts, too, and on "liver tumor" by a hasty hand.
        return (
            None if _PART_WORDS.search(_words(segment)) or _LESION_WORDS.search(_words(segment)) else SegmentRole.LIVER
        )
    return None


def _by_words(segment: GivenSegment) -> SegmentRole:
    words = _words(segment)
    if _LESION_WORDS.search(words):
        if _WITHOUT_WORDS.search(words):
            return SegmentRole.LIVER if _LIVER_WORDS.search(words) else SegmentRole.OTHER
        return SegmentRole.OTHER if _PART_WORDS.search(_without_place(segment)) else SegmentRole.LESION
    if _LIVER_WORDS.search(words) and not _PART_WORDS.search(words):
        return SegmentRole.LIVER
    return SegmentRole.OTHER


def _without_place(segment: GivenSegment) -> str:
    """Of a lesion "in the right lobe, segment 7" the place is no part of the liver."""
    return re.sub(r"\b(lobes?|segments?|right|left|caudate|dome)\b", " ", _words(segment))


def _words(segment: GivenSegment) -> str:
    """Label in lower case without accents, digits and signs apart from letters: ``Tumor_1`` is ``tumor 1``."""
    folded = unicodedata.normalize("NFKD", segment.label.replace("ß", "ss").lower())
    plain = "".join(sign for sign in folded if not unicodedata.combining(sign))
    return re.sub(r"(?<=[a-z])(?=\d)|(?<=\d)(?=[a-z])", " ", re.sub(r"[^a-z0-9]+", " ", plain)).strip()
