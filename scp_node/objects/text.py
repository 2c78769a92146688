"""An SR document as indented text, for people without a viewer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from pydicom.dataset import Dataset
from pydicom.multival import MultiValue

_INDENT = "  "
_POINTS_SHOWN = 4


def sr_text(document: Dataset) -> str:
    """Readable form of an SR document.

    Parameters
    ----------
    document : Dataset
        Any SR; other objects give their title line only.

    Returns
    -------
    str
        Title, patient and status, then one line per content item, indented by depth; ends in a line feed.
    """
    return "\n".join([*_head(document), *_items(document, 0)]) + "\n"


def _head(document: Dataset) -> Iterator[str]:
    title = _meaning(document, "ConceptNameCodeSequence") or str(document.get("SeriesDescription", ""))
    yield title
    yield "=" * len(title)
    yield f"Patient    {document.get('PatientName', '')} ({document.get('PatientID', '')})"
    yield f"Accession  {document.get('AccessionNumber', '')}"
    yield f"Study      {document.get('StudyInstanceUID', '')}"
    flags = ("CompletionFlag", "PreliminaryFlag", "VerificationFlag", "ContentQualification")
    yield "Status     " + ", ".join(str(document.get(flag)) for flag in flags if document.get(flag))
    for study in document.get("PredecessorDocumentsSequence", []):
        for series in study.ReferencedSeriesSequence:
            for reference in series.ReferencedSOPSequence:
                yield f"Replaces   {reference.ReferencedSOPInstanceUID}"
    yield ""


def _items(parent: Dataset, depth: int) -> Iterator[str]:
    for item in parent.get("ContentSequence", []):
        name = _meaning(item, "ConceptNameCodeSequence")
        value = _value(item)
        yield _INDENT * depth + (f"{name}: {value}" if name and value else name or value)
        yield from _items(item, depth + 1)


def _value(item: Dataset) -> str:
    kind = str(item.get("ValueType", ""))
    read = _READERS.get(kind)
    return read(item) if read else f"({kind})"


def _number(item: Dataset) -> str:
    for measured in item.get("MeasuredValueSequence", []):
        unit = _meaning(measured, "MeasurementUnitsCodeSequence")
        return f"{measured.get('NumericValue', '')} {unit}".strip()
    return "no value"


def _outline(item: Dataset) -> str:
    data = item.get("GraphicData", [])
    values = [float(value) for value in data] if isinstance(data, MultiValue | list) else []
    points = [f"({column:.1f}, {row:.1f})" for column, row in zip(values[::2], values[1::2], strict=False)]
    shown = " ".join(points[:_POINTS_SHOWN]) + (" ..." if len(points) > _POINTS_SHOWN else "")
    return f"{item.get('GraphicType', '')} of {len(points)} points {shown}"


def _reference(item: Dataset) -> str:
    for reference in item.get("ReferencedSOPSequence", []):
        text = str(reference.get("ReferencedSOPInstanceUID", ""))
        for keyword, word in (("ReferencedFrameNumber", "frame"), ("ReferencedSegmentNumber", "segment")):
            if reference.get(keyword) is not None:
                text += f" {word} {reference.get(keyword)}"
        return text
    return ""


def _meaning(dataset: Dataset, keyword: str) -> str:
    for code in dataset.get(keyword, []):
        return str(code.get("CodeMeaning", ""))
    return ""


_READERS: Mapping[str, Callable[[Dataset], str]] = {
    "TEXT": lambda item: str(item.get("TextValue", "")),
    "CODE": lambda item: _meaning(item, "ConceptCodeSequence"),
    "NUM": _number,
    "UIDREF": lambda item: str(item.get("UID", "")),
    "PNAME": lambda item: str(item.get("PersonName", "")),
    "SCOORD": _outline,
    "IMAGE": _reference,
    "COMPOSITE": _reference,
    "CONTAINER": lambda _item: "",
}
