"""A second arrival of a SOP Instance UID: the same, a correction, or a conflict."""

import dataclasses

import pytest

from scp_node.domain.digest import DigestForm, digest_text, form_of
from scp_node.domain.reception import HeldInstance, compare
from scp_node.domain.study import Reception
from tests.node.store_samples import EXPLICIT, IMPLICIT, JPEG_2000, OTHER_STUDY, in_series, received

DEFLATED = "1.2.840.10008.1.2.1.99"
FIRST = received(1)
HELD = HeldInstance(
    study_instance_uid=FIRST.summary.study_instance_uid,
    series_instance_uid=FIRST.summary.series_instance_uid,
    sop_class_uid=FIRST.summary.sop_class_uid,
    dataset_digest=FIRST.dataset_digest,
    geometry_digest=FIRST.geometry_digest,
    pixel_digests={"native": FIRST.pixel_digest},
)


def test_the_same_data_set_is_the_same() -> None:
    assert compare(HELD, received(1, after_s=100)) is Reception.SAME


@pytest.mark.parametrize("transfer_syntax", [EXPLICIT, IMPLICIT])
@pytest.mark.parametrize(
    ("pixels", "expected"), [("p", Reception.CORRECTION), ("other", Reception.CONFLICT)], ids=["same", "other"]
)
def test_native_pixels_are_compared_whatever_the_encoding_of_the_headers(
    transfer_syntax: str, pixels: str, expected: Reception
) -> None:
    assert compare(HELD, received(1, headers="new", transfer_syntax=transfer_syntax, pixels=pixels)) is expected


@pytest.mark.parametrize("transfer_syntax", [JPEG_2000, DEFLATED])
def test_pixels_that_cannot_be_compared_are_believed_where_the_geometry_is_equal(transfer_syntax: str) -> None:
    assert compare(HELD, received(1, transfer_syntax=transfer_syntax, pixels="unlike")) is Reception.CORRECTION


@pytest.mark.parametrize("headers", ["h", "new"])
@pytest.mark.parametrize("transfer_syntax", [EXPLICIT, IMPLICIT, JPEG_2000])
def test_another_geometry_is_a_conflict_in_every_transfer_syntax(headers: str, transfer_syntax: str) -> None:
    other = received(1, headers=headers, transfer_syntax=transfer_syntax, geometry="other")

    assert compare(HELD, other) is Reception.CONFLICT


def test_another_place_in_the_hierarchy_is_a_conflict() -> None:
    assert compare(HELD, in_series(received(1, headers="new"), "1.2.3")) is Reception.CONFLICT
    assert compare(HELD, received(1, headers="new", study=OTHER_STUDY)) is Reception.CONFLICT


def test_digests_of_two_forms_are_never_compared() -> None:
    blake3 = dataclasses.replace(received(1), dataset_digest=digest_text(bytes(32), DigestForm.BLAKE3))

    with pytest.raises(ValueError, match="two forms"):
        compare(HELD, blake3)


@pytest.mark.parametrize("form", DigestForm)
def test_the_form_of_a_digest_is_told_by_its_text(form: DigestForm) -> None:
    assert form_of(digest_text(bytes(range(32)), form)) is form
