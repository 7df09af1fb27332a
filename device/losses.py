"""How many reports a spool has lost: each counted once, also when a process is killed or the power fails meanwhile.

Dropping is renaming, from ``new/`` to ``dropped/``: either the sending process has a report, or it is dropped, and never both.
Then ``dropped.json`` says how many there are, and up to which number, and only then are they deleted: what is found in ``dropped/``
with a higher number has not been counted. Reports are dropped in the order of their numbers, so one number is enough.

A report that was on its way when it was dropped may still be taken by the broker. Those the sending process counts, in
``spared.json``.
"""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from device import durable

FOLDER: Final = "dropped"
DROPPED: Final = "dropped.json"
SPARED: Final = "spared.json"
MAX_BYTES: Final = 1024
MOST: Final = 10**11  # reports: of more than that no file name has room, and no device lives so long


class Count(BaseModel):
    """What one of the two files holds; of one that is damaged, missing, or on a bad place of the card, nothing is known.

    Attributes:
        reports: How many.
        up_to: The number of the last one that was dropped.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    reports: int = Field(default=0, ge=0, le=MOST)
    up_to: int = Field(default=0, ge=0, le=MOST)

    @classmethod
    def read(cls, file: Path) -> Count:
        """From a file. Raises OSError when it is there and this process may not read it."""
        try:
            content = durable.read(file, MAX_BYTES)
            return cls() if content is None else cls.model_validate_json(content)
        except ValidationError:
            return cls()
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            return cls()  # the next count is written to another place

    def write(self, file: Path) -> None:
        """Into a file. Raises OSError."""
        durable.write(file, self.model_dump_json().encode())


class Losses:
    """Watch's side: drops and counts.

    Args:
        spool: The spool's folder, in which there is ``dropped/``.

    Raises:
        OSError: It cannot be read.
    """

    def __init__(self, spool: Path) -> None:
        self._folder, self._file = spool / FOLDER, spool / DROPPED
        self._count = self._kept = Count.read(self._file)
        self._settle()

    @property
    def up_to(self) -> int:
        """The number of the last report that was dropped."""
        return self._count.up_to

    def drop(self, paths: list[Path]) -> int:
        """Drop these reports, the oldest first; returns how many had not been sent meanwhile."""
        with suppress(OSError):  # what cannot be dropped now is dropped, or counted, with the next
            durable.make_folder(self._folder)
            for path in paths:
                with suppress(FileNotFoundError):  # sent meanwhile
                    os.rename(path, self._folder / path.name)
            for folder in (self._folder, *{path.parent for path in paths}):
                durable.sync_folder(folder)
            return self._settle()
        return 0

    def skip(self, reports: int) -> None:
        """So many were lost before they could be stored."""
        self._count = self._count.model_copy(update={"reports": self._count.reports + reports})
        self.keep()

    def keep(self) -> None:
        """Write the count, where it is not written: while the disk is full, it is kept in memory."""
        if self._count != self._kept:
            with suppress(OSError):
                self._count.write(self._file)
                self._kept = self._count

    def _settle(self) -> int:
        """Count what lies in ``dropped/``, then delete it."""
        there = {path: _number(path) for path in self._folder.iterdir()}
        fresh = [number for number in there.values() if number > self._count.up_to]
        if fresh:
            self._count = Count(reports=self._count.reports + len(fresh), up_to=max(fresh))
            self.keep()
        for path in there:
            with suppress(OSError):
                durable.remove(path)
        return len(fresh)


def spare(spool: Path, path: Path) -> None:
    """Send's side: a broker took a report that is not in ``new/`` any more. If it was dropped, it is no loss. Raises OSError."""
    in_the_act = os.path.lexists(spool / FOLDER / path.name)
    if in_the_act or _number(path) <= Count.read(spool / DROPPED).up_to:
        Count(reports=Count.read(spool / SPARED).reports + 1).write(spool / SPARED)


def lost(spool: Path) -> int:
    """How many reports this spool has lost since it was made. Raises OSError."""
    return max(0, Count.read(spool / DROPPED).reports - Count.read(spool / SPARED).reports)


def _number(path: Path) -> int:
    """Of a report, ``report-000000000007.json``; 0 of anything else."""
    digits = path.name.removeprefix("report-").removesuffix(".json")
    return int(digits) if digits.isascii() and digits.isdigit() else 0
