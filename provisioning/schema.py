"""All of the registry's tables: each subject has its own in ``tables_*.py``."""

from __future__ import annotations

from provisioning import tables_command, tables_double, tables_rollout, tables_twin
from provisioning.tables import Table

METADATA = Table.metadata

__all__ = ["METADATA", "tables_command", "tables_double", "tables_rollout", "tables_twin"]
