"""Batches, claims, serials, devices, certificates, requests, labels, audit."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "audit",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("first_at", sa.BigInteger(), nullable=False),
        sa.Column("last_at", sa.BigInteger(), nullable=False),
        sa.Column("times", sa.Integer(), nullable=False),
        sa.Column("step", sa.String(length=16), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("key", sa.String(length=64), nullable=True),
        sa.Column("serial", sa.String(length=64), nullable=True),
        sa.Column("device", sa.String(length=64), nullable=True),
        sa.Column("code", sa.String(length=24), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("retry_after_s", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit")),
    )
    op.create_index(op.f("ix_audit_device"), "audit", ["device"], unique=False)
    op.create_index(op.f("ix_audit_key"), "audit", ["key"], unique=False)
    op.create_index(op.f("ix_audit_serial"), "audit", ["serial"], unique=False)
    op.create_table(
        "batches",
        sa.Column("name", sa.String(length=40), nullable=False),
        sa.Column("setting", sa.String(length=32), nullable=False),
        sa.Column("jurisdiction", sa.String(length=32), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_batches")),
    )
    op.create_table(
        "claims",
        sa.Column("number", sa.String(length=40), nullable=False),
        sa.Column("name", sa.String(length=40), nullable=False),
        sa.Column("batch", sa.String(length=40), nullable=False),
        sa.Column("single", sa.Boolean(), nullable=False),
        sa.Column("used_by", sa.String(length=64), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.Column("revoked_at", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["batch"], ["batches.name"], name=op.f("fk_claims_batch")),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_claims")),
    )
    op.create_index(op.f("ix_claims_name"), "claims", ["name"], unique=False)
    op.create_table(
        "serials",
        sa.Column("serial", sa.String(length=64), nullable=False),
        sa.Column("batch", sa.String(length=40), nullable=False),
        sa.Column("key", sa.String(length=64), nullable=True),
        sa.ForeignKeyConstraint(["batch"], ["batches.name"], name=op.f("fk_serials_batch")),
        sa.PrimaryKeyConstraint("serial", name=op.f("pk_serials")),
    )
    op.create_index(op.f("ix_serials_batch"), "serials", ["batch"], unique=False)
    op.create_table(
        "devices",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("serial", sa.String(length=64), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["serial"], ["serials.serial"], name=op.f("fk_devices_serial")),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_devices")),
        sa.UniqueConstraint("serial", name=op.f("uq_devices_serial")),
    )
    op.create_table(
        "requests",
        sa.Column("serial", sa.String(length=64), nullable=False),
        sa.Column("key", sa.String(length=64), nullable=False),
        sa.Column("claim", sa.String(length=40), nullable=False),
        sa.Column("box", sa.String(length=16), nullable=True),
        sa.Column("verdict", sa.String(length=16), nullable=True),
        sa.Column("first_at", sa.BigInteger(), nullable=False),
        sa.Column("last_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["serial"], ["serials.serial"], name=op.f("fk_requests_serial")),
        sa.PrimaryKeyConstraint("serial", "key", name=op.f("pk_requests")),
    )
    op.create_table(
        "certificates",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("number", sa.String(length=40), nullable=False),
        sa.Column("serial", sa.String(length=64), nullable=False),
        sa.Column("device", sa.String(length=64), nullable=False),
        sa.Column("key", sa.String(length=64), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("claim", sa.String(length=40), nullable=False),
        sa.Column("nonce", sa.String(length=32), nullable=False),
        sa.Column("token", sa.String(length=64), nullable=False),
        sa.Column("token_expires_at", sa.BigInteger(), nullable=False),
        sa.Column("box", sa.String(length=16), nullable=True),
        sa.Column("pem", sa.Text(), nullable=False),
        sa.Column("issued_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.Column("on_list_at", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["device"], ["devices.name"], name=op.f("fk_certificates_device")),
        sa.ForeignKeyConstraint(["serial"], ["serials.serial"], name=op.f("fk_certificates_serial")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_certificates")),
        sa.UniqueConstraint("number", name=op.f("uq_certificates_number")),
        sa.UniqueConstraint("token", name=op.f("uq_certificates_token")),
    )
    op.create_index(op.f("ix_certificates_key"), "certificates", ["key"], unique=False)
    op.create_index(op.f("ix_certificates_serial"), "certificates", ["serial"], unique=False)
    op.create_index("key_nonce", "certificates", ["key", "nonce"], unique=True)
    op.create_index(
        "one_live",
        "certificates",
        ["serial"],
        unique=True,
        sqlite_where=sa.text("state = 'live'"),
        postgresql_where=sa.text("state = 'live'"),
    )
    op.create_table(
        "labels",
        sa.Column("device", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("value", sa.String(length=200), nullable=False),
        sa.ForeignKeyConstraint(["device"], ["devices.name"], name=op.f("fk_labels_device")),
        sa.PrimaryKeyConstraint("device", "name", name=op.f("pk_labels")),
    )


def downgrade() -> None:
    op.drop_table("labels")
    op.drop_index(
        "one_live", table_name="certificates", sqlite_where=sa.text("state = 'live'"), postgresql_where=sa.text("state = 'live'")
    )
    op.drop_index("key_nonce", table_name="certificates")
    op.drop_index(op.f("ix_certificates_serial"), table_name="certificates")
    op.drop_index(op.f("ix_certificates_key"), table_name="certificates")
    op.drop_table("certificates")
    op.drop_table("requests")
    op.drop_table("devices")
    op.drop_index(op.f("ix_serials_batch"), table_name="serials")
    op.drop_table("serials")
    op.drop_index(op.f("ix_claims_name"), table_name="claims")
    op.drop_table("claims")
    op.drop_table("batches")
    op.drop_index(op.f("ix_audit_serial"), table_name="audit")
    op.drop_index(op.f("ix_audit_key"), table_name="audit")
    op.drop_index(op.f("ix_audit_device"), table_name="audit")
    op.drop_table("audit")
