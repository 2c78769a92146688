"""One plane of pixels with its header: what stacks are sorted from."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analyzers.contract import FrameRef, FrameSummary, finite_number
from analyzers.geometry import Orientation
from analyzers.pixels import SourceFile

Values = tuple[str, ...]

_NUMERIC_DECIMALS = {"EchoTime": 2, "InversionTime": 1, "DiffusionBValue": 0, "TriggerTime": 1}
"""Attributes whose values jitter in the last digits, and the decimals that count."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plane:
    """One frame of one file.

    ``index`` counts frames of the file from 0.
    """

    source: SourceFile
    frame: FrameSummary
    index: int

    @property
    def ref(self) -> FrameRef:
        """Where the plane was received."""
        return FrameRef(sop_instance_uid=self.source.instance.sop_instance_uid, frame=self.frame.frame)

    def values(self, keyword: str) -> Values:
        """Values of an attribute: the frame's own, else the instance's; numbers rounded to what counts."""
        found = self.frame.attributes.get(keyword) or self.source.instance.attributes.get(keyword, ())
        decimals = _NUMERIC_DECIMALS.get(keyword)
        if decimals is None:
            return found
        try:
            return tuple(f"{float(value):.{decimals}f}" for value in found)
        except ValueError:
            return found

    def text(self, keyword: str) -> str:
        """First value of an attribute, empty when absent."""
        return next(iter(self.values(keyword)), "")

    def number(self, keyword: str) -> float | None:
        """First value of an attribute as a finite number, or ``None``."""
        return finite_number(self.text(keyword))

    @property
    def image_type(self) -> Values:
        """Frame Type of an enhanced object, else Image Type, in capitals."""
        found = self.frame.attributes.get("FrameType") or self.source.instance.attributes.get("ImageType", ())
        return tuple(value.upper() for value in found)

    @property
    def is_localizer(self) -> bool:
        """True for a scout or topogram (Image Type value 3, PS3.3 C.8.2.1.1.1)."""
        return "LOCALIZER" in self.image_type[2:]

    @property
    def is_derived(self) -> bool:
        """True when made from other images (Image Type value 1)."""
        return self.image_type[:1] == ("DERIVED",)

    @property
    def thickness_mm(self) -> float:
        """Slice thickness, 1 mm when the header is silent."""
        return self.frame.slice_thickness_mm or 1.0

    @property
    def orientation(self) -> Orientation:
        """Row and column direction; only for planes with geometry."""
        if self.frame.orientation is None:
            raise ValueError("plane without orientation")
        return self.frame.orientation

    @property
    def acquired_at(self) -> str:
        """Date and time of acquisition as text that sorts; empty when the header is silent."""
        for keyword in ("FrameAcquisitionDateTime", "FrameReferenceDateTime", "AcquisitionDateTime"):
            if moment := self.text(keyword):
                return moment
        time = self.text("AcquisitionTime")
        return self.text("AcquisitionDate") + time if time else ""

    @property
    def has_geometry(self) -> bool:
        """True when position, orientation and spacing are all there."""
        frame = self.frame
        return None not in (frame.position_lps_mm, frame.orientation, frame.spacing_row_col_mm)


def positions_lps_mm(planes: Iterable[Plane]) -> NDArray[np.float64]:
    """Positions of planes with geometry, shape (n, 3), LPS mm."""
    return np.asarray([plane.frame.position_lps_mm for plane in planes], np.float64).reshape(-1, 3)


def planes_of(source: SourceFile) -> list[Plane]:
    """List every frame of a file."""
    return [Plane(source=source, frame=frame, index=index) for index, frame in enumerate(source.instance.frames)]
