"""Run by alembic: migrates over the connection that ``Registry.open`` hands in, in its transaction."""

from __future__ import annotations

from alembic import context

from provisioning.tables import Table

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Table.metadata,
    render_as_batch=True,  # SQLite cannot alter a column in place
)
context.run_migrations()
