"""Every table of the node. The migrations in ``migrations/`` lead to exactly this; a test compares the two."""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    DateTime,
    Dialect,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
    text,
)

NEWEST_TABLES = "0003"
"""Revision of the newest migration; a test compares it with the migrations."""


class UtcDateTime(TypeDecorator[datetime]):
    """An aware UTC time. A naive one is refused: it would silently mean another moment."""

    impl = DateTime
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Keep UTC without the zone; SQLite knows no zones."""
        if value is None:
            return None
        if value.tzinfo is None:
            msg = f"time {value.isoformat()} has no zone: pass an aware UTC time"
            raise ValueError(msg)
        return value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Give the zone back."""
        return None if value is None else value.replace(tzinfo=UTC)


metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def _uid(name: str = "study_instance_uid", *, index: bool = False) -> Column[str]:
    return Column(name, String(64), nullable=False, index=index)


def _study_reference(*, index: bool = True) -> Column[str]:
    return Column("study_instance_uid", String(64), ForeignKey("study.study_instance_uid"), nullable=False, index=index)


study = Table(
    "study",
    metadata,
    Column("study_instance_uid", String(64), primary_key=True),
    Column("state", String(16), nullable=False, index=True),
    Column("revision", Integer, nullable=False),
    Column("identity", JSON, nullable=False),
    # Repeated from the identity because people and priors are looked up by them.
    Column("patient_id", String, nullable=False, index=True),
    Column("issuer_of_patient_id", String, nullable=False),
    Column("accession_number", String, nullable=False, index=True),
    Column("first_received_at", UtcDateTime, nullable=False),
    Column("last_received_at", UtcDateTime, nullable=False),
    # Since when it has been in its state; retention counts from here.
    Column("state_since", UtcDateTime, nullable=False),
    Column("instance_count", Integer, nullable=False),
    Column("state_reason", Text, nullable=False),
    Column("conflict", Text, nullable=False),
    Column("sources_purged", Boolean, nullable=False),
    Column("routed", JSON(none_as_null=True)),
    Column("routed_at", UtcDateTime),
)

instance = Table(
    "instance",
    metadata,
    Column("sop_instance_uid", String(64), primary_key=True),
    _study_reference(index=False),
    _uid("series_instance_uid"),
    _uid("sop_class_uid"),
    Column("called_ae", String(16), nullable=False),
    Column("calling_ae", String(16), nullable=False),
    Column("calling_address", String, nullable=False),
    Column("received_at", UtcDateTime, nullable=False),
    # The file that is analysed: the one received first. Null once purged.
    Column("spool_key", String(32), unique=True),
    Column("spooled_at", UtcDateTime, nullable=False),
    Column("byte_count", Integer, nullable=False),
    Column("dataset_digest", String, nullable=False),
    # Of the newest headers; differs from the digest above after a correction.
    Column("newest_digest", String, nullable=False),
    Column("geometry_digest", String, nullable=False),
    # By the form of the pixels: what arrived natively, in JPEG 2000, ...
    Column("pixel_digests", JSON, nullable=False),
    Column("usable_image", Boolean, nullable=False),
    # Of the newest headers; empty where they are silent.
    Column("patient_id", String, nullable=False),
    Column("issuer_of_patient_id", String, nullable=False),
    # Last, because it is long and seldom read.
    Column("summary", JSON, nullable=False),
    Index("ix_instance_patient", "study_instance_uid", "patient_id", "issuer_of_patient_id"),
)

correction = Table(
    "correction",
    metadata,
    Column("correction_id", Integer, primary_key=True),
    Column("sop_instance_uid", String(64), ForeignKey("instance.sop_instance_uid"), nullable=False, index=True),
    Column("received_at", UtcDateTime, nullable=False),
    Column("transfer_syntax_uid", String(64), nullable=False),
    Column("dataset_digest", String, nullable=False),
    Column("identity", JSON, nullable=False),
    Column("spool_key", String(32), unique=True),
    Column("byte_count", Integer, nullable=False),
)

former_identity = Table(
    "former_identity",
    metadata,
    Column("former_id", Integer, primary_key=True),
    _study_reference(),
    Column("patient_id", String, nullable=False, index=True),
    Column("accession_number", String, nullable=False, index=True),
    Column("replaced_at", UtcDateTime, nullable=False),
)

quarantine = Table(
    "quarantine",
    metadata,
    Column("quarantine_id", Integer, primary_key=True),
    # Empty where the object could not be read that far.
    _uid("sop_instance_uid", index=True),
    _uid(index=True),
    Column("received_at", UtcDateTime, nullable=False),
    Column("calling_ae", String(16), nullable=False),
    Column("calling_address", String, nullable=False),
    Column("dataset_digest", String, nullable=False),
    Column("reason", Text, nullable=False),
    Column("spool_key", String(32), unique=True),
    Column("byte_count", Integer, nullable=False),
)

