"""Commands in the watching process: each is done once, whenever this process or the sending one is killed.

===========  ====================================================  ====================================================
a command    is on the disk as                                     and when this process starts again
===========  ====================================================  ====================================================
is left      a file in the inbox                                   it is done, or, if too old by then, has expired
is noted     known, with its effect in the same file; in the inbox the effect stands (a pause goes on); it is removed from
                                                                   the inbox, since its id is known, and answered
is removed   known                                                 it is answered
is answered  known, and ``answers/{id}.json``                      nothing, until its id is forgotten
===========  ====================================================  ====================================================

A restart waits for the end of the window, since the length of windows is part of the privacy rules; a process that was killed
meanwhile has restarted. A doctor changes nothing: one that was interrupted begins anew.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

from pydantic import BaseModel, ConfigDict, Field
from structlog.typing import FilteringBoundLogger

from device import durable, inbox, remember
from device.clock import Clock
from device.consent import Consent
from device.contract import dump
from device.contract_command import Check, CommandResult, Finding, Name, Reason, State
from device.contract_read import read
from device.errors import MienError
from device.order import Order, answer_file
from device.settings import Settings

FILE: Final = "commands.json"


class Checkup(Protocol):
    """A doctor at work: its findings, why there are none, or ``None`` while it is not done."""

    def __call__(self) -> dict[Check, Finding] | Reason | None: ...


class Done(remember.Known):
    """A command that was begun."""

    command: Name


class Rest(BaseModel):
    """A pause; one that began before the machine started begins again, since nobody knows how long that took."""

    model_config = ConfigDict(extra="forbid")

    boot: str
    until: float = Field(allow_inf_nan=False)
    seconds: float = Field(allow_inf_nan=False)

    def left(self, clock: Clock) -> float:
        """Seconds."""
        return max(0.0, self.until - clock.now()) if self.boot == clock.boot else self.seconds


class Memory(remember.Memory):
    """What this process remembers: commands and pauses, of which those by a button cannot be ended from afar."""

    known: dict[str, Done] = Field(default_factory=dict)
    by_command: Rest | None = None
    by_hand: Rest | None = None


class Orders:
    """What came down, and what became of it.

    Args:
        settings: Where everything is, and what the first run begins with.
        clock: Of this boot.
        log: Of this process.
        reread: Reads the settings file again, for a restart.
        doctor: Begins a check of this device; ``None``: it cannot be asked for.

    Attributes:
        camera_works: For a doctor, who cannot look: this process has the camera.
    """

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        log: FilteringBoundLogger,
        *,
        reread: Callable[[], Settings] | None = None,
        doctor: Callable[[], Checkup] | None = None,
    ) -> None:
        self._settings, self._clock, self._log = settings, clock, log
        self._reread, self._doctor = reread or (lambda: settings), doctor
        self._path = settings.state_folder / FILE
        self._memory = remember.load(Memory, self._path, log.error)
        self._checkup: tuple[str, Checkup] | None = None
        self._ending: list[str] = []  # restarts that the next run is the end of
        self._old: Settings | None = None  # what was in force before a restart, until the new run works
        for done in self._memory.known.values():
            remember.of_this_boot(done, clock)
        for rest in (self._memory.by_command, self._memory.by_hand):
            if rest is not None and rest.boot != clock.boot:
                rest.boot, rest.until = clock.boot, clock.now() + rest.seconds
        self._untold = set(self._memory.known)
        self._saved = True
        self._trouble = ""
        self.camera_works = True

    # Pauses

    def begin(self, consent: Consent) -> None:
        """A run begins: a pause by a button goes on."""
        if self._memory.by_hand is not None:
            consent.pause(self._clock.now(), self._memory.by_hand.left(self._clock))

    def pressed(self, consent: Consent, seconds: float) -> None:
        """Somebody pressed the button."""
        now = self._clock.now()
        consent.pause(now, seconds)
        self._memory.by_hand = self._longer(self._memory.by_hand, now, seconds)
        self._save()

    def paused(self, consent: Consent) -> bool:
        """Whether nothing may be looked at now."""
        by_command = self._memory.by_command
        return consent.paused(self._clock.now()) or (by_command is not None and by_command.left(self._clock) > 0)

    # Commands

    def look(self, consent: Consent) -> None:
        """Do what has come."""
        if not self._saved:
            self._save()
        found, complaints = inbox.commands(self._settings.inbox_folder)
        for complaint in complaints:
            self._log.warning(complaint)
        for path, content in found:
            order = read(Order, content)
            if isinstance(order, str) or path.stem != order.id:
                why = order if isinstance(order, str) else "it is another one's"
                self._log.warning(f"{path}: is not a command, and was removed ({why})")
            elif order.id not in self._memory.known and not self._do(order, consent):
                continue
            inbox.remove(path)
        if self._checkup is not None and (found_out := self._checkup[1]()) is not None:
            self._examined(self._checkup[0], found_out, paused=self.paused(consent))
        self._tidy()

    def _do(self, order: Order, consent: Consent) -> bool:
        """Do a command, or begin to; returns whether it is noted and need not stay in the inbox."""
        now, name = self._clock.now(), order.command.command
        if not order.in_time(self._clock):
            self._note(order.id, name, "rejected", "expired")
        elif len(self._memory.known) >= remember.MOST:
            self._write(order.id, CommandResult(schema=1, state="rejected", reason="busy"))
        elif name == "doctor" and self._doctor is not None:
            if self._checkup is None:
                self._checkup = (order.id, self._doctor())
            return False
        elif name == "pause" and order.command.seconds:
            consent.pause(now, 0)  # a consent that was given is over
            self._memory.by_command = self._longer(self._memory.by_command, now, order.command.seconds)
            self._note(order.id, name, "succeeded")
        elif name in ("pause", "resume"):
            self._memory.by_command = None
            self._note(order.id, name, "succeeded")
        elif name == "restart":
            self._note(order.id, name, "accepted")
        else:
            self._note(order.id, name, "rejected", "unavailable")
        return True

    def _examined(self, name: str, found: dict[Check, Finding] | Reason, *, paused: bool) -> None:
        self._checkup = None
        if isinstance(found, dict):
            camera: dict[Check, Finding] = {} if paused else {"camera": "ok" if self.camera_works else "wrong"}
            self._note(name, "doctor", "succeeded", findings=camera | found)
        else:
            self._note(name, "doctor", "failed", found)

    # Restarts: this is a Change

    def before(self, settings: Settings) -> Settings:
        """A run begins; after a restart, with what the settings file says by now."""
        del settings
        self._ending = [name for name, done in self._memory.known.items() if done.result.state == "accepted"]
        if self._ending and self._old is None:
            self._old = self._settings
            try:
                self._settings = self._reread()
            except MienError as error:
                self._log.error(f"{error}. The settings from before stay in force")
                self._finish("failed", "settings")
        return self._settings

    def wants(self, now: float) -> bool:
        """Whether a restart waits for the end of the window."""
        del now
        return any(done.result.state == "accepted" for done in self._memory.known.values())

    def trying(self) -> bool:
        """Whether the settings file was read again, and says something else."""
        return self._old is not None and self._old != self._settings

    def works(self) -> None:
        """The new run reads frames."""
        self._finish("succeeded")

    def failed(self, error: MienError) -> bool:
        """The new run does not work: back to the settings from before, where they are others."""
        if self._old is None or not self.trying():
            return False
        self._log.error(f"{error}. The settings from before are in force again")
        self._settings = self._old
        self._finish("failed", "settings")
        return True

    def _finish(self, state: State, reason: Reason | None = None) -> None:
        ending, self._ending, self._old = self._ending, [], None
        for name in ending:
            self._note(name, "restart", state, reason)

    # What is remembered, and what is said

    def _longer(self, rest: Rest | None, now: float, seconds: float) -> Rest:
        """A pause of so long from now on; a longer one that has begun stays."""
        if rest is not None and rest.left(self._clock) >= seconds:
            return rest
        return Rest(boot=self._clock.boot, until=now + seconds, seconds=seconds)

    def _note(
        self, name: str, command: Name, state: State, reason: Reason | None = None, findings: dict[Check, Finding] | None = None
    ) -> None:
        """Remember a command with its effect: from here on it is done, whatever happens."""
        result = CommandResult(schema=1, state=state, reason=reason, findings=findings)
        forget = self._clock.now() + remember.REMEMBER
        self._memory.known[name] = Done(boot=self._clock.boot, forget=forget, result=result, command=command)
        self._save()
        self._log.info("command", id=name, command=command, state=state, reason=reason)
        self._untold.add(name)

    def _save(self) -> None:
        before, self._saved = (
            self._saved,
            remember.save(self._memory, self._path, self._log.error if self._saved else self._log.debug),
        )
        if before and not self._saved:
            self._log.warning("what was commanded holds, and is forgotten if this process ends before it can be written")

    def _tidy(self) -> None:
        """Say what was not said, forget what is over."""
        now = self._clock.now()
        for name in [name for name, done in self._memory.known.items() if done.over(now)]:
            del self._memory.known[name]
            inbox.remove(answer_file(self._settings.run_folder, name))
        for name in sorted(self._untold):
            if name not in self._memory.known or self._write(name, self._memory.known[name].result):
                self._untold.discard(name)

    def _write(self, name: str, result: CommandResult) -> bool:
        path = answer_file(self._settings.run_folder, name)
        try:
            durable.write(path, dump(result))
        except OSError as error:
            why = f"{path.parent}: answers cannot be written ({error.strerror}); make run_folder writable for this user"
            (self._log.debug if why == self._trouble else self._log.warning)(why)
            self._trouble = why
            return False
        return True
