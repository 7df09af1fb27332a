"""Commands on their way down, in the sending process: each one is taken once, handed to the watching process, and answered.

==========  =====================================  ==================================================================
a command   is on the disk as                      and when this process starts again
==========  =====================================  ==================================================================
has come    nothing                                its sender, who has had no answer, sends it again
is kept     kept, ``accepted``                     it is left in the inbox (again: the watching process knows its id)
is left     kept, and a file in the inbox          the same; ``accepted`` is said (again)
is done     kept, and ``answers/{id}.json``        the answer is read and said (again)
is told     kept, with what was said               nothing, until its id is forgotten
==========  =====================================  ==================================================================

What the watching process says is in ``run_folder/answers``, one file for each command, which that process alone writes.
"""

from __future__ import annotations

import re
from typing import Final

from pydantic import Field

from device import durable, remember
from device.contract import MAX_MESSAGE_BYTES, dump, topic
from device.contract_command import ANSWER_SECONDS, LONGEST, Check, Command, CommandResult, Finding, Reason
from device.contract_read import read
from device.downward import Context, Handler
from device.errors import SpoolError
from device.order import Order, answer_file, leave
from device.publishers import Message, Received

FILE: Final = "commands.json"
ID: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
GRACE: Final = 30.0  # seconds after its end in which the watching process may still say that it has done a command
FLUSH: Final = 60.0  # seconds for a flush
MAX_REFUSALS: Final = 100  # waiting to be said; in a burst of more, who has had no answer asks again
REPLY: Final = re.compile(r"[A-Za-z0-9_-]{1,64}(/[A-Za-z0-9_-]{1,64}){0,3}")  # below up/reply/
MAX_CORRELATION: Final = 256  # bytes


class Kept(remember.Known):
    """A command that came, where its answer goes, and how much of that was said."""

    command: Command
    until: float = Field(allow_inf_nan=False)
    response: str | None
    correlation: str | None
    told: bool = False


class Memory(remember.Memory):
    """What this process remembers."""

    known: dict[str, Kept] = Field(default_factory=dict)


