"""Empty registries for tests: their tables are made once in each process, and copied."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path

from provisioning.registry import Registry


def sqlite(folder: Path) -> str:
    """The URL of the registry in this folder, which has its tables and nothing else unless it was there before."""
    path = folder / "registry.db"
    if not path.exists():
        path.write_bytes(_migrated())
    return f"sqlite:///{path}"


@cache
def _migrated() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "registry.db"
        Registry.open(f"sqlite:///{path}").close()
        return path.read_bytes()
