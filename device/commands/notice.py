"""``mien notice``: what people are told, for a wall or a screen."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from device import notice
from device.commands._files import write
from device.notice_html import html
from device.settings import Settings
from device.settings_policy import Language


def run(settings: Settings, kind: Literal["html", "text"], language: Language | None, out: Path | None) -> str:
    """Make the notice; write it to ``out``, or return it.

    Raises:
        SettingsError: The settings do not say who is responsible.
        OutputError: The file cannot be written.
    """
    language = language or settings.notice.language
    made = html(settings, language) if kind == "html" else notice.text(settings, language)
    if out is None:
        return made
    write(out, made)
    return ""
