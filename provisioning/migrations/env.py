"""Run by alembic: migrates over the connection that ``Registry.open`` hands in, in its transaction."""

from __future__ import annotations

from alembic import context

from provisioning.schema import METADATA

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=METADATA,
    render_as_batch=True,  # SQLite cannot alter a column in place
)
context.run_migrations()
