"""The twin in the watching process: wishes from the inbox, what is in force on disk, the answer for the sending process.

``twin.json`` in the state folder is what survives a power cut; it is written before a wish is tried, and once that is decided.
``twin.json`` in the run folder is the answer, as ``up/twin`` will say it: it may be lost, and is written again at each start.
Nothing that is in the inbox is trusted: what a wish may do is decided here.
"""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Final

from pydantic import ValidationError
from structlog.typing import FilteringBoundLogger

from device import durable, inbox, twin
from device.contract import dump
from device.contract_read import read
from device.contract_twin import ReportedTwin, TwinError, flatten, unflatten
from device.errors import MienError
from device.settings import Settings
from device.twin import ATTEMPTS, Page, Wish

NAME: Final = "twin.json"
MAX_BYTES: Final = 65_536


class TwinKeeper:
    """A ``reload.Change``: makes each run's settings, and decides what becomes of wishes.

    Args:
        settings: What the file says.
        log: For whoever looks after this device.
    """

    def __init__(self, settings: Settings, log: FilteringBoundLogger) -> None:
        self._base = settings
        self._log = log
        self._page = Page()
        self._begun = False
        self._staged: Wish | None = None  # valid, waits for the window's end
        self._works = False  # this run
        self._doubt: tuple[
            TwinError, ...
        ] = ()  # why the wish that is being tried did not run; if what was before does, it is to blame
        self._told: bytes | None = None
        self._complaint = ""

    def before(self, settings: Settings) -> Settings:
        """What to run with: the wish that is staged, else the one that is in force, else what the file says."""
        self._base = settings
        if not self._begun:
            self._begin()
        self._drop_what_does_not_fit()
        self._look()
        if self._staged is not None and self._keep(self._page.begin(self._staged)):
            self._staged, self._doubt = None, ()
        self._works = False
        if (trying := self._page.trying) is not None and not self._doubt:
            tried = twin.merged(settings, trying.desired)
            if isinstance(tried, Settings):
                self._log.info("trying new settings", epoch=trying.epoch, version=trying.version)
                return tried
            self._reject(trying, tried)
        return self._tell()

    def wants(self, now: float) -> bool:
        """Whether a wish waits; one that is refused is answered at once, and what could not be written is tried again."""
        del now
        if self._works and self._page.trying is not None:
            self._applied()
        else:
            self._look()
            self._tell()
        return self._staged is not None

    def trying(self) -> bool:
        """Whether a wish is to show that it works."""
        return self._page.trying is not None

    def works(self) -> None:
        """The run works: so the wish that it was to try is in force; or it was to blame that the run before did not."""
        self._works = True
        if (trying := self._page.trying) is None:
            return
        if self._doubt:
            self._reject(trying, self._doubt)
            self._doubt = ()
            self._tell()
        else:
            self._applied()

    def failed(self, error: MienError) -> bool:
        """The run has ended. If it was to try a wish, and never worked, what was before is worth a run.

        If that fails too, the wish was not to blame (a camera that is not there), and the next process tries it again.
        """
        page = self._page
        if page.trying is None or self._works:
            return False
        if self._doubt:
            self._keep(page.model_copy(update={"attempts": max(0, page.attempts - 1)}))
            return False
        self._doubt = twin.why(error)
        return True

    def _begin(self) -> None:
        """What the last process has left."""
        self._begun = True
        self._page, complaint = _load(self._base.state_folder)
        if complaint:
            self._complain(complaint)
            with suppress(OSError):
                durable.set_aside(self._base.state_folder / NAME)
        if (trying := self._page.trying) is None:
            return
        if self._page.attempts >= ATTEMPTS:
            self._reject(trying, (TwinError(path="", reason=f"mien watch ended {ATTEMPTS} times while it tried these settings"),))
        elif isinstance(wrong := twin.merged(self._base, trying.desired), tuple):
            self._reject(trying, wrong)
        else:
            self._staged = trying

    def _drop_what_does_not_fit(self) -> None:
        """The file may have changed since, and it has the last word."""
        page = self._page
        if page.applied is not None and isinstance(wrong := twin.merged(self._base, page.applied.desired), tuple):
            self._log.warning(
                "the settings that the fleet had set do not go with the settings file any more, and are not in force",
                path=wrong[0].path,
                reason=wrong[0].reason,
            )
            self._keep(page.without_wish(wrong))

    def _look(self) -> None:
        """Take the newest wish from the inbox, if it is new."""
        content = inbox.slot(self._base.inbox_folder, "twin")
        wish = twin.read(content) if content is not None else None
        if isinstance(wish, str):
            self._complain(f"{self._base.inbox_folder / NAME}: not a wish of the fleet, and ignored ({wish})")
        if not isinstance(wish, Wish) or (self._staged is not None and wish.order <= self._staged.order):
            return
        if self._page.judge(wish) != "new":
            return
        found = twin.merged(self._base, wish.desired)
        if isinstance(found, tuple):
            self._staged = None
            self._reject(wish, found)
        else:
            self._staged = wish
            self._log.info("new settings wait for the window's end", epoch=wish.epoch, version=wish.version)

    def _applied(self) -> None:
        if self._keep(self._page.apply()):
            self._log.info("new settings are in force", epoch=self._page.epoch, version=self._page.version)
            self._tell()

    def _reject(self, wish: Wish, errors: tuple[TwinError, ...]) -> None:
        page = self._page.reject(wish, errors)
        if not self._keep(page):
            self._page = page  # this process at least does not try it again
        self._log.warning(
            "new settings were rejected", epoch=wish.epoch, version=wish.version, path=errors[0].path, reason=errors[0].reason
        )

    def _keep(self, page: Page) -> bool:
        """Remember, also without power; what cannot be remembered is not done."""
        path = self._base.state_folder / NAME
        try:
            durable.write(path, page.model_dump_json().encode(), mode=0o600)
        except OSError as error:
            self._complain(f"{path}: cannot be written ({error.strerror}), so the settings stay as they are; check the disk")
            return False
        self._page = page
        return True

    def _tell(self) -> Settings:
        """Leave the answer for the sending process; returns the settings in force."""
        applied = self._page.applied
        found = twin.merged(self._base, applied.desired) if applied else self._base
        settings = self._base if isinstance(found, tuple) else found
        answer = dump(twin.message(self._page, settings))
        path = self._base.run_folder / NAME
        if answer != self._told:
            try:
                durable.write(path, answer)
                self._told = answer
            except OSError as error:
                self._complain(f"{path}: cannot be written ({error.strerror}); make run_folder writable for this user")
        return settings

    def _complain(self, words: str) -> None:
        if words != self._complaint:
            self._log.error(words)
        self._complaint = words


