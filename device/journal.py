"""Where standard error leads into systemd's journal, a line may begin with its priority: ``journalctl -p err`` then finds it.

The prefixes are those of sd-daemon(3); that they are understood is systemd's default (``SyslogLevelPrefix``). ``JOURNAL_STREAM``
tells which stream leads there, as in systemd.exec(5).
"""

from __future__ import annotations

import os
import sys
from typing import Final, TextIO

PRIORITIES: Final = {"debug": 7, "info": 6, "warning": 4, "error": 3, "critical": 2}


def prefix(level: str, stream: TextIO | None = None) -> str:
    """What a line of this level begins with: ``<3>`` for an error in the journal; nothing anywhere else.

    Args:
        level: One of ``PRIORITIES``; others are errors.
        stream: Where the line goes, standard error when not given.
    """
    return f"<{PRIORITIES.get(level, PRIORITIES['error'])}>" if _leads_there(stream or sys.stderr) else ""


def _leads_there(stream: TextIO) -> bool:
    if not (there := os.environ.get("JOURNAL_STREAM")):
        return False
    try:
        found = os.fstat(stream.fileno())
    except (OSError, ValueError):  # it is closed, or no file
        return False
    return there == f"{found.st_dev}:{found.st_ino}"
