"""The spool: a bounded maildir of reports between ``watch``, which fills it, and ``send``, which empties it.

    tmp/    being written                       new/    waiting to be sent
    sent/   taken by the broker, kept until     bad/    files that were not reports, for a person to look at
            acknowledged; the newest stays      dropped/    about to be deleted (``device/losses.py``)

One small file per report, named by its sequence number; written to ``tmp/``, fsynced, renamed, and the folder fsynced, so a
report is there whole or not at all, also after a power cut. The files are the only state: the next sequence number is one
more than the highest there is, which is why the newest delivered report is never deleted, and why ``send`` syncs the folder before
it reads a new one: else a report could be published that a power cut takes away, and its number be given again. ``new`` is listed
before ``sent``, and files only move from the one to the other, so a listing never misses one that is on its way.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import stat
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from pydantic import ValidationError

from device import durable, losses
from device.contract import MAX_MESSAGE_BYTES, Envelope, dump
from device.errors import SpoolBusyError, SpoolError

Side = Literal["watch", "send"]
NAME: Final = re.compile(r"^report-(\d{12})\.json$")
MAX_FILE_BYTES: Final = 2 * MAX_MESSAGE_BYTES
MAX_BAD: Final = 1000  # files set aside; beyond, the oldest go
FOLDERS: Final = ("tmp", "new", "sent", "bad", losses.FOLDER)


class SpoolFullError(SpoolError):
    """The disk is full or fails: the report is still in memory, and may be put again later."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much the spool may hold."""

    files: int = 10_000
    bytes: int = 64 * 1024 * 1024


