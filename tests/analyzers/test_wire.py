"""What crosses the wall comes out as it went in, or is refused by the name of its key."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from analyzers import headers, vocabulary
from analyzers.contract import (
    Assessed,
    Code,
    Complete,
    Declined,
    Finding,
    FrameSummary,
    InstanceSummary,
    Measurement,
    Missing,
    NotAssessable,
    Region,
    SeriesSummary,
    StudySummary,
)
from analyzers.result_files import PictureFile, SegmentFile
from analyzers.wire import (
    ContractBrokenError,
    PriorRecord,
    expectation_from_json,
    expectation_to_json,
    instance_from_json,
    instance_to_json,
    read_prior,
    read_summary,
    write_prior,
    write_summary,
)

DOCUMENT = Path(__file__).parents[2] / "docs" / "result-schema.md"

texts = st.text(max_size=12)
numbers = st.floats(allow_nan=False, allow_infinity=False, width=32)
codes = st.builds(Code, value=texts, scheme=texts, meaning=texts)
attributes = st.dictionaries(texts, st.lists(texts, max_size=3).map(tuple), max_size=3)
coded = st.dictionaries(texts, st.lists(codes, max_size=2).map(tuple), max_size=2)
frames = st.builds(
    FrameSummary,
    frame=st.none() | st.integers(1, 5000),
    position_lps_mm=st.none() | st.tuples(numbers, numbers, numbers),
    orientation=st.none() | st.tuples(numbers, numbers, numbers, numbers, numbers, numbers),
    spacing_row_col_mm=st.none() | st.tuples(numbers, numbers),
    slice_thickness_mm=st.none() | numbers,
    attributes=attributes,
    codes=coded,
)
instances = st.builds(
    InstanceSummary,
    study_instance_uid=texts,
    series_instance_uid=texts,
    sop_instance_uid=texts,
    sop_class_uid=texts,
    transfer_syntax_uid=texts,
    modality=texts,
    rows=st.none() | st.integers(0, 65535),
    columns=st.none() | st.integers(0, 65535),
    attributes=attributes,
    codes=coded,
    frames=st.lists(frames, max_size=3).map(tuple),
)
studies = st.builds(
    StudySummary,
    study_instance_uid=texts,
    series=st.lists(
        st.builds(
            SeriesSummary,
            series_instance_uid=texts,
            modality=texts,
            instances=st.lists(instances, min_size=1, max_size=2).map(tuple),
        ),
        max_size=2,
    ).map(tuple),
)


@given(instances)
def test_an_instance_comes_back_as_it_went(instance: InstanceSummary) -> None:
    assert instance_from_json(json.loads(json.dumps(instance_to_json(instance)))) == instance


@given(studies)
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_summary_comes_back_as_it_went(tmp_path: Path, summary: StudySummary) -> None:
    write_summary(tmp_path / "summary.json", summary)

    assert read_summary(tmp_path / "summary.json") == summary


@pytest.mark.parametrize("expectation", [Complete(reason="two views"), Missing(what=("posterior view", "CT"))])
def test_an_expectation_comes_back_as_it_went(expectation: Complete | Missing) -> None:
    assert expectation_from_json(json.loads(json.dumps(expectation_to_json(expectation)))) == expectation


def test_a_prior_comes_back_as_it_went(tmp_path: Path) -> None:
    write_prior(tmp_path / "prior.json", PriorRecord(study_date="20200102", revision=2))

    assert read_prior(tmp_path / "prior.json") == PriorRecord(study_date="20200102", revision=2)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"rows": "512"}, "instance.rows: expected a whole number"),
        ({"rows": True}, "instance.rows: expected a whole number"),
        ({"colour": 1}, "instance.colour: no such key"),
        ({"modality": None}, "instance.modality: expected a text"),
        ({"attributes": {"KVP": "120"}}, "instance.attributes.KVP: expected a list"),
        ({"codes": {"A": [{"value": "1", "scheme": "SCT"}]}}, r"instance.codes.A\[0\].meaning: missing"),
        ({"frames": [{"frame": 1, "spacing_row_col_mm": [1]}]}, r"frames\[0\].spacing_row_col_mm: expected 2 values"),
        ({"frames": [{"frame": 1, "slice_thickness_mm": float("nan")}]}, "slice_thickness_mm: expected a number"),
    ],
)
def test_a_wrong_value_is_refused_by_the_name_of_its_key(change: dict[str, Any], named: str) -> None:
    plain = {
        "study_instance_uid": "1",
        "series_instance_uid": "2",
        "sop_instance_uid": "3",
        "sop_class_uid": "4",
        "transfer_syntax_uid": "5",
        "modality": "CT",
        "rows": 1,
        "columns": 1,
        "attributes": {},
        "codes": {},
        "frames": [],
    }
    instance_from_json(plain)

    with pytest.raises(ContractBrokenError, match=named):
        instance_from_json({**plain, **change})


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"schema": "hai-summary/2", "series": []}', "\x00"])
def test_a_file_of_another_schema_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "summary.json").write_text(text)

    with pytest.raises(ContractBrokenError):
        read_summary(tmp_path / "summary.json")


@pytest.mark.parametrize(
    "kind",
    [
        Assessed,
        NotAssessable,
        Declined,
        Finding,
        Measurement,
        Region,
        SegmentFile,
        PictureFile,
        InstanceSummary,
        FrameSummary,
        PriorRecord,
    ],
)
def test_the_document_names_every_key(kind: Any) -> None:
    text = DOCUMENT.read_text()

    missing = [field.name for field in fields(kind) if f"`{field.name}`" not in text and field.name not in text.split()]

    assert missing == []


def test_the_document_lists_the_shared_measurements_with_their_units() -> None:
    rows = [line for line in DOCUMENT.read_text().splitlines() if line.startswith("| `")]
    documented = {row.split("`")[1]: row.split("`")[3] for row in rows if row.count("`") >= 4}

    known = {key: documented[key] for key in documented if key in vocabulary.QUANTITIES}

    assert len(known) >= 13
    assert {key: vocabulary.QUANTITIES[key].unit.value for key in known} == known


def test_a_summary_can_hold_no_patient_identity() -> None:
    forbidden = (
        "PatientName",
        "PatientID",
        "PatientBirthDate",
        "AccessionNumber",
        "Comments",
        "Institution",
        "Physician",
    )

    assert not [name for name in headers.ATTRIBUTES if any(word in name for word in forbidden)]
