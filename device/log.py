"""Logs: readable on a terminal, JSON lines otherwise. Never a pixel, a box or a track number."""

from __future__ import annotations

import sys
from typing import Final, Literal, cast

import structlog
from structlog.typing import EventDict, FilteringBoundLogger, Processor

from device.journal import prefix

JSON: Final = structlog.processors.JSONRenderer()
Level = Literal["debug", "info", "warning", "error"]


def set_up(process: str, level: Level = "info") -> FilteringBoundLogger:
    """Configure logging to standard error and return the process's logger.

    Into the journal of systemd or into a file, one JSON object a line; in the journal with its priority.
    """
    renderer: Processor = structlog.dev.ConsoleRenderer() if sys.stderr.isatty() else _line
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


def _line(logger: object, name: str, event: EventDict) -> str:
    return f"{prefix(str(event['level']))}{JSON(logger, name, event)!s}"
