"""How a simulated device answers what comes down: commands, settings, models. Pure.

It answers as the contract says and as late as a real device might; it does nothing, since it has no camera.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import count
from math import inf
from random import Random
from typing import Any, Final, get_args

from pydantic import ValidationError

from device.contract import MAX_MESSAGE_BYTES, dump
from device.contract_command import ANSWER_SECONDS, LONGEST, Check, Command, CommandResult
from device.contract_model import ModelJob, ModelState
from device.contract_twin import SETTABLE, DesiredTwin, ReportedTwin, TwinError, Values, flatten, order, unflatten
from provisioning.simulate.acts import Act, Tell

REMEMBERED: Final = 64  # commands whose repetition is not obeyed again
WINDOW: Final = 5.0  # seconds until new settings are in force, at most: a short window
STEP: Final = 2.0  # seconds that each step of a rollout takes, at most
FACTORY: Final[dict[str, Any]] = {
    "window_seconds": 900,
    "k": 5,
    "noise": "discrete-laplace",
    "epsilon_window": 1.0,
    "epsilon_day": 48.0,
    "max_hold": 4,
    "camera": {"width": 640, "height": 480, "fps": 5.0, "timeout_seconds": 10.0},
    "models": {"detector": "face", "tiles": 0, "form": "auto"},
    "policy": {"setting": "research", "jurisdiction": "EU", "emotions": None},
    "consent": {"mode": "opt-out", "lasts_seconds": 3600, "pause_seconds": 600},
    "notice": {"language": "en", "responsible": None, "contact": None, "place": None, "url": None},
}


@dataclass(frozen=True, slots=True)
class Request:
    """What MQTT 5 says about a message that came down."""

    response_topic: str | None = None
    correlation: bytes | None = None
    expires_in: int | None = None


@dataclass(frozen=True, slots=True)
class Said:
    """Something to publish; ``name`` is the topic below the device's ``up/``."""

    name: str
    payload: bytes
    retain: bool = False
    expiry: int | None = None
    correlation: bytes | None = None


