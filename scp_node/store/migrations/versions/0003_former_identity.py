"""Patient IDs and accession numbers that a study had before a correction.

Revision ID: 0003
Revises: 0002
"""

import json

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "former_identity",
        sa.Column("former_id", sa.Integer(), nullable=False),
        sa.Column("study_instance_uid", sa.String(length=64), nullable=False),
        sa.Column("patient_id", sa.String(), nullable=False),
        sa.Column("accession_number", sa.String(), nullable=False),
        sa.Column("replaced_at", sa.DateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["study_instance_uid"], ["study.study_instance_uid"], name="fk_former_identity_study_instance_uid_study"
        ),
        sa.PrimaryKeyConstraint("former_id", name="pk_former_identity"),
    )
    for column in ("study_instance_uid", "patient_id", "accession_number"):
        op.create_index(f"ix_former_identity_{column}", "former_identity", [column])
    _recover_from_corrections()


def downgrade() -> None:
    op.drop_table("former_identity")


def _recover_from_corrections() -> None:
    """What corrections brought and later ones replaced; the very first identity was not kept by the earlier program."""
    connection = op.get_bind()
    rows = connection.execute(
        sa.text(
            "SELECT instance.study_instance_uid, correction.identity, correction.received_at,"
            " study.patient_id, study.accession_number FROM correction"
            " JOIN instance ON instance.sop_instance_uid = correction.sop_instance_uid"
            " JOIN study ON study.study_instance_uid = instance.study_instance_uid"
            " ORDER BY correction.correction_id"
        )
    )
    found = {}
    for row in rows:
        identity = json.loads(row.identity)
        named = (identity["patient_id"].strip(), identity["accession_number"].strip())
        if named != (row.patient_id, row.accession_number):
            found[(row.study_instance_uid, *named)] = row.received_at
    for (study_instance_uid, patient_id, accession_number), replaced_at in found.items():
        connection.execute(
            sa.text(
                "INSERT INTO former_identity (study_instance_uid, patient_id, accession_number, replaced_at)"
                " VALUES (:study_instance_uid, :patient_id, :accession_number, :replaced_at)"
            ),
            {
                "study_instance_uid": study_instance_uid,
                "patient_id": patient_id,
                "accession_number": accession_number,
                "replaced_at": replaced_at,
            },
        )
