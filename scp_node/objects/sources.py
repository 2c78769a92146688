"""The headers of the analysed study: read tolerantly, made legal, and overruled by the study's newest identity.

Real headers lack Type 2 attributes and hold illegal values. What the objects inherit is put right here, on a copy:
an absent or illegal Type 2 attribute becomes empty, an illegal value of any other attribute is left out.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pydicom import config, dcmread
from pydicom.dataset import Dataset
from pydicom.uid import ImplicitVRLittleEndian

from analyzers.contract import FrameRef, FrameSummary, InstanceSummary
from analyzers.headers import SEGMENTATION_CLASSES, instance_summary
from scp_node.domain.study import Identity
from scp_node.objects.study_header import UNREADABLE, study_header

_UTC_OFFSET = re.compile(r"([+-])(\d{2})([0-5]\d)")


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceImage:
    """One image of the analysed study as the objects refer to it."""

    summary: InstanceSummary
    lossy: bool

    @property
    def is_multi_frame(self) -> bool:
        """Whether a reference to a plane of it must name a frame."""
        return any(frame.frame is not None for frame in self.summary.frames)

    def plane(self, reference: FrameRef) -> FrameSummary | None:
        """Geometry of a plane, or ``None`` if the image has no such frame."""
        if not self.is_multi_frame:
            return self.summary.frames[0] if reference.frame in (None, 1) and self.summary.frames else None
        number = reference.frame or 1
        return next((frame for frame in self.summary.frames if frame.frame == number), None)

    def frame_numbers(self, reference: FrameRef) -> list[int] | None:
        """Referenced Frame Number of a plane: only where the image is multi-frame."""
        return [reference.frame or 1] if self.is_multi_frame else None


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenMask:
    """A segmentation of others that the analyzer was shown; ``last_segment`` is its highest segment number."""

    summary: InstanceSummary
    last_segment: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceStudy:
    """What the objects inherit and refer to.

    Attributes
    ----------
    header : Dataset
        Patient, study and related attributes, legal, with the newest identity; decoded texts and the character set
        in which they can be written.
    images : SOP Instance UID -> SourceImage
        In the order of series and instance number.
    utc_offset_minutes : int or None
        What the images say in Timezone Offset From UTC.
    equipment : Dataset
        Manufacturer and the like of the scanner; empty where the images are silent.
    unreadable_count : int
        Files that are no DICOM or could not be parsed.
    masks : SOP Instance UID -> GivenMask
        Segmentations that lie with the images; nothing is inherited from them.
    """

    header: Dataset
    images: Mapping[str, SourceImage]
    utc_offset_minutes: int | None
    equipment: Dataset
    unreadable_count: int
    masks: Mapping[str, GivenMask] = field(default_factory=dict)

    def image(self, reference: FrameRef) -> SourceImage | None:
        """Image that a reference names, if the study has it."""
        return self.images.get(reference.sop_instance_uid)

    def of_series(self, series_instance_uid: str) -> tuple[SourceImage, ...]:
        """Images of one series."""
        return tuple(
            image for image in self.images.values() if image.summary.series_instance_uid == series_instance_uid
        )


def read_sources(study_folder: Path, study_instance_uid: str, identity: Identity) -> SourceStudy:
    """Read the headers of the analysed study; files of other studies and other things are left aside.

    Parameters
    ----------
    study_folder : Path
        Any tree of files.
    study_instance_uid : str
        Only its instances count.
    identity : Identity
        Newest of the study.

    Returns
    -------
    SourceStudy
        Without images if the folder holds none; the header then says what the identity says.
    """
    images: dict[str, SourceImage] = {}
    masks: dict[str, GivenMask] = {}
    donor = Dataset()
    unreadable_count = 0
    for dataset in _headers(study_folder):
        summary = instance_summary(dataset, _transfer_syntax(dataset)) if dataset is not None else None
        if dataset is None or summary is None or not summary.sop_instance_uid:
            unreadable_count += 1
            continue
        if summary.study_instance_uid != study_instance_uid or summary.sop_instance_uid in images:
            continue
        if summary.sop_class_uid in SEGMENTATION_CLASSES:
            masks[summary.sop_instance_uid] = GivenMask(summary=summary, last_segment=_last_segment(dataset))
            continue
        images[summary.sop_instance_uid] = SourceImage(
            summary=summary, lossy=summary.text("LossyImageCompression") == "01"
        )
        # The choice must not depend on file names, which say nothing.
        if "SOPInstanceUID" not in donor or summary.sop_instance_uid < str(donor.SOPInstanceUID):
            donor = dataset
    with config.disable_value_validation(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        header = study_header(donor, study_instance_uid, identity)
        utc_offset_minutes = _utc_offset_minutes(header)
        if utc_offset_minutes is None:
            header.pop("TimezoneOffsetFromUTC", None)
        return SourceStudy(
            header=header,
            images=dict(sorted(images.items(), key=lambda entry: _acquisition_order(entry[1].summary))),
            utc_offset_minutes=utc_offset_minutes,
            equipment=_equipment(donor),
            unreadable_count=unreadable_count,
            masks=masks,
        )


def _last_segment(dataset: Dataset) -> int:
    with config.disable_value_validation(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return max((int(item.SegmentNumber) for item in dataset.get("SegmentSequence") or ()), default=0)
        except UNREADABLE:
            return 0


def _headers(folder: Path) -> Iterator[Dataset | None]:
    """Headers of all files below a folder; ``None`` for a file that is none."""
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        with config.disable_value_validation(), warnings.catch_warnings():
            # What is wrong with a file is told by the count, not by quoting its values.
            warnings.simplefilter("ignore")
            try:
                dataset: Dataset | None = dcmread(path, stop_before_pixels=True)
            except UNREADABLE:
                dataset = None
        yield dataset


def _transfer_syntax(dataset: Dataset) -> str:
    meta = getattr(dataset, "file_meta", None)
    return str(meta.get("TransferSyntaxUID", ImplicitVRLittleEndian)) if isinstance(meta, Dataset) else ""


def _acquisition_order(summary: InstanceSummary) -> tuple[float, str, float, str]:
    return (
        summary.number("SeriesNumber") or 0.0,
        summary.series_instance_uid,
        summary.number("InstanceNumber") or 0.0,
        summary.sop_instance_uid,
    )


def _utc_offset_minutes(header: Dataset) -> int | None:
    match = _UTC_OFFSET.fullmatch(str(header.get("TimezoneOffsetFromUTC", "")).strip())
    if match is None:
        return None
    minutes = int(match[2]) * 60 + int(match[3])
    return None if minutes > 14 * 60 else (-minutes if match[1] == "-" else minutes)


def _equipment(donor: Dataset) -> Dataset:
    """Scanner as plain texts."""
    scanner = Dataset()
    for keyword in ("Manufacturer", "ManufacturerModelName", "DeviceSerialNumber", "StationName", "InstitutionName"):
        try:
            value = str(donor.get(keyword, "")).strip()
        except UNREADABLE:
            continue
        if value:
            setattr(scanner, keyword, value)
    return scanner
