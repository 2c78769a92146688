"""An SR as text: every item is shown at its depth, and no document makes it stumble."""

from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset

from scp_node.objects.text import sr_text


def code(meaning: str) -> Dataset:
    item = Dataset()
    item.CodeMeaning = meaning
    return item


def content(kind: str, name: str, *children: Dataset, **attributes: object) -> Dataset:
    item = Dataset()
    item.ValueType = kind
    item.ConceptNameCodeSequence = [code(name)]
    for keyword, value in attributes.items():
        setattr(item, keyword, value)
    if children:
        item.ContentSequence = list(children)
    return item


def measured(value: str, unit: str) -> Dataset:
    item = Dataset()
    item.NumericValue = value
    item.MeasurementUnitsCodeSequence = [code(unit)]
    return item


def reference(uid: str, frame: int | None = None) -> Dataset:
    item = Dataset()
    item.ReferencedSOPInstanceUID = uid
    if frame is not None:
        item.ReferencedFrameNumber = frame
    return item


def test_items_are_indented_by_their_depth() -> None:
    document = content(
        "CONTAINER",
        "Report",
        content("TEXT", "Conclusion", TextValue="All is well."),
        content(
            "CONTAINER",
            "Group",
            content("NUM", "Volume", MeasuredValueSequence=[measured("12.5", "mL")]),
            content("NUM", "Area", MeasuredValueSequence=[]),
            content("CODE", "Answer", ConceptCodeSequence=[code("Absent")]),
            content(
                "SCOORD",
                "Image Region",
                content("IMAGE", "Source", ReferencedSOPSequence=[reference("1.2.3", 2)]),
                GraphicType="POLYLINE",
                GraphicData=[1.0, 2.0, 3.0, 4.0],
            ),
        ),
        content("WAVEFORM", "Curve"),
    )
    document.PatientID = "P1"

    lines = sr_text(document).splitlines()

    assert lines[:2] == ["Report", "======"]
    assert lines[lines.index("") + 1 :] == [
        "Conclusion: All is well.",
        "Group",
        "  Volume: 12.5 mL",
        "  Area: no value",
        "  Answer: Absent",
        "  Image Region: POLYLINE of 2 points (1.0, 2.0) (3.0, 4.0)",
        "    Source: 1.2.3 frame 2",
        "Curve: (WAVEFORM)",
    ]


def test_a_document_says_whom_it_replaces() -> None:
    series, study, document = Dataset(), Dataset(), content("CONTAINER", "Report")
    series.ReferencedSOPSequence = [reference("1.2.9")]
    study.ReferencedSeriesSequence = [series]
    document.PredecessorDocumentsSequence = [study]

    assert "Replaces   1.2.9" in sr_text(document)


@given(
    st.sampled_from(["TEXT", "CODE", "NUM", "UIDREF", "PNAME", "SCOORD", "IMAGE", "COMPOSITE", "CONTAINER", "TCOORD"])
)
def test_an_item_without_its_value_is_shown_all_the_same(kind: str) -> None:
    document = content("CONTAINER", "Report", content(kind, "Something"))

    assert "Something" in sr_text(document)


def test_an_empty_data_set_gives_no_error() -> None:
    assert sr_text(Dataset()).endswith("\n")
