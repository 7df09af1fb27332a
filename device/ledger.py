"""The ε ledger: what is left of the privacy budget, on disk before the report that spends it is.

One small file in the state folder, replaced as a whole (``device.durable``). It begins empty and is filled by running time, counted
with the monotonic clock within one boot: a clock that is set changes nothing, time with the power off earns nothing. The ε of two
windows is saved at most: removing the file gains nothing, putting an old one back and starting again two windows, each time.

A file that is damaged, or cannot be read, is set aside for somebody to look at, and the budget begins empty: that is never more
than was left, so whatever has damaged it has gained nothing.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from device import durable
from device.clock import Clock
from device.errors import MienError
from device.noise import MICRO, Budget

NAME: Final = "ledger.json"
MAX_BYTES: Final = 4096


class LedgerError(MienError):
    """The ledger cannot be kept where the settings say."""

    exit_code = 73


class LedgerBusyError(LedgerError):
    """Another process keeps it."""

    exit_code = 75


class Page(BaseModel):
    """What the file holds.

    Attributes:
        generation: How often it was written.
        spent: Millionths of ε since the file began.
        left: Millionths of ε that could be spent when it was written.
        boot: The boot in which time was counted last.
        counted_to: Milliseconds on that boot's monotonic clock.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    generation: int = Field(ge=0)
    spent: int = Field(ge=0)
    left: int = Field(ge=0)
    boot: str
    counted_to: int

    def sum(self) -> str:
        """A checksum: it tells accidents and careless hands, not somebody who can write the file and knows this line."""
        return hashlib.sha256(json.dumps(self.model_dump(), sort_keys=True).encode()).hexdigest()


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    page: Page
    sha256: str


class Ledger:
    """The budget of one watching process, and its hold on the file.

    Args:
        folder: The state folder; made, with its parents, when missing. Nobody but the watching process should write there.
        budget: What a window costs and a day may cost.
        clock: Counts running time.

    Raises:
        LedgerError: The folder or the file cannot be used.
        LedgerBusyError: Another process keeps this ledger.
    """

    def __init__(self, folder: Path, budget: Budget, clock: Clock) -> None:
        self.file = folder / NAME
        self._budget = budget
        self._clock = clock
        self._page = Page(generation=0, spent=0, left=0, boot=clock.boot, counted_to=self._now())
        self.damage = ""
        self.refusal = ""
        try:
            durable.make_folder(folder, mode=0o700)
            self._lock = durable.open_lock(folder / ".ledger.lock", mode=0o600)
        except OSError as error:
            raise LedgerError(
                f"{folder}: cannot be used as the state folder ({error.strerror}); make it writable for this user alone, "
                "or set state_folder to a folder of your own"
            ) from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._lock)
            raise LedgerBusyError(
                f"{folder}: another 'mien watch' keeps its ledger here; stop it, or give this one a state_folder of its own"
            ) from None
        try:
            self._begin()
        except OSError as error:
            self.close()
            raise LedgerError(f"{self.file}: cannot be read or written ({error.strerror}); check the disk and its owner") from error

    def close(self) -> None:
        """Let go of the file."""
        with suppress(OSError):
            os.close(self._lock)

    @property
    def left(self) -> int:
        """Millionths of ε that may be spent now."""
        return self._filled().left

    @property
    def spent(self) -> int:
        """Millionths of ε since the file began."""
        return self._page.spent

    def charge(self) -> bool:
        """Pay for one window; when this returns True, that is on disk. Otherwise ``refusal`` says why, and what to do."""
        cost, page = self._budget.window, self._filled()
        if page.left < cost:
            self.refusal = (
                f"the privacy budget is spent: ε {page.left / MICRO:g} is left and a window costs {cost / MICRO:g}; running time "
                f"earns {self._budget.earned(3_600_000) / MICRO:.3g} an hour, so it comes back by itself (a first start and each "
                "restart cost one window)"
            )
        else:
            try:
                self._write(page.model_copy(update={"left": page.left - cost, "spent": page.spent + cost}))
                self.refusal = ""
            except OSError as error:
                self.refusal = (
                    f"{self.file}: the ε ledger cannot be written ({error.strerror}), so nothing is published; check the disk"
                )
        return not self.refusal

    def _begin(self) -> None:
        try:
            content = durable.read(self.file, MAX_BYTES)
        except OSError:  # on a bad place of the card, or another user's
            content = b""
        page = None if content is None else _parse(content)
        if page is not None:
            self._page = page
        elif content is not None:
            self.damage = _damage(self.file, f"it was moved to {durable.set_aside(self.file)} and")
        self._write(self._filled())

    def _now(self) -> int:
        return int(self._clock.now() * 1000)

    def _filled(self) -> Page:
        """The page with the running time since it was last counted; of an earlier boot, that is not known and earns nothing."""
        page, now = self._page, self._now()
        earned = self._budget.earned(now - page.counted_to) if page.boot == self._clock.boot else 0
        left = min(page.left + earned, self._budget.most)
        return page.model_copy(update={"left": left, "boot": self._clock.boot, "counted_to": now})

    def _write(self, page: Page) -> None:
        page = page.model_copy(update={"generation": page.generation + 1})
        content = _File(page=page, sha256=page.sum()).model_dump_json().encode() + b"\n"
        durable.write(self.file, content, temporary=self.file.with_suffix(".tmp"), mode=0o600)
        self._page = page


def look(folder: Path) -> str:
    """What a person wants to know about the ledger in this folder, without touching it.

    Raises:
        LedgerError: It is damaged or cannot be read; the message says what to do.
    """
    file = folder / NAME
    try:
        content = durable.read(file, MAX_BYTES)
    except OSError as error:
        raise LedgerError(f"{file}: cannot be read ({error.strerror}); check the disk and its owner") from error
    if content is None:
        return f"{file}: not there yet; the budget begins empty"
    page = _parse(content)
    if page is None:
        raise LedgerError(_damage(file, "the next start sets it aside, and"))
    return f"{file}: ε {page.left / MICRO:g} was left when it was last written, {page.spent / MICRO:g} spent since it began"


def _damage(file: Path, done: str) -> str:
    return (
        f"{file}: the ε ledger is damaged or was changed; {done} the budget begins empty: nothing is published until it has "
        "filled. Find out who or what changed it"
    )


def _parse(content: bytes) -> Page | None:
    """What a whole and unchanged file says, else ``None``."""
    try:
        found = _File.model_validate_json(content)
    except ValidationError:
        return None
    return found.page if found.sha256 == found.page.sum() else None
