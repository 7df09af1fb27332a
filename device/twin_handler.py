"""The twin in the sending process: wishes into the inbox, the watching process's answer up to the broker."""

from __future__ import annotations

from typing import Final

from device import inbox, notice, twin
from device.contract import dump, topic
from device.contract_twin import ReportedTwin
from device.downward import Context, Handler
from device.errors import SpoolError
from device.publishers import Message, Received
from device.twin import Wish
from device.twin_keeper import in_force, told

LOOK_EVERY: Final = 1.0  # seconds between two looks for an answer, and between two attempts to leave a wish


class TwinHandler(Handler):
    """A wish is left in the inbox, where the newest one wins; the answer is published whenever it changes, and when asked again.

    A wish that could not be left (the disk is full) is kept in memory and tried again; should this process die meanwhile, the
    broker has it.
    """

    listens = ("down/twin",)

    def __init__(self, context: Context) -> None:
        self._settings = context.settings
        self._log = context.log
        self._pending: bytes | None = None
        self._next_look = float("-inf")
        self._said: ReportedTwin | None = None
        self._complaint = ""

    def receive(self, name: str, message: Received) -> None:
        """Leave a wish for the watching process, unless a newer one lies there."""
        del name
        if not message.payload:
            return  # the fleet has cleared what was retained: nothing is wanted any more, and nothing changes by itself
        wish = twin.read(message.payload)
        if isinstance(wish, str):
            self._log.warning(f"down/twin is not a wish of the fleet and was ignored ({wish})")
            return
        there = inbox.slot(self._settings.inbox_folder, "twin")
        lies = twin.read(there) if there is not None else None
        answer = told(self._settings)
        if answer is not None and (answer.epoch, answer.desired_version) >= wish.order:
            self._said = None  # answered before: whoever asks again has missed the answer
        if not isinstance(lies, Wish) or wish.order > lies.order:
            self._pending = message.payload
        self._next_look = float("-inf")

    def due(self, now: float) -> list[Message]:
        """The answer, when there is a new one, and the notice that goes with it."""
        if now < self._next_look:
            return []
        self._next_look = now + LOOK_EVERY
        self._leave()
        answer = told(self._settings)
        if answer is None or answer == self._said:
            return []
        changed = self._said is not None and answer.reported != self._said.reported
        self._said = answer
        messages = [Message(topic(self._settings.device, "up/twin"), dump(answer), retain=True)]
        if changed and (made := notice.message(in_force(self._settings))):
            messages.append(Message(topic(self._settings.device, "up/notice"), dump(made), retain=True))
        return messages

    def connected(self) -> None:
        """Say again what is retained."""
        self._said = None
        self._next_look = float("-inf")

    def _leave(self) -> None:
        if self._pending is None:
            return
        try:
            inbox.put_slot(self._settings.inbox_folder, "twin", self._pending)
            self._pending, self._complaint = None, ""
        except SpoolError as error:
            if str(error) != self._complaint:
                self._complaint = str(error)
                self._log.error(self._complaint)
