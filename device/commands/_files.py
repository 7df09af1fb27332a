"""Files that are named on the command line."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import click

from device.errors import OutputError


class Named(click.Path):
    """A path that has a name: an empty one would be the folder in which one happens to be."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return super().convert(value, param, ctx) if value else self.fail("expected a name, and got an empty one", param, ctx)


FILE: Final = Named(path_type=Path, dir_okay=False)
FOLDER: Final = Named(path_type=Path, file_okay=False)


def check_writable(path: Path | None) -> None:
    """Refuse a file that cannot be written, before hours have passed. Raises OutputError."""
    if path is None:
        return
    try:
        good = stat.S_ISREG(path.stat().st_mode) and os.access(path, os.W_OK)
    except FileNotFoundError:
        good = path.parent.is_dir() and os.access(path.parent, os.W_OK)
    except OSError as error:
        raise _refused(path, error) from error
    if not good:
        raise OutputError(f"{path}: cannot be written; choose a file in a folder that is there and writable")


def write(path: Path, text: str) -> None:
    """Write a file as UTF-8, whole or not at all; into what is no file, such as a terminal, as it is.

    Raises:
        OutputError: It cannot be written.
    """
    try:
        if path.exists() and not path.is_file():
            path.write_text(text, encoding="utf-8")
        else:
            _replace(Path(os.path.realpath(path)), text)
    except OSError as error:
        raise _refused(path, error) from error


def _replace(path: Path, text: str) -> None:
    aside = path.with_name(f".{path.name}.tmp")
    try:
        aside.write_text(text, encoding="utf-8")
        os.replace(aside, path)
    except OSError:
        with suppress(OSError):
            aside.unlink()
        raise


def _refused(path: Path, error: OSError) -> OutputError:
    return OutputError(f"{path}: cannot be written ({error.strerror}); choose a file in a folder that is there and writable")
