"""Segments of an analysis as DICOM Segmentation objects.

Non-overlapping segments of one stack share an object; a segment that overlaps goes into the next object, in a series
of its own, because viewers lose voxels of overlapping segments without a warning. Planes are placed by the segments'
own lists of source planes and by nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import highdicom as hd
import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.uid import CTImageStorage

from analyzers.contract import FrameRef, FrameSummary, Outline, Segment
from scp_node.domain.delivery import ObjectKind
from scp_node.errors import EncodingError
from scp_node.objects import codes
from scp_node.objects.modules import (
    BODY_PART,
    CREATOR,
    Setting,
    complete,
    library_arguments,
    placeholder,
    referenced_sop,
)
from scp_node.objects.outlines import key_outline
from scp_node.objects.plain_text import plain
from scp_node.objects.provenance import MANUFACTURER, uid_from
from scp_node.objects.sources import SourceImage, SourceStudy

SEGMENTS_PER_OBJECT = 255
_DIRECTION_TOLERANCE = 1e-3
_STEP_TOLERANCE_MM = 0.01

Labels = NDArray[np.uint8]


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentPlace:
    """Where a segment ended up."""

    sop_class_uid: str
    sop_instance_uid: str
    segment_number: int
    source_series_uid: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Segmentations:
    """All segmentation objects of an analysis, and what the report needs of the masks.

    ``outlines`` holds the outline of each segment that is not empty on the plane where it is largest; ``remarks``
    says which masks could not be sent, and why.
    """

    outlines: Mapping[str, Outline] = field(default_factory=dict)
    datasets: tuple[Dataset, ...] = ()
    places: Mapping[str, SegmentPlace] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Grid:
    """What the planes of one object must share."""

    series_instance_uid: str
    frame_of_reference_uid: str
    rows: int
    columns: int
    orientation: tuple[float, ...]
    spacing_row_col_mm: tuple[float, float]


@dataclass(slots=True, kw_only=True)
class _Sheet:
    """Segments that share one object, as labels 1..n on the planes that they touch."""

    grid: _Grid
    step_mm: float | None
    thickness_mm: float
    stack: frozenset[FrameRef]
    segments: list[Segment]
    labels: dict[FrameRef, Labels]

    def takes(self, segment: Segment, grid: _Grid) -> bool:
        """Whether a segment lies in the same stack of planes and overlaps none that is here.

        One series may hold two contrast phases: the same places, but other images.
        """
        if grid != self.grid or len(self.segments) == SEGMENTS_PER_OBJECT or not self.stack.issuperset(segment.planes):
            return False
        return not any(
            bool(np.any(self.labels[plane][mask]))
            for plane, mask in zip(segment.planes, segment.mask_planes, strict=True)
            if plane in self.labels
        )

    def add(self, segment: Segment) -> None:
        """Draw a segment with the next label."""
        # Only its words are kept; the mask is in the labels.
        self.segments.append(replace(segment, mask_planes=np.broadcast_to(np.False_, segment.mask_planes.shape)))
        for plane, mask in zip(segment.planes, segment.mask_planes, strict=True):
            if mask.any():
                labels = self.labels.setdefault(plane, np.zeros(mask.shape, dtype=np.uint8))
                labels[mask] = len(self.segments)


def make_segmentations(segments: Iterable[Segment], setting: Setting) -> Segmentations:
    """Outline all segments, and encode them where segmentations are wanted; an empty one is no segment.

    Masks are large: each is let go before the next is taken.

    Raises
    ------
    EncodingError
        If a mask does not lie on the images that it names: the analyzer broke its contract.
    """
    wanted = ObjectKind.SEGMENTATION in setting.order.object_kinds
    outlines: dict[str, Outline] = {}
    sheets: list[_Sheet] = []
    remarks = []
    for segment in segments:
        planes = _source_planes(segment, setting.study)
        outline = key_outline(segment)
        if outline is None:
            continue
        outlines[segment.name] = outline
        grid = _grid(planes)
        if wanted and grid is not None:
            _place(segment, planes, grid, sheets)
        elif wanted:
            remarks.append(
                f"{plain(segment.label)}: the mask could not be sent as a segmentation, because its images name no "
                "common position, orientation and pixel spacing."
            )
    datasets = tuple(_encode(sheet, number, setting) for number, sheet in enumerate(sheets, start=1))
    return Segmentations(outlines=outlines, datasets=datasets, places=_places(sheets, datasets), remarks=tuple(remarks))


def _place(
    segment: Segment, planes: Sequence[tuple[SourceImage, FrameSummary]], grid: _Grid, sheets: list[_Sheet]
) -> None:
    """Draw a segment on the first sheet that takes it, else on a new one."""
    sheet = next((sheet for sheet in sheets if sheet.takes(segment, grid)), None)
    if sheet is None:
        step_mm = _step_mm(planes, grid)
        thickness_mm = planes[0][1].slice_thickness_mm or step_mm or 1.0
        stack = frozenset(segment.planes)
        sheet = _Sheet(grid=grid, step_mm=step_mm, thickness_mm=thickness_mm, stack=stack, segments=[], labels={})
        sheets.append(sheet)
    sheet.add(segment)


def _places(sheets: Sequence[_Sheet], datasets: Sequence[Dataset]) -> dict[str, SegmentPlace]:
    """Where each segment ended up, by name."""
    return {
        segment.name: SegmentPlace(
            sop_class_uid=dataset.SOPClassUID,
            sop_instance_uid=dataset.SOPInstanceUID,
            segment_number=number,
            source_series_uid=sheet.grid.series_instance_uid,
        )
        for sheet, dataset in zip(sheets, datasets, strict=True)
        for number, segment in enumerate(sheet.segments, start=1)
    }


def _source_planes(segment: Segment, study: SourceStudy) -> list[tuple[SourceImage, FrameSummary]]:
    """Image and geometry of each plane of a segment."""
    if len(segment.planes) != len(segment.mask_planes):
        raise EncodingError(
            f"segment {segment.name}: {len(segment.mask_planes)} planes of mask, {len(segment.planes)} named."
        )
    found = []
    for reference in segment.planes:
        image = study.image(reference)
        plane = image.plane(reference) if image else None
        if image is None or plane is None or image.summary.series_instance_uid != segment.series_instance_uid:
            raise EncodingError(
                f"segment {segment.name}: no frame {reference.frame or 1} of instance {reference.sop_instance_uid} "
                f"in series {segment.series_instance_uid} of the analysed study."
            )
        if segment.mask_planes.shape[1:] != (image.summary.rows, image.summary.columns):
            raise EncodingError(
                f"segment {segment.name}: a mask of {segment.mask_planes.shape[1:]} on instance "
                f"{reference.sop_instance_uid} of {image.summary.rows} rows and {image.summary.columns} columns."
            )
        found.append((image, plane))
    if len(set(segment.planes)) != len(segment.planes):
        raise EncodingError(f"segment {segment.name}: names a plane twice.")
    return found


def _grid(planes: Sequence[tuple[SourceImage, FrameSummary]]) -> _Grid | None:
    """Grid that all planes share, or ``None`` if one is silent or differs in direction or spacing."""
    image, first = planes[0]
    if first.orientation is None or first.spacing_row_col_mm is None:
        return None
    for _, plane in planes:
        if plane.position_lps_mm is None or plane.spacing_row_col_mm is None or plane.orientation is None:
            return None
        if not np.allclose(plane.orientation, first.orientation, atol=_DIRECTION_TOLERANCE):
            return None
        if not np.allclose(plane.spacing_row_col_mm, first.spacing_row_col_mm, rtol=_DIRECTION_TOLERANCE):
            return None
    return _Grid(
        series_instance_uid=image.summary.series_instance_uid,
        frame_of_reference_uid=image.summary.text("FrameOfReferenceUID"),
        rows=image.summary.rows or 0,
        columns=image.summary.columns or 0,
        orientation=tuple(round(cosine, 6) for cosine in first.orientation),
        spacing_row_col_mm=first.spacing_row_col_mm,
    )


def _step_mm(planes: Sequence[tuple[SourceImage, FrameSummary]], grid: _Grid) -> float | None:
    """Distance between neighbouring planes along the normal, in mm; ``None`` if there is no common one."""
    normal = np.cross(grid.orientation[:3], grid.orientation[3:])
    positions_mm = np.sort([float(np.dot(normal, plane.position_lps_mm or (0.0, 0.0, 0.0))) for _, plane in planes])
    steps_mm = np.diff(positions_mm)
    if len(steps_mm) == 0 or steps_mm[0] < _STEP_TOLERANCE_MM or np.ptp(steps_mm) > _STEP_TOLERANCE_MM:
        return None
    return float(np.mean(steps_mm))


def _encode(sheet: _Sheet, number: int, setting: Setting) -> Dataset:
    """One segmentation object."""
    provenance = setting.provenance
    planes = list(sheet.labels)
    stack = np.empty((len(planes), sheet.grid.rows, sheet.grid.columns), dtype=np.uint8)
    for index, plane in enumerate(planes):
        stack[index] = sheet.labels.pop(plane)
    proxies = [_proxy(plane, sheet, setting) for plane in planes]
    dataset = hd.seg.Segmentation(
        source_images=proxies,
        pixel_array=stack,
        segmentation_type="BINARY",
        segment_descriptions=[
            _description(segment, index, setting) for index, segment in enumerate(sheet.segments, start=1)
        ],
        series_instance_uid=provenance.series_uid(ObjectKind.SEGMENTATION, number),
        series_number=setting.series_number(ObjectKind.SEGMENTATION, number),
        sop_instance_uid=provenance.instance_uid(ObjectKind.SEGMENTATION, number),
        instance_number=1,
        content_label="HAI_SEG",
        content_description=plain(", ".join(segment.label for segment in sheet.segments), 64),
        content_creator_name=CREATOR,
        **library_arguments(setting),
    )
    _name_sources(dataset, {proxy.SOPInstanceUID: plane for proxy, plane in zip(proxies, planes, strict=True)}, setting)
    organization_uid = provenance.dimension_organization_uid(number)
    dataset.DimensionOrganizationSequence[0].DimensionOrganizationUID = organization_uid
    for item in dataset.DimensionIndexSequence:
        item.DimensionOrganizationUID = organization_uid
    if not sheet.grid.frame_of_reference_uid:
        # Legal without, because every frame is derived pixel for pixel from its source image.
        del dataset.FrameOfReferenceUID, dataset.PositionReferenceIndicator
    dataset.BodyPartExamined = BODY_PART
    what = "segmentation" if number == 1 else f"segmentation {number}"
    complete(dataset, setting, f"{what}: {', '.join(segment.label for segment in sheet.segments)}"[:44])
    return dataset


def _proxy(reference: FrameRef, sheet: _Sheet, setting: Setting) -> Dataset:
    """A single-frame image in place of a source plane, whatever kind of object that plane was received in.

    The encoder library knows neither nuclear volumes nor a subset of the frames of an enhanced object; a plane
    with its own position it does know. References are put right afterwards.
    """
    image = setting.study.images[reference.sop_instance_uid]
    plane = image.plane(reference)
    grid = sheet.grid
    proxy = placeholder(setting)
    proxy.SOPClassUID = CTImageStorage
    proxy.SOPInstanceUID = uid_from("plane", reference.sop_instance_uid, str(reference.frame))
    proxy.SeriesInstanceUID = grid.series_instance_uid
    proxy.FrameOfReferenceUID = grid.frame_of_reference_uid or uid_from("frame", grid.series_instance_uid)
    proxy.PositionReferenceIndicator = ""
    proxy.Rows, proxy.Columns = grid.rows, grid.columns
    proxy.ImagePositionPatient = [_decimal(value) for value in (plane.position_lps_mm if plane else None) or ()]
    proxy.ImageOrientationPatient = [_decimal(value) for value in grid.orientation]
    proxy.PixelSpacing = list(grid.spacing_row_col_mm)
    proxy.SliceThickness = sheet.thickness_mm
    if sheet.step_mm is not None:
        proxy.SpacingBetweenSlices = _decimal(sheet.step_mm)
    proxy.LossyImageCompression = "01" if image.lossy else "00"
    ratio = image.summary.text("LossyImageCompressionRatio")
    if image.lossy and ratio:
        proxy.LossyImageCompressionRatio = ratio
    return proxy


def _decimal(value: float) -> float:
    """Value that a Decimal String of 16 characters can hold."""
    return float(f"{value:.9g}") if abs(value) >= 1e-6 else 0.0


def _description(segment: Segment, number: int, setting: Setting) -> hd.seg.SegmentDescription:
    provenance = setting.provenance
    made_by = hd.AlgorithmIdentificationSequence(
        name=provenance.model_name,
        family=codes.ARTIFICIAL_INTELLIGENCE,
        version=provenance.software_version,
        source=MANUFACTURER,
    )
    if setting.site_thresholds:
        # Like the parameters of TID 4019 in the report: what this site decides otherwise.
        made_by[0].AlgorithmParameters = "; ".join(map(plain, setting.site_thresholds))
    description = hd.seg.SegmentDescription(
        segment_number=number,
        segment_label=plain(segment.label, 64),
        segmented_property_category=codes.concept(segment.category),
        segmented_property_type=codes.concept(segment.type),
        algorithm_type="AUTOMATIC",
        algorithm_identification=made_by,
        tracking_uid=provenance.tracking_uid(segment.name, segment.tracking_key),
        tracking_id=plain(segment.label, 64),
        anatomic_regions=[codes.concept(segment.site)] if segment.site else None,
        display_color=hd.color.CIELabColor.from_rgb(*segment.rgb),
    )
    if segment.laterality:
        modifiers = [codes.concept(segment.laterality)]
        if segment.site:
            description.AnatomicRegionSequence[0].AnatomicRegionModifierSequence = modifiers
        else:
            description.SegmentedPropertyTypeCodeSequence[0].SegmentedPropertyTypeModifierCodeSequence = modifiers
    return description


def _name_sources(dataset: Dataset, planes: Mapping[str, FrameRef], setting: Setting) -> None:
    """Put the real source images where the proxies stand."""
    # Frames of one plane share their items, so that each is put right once.
    sources = {
        id(source): source
        for group in dataset.PerFrameFunctionalGroupsSequence
        for derivation in group.DerivationImageSequence
        for source in derivation.SourceImageSequence
    }
    for source in sources.values():
        reference = planes[source.ReferencedSOPInstanceUID]
        image = setting.study.images[reference.sop_instance_uid]
        source.ReferencedSOPClassUID = image.summary.sop_class_uid
        source.ReferencedSOPInstanceUID = image.summary.sop_instance_uid
        numbers = image.frame_numbers(reference)
        if numbers:
            source.ReferencedFrameNumber = numbers[0]
    named: dict[str, Dataset] = {}
    for reference in planes.values():
        summary = setting.study.images[reference.sop_instance_uid].summary
        named[summary.sop_instance_uid] = referenced_sop(summary.sop_class_uid, summary.sop_instance_uid)
    dataset.ReferencedSeriesSequence[0].ReferencedInstanceSequence = list(named.values())
    # The frames say it; the library's list at the root would still name the proxies.
    del dataset.SourceImageSequence
