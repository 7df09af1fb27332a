"""A dialogue with the fleet, as a table of states: what enrolment and renewal have in common. Pure.

A state is a question. It is stored before it is asked, asked until it is answered, and may be repeated: a device that loses power
goes on with the state that it finds. "Accepted" counts for every request that was sent in this state, however late it comes: a
fleet with a thousand devices to answer takes longer than one device waits before it asks again. A rejection counts for the last
request only, and either is waited for, or leads back to a state that gets over it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from pydantic import BaseModel, ConfigDict

from device.contract import DeviceName
from device.contract_enroll import Accepted, Code, Pem, Rejected, Step, Token

ANSWER_SECONDS: Final = 10.0  # for an answer, which takes a while when a thousand devices ask; doubles each time
LONGEST_SECONDS: Final = 60.0
REMEMBERED: Final = 16  # requests of a state whose answers still count
FAILURES: Final = 3  # connections that fail before a state gives up what it connects with


class Progress(BaseModel):
    """What is stored: how far this device is."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    state: str
    device: DeviceName | None = None
    certificate: Pem | None = None
    token: Token | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """A row of a table.

    Attributes:
        who: The identity that the connection has.
        step: What is asked.
        then: The state after "accepted"; one that has no row is the end.
        back: Where a rejection leads that this step cannot get over.
        lost: Where ``FAILURES`` connections that fail lead.
    """

    who: str
    step: Step
    then: str
    back: Mapping[Code, str]
    lost: str | None = None


@dataclass(frozen=True, slots=True)
class Connect:
    """Connect with this identity; end another connection first."""

    who: str


@dataclass(frozen=True, slots=True)
class Ask:
    """Send the request of this step."""

    step: Step
    nonce: str


@dataclass(frozen=True, slots=True)
class Store:
    """Keep this, durably, before anything else."""

    progress: Progress


@dataclass(frozen=True, slots=True)
class Install:
    """Put the certificate where the sending process finds it."""

    certificate: str


@dataclass(frozen=True, slots=True)
class Finish:
    """Destroy what was needed on the way only. Then this is done."""


@dataclass(frozen=True, slots=True)
class Say:
    """Tell a person why it does not go on."""

    reason: str
    code: Code | None = None


Effect = Connect | Ask | Store | Install | Finish | Say


class Dialogue(ABC):
    """One device's way through a table; whoever has a table overrides ``arrived`` and ``resumed``.

    Args:
        table: The states that ask something.
        progress: What was stored last.
        nonce: Makes 32 random hexadecimal digits.
        jitter: A random number, 0 to 1, so that devices do not ask in step.
        fits: Whether a chain is for this device's key and name, and from the fleet's authority.

    Attributes:
        wait: Seconds from now on after which ``due`` is to be called, unless something happens before.
    """

    def __init__(
        self,
        table: Mapping[str, Row],
        progress: Progress,
        *,
        nonce: Callable[[], str],
        jitter: Callable[[], float],
        fits: Callable[[str, str], bool],
    ) -> None:
        self.progress = progress
        self.wait = LONGEST_SECONDS
        self._table = table
        self._nonce, self._jitter, self._fits = nonce, jitter, fits
        self._sent: tuple[str, ...] = ()  # nonces of the requests that are out, the last one last
        self._tries = 0
        self._failures = 0

    @abstractmethod
    def arrived(self) -> tuple[Effect, ...]:
        """What follows when the last question was accepted."""

    @abstractmethod
    def resumed(self) -> tuple[Effect, ...]:
        """What is left to do when the end is what was stored last."""

    @property
    def done(self) -> bool:
        return self.progress.state not in self._table

    @property
    def row(self) -> Row:
        """The question of this state; not when it is done."""
        return self._table[self.progress.state]

    def begin(self) -> tuple[Effect, ...]:
        """Continue with what is stored."""
        return self.resumed() if self.done else (Connect(self.row.who),)

    def connected(self) -> tuple[Effect, ...]:
        """The connection that was asked for stands."""
        self._failures = self._tries = 0
        return self._ask()

    def disconnected(self, reason: str) -> tuple[Effect, ...]:
        """There is no connection, and another attempt will be made."""
        self._sent, self.wait = (), LONGEST_SECONDS
        if self.row.lost is None:
            return (Say(reason),)
        self._failures += 1
        if self._failures < FAILURES:
            return (Say(reason),)
        self._failures = 0  # perhaps the certificate is not good any more: only the fleet knows
        return (Say(reason), *self._go(self.row.lost))

    def due(self) -> tuple[Effect, ...]:
        """The time to wait is over."""
        return () if self.done else self._ask()

    def answered(self, answer: Accepted | Rejected) -> tuple[Effect, ...]:
        """The fleet has said something; what is not for a request that is out is nothing."""
        if self.done or answer.nonce not in self._sent or answer.step != self.row.step:
            return ()
        row = self.row
        if isinstance(answer, Rejected):
            if answer.nonce != self._sent[-1]:
                return ()
            self._sent = ()
            return self._rejected(row, answer)
        if row.step in ("csr", "renew"):
            if answer.certificate is None or answer.token is None or not self._fits(answer.device, answer.certificate):
                return (Say("the fleet's answer has no certificate for this device's key by its own authority; it was ignored"),)
            given = {"device": answer.device, "certificate": answer.certificate, "token": answer.token}
            self.progress = self.progress.model_copy(update=given)
        self._sent = ()
        return self._go(row.then)

    def _rejected(self, row: Row, answer: Rejected) -> tuple[Effect, ...]:
        self.wait = answer.retry_after_s + (1 + answer.retry_after_s / 4) * self._jitter()
        said = Say(f"{answer.message} (again in {self.wait:.0f} s)", answer.code)
        back = row.back.get(answer.code)
        if back is None:
            return (said,)
        wait = self.wait
        effects = tuple(one for one in self._go(back) if not isinstance(one, Ask))
        self.wait = wait  # and no faster, even if the fleet said so again and again
        return (said, *effects)

    def _go(self, state: str) -> tuple[Effect, ...]:
        before = self.row.who
        if self._forgets(state):
            self.progress = type(self.progress)(state=state)
        else:
            self.progress = self.progress.model_copy(update={"state": state})
        if self.done:
            return self.arrived()
        if self.row.who != before:
            self._sent, self.wait = (), LONGEST_SECONDS
            return (Store(self.progress), Connect(self.row.who))
        self._tries = 0
        return (Store(self.progress), *self._ask())

    def _forgets(self, state: str) -> bool:
        """Whether a state begins anew: there the certificate is asked for, so that none that was given before counts."""
        return state in self._table and self._table[state].step in ("csr", "renew")

    def _ask(self) -> tuple[Effect, ...]:
        nonce = self._nonce()
        self._sent = (*self._sent[1 - REMEMBERED :], nonce)
        self.wait = min(LONGEST_SECONDS, ANSWER_SECONDS * 2**self._tries) * (1 + self._jitter())
        self._tries = min(self._tries + 1, 10)
        return (Ask(self.row.step, nonce),)
