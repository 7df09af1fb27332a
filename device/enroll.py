"""Enrolment on the device: a table of states. Pure: time, randomness, storage and keys are somebody else's.

==============  ===========  ==============  ====================================================
state           connects as  sends           when accepted
==============  ===========  ==============  ====================================================
``asking``      the claim    ``csr``         keep certificate and token → ``registering``
``registering`` the claim    ``register``    → ``confirming``
``confirming``  the device   ``confirm``     put the certificate in place → ``enrolled``
``enrolled``                                 give up the claim
==============  ===========  ==============  ====================================================

A state is stored before the next one is acted on, and every step may be repeated: a device that loses power continues with the
state that it finds. A step that gets no answer is sent again; an answer counts only for the last request sent.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict

from device.contract import DeviceName
from device.contract_enroll import Accepted, Code, Pem, Rejected, Step, Token

State = Literal["asking", "registering", "confirming", "enrolled"]
Who = Literal["claim", "device"]

ANSWER_SECONDS: Final = 5.0  # for an answer; doubles each time
LONGEST_SECONDS: Final = 60.0
FAILURES: Final = 3  # connections with the new certificate that fail before the claim is used again


class Progress(BaseModel):
    """What is stored: how far this device is."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    state: State = "asking"
    device: DeviceName | None = None
    certificate: Pem | None = None
    token: Token | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the table; ``back`` says where a rejection leads that this step cannot get over."""

    who: Who
    step: Step
    then: State
    back: dict[Code, State]


_ANEW: Final[dict[Code, State]] = {
    "token_expired": "asking",
    "token_unknown": "asking",
    "token_foreign": "asking",
    "not_issued": "asking",
    "revoked": "asking",
}
STATES: Final[dict[State, Row]] = {
    "asking": Row("claim", "csr", "registering", {}),
    "registering": Row("claim", "register", "confirming", _ANEW),
    "confirming": Row("device", "confirm", "enrolled", {**_ANEW, "not_registered": "registering"}),
}


@dataclass(frozen=True, slots=True)
class Connect:
    """Connect with this identity; end another connection first."""

    who: Who


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
class GiveUpClaim:
    """Destroy the claim: it is not needed any more. Then this is done."""


@dataclass(frozen=True, slots=True)
class Say:
    """Tell a person why it does not go on."""

    reason: str
    code: Code | None = None


Effect = Connect | Ask | Store | Install | GiveUpClaim | Say


class Enrolment:
    """One device's way to an identity.

    Args:
        progress: What was stored last.
        nonce: Makes 32 random hexadecimal digits.
        jitter: A random number, 0 to 1, so that a batch does not ask in step.
        fits: Whether a chain is for this device's key and name, and from the fleet's authority.

    Attributes:
        wait: Seconds from now on after which ``due`` is to be called, unless something happens before.
    """

    def __init__(
        self, progress: Progress, *, nonce: Callable[[], str], jitter: Callable[[], float], fits: Callable[[str, str], bool]
    ) -> None:
        self.progress = progress
        self.wait = LONGEST_SECONDS
        self._nonce, self._jitter, self._fits = nonce, jitter, fits
        self._sent: str | None = None  # nonce of the request that is out
        self._tries = 0
        self._failures = 0

    @property
    def done(self) -> bool:
        return self.progress.state == "enrolled"

    def begin(self) -> tuple[Effect, ...]:
        """Continue with what is stored."""
        if self.done:
            return (GiveUpClaim(),)
        return (Connect(STATES[self.progress.state].who),)

    def connected(self) -> tuple[Effect, ...]:
        """The connection that was asked for stands."""
        self._failures = self._tries = 0
        return self._ask()

    def disconnected(self, reason: str) -> tuple[Effect, ...]:
        """There is no connection, and another attempt will be made."""
        self._sent, self.wait = None, LONGEST_SECONDS
        if self.progress.state != "confirming":
            return (Say(reason),)
        self._failures += 1
        if self._failures < FAILURES:
            return (Say(reason),)
        self._failures = 0  # perhaps the certificate is not good any more: only the fleet knows
        return (Say(reason), *self._go("registering"))

    def due(self) -> tuple[Effect, ...]:
        """The time to wait is over."""
        return () if self.done else self._ask()

    def answered(self, answer: Accepted | Rejected) -> tuple[Effect, ...]:
        """The fleet has said something; what is not for the last request is nothing."""
        if self.done or self._sent is None or answer.nonce != self._sent:
            return ()
        row = STATES[self.progress.state]
        if answer.step != row.step:
            return ()
        if isinstance(answer, Rejected):
            self._sent = None
            return self._rejected(row, answer)
        if row.step == "csr":
            if answer.certificate is None or answer.token is None or not self._fits(answer.device, answer.certificate):
                return (Say("the fleet's answer has no certificate for this device's key by its own authority; it was ignored"),)
            self.progress = Progress(device=answer.device, certificate=answer.certificate, token=answer.token)
        self._sent = None
        return self._go(row.then)

    def _rejected(self, row: Row, answer: Rejected) -> tuple[Effect, ...]:
        self.wait = answer.retry_after_s + (1 + answer.retry_after_s / 4) * self._jitter()
        said = Say(f"{answer.message} (again in {self.wait:.0f} s)", answer.code)
        back = row.back.get(answer.code)
        if back is None:
            return (said,)
        if back == "asking":
            self.progress = Progress()
        wait = self.wait
        effects = tuple(one for one in self._go(back) if not isinstance(one, Ask))
        self.wait = wait  # and no faster, even if the fleet said so again and again
        return (said, *effects)

    def _go(self, state: State) -> tuple[Effect, ...]:
        before = STATES[self.progress.state].who
        self.progress = self.progress.model_copy(update={"state": state})
        if state == "enrolled":
            return (Install(self.progress.certificate or ""), Store(self.progress), GiveUpClaim())
        if STATES[state].who != before:
            self._sent, self.wait = None, LONGEST_SECONDS
            return (Store(self.progress), Connect(STATES[state].who))
        self._tries = 0
        return (Store(self.progress), *self._ask())

    def _ask(self) -> tuple[Effect, ...]:
        self._sent = self._nonce()
        self.wait = min(LONGEST_SECONDS, ANSWER_SECONDS * 2**self._tries) * (1 + self._jitter())
        self._tries = min(self._tries + 1, 10)
        return (Ask(STATES[self.progress.state].step, self._sent),)
