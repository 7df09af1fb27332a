"""A name in the settings → the module of that name: one file per camera and per publisher."""

from __future__ import annotations

import pkgutil
import re
from importlib import import_module
from pathlib import Path
from types import ModuleType

from device.errors import SettingsError


def names(package: str) -> list[str]:
    """The modules in a package, by name."""
    folder = Path(__file__).parent / package.removeprefix("device.").replace(".", "/")  # without importing it
    return sorted(m.name for m in pkgutil.iter_modules([str(folder)]) if not m.name.startswith("_"))


def find(package: str, name: str) -> ModuleType:
    """Import ``package.name``.

    Raises:
        SettingsError: There is no module of that name; the message lists those there are.
    """
    known = names(package)
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or name not in known:
        raise SettingsError(f"{package.rpartition('.')[2]}: there is no {name!r}; choose one of {', '.join(known)}")
    return import_module(f"{package}.{name}")
