"""Logs: readable on a terminal, JSON lines otherwise. Never a pixel, a box or a track number."""

from __future__ import annotations

import os
import sys
from typing import Literal, cast

import structlog
from structlog.typing import FilteringBoundLogger

Level = Literal["debug", "info", "warning", "error"]


def set_up(process: str, level: Level = "info") -> FilteringBoundLogger:
    """Configure logging to standard error and return the process's logger.

    Under systemd (``JOURNAL_STREAM`` is set) or into a file, one JSON object a line.
    """
    readable = sys.stderr.isatty() and "JOURNAL_STREAM" not in os.environ
    renderer = structlog.dev.ConsoleRenderer() if readable else structlog.processors.JSONRenderer()
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )
    return cast("FilteringBoundLogger", structlog.get_logger(process=process))
