"""A device that exists as long as one command runs: its settings, with everything that it keeps below one folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

POLICY: Final = {"setting": "research", "jurisdiction": "EU"}
FOLDERS: Final = ("run", "inbox", "send", "state")


def settings_text(folder: Path, keys: Mapping[str, Any], tables: Mapping[str, Mapping[str, Any]]) -> str:
    """Settings as TOML. Emotions are permitted, as in research.

    Args:
        folder: Below which spool, state and all else are.
        keys: Those at the top.
        tables: The others: ``{"camera": {"source": "composite"}}``.
    """
    own = {f"{name}_folder": str(folder / name) for name in FOLDERS}
    spool = {"folder": str(folder / "spool"), **tables.get("spool", {})}
    lines = _lines({**own, **keys})
    for name, table in {**tables, "policy": POLICY, "spool": spool}.items():
        lines += ["", f"[{name}]", *_lines(table)]
    return "\n".join(lines) + "\n"


def absolute(camera: str) -> str:
    """A camera's name as another process understands it, which works in a folder of its own."""
    name, _, address = camera.partition(":")
    return f"replay:{Path(address).resolve()}" if name == "replay" and address else camera


def _lines(keys: Mapping[str, Any]) -> list[str]:
    return [f"{key} = {json.dumps(value)}" for key, value in keys.items()]  # what JSON writes of words and numbers is TOML
