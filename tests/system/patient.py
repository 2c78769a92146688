"""A patient with one study to send, whose names and numbers are easily found where they must not be."""

from __future__ import annotations

from pathlib import Path

from pydicom.dataset import Dataset
from pydicom.uid import generate_uid

from tests.node.network import ct_slice, part10


class Patient:
    """One study to send, slice by slice."""

    def __init__(self, folder: Path, description: str = "CT ABDOMEN HAI PUMP", **attributes: object) -> None:
        self.folder = folder
        self.study, self.series, self.frame_of_reference = generate_uid(), generate_uid(), generate_uid()
        self._attributes: dict[str, object] = {
            "StudyDescription": description,
            "PatientID": f"SECRET-{self.study[-6:]}",
            "PatientName": "Geheimnis^Gerda",
            "AccessionNumber": f"ACC{self.study[-6:]}",
            **attributes,
        }

    def slices(self, *numbers: int) -> list[Path]:
        return [part10(self.slice(number), self.folder / f"{self.study}.{number}") for number in numbers]

    def slice(self, number: int, **attributes: object) -> Dataset:
        made = ct_slice(number, study=self.study, series=self.series)
        for keyword, value in {**self._attributes, **attributes}.items():
            setattr(made, keyword, value)
        made.FrameOfReferenceUID = self.frame_of_reference
        made.SOPInstanceUID = f"{self.series[:56]}.{number}"
        return made
