"""Enrolment on the device: a table of states. Pure: time, randomness, storage and keys are somebody else's.

==============  ===========  ==============  ====================================================
state           connects as  sends           when accepted
==============  ===========  ==============  ====================================================
``asking``      the claim    ``csr``         keep certificate and token → ``registering``
``registering`` the claim    ``register``    → ``confirming``
``confirming``  the device   ``confirm``     put the certificate in place → ``enrolled``
``enrolled``                                 give up the claim
==============  ===========  ==============  ====================================================
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Literal

from device import dialogue
from device.contract_enroll import Code
from device.dialogue import Dialogue, Effect, Finish, Install, Row, Store

Who = Literal["claim", "device"]
State = Literal["asking", "registering", "confirming", "enrolled"]


class Progress(dialogue.Progress):
    """How far this device's enrolment is."""

    state: State = "asking"


_ANEW: Final[dict[Code, str]] = {
    "token_expired": "asking",
    "token_unknown": "asking",
    "token_foreign": "asking",
    "not_issued": "asking",
    "revoked": "asking",
}
STATES: Final[dict[str, Row]] = {
    "asking": Row("claim", "csr", "registering", {}),
    "registering": Row("claim", "register", "confirming", _ANEW),
    "confirming": Row("device", "confirm", "enrolled", {**_ANEW, "not_registered": "registering"}, lost="registering"),
}


class Enrolment(Dialogue):
    """One device's way from a claim to an identity. For the arguments see ``Dialogue``."""

    def __init__(
        self, progress: Progress, *, nonce: Callable[[], str], jitter: Callable[[], float], fits: Callable[[str, str], bool]
    ) -> None:
        super().__init__(STATES, progress, nonce=nonce, jitter=jitter, fits=fits)

    def arrived(self) -> tuple[Effect, ...]:
        return (Install(self.progress.certificate or ""), Store(self.progress), Finish())

    def resumed(self) -> tuple[Effect, ...]:
        return (Finish(),)  # nothing is installed again: it may have been renewed since
