"""Instances to record, with everything defaulted that a test does not care about."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count

from analyzers.contract import Code, FrameSummary, InstanceSummary
from scp_node.domain.delivery import EncodedObject, ObjectKind
from scp_node.domain.job import AnalysisJob
from scp_node.domain.study import Identity, ReceivedInstance, StudyEvent
from scp_node.store.database import Database
from scp_node.store.jobs import JobStore, NewObject
from scp_node.store.studies import StudyStore

START = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)
STUDY = "1.2.826.0.1.3680043.10.1"
OTHER_STUDY = "1.2.826.0.1.3680043.10.2"
EXPLICIT = "1.2.840.10008.1.2.1"
IMPLICIT = "1.2.840.10008.1.2"
JPEG_2000 = "1.2.840.10008.1.2.4.90"
CT_IMAGE = "1.2.840.10008.5.1.4.1.1.2"
DOSE_SR = "1.2.840.10008.5.1.4.1.1.88.67"

_spool_keys = count(1)


def at(seconds: float) -> datetime:
    """A time after the start of the test's story."""
    return START + timedelta(seconds=seconds)


def identity(patient_id: str = "P1", *, issuer: str = "", name: str = "ONE^PATIENT", accession: str = "A1") -> Identity:
    return Identity(
        patient_id=patient_id,
        issuer_of_patient_id=issuer,
        patient_name=name,
        patient_birth_date="19600101",
        patient_sex="F",
        accession_number=accession,
        study_id="1",
        study_date="20260302",
        study_time="080000",
        study_description="HAI PUMP CT",
        referring_physician="",
        character_set="ISO_IR 192",
    )


def summary(
    number: int, *, study: str = STUDY, transfer_syntax: str = EXPLICIT, sop_class: str = CT_IMAGE
) -> InstanceSummary:
    return InstanceSummary(
        study_instance_uid=study,
        series_instance_uid=f"{study}.1",
        sop_instance_uid=f"{STUDY}.1.{number}",
        sop_class_uid=sop_class,
        transfer_syntax_uid=transfer_syntax,
        modality="CT" if sop_class == CT_IMAGE else "SR",
        rows=512,
        columns=512,
        attributes={"SeriesDescription": ("ART 1.0",), "ImageType": ("ORIGINAL", "PRIMARY")},
        codes={"ProcedureCodeSequence": (Code(value="CT1", scheme="99X", meaning="CT"),)},
        frames=(
            FrameSummary(
                frame=None,
                position_lps_mm=(0.0, 0.0, float(number)),
                orientation=(1.0, 0.0, 0.0, 0.0, 1.0, 0.0),
                spacing_row_col_mm=(0.7, 0.7),
            ),
        ),
    )


def received(
    number: int = 1,
    *,
    study: str = STUDY,
    after_s: float = 0.0,
    who: Identity | None = None,
    transfer_syntax: str = EXPLICIT,
    headers: str = "h",
    pixels: str = "p",
    geometry: str = "g",
    usable: bool = True,
) -> ReceivedInstance:
    """An instance whose digests are told apart by the words given; every call is a new file."""
    return ReceivedInstance(
        summary=summary(
            number, study=study, transfer_syntax=transfer_syntax, sop_class=CT_IMAGE if usable else DOSE_SR
        ),
        identity=who or identity(),
        called_ae="HAI_NODE",
        calling_ae="CT_SCANNER",
        calling_address="127.0.0.1",
        received_at=at(after_s),
        spool_key=f"{next(_spool_keys):032x}",
        byte_count=525_000,
        dataset_digest=f"{number}-{transfer_syntax}-{headers}-{pixels}-{geometry}-{(who or identity()).patient_id}",
        pixel_digest=f"{number}-{pixels}-{geometry}-{'native' if transfer_syntax in (EXPLICIT, IMPLICIT) else 'j2k'}",
        geometry_digest=f"{number}-{geometry}",
        usable_image=usable,
    )


def in_series(instance: ReceivedInstance, series_instance_uid: str) -> ReceivedInstance:
    return replace(instance, summary=replace(instance.summary, series_instance_uid=series_instance_uid))


def named(instance: ReceivedInstance, sop_instance_uid: str) -> ReceivedInstance:
    return replace(instance, summary=replace(instance.summary, sop_instance_uid=sop_instance_uid))


def routed(
    database: Database, *, analyzers: tuple[str, ...] = ("cta",), peers: tuple[str, ...] = ("pacs",), after_s: float = 0
) -> list[AnalysisJob]:
    """Two images arrive, the study is complete and routed; the jobs are queued at ``after_s`` + 121 s."""
    studies = StudyStore(database)
    studies.record_many([received(1, after_s=after_s), received(2, after_s=after_s)], at(after_s))
    return complete_and_route(database, analyzers=analyzers, peers=peers, after_s=after_s)


def complete_and_route(
    database: Database, *, analyzers: tuple[str, ...] = ("cta",), peers: tuple[str, ...] = ("pacs",), after_s: float = 0
) -> list[AnalysisJob]:
    studies = StudyStore(database)
    found = studies.apply(STUDY, StudyEvent.FOUND_COMPLETE, reason="quiet", now=at(after_s + 120))
    return JobStore(database).route(
        STUDY, analyzers, peers, found.revision, "pump words", at(after_s + 121), StudyEvent.ROUTE_ANALYZE
    )


def analyzed(database: Database, *, after_s: float = 130) -> AnalysisJob:
    """The next queued job is leased, and its result taken a minute later."""
    jobs = JobStore(database)
    job = jobs.lease(at(after_s), 60, 8)
    assert job is not None
    return jobs.analysis_done(job.job_id, job.fence, at(after_s + 60), f"jobs/{job.job_id}/{job.fence}/out")


def new_object(job: AnalysisJob, kind: ObjectKind) -> NewObject:
    number = list(ObjectKind).index(kind) + 1
    return NewObject(
        kind=kind,
        sop_class_uid=CT_IMAGE,
        sop_instance_uid=f"2.25.{job.job_id}.{number}",
        series_instance_uid=f"2.25.{job.job_id}.100{number}",
        study_instance_uid=job.study_instance_uid,
        file=f"jobs/{job.job_id}/objects/{number}.dcm",
        digest=f"digest-{job.job_id}-{number}",
    )


def encoded(
    database: Database,
    job: AnalysisJob,
    *,
    after_s: float = 200,
    kinds: tuple[ObjectKind, ...] = (ObjectKind.REPORT, ObjectKind.SEGMENTATION),
) -> list[EncodedObject]:
    """The objects are encoded and queued for every peer of the job."""
    objects = [new_object(job, kind) for kind in kinds]
    deliveries = [(index, peer) for index in range(len(objects)) for peer in job.peers]
    return JobStore(database).encoded(job.job_id, at(after_s), objects, deliveries)