class Spool:
    """One side's hold on a spool.

    Args:
        folder: Where it is; made, with its parents, when missing.
        side: ``"watch"`` puts, ``"send"`` takes. Each side may be held once.
        limits: Files and bytes; applied by ``put``, which drops the oldest first.

    Raises:
        SpoolError: The folder cannot be made or written.
        SpoolBusyError: Another process holds this side.
    """

    def __init__(self, folder: Path, side: Side, limits: Limits | None = None) -> None:
        self.folder = folder
        self._limits = limits or Limits()
        self._files, self._bytes = (
            self._limits.files,
            self._limits.bytes,
        )  # watch: at most so much is held; counted when that is full
        self._durable = 0  # send: the newest report whose name is known to be durable
        try:
            for name in FOLDERS:
                if os.path.lexists(folder / name) and not (folder / name).is_dir():
                    durable.set_aside(folder / name)
                durable.make_folder(folder / name)
            self._lock = durable.open_lock(folder / f".{side}.lock", mode=0o660)
        except OSError as error:
            raise SpoolError(
                f"{folder}: cannot be used as a spool ({error.strerror}); make the folder writable for this user"
            ) from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._lock)
            raise SpoolBusyError(
                f"{folder}: another 'mien {side}' is using this spool; stop it, or give this one a folder of its own"
            ) from None
        if side == "watch":
            try:
                self._begin()
            except OSError as error:
                self.close()
                raise SpoolError(
                    f"{folder}: cannot be used as a spool ({error.strerror}); check the disk and who may write there"
                ) from error

    def close(self) -> None:
        """Let go of this side."""
        with suppress(OSError):
            os.close(self._lock)

    # watch's side

    def _begin(self) -> None:
        for left in (self.folder / "tmp").iterdir():
            durable.remove(left)
        self._losses = losses.Losses(self.folder)
        found = [path for name in ("new", "sent", "bad") for path in (self.folder / name).iterdir()]  # the way that files move
        self._next = 1 + max((seq_of(path) for path in found), default=self._losses.up_to)

    @property
    def next_seq(self) -> int:
        """The sequence number of the next report to be put."""
        return self._next

    def put(self, envelope: Envelope) -> int:
        """Store a report durably and return how many old ones had to be dropped for it.

        A number that is skipped is a report that was lost before it could be stored; it is counted with those that are dropped.

        Raises:
            SpoolFullError: The disk is full or fails; nothing has changed.
        """
        if envelope.seq < self._next:
            raise ValueError(f"report {envelope.seq} put where {self._next} is due")
        if envelope.seq > self._next:
            self._losses.skip(envelope.seq - self._next)
            self._next = envelope.seq
        content = dump(envelope)
        name = f"report-{envelope.seq:012d}.json"
        temporary, final = self.folder / "tmp" / name, self.folder / "new" / name
        try:
            durable.write(final, content, temporary=temporary)
        except OSError as error:
            what = "the disk is full; free some space" if error.errno == errno.ENOSPC else f"{error.strerror}; check the disk"
            raise SpoolFullError(
                f"{self.folder}: cannot store report {envelope.seq}: {what}. It is kept in memory until then"
            ) from error
        self._next = envelope.seq + 1
        self._losses.keep()
        self._files, self._bytes = self._files + 1, self._bytes + len(content)
        return 0 if self._fits() else self._make_room(newest=final)

    def _fits(self) -> bool:
        return self._files <= self._limits.files and self._bytes <= self._limits.bytes

    def _make_room(self, newest: Path) -> int:
        """Drop the oldest reports beyond the limits; the newest stays, and so does the newest that was sent, uncounted."""
        try:
            held = self._sizes()
        except SpoolError:  # the report is stored; there will be room after the next one
            return 0
        if sent := [path for path in held if path.parent.name == "sent"]:
            del held[max(sent)]
        self._files, self._bytes, oldest = len(held), sum(held.values()), []
        for path in sorted(held, key=lambda path: path.name):
            if self._fits() or path.name == newest.name:
                break
            self._files, self._bytes = self._files - 1, self._bytes - held[path]
            if path.parent.name == "new":
                oldest.append(path)
            else:
                with suppress(OSError):  # acknowledged meanwhile
                    path.unlink()
        return self._losses.drop(oldest) if oldest else 0

    # send's side

    def waiting(self, after: int = 0) -> list[Path]:
        """Reports not yet taken by a broker, the oldest first; and whatever else is in the folder, for ``read`` to set aside.

        Args:
            after: Only those whose names come after the one of this report.
        """
        return self._list("new", f"report-{after:012d}.json" if after else "")

    def unacknowledged(self) -> list[Path]:
        """Reports taken by a broker and kept, the oldest first."""
        return [path for path in self._list("sent") if NAME.match(path.name)]

    def read(self, path: Path) -> Envelope | None:
        """Read a report; what is not one is set aside in ``bad/``. ``None`` when it is gone or was set aside.

        Raises:
            SpoolError: It cannot be read, or cannot be set aside.
        """
        try:
            if not stat.S_ISREG(path.lstat().st_mode):
                self._set_aside(path)
                return None
            if (seq := seq_of(path)) > self._durable and path.parent.name == "new":
                newest = max(seq, *map(seq_of, self.waiting()))
                durable.sync_folder(path.parent)
                self._durable = newest
            with open(path, "rb", opener=_open_regular) as file:
                content = file.read(MAX_FILE_BYTES + 1)
            envelope = Envelope.model_validate_json(content)
            if len(content) <= MAX_FILE_BYTES and envelope.seq == seq:
                return envelope
        except FileNotFoundError:
            return None
        except OSError as error:
            raise SpoolError(f"{path}: cannot read the report ({error.strerror}); check the disk and its permissions") from error
        except ValidationError:
            pass
        self._set_aside(path)
        return None

    def sent(self, path: Path) -> None:
        """A broker has taken this report: keep it until it is acknowledged."""
        try:
            target = self.folder / "sent" / path.name
            if target.is_dir():  # which is nobody's report
                durable.remove(target)
            try:
                os.rename(path, target)
            except FileNotFoundError:  # dropped meanwhile: the spool was full
                losses.spare(self.folder, path)
        except OSError as error:
            raise SpoolError(f"{path}: cannot be moved to sent/ ({error.strerror}); check the disk and its permissions") from error

    def acknowledge(self, seq: int) -> None:
        """Every report up to ``seq`` is stored elsewhere: delete those that were sent, except the newest of all."""
        try:
            for path in self.unacknowledged()[:-1]:
                if seq_of(path) <= seq:
                    durable.remove(path)
        except OSError as error:
            raise SpoolError(f"{self.folder / 'sent'}: cannot delete a report ({error.strerror}); check the disk") from error

    def dropped(self) -> int:
        """How many reports were lost since this spool was made: dropped because it was full, or before they could be stored.

        Raises:
            SpoolError: The count cannot be read.
        """
        try:
            return losses.lost(self.folder)
        except OSError as error:
            raise SpoolError(f"{self.folder}: cannot read what was dropped ({error.strerror}); check the disk") from error

    def is_set_aside(self, path: Path) -> bool:
        """Whether what was at ``path`` is in ``bad/``."""
        return os.path.lexists(self.folder / "bad" / path.name)

    def set_aside(self) -> int:
        """How many files are in ``bad/``."""
        return len(self._list("bad"))

    def _set_aside(self, path: Path) -> None:
        bad = self.folder / "bad"
        try:
            durable.remove(bad / path.name)
            with suppress(FileNotFoundError):  # gone meanwhile
                os.rename(path, bad / path.name)
            for old in self._list("bad")[:-MAX_BAD]:
                durable.remove(old)
        except OSError as error:
            raise SpoolError(f"{path}: is not a report, and cannot be moved to bad/ ({error.strerror}); remove it") from error

    def _sizes(self) -> dict[Path, int]:
        sizes = {}
        for path in (*self.waiting(), *self.unacknowledged()):
            with suppress(OSError):  # gone meanwhile, or on a bad place of the card
                if NAME.match(path.name) and stat.S_ISREG((found := path.lstat()).st_mode):
                    sizes[path] = found.st_size
        return sizes

    def _list(self, name: str, after: str = "") -> list[Path]:
        try:
            return [self.folder / name / file for file in sorted(os.listdir(self.folder / name)) if file > after]
        except OSError as error:
            raise SpoolError(
                f"{self.folder / name}: cannot be listed ({error.strerror}); check the disk and its permissions"
            ) from error


def seq_of(path: Path) -> int:
    """The sequence number in a report's file name, 0 when it has none."""
    match = NAME.match(path.name)
    return int(match[1]) if match else 0


def _open_regular(name: str, flags: int) -> int:
    return os.open(name, flags | os.O_NOFOLLOW | os.O_NONBLOCK)  # no link, and no waiting on a pipe
