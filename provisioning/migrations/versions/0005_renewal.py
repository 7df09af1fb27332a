"""Which certificate another one is to follow, and which box a claim is for."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("certificates") as table:
        table.add_column(sa.Column("renews", sa.String(length=40), nullable=True))
    with op.batch_alter_table("claims") as table:
        table.add_column(sa.Column("serial", sa.String(length=64), nullable=True))
    op.create_index(op.f("ix_certificates_device"), "certificates", ["device"], unique=False)


def downgrade() -> None:
    op.drop_index(op.f("ix_certificates_device"), table_name="certificates")
    with op.batch_alter_table("claims") as table:
        table.drop_column("serial")
    with op.batch_alter_table("certificates") as table:
        table.drop_column("renews")
