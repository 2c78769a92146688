"""The first tables.

Revision ID: 0001
Revises:
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    _create_association()
    _create_commitment_report()
    _create_event()
    _create_quarantine()
    _create_study()
    _create_association_study()
    _create_instance()
    _create_job()
    _create_correction()
    _create_encoded_object()
    _create_delivery()


def downgrade() -> None:
    for table in (
        "delivery",
        "encoded_object",
        "correction",
        "job",
        "instance",
        "association_study",
        "study",
        "quarantine",
        "event",
        "commitment_report",
        "association",
    ):
        op.drop_table(table)


def _create_association() -> None:
    op.create_table(
        "association",
        sa.Column("association_id", sa.Integer(), nullable=False),
        sa.Column("calling_ae", sa.String(length=16), nullable=False),
        sa.Column("called_ae", sa.String(length=16), nullable=False),
        sa.Column("calling_address", sa.String(), nullable=False),
        sa.Column("receiver", sa.String(), nullable=False),
        sa.Column("lease_until", sa.DateTime(), nullable=False),
        sa.PrimaryKeyConstraint("association_id", name="pk_association"),
    )


def _create_commitment_report() -> None:
    op.create_table(
        "commitment_report",
        sa.Column("report_id", sa.Integer(), nullable=False),
        sa.Column("transaction_uid", sa.String(length=64), nullable=False),
        sa.Column("received_at", sa.DateTime(), nullable=False),
        sa.Column("committed_uids", sa.JSON(), nullable=False),
        sa.Column("failed", sa.JSON(), nullable=False),
        sa.Column("acted_on", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("report_id", name="pk_commitment_report"),
    )
    op.create_index("ix_commitment_report_acted_on", "commitment_report", ["acted_on"])
    op.create_index("ix_commitment_report_transaction_uid", "commitment_report", ["transaction_uid"])


def _create_event() -> None:
    op.create_table(
        "event",
        sa.Column("event_id", sa.Integer(), nullable=False),
        sa.Column("at", sa.DateTime(), nullable=False),
        sa.Column("study_instance_uid", sa.String(length=64), nullable=False),
        sa.Column("subject", sa.String(length=16), nullable=False),
        sa.Column("subject_key", sa.String(length=64), nullable=False),
        sa.Column("event", sa.String(length=32), nullable=False),
        sa.Column("state_before", sa.String(length=16), nullable=False),
        sa.Column("state_after", sa.String(length=16), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("detail", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("event_id", name="pk_event"),
    )
    op.create_index("ix_event_study_instance_uid", "event", ["study_instance_uid"])


def _create_quarantine() -> None:
    op.create_table(
        "quarantine",
        sa.Column("quarantine_id", sa.Integer(), nullable=False),
        sa.Column("sop_instance_uid", sa.String(length=64), nullable=False),
        sa.Column("study_instance_uid", sa.String(length=64), nullable=False),
        sa.Column("received_at", sa.DateTime(), nullable=False),
        sa.Column("calling_ae", sa.String(length=16), nullable=False),
        sa.Column("calling_address", sa.String(), nullable=False),
        sa.Column("dataset_digest", sa.String(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("spool_key", sa.String(length=32), nullable=True),
        sa.Column("byte_count", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("quarantine_id", name="pk_quarantine"),
        sa.UniqueConstraint("spool_key", name="uq_quarantine_spool_key"),
    )
    op.create_index("ix_quarantine_sop_instance_uid", "quarantine", ["sop_instance_uid"])
    op.create_index("ix_quarantine_study_instance_uid", "quarantine", ["study_instance_uid"])


def _create_study() -> None:
    op.create_table(
        "study",
        sa.Column("study_instance_uid", sa.String(length=64), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("identity", sa.JSON(), nullable=False),
        sa.Column("patient_id", sa.String(), nullable=False),
        sa.Column("issuer_of_patient_id", sa.String(), nullable=False),
        sa.Column("accession_number", sa.String(), nullable=False),
        sa.Column("first_received_at", sa.DateTime(), nullable=False),
        sa.Column("last_received_at", sa.DateTime(), nullable=False),
        sa.Column("state_since", sa.DateTime(), nullable=False),
        sa.Column("instance_count", sa.Integer(), nullable=False),
        sa.Column("state_reason", sa.Text(), nullable=False),
        sa.Column("conflict", sa.Text(), nullable=False),
        sa.Column("sources_purged", sa.Boolean(), nullable=False),
        sa.Column("routed", sa.JSON(), nullable=True),
        sa.Column("routed_at", sa.DateTime(), nullable=True),
        sa.PrimaryKeyConstraint("study_instance_uid", name="pk_study"),
    )
    op.create_index("ix_study_accession_number", "study", ["accession_number"])
    op.create_index("ix_study_patient_id", "study", ["patient_id"])
    op.create_index("ix_study_state", "study", ["state"])


def _create_association_study() -> None:
    op.create_table(
        "association_study",
        sa.Column("association_id", sa.Integer(), nullable=False),
        sa.Column("study_instance_uid", sa.String(length=64), nullable=False),
        sa.Column("last_instance_at", sa.DateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["association_id"],
            ["association.association_id"],
            name="fk_association_study_association_id_association",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("association_id", "study_instance_uid", name="pk_association_study"),
    )


def _create_instance() -> None:
    op.create_table(
        "instance",
        sa.Column("sop_instance_uid", sa.String(length=64), nullable=False),
        sa.Column("study_instance_uid", sa.String(length=64), nullable=False),
        sa.Column("series_instance_uid", sa.String(length=64), nullable=False),
        sa.Column("sop_class_uid", sa.String(length=64), nullable=False),
        sa.Column("called_ae", sa.String(length=16), nullable=False),
        sa.Column("calling_ae", sa.String(length=16), nullable=False),
        sa.Column("calling_address", sa.String(), nullable=False),
        sa.Column("received_at", sa.DateTime(), nullable=False),
        sa.Column("spool_key", sa.String(length=32), nullable=True),
        sa.Column("spooled_at", sa.DateTime(), nullable=False),
        sa.Column("byte_count", sa.Integer(), nullable=False),
        sa.Column("dataset_digest", sa.String(), nullable=False),
        sa.Column("newest_digest", sa.String(), nullable=False),
        sa.Column("geometry_digest", sa.String(), nullable=False),
        sa.Column("pixel_digests", sa.JSON(), nullable=False),
        sa.Column("usable_image", sa.Boolean(), nullable=False),
        sa.Column("patient_id", sa.String(), nullable=False),
        sa.Column("issuer_of_patient_id", sa.String(), nullable=False),
        sa.Column("summary", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(
            ["study_instance_uid"], ["study.study_instance_uid"], name="fk_instance_study_instance_uid_study"
        ),
        sa.PrimaryKeyConstraint("sop_instance_uid", name="pk_instance"),
        sa.UniqueConstraint("spool_key", name="uq_instance_spool_key"),
    )
    op.create_index("ix_instance_patient", "instance", ["study_instance_uid", "patient_id", "issuer_of_patient_id"])


def _create_job() -> None:
    op.create_table(
        "job",
        sa.Column("job_id", sa.Integer(), nullable=False),
        sa.Column("study_instance_uid", sa.String(length=64), nullable=False),
        sa.Column("analyzer", sa.String(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("peers", sa.JSON(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("state_since", sa.DateTime(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("fence", sa.Integer(), nullable=False),
        sa.Column("not_before", sa.DateTime(), nullable=False),
        sa.Column("lease_expires_at", sa.DateTime(), nullable=True),
        sa.Column("analysis_started_at", sa.DateTime(), nullable=True),
        sa.Column("child_pid", sa.Integer(), nullable=True),
        sa.Column("child_started_at", sa.Float(), nullable=True),
        sa.Column("out_folder", sa.String(), nullable=False),
        sa.Column("last_cause", sa.Text(), nullable=False),
        sa.Column("answered", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(
            ["study_instance_uid"], ["study.study_instance_uid"], name="fk_job_study_instance_uid_study"
        ),
        sa.PrimaryKeyConstraint("job_id", name="pk_job"),
    )
    op.create_index("ix_job_state", "job", ["state"])
    op.create_index("ix_job_study_instance_uid", "job", ["study_instance_uid"])
    op.create_index(
        "uq_job_living",
        "job",
        ["study_instance_uid", "analyzer", "revision"],
        unique=True,
        sqlite_where=sa.text("state <> 'superseded'"),
        postgresql_where=sa.text("state <> 'superseded'"),
    )


def _create_correction() -> None:
    op.create_table(
        "correction",
        sa.Column("correction_id", sa.Integer(), nullable=False),
        sa.Column("sop_instance_uid", sa.String(length=64), nullable=False),
        sa.Column("received_at", sa.DateTime(), nullable=False),
        sa.Column("transfer_syntax_uid", sa.String(length=64), nullable=False),
        sa.Column("dataset_digest", sa.String(), nullable=False),
        sa.Column("identity", sa.JSON(), nullable=False),
        sa.Column("spool_key", sa.String(length=32), nullable=True),
        sa.Column("byte_count", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["sop_instance_uid"], ["instance.sop_instance_uid"], name="fk_correction_sop_instance_uid_instance"
        ),
        sa.PrimaryKeyConstraint("correction_id", name="pk_correction"),
        sa.UniqueConstraint("spool_key", name="uq_correction_spool_key"),
    )
    op.create_index("ix_correction_sop_instance_uid", "correction", ["sop_instance_uid"])


def _create_encoded_object() -> None:
    op.create_table(
        "encoded_object",
        sa.Column("object_id", sa.Integer(), nullable=False),
        sa.Column("job_id", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("sop_class_uid", sa.String(length=64), nullable=False),
        sa.Column("sop_instance_uid", sa.String(length=64), nullable=False),
        sa.Column("series_instance_uid", sa.String(length=64), nullable=False),
        sa.Column("study_instance_uid", sa.String(length=64), nullable=False),
        sa.Column("file", sa.String(), nullable=False),
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("encoded_at", sa.DateTime(), nullable=False),
        sa.Column("purged_at", sa.DateTime(), nullable=True),
        sa.ForeignKeyConstraint(["job_id"], ["job.job_id"], name="fk_encoded_object_job_id_job"),
        sa.PrimaryKeyConstraint("object_id", name="pk_encoded_object"),
        sa.UniqueConstraint("sop_instance_uid", name="uq_encoded_object_sop_instance_uid"),
    )
    op.create_index("ix_encoded_object_job_id", "encoded_object", ["job_id"])


def _create_delivery() -> None:
    op.create_table(
        "delivery",
        sa.Column("delivery_id", sa.Integer(), nullable=False),
        sa.Column("object_id", sa.Integer(), nullable=False),
        sa.Column("peer", sa.String(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("state_since", sa.DateTime(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("not_before", sa.DateTime(), nullable=False),
        sa.Column("queued_at", sa.DateTime(), nullable=False),
        sa.Column("lease_expires_at", sa.DateTime(), nullable=True),
        sa.Column("last_status", sa.Integer(), nullable=True),
        sa.Column("last_cause", sa.Text(), nullable=False),
        sa.Column("commitment_uid", sa.String(length=64), nullable=True),
        sa.Column("commitment_asked_at", sa.DateTime(), nullable=True),
        sa.ForeignKeyConstraint(
            ["object_id"], ["encoded_object.object_id"], name="fk_delivery_object_id_encoded_object"
        ),
        sa.PrimaryKeyConstraint("delivery_id", name="pk_delivery"),
        sa.UniqueConstraint("object_id", "peer", name="uq_delivery_object_id"),
    )
    op.create_index("ix_delivery_commitment_uid", "delivery", ["commitment_uid"])
    op.create_index("ix_delivery_peer", "delivery", ["peer", "state", "not_before"])
