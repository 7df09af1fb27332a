"""Between the watching process and a disk that may be full."""

from __future__ import annotations

from structlog.typing import FilteringBoundLogger

from device.contract import Envelope
from device.spool import Spool, SpoolFullError


class Outbox:
    """Reports on their way to the spool, kept in memory while the disk is full: as many as the spool may hold."""

    def __init__(self, spool: Spool, log: FilteringBoundLogger, limit: int = 10_000) -> None:
        self._spool = spool
        self._log = log
        self._limit = limit
        self._next_seq = spool.next_seq
        self._waiting: list[Envelope] = []

    @property
    def next_seq(self) -> int:
        return self._next_seq

    @property
    def stuck(self) -> bool:
        return bool(self._waiting)

    def lost(self) -> str:
        """What to say when this process ends while reports wait."""
        return (
            f"{len(self._waiting)} reports could not be stored in {self._spool.folder} and are lost with this process; "
            "free some space or mend the disk before the next start"
        )

    def put(self, envelope: Envelope | None = None) -> None:
        """Store a report, after those that wait; what cannot be stored waits too."""
        if envelope is not None:
            self._waiting.append(envelope)
            self._next_seq = envelope.seq + 1
        if len(self._waiting) > self._limit:
            self._log.warning("memory is full too: the oldest report was dropped", seq=self._waiting.pop(0).seq)
        try:
            while self._waiting:
                dropped = self._spool.put(self._waiting[0])
                stored = self._waiting.pop(0)
                self._log.info("report", seq=stored.seq, people=stored.report.people, withheld=stored.report.withheld)
                if dropped:
                    self._log.warning("the spool is full: the oldest reports were dropped", dropped=dropped)
        except SpoolFullError as error:
            self._log.error(str(error), waiting=len(self._waiting))
