"""Count what is refused at the door."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "refusal",
        sa.Column("day", sa.String(length=10), nullable=False),
        sa.Column("peer", sa.String(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("last_at", sa.DateTime(), nullable=False),
        sa.PrimaryKeyConstraint("day", "peer", "status", "reason", name="pk_refusal"),
    )


def downgrade() -> None:
    """Remove it."""
    op.drop_table("refusal")