class Servant:
    """What one device was told, and what it is going to say about it.

    Args:
        rng: Of this device.
        breaks: Whether new models fail on this device.

    Attributes:
        paused_until: Seconds, on the clock of all ``now``.
    """

    listens: Final = ("down/twin", "down/command/+", "down/model")

    def __init__(self, rng: Random, *, breaks: bool = False) -> None:
        self._rng, self._breaks = rng, breaks
        self._later: list[tuple[float, int, Said]] = []
        self._number = count()
        self._results: dict[str, CommandResult] = {}
        self._values = Values.model_validate(FACTORY)
        self._retained: dict[str, Said] = {}
        self._wish = (0, 0)
        self._job = ""
        self.paused_until = 0.0

    @property
    def wake(self) -> float:
        """When ``due`` has something to say."""
        return self._later[0][0] if self._later else inf

    def connected(self, now: float) -> None:
        """A new connection: what is retained is said again."""
        if "twin" not in self._retained:
            self._keep(now, "twin", self._reported("applied"))
        for said in self._retained.values():
            self._say(now, said)

    def receive(self, now: float, name: str, payload: bytes, request: Request) -> Sequence[Act]:
        """A message came on ``name``, a topic below the device's own."""
        if not payload or len(payload) > MAX_MESSAGE_BYTES:
            return ()
        subject = name.split("/")[1]
        try:
            if subject == "command":
                self._command(now, name.split("/")[2], Command.model_validate_json(payload), request)
            elif subject == "twin":
                self._twin(now, DesiredTwin.model_validate_json(payload))
            elif subject == "model":
                self._model(now, ModelJob.model_validate_json(payload))
        except ValidationError:
            return (Tell(f"invalid {subject}"),)
        return (Tell(f"received {subject}"),)

    def due(self, now: float) -> list[Said]:
        """What is to be said now."""
        said = []
        while self._later and self._later[0][0] <= now:
            said.append(heappop(self._later)[2])
        return said

    def _command(self, now: float, name: str, command: Command, request: Request) -> None:
        before = self._results.get(name)
        if before is None and (request.expires_in is None or request.expires_in > LONGEST):
            before = CommandResult(schema=1, state="rejected", reason="no_expiry")
        elif before is None and command.again:
            before = CommandResult(schema=1, state="rejected", reason="expired")
        if before is not None:
            self._answer(now, name, before, request)
            return
        self._answer(now, name, CommandResult(schema=1, state="accepted"), request)
        good: dict[Check, Any] | None = dict.fromkeys(get_args(Check), "ok") if command.command == "doctor" else None
        done = CommandResult(schema=1, state="succeeded", findings=good)
        self._results[name] = done
        if len(self._results) > REMEMBERED:
            del self._results[next(iter(self._results))]
        if command.command in ("pause", "resume"):
            self.paused_until = now + (command.seconds or 0)
        self._answer(now + self._rng.uniform(0.1, 1.5), name, done, request)

    def _answer(self, at: float, name: str, result: CommandResult, request: Request) -> None:
        topics = [f"command/{name}"]
        if (asked := (request.response_topic or "").partition("/up/reply/"))[1]:
            topics.append(f"reply/{asked[2]}")
        for topic in topics:
            self._say(at, Said(topic, dump(result), expiry=ANSWER_SECONDS, correlation=request.correlation))

    def _twin(self, now: float, wish: DesiredTwin) -> None:
        if order(wish.epoch, wish.version) <= self._wish:
            return
        self._wish = order(wish.epoch, wish.version)
        wanted = flatten(wish.desired)
        errors = [TwinError(path=path, reason="not a setting that can be set from afar") for path in wanted if path not in SETTABLE]
        try:
            values = Values.model_validate(unflatten({**flatten(FACTORY), **wanted})) if not errors else self._values
        except ValidationError as error:
            errors = [TwinError(path=".".join(map(str, one["loc"]))[:80], reason=one["msg"][:240]) for one in error.errors()]
        if errors:
            reported = self._reported("rejected", tuple(errors[:8]))
        else:
            self._values = values
            reported = self._reported("applied", from_twin=tuple(wanted))
        self._keep(now + self._rng.uniform(0, WINDOW), "twin", reported)

    def _reported(self, state: str, errors: tuple[TwinError, ...] = (), from_twin: tuple[str, ...] = ()) -> ReportedTwin:
        epoch, version = self._wish
        said = {"schema": 1, "epoch": epoch, "desired_version": version, "state": state, "reported": self._values}
        return ReportedTwin.model_validate({**said, "errors": errors, "from_twin": from_twin})

    def _model(self, now: float, job: ModelJob) -> None:
        states: list[tuple[str, str | None]] = [("queued", None), ("downloading", None), ("verifying", None), ("trial", None)]
        if job.action == "withdraw":
            if job.job != self._job:
                return
            states = [("rolled_back", "withdrawn")]
        elif job.job == self._job:
            return
        else:
            states.append(("rolled_back", "error") if self._breaks else ("committed", None))
        self._job, at = job.job, now + self._rng.uniform(0, min(job.spread_seconds, WINDOW))
        for state, reason in states:
            took = 3.0 if state in ("trial", "committed") else None
            said = {"schema": 1, "job": job.job, "state": state, "reason": reason, "milliseconds": took}
            self._keep(at, "model", ModelState.model_validate(said))
            at += self._rng.uniform(0.1, STEP)

    def _keep(self, at: float, name: str, message: ReportedTwin | ModelState) -> None:
        """Say something retained, and again on every connection."""
        self._retained[name] = Said(name, dump(message), retain=True)
        self._say(at, self._retained[name])

    def _say(self, at: float, said: Said) -> None:
        heappush(self._later, (at, next(self._number), said))