class CommandHandler(Handler):
    """Takes commands, leaves them for the watching process, and says what became of them."""

    listens = ("down/command/+",)

    def __init__(self, context: Context) -> None:
        self._context, self._clock, self._log = context, context.clock, context.log
        self._path = context.settings.send_folder / FILE
        self._memory = remember.load(Memory, self._path, self._log.error)
        self._refusals: list[Message] = []  # to be said once: whoever misses it asks again
        self._said: dict[str, list[Message]] = {}  # answers on their way
        for name, kept in self._memory.known.items():
            if not remember.of_this_boot(kept, self._clock):
                kept.until = self._clock.now()
            elif kept.result.state == "accepted" and kept.command.command != "flush":
                self._leave(name, kept)

    def receive(self, name: str, message: Received) -> None:
        name = name.removeprefix("down/command/")
        if not ID.fullmatch(name):
            self._log.warning("a command without a proper id was ignored; expected down/command/{id}, 64 letters or digits at most")
        elif (before := self._memory.known.get(name)) is not None:
            self._log.info("command again", id=name, state=before.result.state)
            before.told = False
        elif isinstance(kept := self._take(name, message), Kept):
            self._log.info("command", id=name, command=kept.command.command)
            if kept.command.command == "flush":
                self._context.flush()
            else:
                self._leave(name, kept)
        else:
            self._log.warning("a command was refused", id=name, reason=kept)
            if len(self._refusals) < MAX_REFUSALS:
                self._refusals += self._messages(name, message.response_topic, message.correlation, _no(kept))

    def due(self, now: float) -> list[Message]:
        for name in [name for name, kept in self._memory.known.items() if kept.over(now)]:
            del self._memory.known[name]
        new, self._refusals = self._refusals, []
        for name, kept in self._memory.known.items():
            if kept.result.state == "accepted" or kept.result.reason == "expired":
                self._look(name, kept, now)
            if not kept.told and name not in self._said:
                correlation = None if kept.correlation is None else bytes.fromhex(kept.correlation)
                self._said[name] = self._messages(name, kept.response, correlation, kept.result)
                new += self._said[name]
        return new

    def connected(self) -> None:
        self._said.clear()

    def delivered(self, message: Message) -> None:
        for name, waiting in self._said.items():
            if any(one is message for one in waiting):
                waiting[:] = [one for one in waiting if one is not message]
                if not waiting:
                    del self._said[name]
                    self._memory.known[name].told = True
                    self._save()
                return

    def _take(self, name: str, message: Received) -> Kept | Reason:
        """Keep a command that came for the first time, or say why not."""
        command, now, expiry = read(Command, message.payload), self._clock.now(), message.expires_in
        if isinstance(command, str):
            self._log.warning(f"down/command/{name} is no command: {command}")
            return "invalid"
        if expiry is None or expiry > LONGEST:
            return "no_expiry"
        if expiry <= 0 or command.again:
            return "expired"
        if len(self._memory.known) >= remember.MOST:
            return "busy"
        kept = Kept(
            boot=self._clock.boot,
            forget=now + remember.REMEMBER,
            result=CommandResult(schema=1, state="accepted"),
            command=command,
            until=now + expiry,
            response=message.response_topic if self._may_answer(message.response_topic) else None,
            correlation=None if message.correlation is None else message.correlation[:MAX_CORRELATION].hex(),
        )
        self._memory.known[name] = kept
        if not self._save():
            del self._memory.known[name]
            return "unavailable"
        return kept

    def _leave(self, name: str, kept: Kept) -> None:
        order = Order(schema=1, id=name, command=kept.command, boot=kept.boot, until=kept.until)
        try:
            if order.in_time(self._clock):
                leave(self._context.settings.inbox_folder, order)
        except SpoolError as error:
            self._log.error(str(error))
            kept.result = _no("unavailable")
            self._save()

    def _look(self, name: str, kept: Kept, now: float) -> None:
        """See what has become of a command that has not ended."""
        result = self._flushed(kept, now) if kept.command.command == "flush" else self._done(name, kept, now)
        if result is None or result == kept.result:
            return
        kept.result, kept.told = result, False
        self._said.pop(name, None)
        self._save()
        self._log.info("command", id=name, command=kept.command.command, state=result.state, reason=result.reason)

    def _done(self, name: str, kept: Kept, now: float) -> CommandResult | None:
        """What the watching process says. If it is silent for too long after the end of a command, it has not begun it."""
        try:
            content = durable.read_regular(answer_file(self._context.settings.run_folder, name), MAX_MESSAGE_BYTES)
        except OSError:
            content = None
        if content is not None and isinstance(result := read(CommandResult, content), CommandResult):
            broker: dict[Check, Finding] = {"broker": "ok"}  # this connection
            return result.model_copy(update={"findings": result.findings | broker}) if result.findings else result
        return _no("expired") if now > kept.until + GRACE else None

    def _flushed(self, kept: Kept, now: float) -> CommandResult | None:
        done = self._context.flushed()
        if isinstance(done, str):
            return CommandResult(schema=1, state="failed", reason="refused")
        if done:
            return CommandResult(schema=1, state="succeeded")
        begun = kept.forget - remember.REMEMBER
        return CommandResult(schema=1, state="failed", reason="timeout") if now > begun + FLUSH else None

    def _messages(self, name: str, response: str | None, correlation: bytes | None, result: CommandResult) -> list[Message]:
        own = topic(self._context.settings.device, f"up/command/{name}")
        to = (own, response) if response is not None and self._may_answer(response) else (own,)
        return [Message(one, dump(result), expiry=ANSWER_SECONDS, correlation=correlation) for one in to]

    def _may_answer(self, response: str | None) -> bool:
        """Only there: elsewhere an answer could pass for something that this device has not said."""
        above = topic(self._context.settings.device, "up/reply/")
        return response is not None and response.startswith(above) and bool(REPLY.fullmatch(response.removeprefix(above)))

    def _save(self) -> bool:
        return remember.save(self._memory, self._path, self._log.error)


def _no(reason: Reason) -> CommandResult:
    return CommandResult(schema=1, state="rejected", reason=reason)
