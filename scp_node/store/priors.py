"""Priors: earlier answers for the same patient, chosen by identity."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, select

from scp_node.domain.job import JobState
from scp_node.domain.study import Identity
from scp_node.store import tables


@dataclass(frozen=True, slots=True, kw_only=True)
class PriorRow:
    """One earlier answer that an analyzer may compare with."""

    job_id: int
    study_instance_uid: str
    revision: int
    analyzer: str
    study_date: str
    """DICOM DA, empty if unknown."""
    out_folder: str
    """Folder of its ``result.json``, as ``JobStore.analysis_done`` was told."""
    analysis_started_at: datetime | None
    sources_purged: bool
    """True when its images are gone; result and segments stay."""


def priors_of(connection: Connection, study_instance_uid: str, identity: Identity, analyzer: str) -> list[PriorRow]:
    """Encoded jobs of the same patient: of this study its earlier revisions, of others their last answer.

    Oldest first, by study date, then revision. Studies dated later than this one are not prior to it. A patient is
    recognised by an ID that is not empty, with issuers that do not contradict each other.
    """
    patient_id = identity.patient_id.strip()
    if not patient_id:
        return []
    job, study = tables.job.c, tables.study.c
    issuers = {identity.issuer_of_patient_id.strip(), ""} - {""}
    wanted = (
        select(tables.job, study.identity, study.sources_purged, study.revision.label("study_revision"))
        .join(tables.study)
        .where(study.patient_id == patient_id, job.analyzer == analyzer, job.state == JobState.ENCODED.value)
        .order_by(job.revision)
    )
    if issuers:
        wanted = wanted.where(study.issuer_of_patient_id.in_({*issuers, ""}))
    found: dict[tuple[str, int], PriorRow] = {}
    for row in connection.execute(wanted).mappings():
        prior = PriorRow(
            job_id=row["job_id"],
            study_instance_uid=row["study_instance_uid"],
            revision=row["revision"],
            analyzer=row["analyzer"],
            study_date=row["identity"]["study_date"].strip(),
            out_folder=row["out_folder"],
            analysis_started_at=row["analysis_started_at"],
            sources_purged=row["sources_purged"],
        )
        same_study = prior.study_instance_uid == study_instance_uid
        if same_study and prior.revision >= row["study_revision"]:
            continue
        if not same_study and prior.study_date > (identity.study_date.strip() or "99999999"):
            continue
        # Of another study the last revision replaces the ones before it.
        found[prior.study_instance_uid, prior.revision if same_study else 0] = prior
    return sorted(found.values(), key=lambda prior: (prior.study_date, prior.revision, prior.job_id))


def newest_priors(priors: Sequence[PriorRow], study_instance_uid: str, limit: int) -> list[PriorRow]:
    """At most ``limit`` of the priors of a study, in their order.

    The study's own last answer comes first, then the other studies from the newest on. Its older revisions come last:
    they saw a part of the same images.
    """
    own = [prior for prior in priors if prior.study_instance_uid == study_instance_uid]
    others = [prior for prior in priors if prior.study_instance_uid != study_instance_uid]
    kept = [*own[-1:], *reversed(others), *reversed(own[:-1])][:limit]
    return [prior for prior in priors if prior in kept]
