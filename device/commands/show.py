"""``mien settings show``: every setting that is in force, and where it comes from."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from device.contract_twin import ReportedTwin
from device.settings import Settings
from device.twin import value_of
from device.twin_keeper import in_force, kept, told


def show(settings: Settings, file: Path, *, as_json: bool) -> str:
    """One line per key: its value, and ``twin``, ``file`` or ``default``; then what became of the fleet's newest wish.

    Args:
        settings: What the file says.
        file: Its name.
        as_json: One JSON object instead.
    """
    now, said = in_force(settings), (told(settings) or kept(settings)) if settings.broker.twin else None
    from_twin = set(said.from_twin) if said is not None else set()
    rows = [(key, _plain(value_of(now, key)), _source(settings, key, from_twin)) for key in _keys(settings)]
    if as_json:
        values = {key: {"value": value, "from": source} for key, value, source in rows}
        answer = (
            said.model_dump(mode="json", by_alias=True, include={"epoch", "desired_version", "state", "errors"}) if said else None
        )
        return json.dumps({"file": str(file), "twin": answer, "settings": values}, indent=2)
    widest = max(len(key) for key, _, _ in rows)
    lines = [f"{key:<{widest}}  {source:<7}  {json.dumps(value, ensure_ascii=False)}" for key, value, source in rows]
    return "\n".join((f"settings file: {file}", f"twin: {explain(settings, said)}", "", *lines))


def explain(settings: Settings, said: ReportedTwin | None) -> str:
    """What became of the fleet's newest wish, in words."""
    if not settings.broker.twin:
        return "off; twin = true under [broker] takes settings from the fleet"
    if said is None:
        return "mien watch has not said anything yet: the settings file is taken to be in force"
    if said.desired_version == 0:
        return "the fleet has set nothing"
    which = f"version {said.desired_version} of epoch {said.epoch}"
    if said.state == "applied":
        return f"{which} is in force ({', '.join(said.from_twin) or 'no key of its own'})"
    why = "\n".join(f"  {error.path or 'all of it'}: {error.reason}" for error in said.errors)
    kept_on = ", ".join(said.from_twin) or "no key"
    return f"{which} was rejected; from the fleet stays: {kept_on}\n{why}"


def _keys(part: BaseModel, above: str = "") -> list[str]:
    found: list[str] = []
    for name in type(part).model_fields:
        value = getattr(part, name)
        found += _keys(value, f"{above}{name}.") if isinstance(value, BaseModel) else [f"{above}{name}"]
    return found


def _source(settings: Settings, key: str, from_twin: set[str]) -> str:
    if key in from_twin:
        return "twin"
    part: Any = settings
    *tables, last = key.split(".")
    for name in tables:
        if name not in part.model_fields_set:
            return "default"
        part = getattr(part, name)
    return "file" if last in part.model_fields_set else "default"


def _plain(value: object) -> object:
    return str(value) if isinstance(value, Path) else float(value) if isinstance(value, Decimal) else value
