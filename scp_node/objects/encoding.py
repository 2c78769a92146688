"""From an order to objects on disk: read, make, look once more, write, and only then say so."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path

from pydicom.dataset import Dataset

from analyzers.contract import AnalysisResult, Assessed, Segment
from analyzers.wire import read_result, read_segment
from scp_node.domain.delivery import ObjectKind
from scp_node.durability import sync_folder
from scp_node.errors import EncodingError
from scp_node.objects.gate import acquaintances, check
from scp_node.objects.key_images import Page, make_key_images, read_page, summary_page
from scp_node.objects.manifest import OBJECTS_FOLDER, ManifestEntry, digest_of, write_durably, write_manifest
from scp_node.objects.modules import Setting
from scp_node.objects.order import EncodingOrder, read_order
from scp_node.objects.provenance import provenance_of
from scp_node.objects.report import make_report
from scp_node.objects.report_items import given_references
from scp_node.objects.segmentation import Segmentations, make_segmentations
from scp_node.objects.sources import read_sources
from scp_node.objects.statements import sections_of
from scp_node.objects.text_report import make_text_report


@dataclass(frozen=True, slots=True, kw_only=True)
class MadeObject:
    """One object, not yet written."""

    kind: ObjectKind
    file: str
    dataset: Dataset


def encode(job_folder: Path) -> tuple[ManifestEntry, ...]:
    """Carry out the order of a job folder.

    Raises
    ------
    EncodingOrderError
        If the order is wrong.
    EncodingError
        If an object cannot be made or the gate refuses it; nothing is declared made then.
    ContractBrokenError
        If the analyzer's output is not what its schema says.
    """
    order = read_order(job_folder)
    result: AnalysisResult | None = None
    segments: Iterable[Segment] = ()
    pages: list[Page] = []
    site_thresholds: tuple[str, ...] = ()
    out_folder = order.out_folder
    if out_folder is not None:
        answer = read_result(out_folder, masks=False)
        if answer.study.study_instance_uid != order.study_instance_uid:
            raise EncodingError("the result is of another study than the order.")
        result = answer.result
        segments = (read_segment(out_folder, listed) for listed in answer.segments)
        # Who analysed, and by what, is said by the result: analyzer and configuration may have changed since.
        order = replace(order, analyzer_version=answer.analyzer.version)
        if answer.thresholds is not None:
            order = replace(order, settings_digest=answer.thresholds.digest)
            site_thresholds = tuple(each.in_words for each in answer.thresholds.changed)
        pages = [read_page(out_folder / Path(each.file).name, each.frame) for each in answer.pictures]
    return write_objects(make_objects(setting_of(order, site_thresholds), result, pages, segments), job_folder)


def setting_of(order: EncodingOrder, site_thresholds: tuple[str, ...] = ()) -> Setting:
    """Read the sources of an order and fix the provenance of its objects."""
    study = read_sources(order.study_folder, order.study_instance_uid, order.identity)
    return Setting(order=order, study=study, provenance=provenance_of(order), site_thresholds=site_thresholds)


def make_objects(
    setting: Setting,
    result: AnalysisResult | None,
    pages: Sequence[Page],
    segments: Iterable[Segment] | None = None,
) -> tuple[MadeObject, ...]:
    """Make every object that an order asks for, in the order in which they are to be sent.

    Parameters
    ----------
    setting : Setting
        Order, sources and provenance.
    result : AnalysisResult or None
        What the analyzer answered; ``None`` for a technical failure.
    pages : sequence of Page
        The analyzer's pictures.
    segments : iterable of Segment
        The result's segments with their masks, taken one at a time; by default those of the result itself.

    Raises
    ------
    EncodingError
        If an object cannot be made or the gate refuses it.
    """
    kinds = setting.order.object_kinds
    segmentations = Segmentations()
    if isinstance(result, Assessed):
        segmentations = make_segmentations(result.segments if segments is None else segments, setting)
    report = make_report(result, segmentations, setting) if ObjectKind.REPORT in kinds else None
    sections = sections_of(result, setting, segmentations.remarks)
    captures: tuple[Dataset, ...] = ()
    if ObjectKind.SECONDARY_CAPTURE in kinds:
        captures = make_key_images([*pages, summary_page(sections)], setting)
    made = [
        *_numbered(ObjectKind.SEGMENTATION, segmentations.datasets),
        *_numbered(ObjectKind.SECONDARY_CAPTURE, captures),
    ]
    if report is not None:
        made.append(MadeObject(kind=ObjectKind.REPORT, file="report.dcm", dataset=report))
    # Whatever the destinations want, a study is answered by a report that can be read.
    if ObjectKind.TEXT_REPORT in kinds or report is None:
        referred = [
            *segmentations.datasets,
            *given_references(result, setting),
            *([report] if report is not None else []),
        ]
        text_report = make_text_report(sections, setting, captures, referred)
        made.append(MadeObject(kind=ObjectKind.TEXT_REPORT, file="text-report.dcm", dataset=text_report))
    known = acquaintances(setting, [each.dataset for each in made])
    for each in made:
        check(each.file, each.dataset, setting, known)
    return tuple(made)


def write_objects(made: Sequence[MadeObject], job_folder: Path) -> tuple[ManifestEntry, ...]:
    """Write objects and manifest durably; leftovers of an encoding that was cut short are removed first."""
    folder = job_folder / OBJECTS_FOLDER
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir()
    sync_folder(job_folder)
    entries = []
    for each in made:
        path = folder / each.file
        write_durably(path, file_bytes(each.dataset))
        entries.append(
            ManifestEntry(
                kind=each.kind,
                file=each.file,
                sop_class_uid=str(each.dataset.SOPClassUID),
                sop_instance_uid=str(each.dataset.SOPInstanceUID),
                series_instance_uid=str(each.dataset.SeriesInstanceUID),
                study_instance_uid=str(each.dataset.StudyInstanceUID),
                digest=digest_of(path),
            )
        )
    write_manifest(tuple(entries), job_folder)
    return tuple(entries)


def file_bytes(dataset: Dataset) -> bytes:
    """Content of the Part 10 file of an object."""
    stream = BytesIO()
    dataset.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def _numbered(kind: ObjectKind, datasets: Sequence[Dataset]) -> list[MadeObject]:
    return [
        MadeObject(kind=kind, file=f"{kind.value}-{number}.dcm", dataset=dataset)
        for number, dataset in enumerate(datasets, start=1)
    ]
