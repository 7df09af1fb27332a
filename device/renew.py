"""Renewal on the device: when, and a table of states. Pure: time, randomness, storage and keys are somebody else's.

==============  ==================  ============  ==============================================================
state           connects as         sends         when accepted
==============  ==================  ============  ==============================================================
``asking``      the device, as now  ``renew``     keep certificate and token aside → ``trying``
``trying``      the new identity    ``confirm``   the fleet has ended the old certificate → ``installing``
``installing``                                    put new key and certificate in place, forget them aside
==============  ==================  ============  ==============================================================

The identity in use is touched in the last state alone, after a connection with the new one has succeeded. Until the fleet has
accepted ``confirm`` the old certificate is the active one, and from then on the new one is. A device that never hears that answer
asks again with the new identity, which works without the old one.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final, Literal

from device import dialogue
from device.contract_enroll import BACKDATED, Code
from device.dialogue import Dialogue, Effect, Finish, Install, Row, Say, Store

State = Literal["asking", "trying", "installing"]

LAST_PART: Final = 3  # a certificate is renewed in the last third of its life: 30 of 90 days
SPREAD_PART: Final = 30  # and up to a thirtieth of it earlier, each device at its own time: 3 of 90 days


class Progress(dialogue.Progress):
    """How far this device's renewal is."""

    state: State = "asking"


_ANEW: Final[dict[Code, str]] = {
    "token_expired": "asking",
    "token_unknown": "asking",
    "token_foreign": "asking",
    "not_issued": "asking",
    "revoked": "asking",
}
STATES: Final[dict[str, Row]] = {
    "asking": Row("device", "renew", "trying", {}),
    "trying": Row("renewed", "confirm", "installing", _ANEW, lost="asking"),
}


def renew_at(valid_from: datetime, valid_to: datetime, spread: float) -> datetime:
    """When to ask for the next certificate.

    Args:
        valid_from: The beginning in the certificate, which is ``BACKDATED`` before it was made.
        valid_to: Its end.
        spread: 0 to 1, another one for each device, so that those enrolled together do not come together.
    """
    life = max(valid_to - valid_from - BACKDATED, timedelta(0))
    return valid_to - life / LAST_PART - spread * life / SPREAD_PART


class Renewal(Dialogue):
    """One device's way to its next certificate. For the arguments see ``Dialogue``.

    Attributes:
        session: Whether the connection with the identity in use stands.
    """

    def __init__(
        self, progress: Progress, *, nonce: Callable[[], str], jitter: Callable[[], float], fits: Callable[[str, str], bool]
    ) -> None:
        super().__init__(STATES, progress, nonce=nonce, jitter=jitter, fits=fits)
        self.session = False

    def disconnected(self, reason: str) -> tuple[Effect, ...]:
        """The new identity is given up only while the old one works: else it may be the only one that does."""
        if self.progress.state == "trying" and not self.session:
            return (Say(reason),)
        return super().disconnected(reason)

    def arrived(self) -> tuple[Effect, ...]:
        return (Store(self.progress), *self.resumed())

    def resumed(self) -> tuple[Effect, ...]:
        return (Install(self.progress.certificate or ""), Finish())
