"""Two machines that run with one identity."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "doubles",
        sa.Column("device", sa.String(length=64), nullable=False),
        sa.Column("seen", sa.Text(), nullable=False),
        sa.Column("said", sa.Text(), nullable=True),
        sa.Column("said_at", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["device"], ["devices.name"], name=op.f("fk_doubles_device")),
        sa.PrimaryKeyConstraint("device", name=op.f("pk_doubles")),
    )


def downgrade() -> None:
    op.drop_table("doubles")