refusal = Table(
    "refusal",
    metadata,
    Column("day", String(10), primary_key=True),
    Column("peer", String, primary_key=True),
    Column("status", String, primary_key=True),
    Column("reason", String, primary_key=True),
    Column("count", Integer, nullable=False),
    Column("last_at", UtcDateTime, nullable=False),
)

association = Table(
    "association",
    metadata,
    Column("association_id", Integer, primary_key=True),
    Column("calling_ae", String(16), nullable=False),
    Column("called_ae", String(16), nullable=False),
    Column("calling_address", String, nullable=False),
    Column("receiver", String, nullable=False),
    Column("lease_until", UtcDateTime, nullable=False),
)

association_study = Table(
    "association_study",
    metadata,
    Column(
        "association_id",
        Integer,
        ForeignKey("association.association_id", ondelete="CASCADE"),
        primary_key=True,
    ),
    Column("study_instance_uid", String(64), primary_key=True),
    Column("last_instance_at", UtcDateTime, nullable=False),
)

job = Table(
    "job",
    metadata,
    Column("job_id", Integer, primary_key=True),
    _study_reference(),
    Column("analyzer", String, nullable=False),
    Column("revision", Integer, nullable=False),
    Column("peers", JSON, nullable=False),
    Column("state", String(16), nullable=False, index=True),
    Column("state_since", UtcDateTime, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("fence", Integer, nullable=False),
    Column("not_before", UtcDateTime, nullable=False),
    Column("lease_expires_at", UtcDateTime),
    Column("analysis_started_at", UtcDateTime),
    Column("child_pid", Integer),
    Column("child_started_at", Float),
    Column("out_folder", String, nullable=False),
    Column("last_cause", Text, nullable=False),
    Column("answered", Boolean, nullable=False),
    # One living job for an analyzer and a revision; a superseded one makes room for its successor.
    Index(
        "uq_job_living",
        "study_instance_uid",
        "analyzer",
        "revision",
        unique=True,
        sqlite_where=text("state <> 'superseded'"),
        postgresql_where=text("state <> 'superseded'"),
    ),
)

encoded_object = Table(
    "encoded_object",
    metadata,
    Column("object_id", Integer, primary_key=True),
    Column("job_id", Integer, ForeignKey("job.job_id"), nullable=False, index=True),
    Column("kind", String(32), nullable=False),
    _uid("sop_class_uid"),
    Column("sop_instance_uid", String(64), nullable=False, unique=True),
    _uid("series_instance_uid"),
    _uid(),
    Column("file", String, nullable=False),
    Column("digest", String, nullable=False),
    Column("encoded_at", UtcDateTime, nullable=False),
    Column("purged_at", UtcDateTime),
)

delivery = Table(
    "delivery",
    metadata,
    Column("delivery_id", Integer, primary_key=True),
    Column("object_id", Integer, ForeignKey("encoded_object.object_id"), nullable=False),
    Column("peer", String, nullable=False),
    Column("state", String(16), nullable=False),
    Column("state_since", UtcDateTime, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("not_before", UtcDateTime, nullable=False),
    Column("queued_at", UtcDateTime, nullable=False),
    Column("lease_expires_at", UtcDateTime),
    Column("last_status", Integer),
    Column("last_cause", Text, nullable=False),
    Column("commitment_uid", String(64), index=True),
    Column("commitment_asked_at", UtcDateTime),
    UniqueConstraint("object_id", "peer"),
    Index("ix_delivery_peer", "peer", "state", "not_before"),
)

commitment_report = Table(
    "commitment_report",
    metadata,
    Column("report_id", Integer, primary_key=True),
    _uid("transaction_uid", index=True),
    Column("received_at", UtcDateTime, nullable=False),
    Column("committed_uids", JSON, nullable=False),
    Column("failed", JSON, nullable=False),
    Column("acted_on", Boolean, nullable=False, index=True),
)

event = Table(
    "event",
    metadata,
    Column("event_id", Integer, primary_key=True),
    Column("at", UtcDateTime, nullable=False),
    _uid(index=True),
    # study, job or delivery, and its number (the UID of a study).
    Column("subject", String(16), nullable=False),
    Column("subject_key", String(64), nullable=False),
    Column("event", String(32), nullable=False),
    Column("state_before", String(16), nullable=False),
    Column("state_after", String(16), nullable=False),
    Column("reason", Text, nullable=False),
    Column("detail", JSON, nullable=False),
)