def told(settings: Settings) -> ReportedTwin | None:
    """What is in force, as the watching process has said; ``None`` when it has not."""
    try:
        content = durable.read_regular(settings.run_folder / NAME, MAX_BYTES)
    except OSError:
        return None
    message = read(ReportedTwin, content) if content is not None else None
    return message if isinstance(message, ReportedTwin) else None


def kept(settings: Settings) -> ReportedTwin | None:
    """What will be in force when somebody watches; ``None`` when there is nothing, or this user may not read it."""
    page, _ = _load(settings.state_folder)
    if page == Page():
        return None
    found = twin.merged(settings, page.applied.desired) if page.applied else settings
    return twin.message(page, settings if isinstance(found, tuple) else found)


def in_force(settings: Settings) -> Settings:
    """The settings that people are watched with: the file's, with what the watching process says is the fleet's on top.

    For whoever tells of them: the sending process, and commands for a person.
    """
    said = told(settings) or kept(settings) if settings.broker.twin else None
    if said is None:
        return settings
    flat = flatten(said.reported.model_dump(mode="json"))
    found = twin.merged(settings, json.dumps(unflatten({key: flat[key] for key in said.from_twin if key in flat})))
    return settings if isinstance(found, tuple) else found


def _load(folder: Path) -> tuple[Page, str]:
    """What was remembered, and a complaint when that is not what was written."""
    path = folder / NAME
    try:
        content = durable.read(path, MAX_BYTES)
        return (Page.model_validate_json(content) if content is not None else Page()), ""
    except OSError as error:
        said = error.strerror
    except ValidationError:
        said = "not what mien watch writes"
    return Page(), f"{path}: cannot be used ({said}); the settings file is in force until the fleet's settings come again"
