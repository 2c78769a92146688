"""The largest true lesion beside the candidate that lies on it: found by place, never by order or size."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydicom

from scp_node.demo.comparison import Compared, tolerance_of

LEAST_MM = 15.0
"""Long axis from which a lesion must be found; the benchmark of the analyzer counts its targets from there too."""
_AXIS = "lesion_long_axis"
_GEOMETRY = ["SOPInstanceUID", "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"]

Point = tuple[float, float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanePlace:
    """Where an image lies: centre of its first pixel, and the steps to the next column and row, in LPS mm."""

    origin_lps_mm: Point
    column_step_lps_mm: Point
    row_step_lps_mm: Point

    def point_lps_mm(self, column: float, row: float) -> Point:
        """The place of image coordinates, (0.5, 0.5) being the centre of the first pixel."""
        x, y, z = (
            start + (column - 0.5) * along + (row - 0.5) * down
            for start, along, down in zip(
                self.origin_lps_mm, self.column_step_lps_mm, self.row_step_lps_mm, strict=True
            )
        )
        return x, y, z


def largest_lesion(
    result: Mapping[str, Any], truth: Mapping[str, Any], places: Mapping[str, PlanePlace]
) -> Compared | None:
    """Long axis of the largest lesion against the candidate nearest to its middle, within half of that axis.

    Parameters
    ----------
    result, truth : mapping
        Contents of result.json and truth.json.
    places : mapping
        SOP Instance UID → place, of the images that the candidates' axes are drawn on.

    Returns
    -------
    Compared or None
        ``None`` where no lesion is large enough to be judged.
    """
    largest = max(truth.get("lesions", ()), key=lambda lesion: float(lesion["long_axis_mm"]), default=None)
    if largest is None or float(largest["long_axis_mm"]) < LEAST_MM:
        return None
    entry = next(one for one in truth["measurements"] if one["key"] == _AXIS and one["site"] == largest["name"])
    x, y, z = (float(value) for value in largest["centroid_lps_mm"])
    candidates = [
        (math.dist((x, y, z), middle), float(one["value"]))
        for one in result["result"].get("measurements", ())
        if one["key"] == _AXIS and (middle := _middle_lps_mm(one, places)) is not None
    ]
    near = [candidate for candidate in candidates if candidate[0] <= 0.5 * float(largest["long_axis_mm"])]
    return Compared(
        key="largest_lesion_long_axis",
        measured=min(near)[1] if near else None,
        truth=float(entry["value"]),
        unit=entry["unit"],
        tolerance=tolerance_of(entry),
        tolerance_reason=entry["tolerance_reason"],
        required=True,
    )


def drawn_on(result: Mapping[str, Any]) -> set[str]:
    """SOP Instance UIDs of the images that lesions' long axes are drawn on."""
    measurements = result["result"].get("measurements", ())
    return {line["frame"]["sop_instance_uid"] for one in measurements if one["key"] == _AXIS for line in one["lines"]}


def plane_places(files: Iterable[Path], wanted: set[str]) -> dict[str, PlanePlace]:
    """Places of the wanted images among the files."""
    places: dict[str, PlanePlace] = {}
    for path in files:
        if len(places) == len(wanted):
            break
        header = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=_GEOMETRY)
        if header.SOPInstanceUID in wanted:
            places[str(header.SOPInstanceUID)] = _place(header)
    return places


def _place(header: pydicom.Dataset) -> PlanePlace:
    x, y, z = (float(value) for value in header.ImagePositionPatient)
    orientation = [float(value) for value in header.ImageOrientationPatient]
    row_mm, column_mm = (float(value) for value in header.PixelSpacing)
    along, down = orientation[:3], orientation[3:]
    return PlanePlace(
        origin_lps_mm=(x, y, z),
        column_step_lps_mm=(along[0] * column_mm, along[1] * column_mm, along[2] * column_mm),
        row_step_lps_mm=(down[0] * row_mm, down[1] * row_mm, down[2] * row_mm),
    )


def _middle_lps_mm(measurement: Mapping[str, Any], places: Mapping[str, PlanePlace]) -> Point | None:
    lines = measurement.get("lines", ())
    place = places.get(lines[0]["frame"]["sop_instance_uid"]) if lines else None
    if place is None:
        return None
    points = lines[0]["points_col_row"]
    column, row = (sum(point[axis] for point in points) / len(points) for axis in (0, 1))
    return place.point_lps_mm(column, row)
