"""What a stranger's segment is taken for: by its code first, then by the words of its label."""

from __future__ import annotations

import pytest

from analyzers.contract import Code
from analyzers.scintigraphy.segment_roles import SegmentRole, role_of
from analyzers.segmentations import GivenSegment


def segment(label: str, code: str = "85756007", region: str = "") -> GivenSegment:
    return GivenSegment(
        number=1,
        label=label,
        description="",
        category=None,
        type=Code(value=code, scheme="SCT", meaning="x"),
        region=Code(value=region, scheme="SCT", meaning="x") if region else None,
    )


@pytest.mark.parametrize(
    ("label", "code", "role"),
    [
        ("Anything", "14799000", SegmentRole.LESION),
        ("Anything", "M-80003", SegmentRole.LESION),
        ("Lesion right lobe", "52988006", SegmentRole.LESION),
        ("Necrosis", "108369006", SegmentRole.OTHER),
        ("Organ", "10200004", SegmentRole.LIVER),
        ("Right lobe", "10200004", SegmentRole.OTHER),
        ("Perfused liver", "10200004", SegmentRole.OTHER),
        ("Liver tumor", "10200004", SegmentRole.LESION),
        ("Liver minus tumors", "10200004", SegmentRole.LIVER),
        ("Tumor_1", "", SegmentRole.LESION),
        ("TUMOUR2", "", SegmentRole.LESION),
        ("GTV1", "", SegmentRole.LESION),
        ("Metastase Segment 7", "", SegmentRole.LESION),
        ("Läsion 3", "", SegmentRole.LESION),
        ("lésion hépatique", "", SegmentRole.LESION),
        ("CRLM-4", "", SegmentRole.LESION),
        ("liver", "", SegmentRole.LIVER),
        ("Leber", "", SegmentRole.LIVER),
        ("Normal liver", "", SegmentRole.LIVER),
        ("Foie sans lésions", "", SegmentRole.LIVER),
        ("Liver segment 4", "", SegmentRole.OTHER),
        ("Left lobe of the liver", "", SegmentRole.OTHER),
        ("Spleen", "", SegmentRole.OTHER),
        ("peritumoral ring", "", SegmentRole.OTHER),
        ("non-tumor", "", SegmentRole.OTHER),
        ("Segment_1", "", SegmentRole.OTHER),
        ("metal", "", SegmentRole.OTHER),
    ],
)
def test_what_a_segment_is_by_its_code_and_by_its_words(label: str, code: str, role: SegmentRole) -> None:
    assert role_of(segment(label, code or "85756007")).role is role


def test_a_coded_lesion_of_another_organ_is_none_of_the_liver() -> None:
    assert role_of(segment("Lesion 1", "52988006", "39607008")).role is SegmentRole.OTHER
