"""Two tracers in one study, and pictures of no tracer, as hospitals store them."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as DicomSequence

from analyzers import vocabulary
from analyzers.contract import Declined, Grade, Presence
from tests.analyzers.scintigraphy_studies import (
    SHUNT,
    SPECT,
    Made,
    Study,
    answered,
    assessed,
    give,
    in_one_series,
    reasons,
    value,
)

MACROAGGREGATES, COLLOID = "1", "11"
"""Series numbers of the phantom."""


def without_names(study: Study) -> Study:
    """No header names a radiopharmaceutical or a route."""
    for dataset in study:
        item = dataset.RadiopharmaceuticalInformationSequence[0]
        item.Radiopharmaceutical = "Tc-99m"
        for keyword in (
            "RadiopharmaceuticalCodeSequence",
            "AdministrationRouteCodeSequence",
            "RadiopharmaceuticalRoute",
        ):
            if keyword in item:
                delattr(item, keyword)
        dataset.SeriesDescription = dataset.ProtocolName = "ANT/POST"
        dataset.StudyDescription = dataset.RequestedProcedureDescription = "LIVER PUMP"
    return study


def with_both_agents_in_every_header(study: Study) -> Study:
    items = [dataset.RadiopharmaceuticalInformationSequence[0] for dataset in study]
    for dataset in study:
        dataset.RadiopharmaceuticalInformationSequence = DicomSequence([copy.deepcopy(item) for item in items])
    return study


def known_by_route(study: Study) -> Study:
    for dataset in without_names(study):
        route = "IA" if str(dataset.SeriesNumber) == MACROAGGREGATES else "i.v."
        dataset.RadiopharmaceuticalInformationSequence[0].RadiopharmaceuticalRoute = route
    return study


@pytest.mark.parametrize("change", [in_one_series, with_both_agents_in_every_header, known_by_route])
def test_both_tracers_are_told_apart_however_the_headers_say_it(
    made: Made, tmp_path: Path, change: Callable[[Study], Study]
) -> None:
    plain = assessed(made("sulfur-colloid"), tmp_path / "plain")
    changed = assessed(change(made("sulfur-colloid")), tmp_path / "changed")

    assert value(changed, SHUNT) == value(plain, SHUNT)
    assert changed.conclusion == plain.conclusion


def test_colloid_is_not_read_in_place_of_macroaggregates_that_cannot_be_read(made: Made, tmp_path: Path) -> None:
    study = in_one_series(made("sulfur-colloid"))
    next(dataset for dataset in study if str(dataset.SeriesNumber) == MACROAGGREGATES).PixelData = b""

    assert "empty" in reasons(study, tmp_path / "unread")


def test_a_tracer_by_vein_alone_is_not_taken_for_colloid(made: Made, tmp_path: Path) -> None:
    study = without_names(made())
    study[0].RadiopharmaceuticalInformationSequence[0].RadiopharmaceuticalRoute = "Intravenous"

    assert value(assessed(study, tmp_path / "vein"), SHUNT) > 0.0


def test_two_scans_whose_tracer_no_header_names_leave_spleen_and_completeness_open(made: Made, tmp_path: Path) -> None:
    result = assessed(without_names(made("sulfur-colloid")), tmp_path / "unnamed")

    assert result.findings[0].value == vocabulary.PERFUSION_INDETERMINATE
    assert "no header names the tracer" in result.conclusion
    (spleen,) = (finding for finding in result.findings if finding.site == vocabulary.SPLEEN)
    assert spleen.presence is Presence.INDETERMINATE
    assert next(one.grade for one in result.measurements if one.key == SHUNT) is Grade.LIMITED


def test_one_scan_in_two_objects_is_not_taken_for_two_scans(made: Made, tmp_path: Path) -> None:
    result = assessed(without_names(made("separate-views")), tmp_path / "separate")

    assert result.findings[0].value == vocabulary.PERFUSION_COMPLETE


def on_a_coarse_matrix(scan: Dataset) -> None:
    counts = scan.pixel_array
    give(scan, counts.reshape(2, 64, 2, 64, 2).sum(axis=(2, 4)).astype(np.uint16))
    scan.Rows = scan.Columns = 64
    scan.PixelSpacing = [2.0 * float(edge) for edge in scan.PixelSpacing]


def of_another_place(scan: Dataset) -> None:
    give(scan, np.roll(scan.pixel_array, 28, axis=1))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (on_a_coarse_matrix, "the colloid scan has another matrix or pixel size"),
        (of_another_place, "both scans cannot be laid onto each other"),
    ],
)
def test_a_colloid_scan_that_cannot_be_laid_onto_the_views_leaves_spleen_and_completeness_open(
    made: Made, tmp_path: Path, change: Callable[[Dataset], None], reason: str
) -> None:
    study = made("sulfur-colloid")
    change(next(dataset for dataset in study if str(dataset.SeriesNumber) == COLLOID))
    result = assessed(study, tmp_path / "apart")

    assert any(reason in text for text in result.limitations)
    assert result.findings[0].value == vocabulary.PERFUSION_INDETERMINATE
    assert next(one.grade for one in result.measurements if one.key == SHUNT) is Grade.LIMITED


def with_colloid_later(made: Made, *variants: str) -> Study:
    """A colloid scan two hours after the macroaggregates, which still shine under it."""
    (front,) = made(*variants)
    scan = next(dataset for dataset in made("sulfur-colloid") if str(dataset.SeriesNumber) == COLLOID)
    scan.StudyInstanceUID, scan.AcquisitionTime = front.StudyInstanceUID, "173000"
    left = 0.5 ** ((17.5 - (15 + 28 / 60 + 11 / 3600)) / 6.0067)
    give(scan, (scan.pixel_array + np.rint(left * front.pixel_array)).astype(np.uint16))
    return [front, scan]


def test_a_colloid_scan_after_the_macroaggregates_leaves_no_residue_in_them(made: Made, tmp_path: Path) -> None:
    alone = assessed(made(), tmp_path / "alone")
    result = assessed(with_colloid_later(made), tmp_path / "later")

    assert result.findings[0].value == vocabulary.PERFUSION_COMPLETE
    assert value(result, SHUNT) == value(alone, SHUNT)
    assert next(one.grade for one in result.measurements if one.key == SHUNT) is Grade.GOOD
    assert value(result, "perfused_outline_share_10") > 0.9


def test_a_colloid_scan_after_the_macroaggregates_shows_a_lobe_that_these_did_not_reach(
    made: Made, tmp_path: Path
) -> None:
    result = assessed(with_colloid_later(made, "missing-left-lobe"), tmp_path / "later")

    assert result.findings[0].value == vocabulary.PERFUSION_INCOMPLETE
    assert "the colloid scan shows liver there" in result.conclusion


def test_a_later_colloid_scan_that_holds_nothing_but_macroaggregates_is_not_compared(
    made: Made, tmp_path: Path
) -> None:
    front, scan = with_colloid_later(made)
    give(scan, (0.8 * front.pixel_array).astype(np.uint16))
    result = assessed([front, scan], tmp_path / "nothing")

    assert any("was not compared" in text for text in result.limitations)
    assert not any(one.key.startswith("perfused_outline") for one in result.measurements)


def test_a_transmission_image_is_not_measured(made: Made, tmp_path: Path) -> None:
    study = made()
    study[0].ImageType = ["ORIGINAL", "PRIMARY", "STATIC", "TRANSMISSION"]
    result = answered(study, tmp_path / "transmission")

    assert isinstance(result, Declined)
    assert "transmission" in result.reason


@pytest.mark.parametrize("name", ["MU MAP", "Attenuation_Map", "CT AC map"])
def test_a_map_of_attenuation_is_not_read_as_a_spect(made: Made, tmp_path: Path, name: str) -> None:
    study = made(*SPECT)
    study[0].SeriesDescription = name
    result = answered(study, tmp_path / "map")

    assert isinstance(result, Declined)
    assert "attenuation map" in result.reason


def test_a_screen_or_an_infusion_in_the_same_series_hides_no_views(made: Made, tmp_path: Path) -> None:
    plain = assessed(made(), tmp_path / "plain")
    for name, order in (("derived-inside", -1), ("dynamic", 1), ("dynamic", -1)):
        study = in_one_series(made(name)[::order])
        for number, dataset in enumerate(study, start=1):
            dataset.InstanceNumber, dataset.Modality = number, "NM"
            dataset.SOPInstanceUID = f"2.25.{1000 + number}"
        result = assessed(study, tmp_path / f"{name}{order}")

        assert value(result, SHUNT) == pytest.approx(value(plain, SHUNT), abs=0.005)
