"""Model rollout on the watching process: a table of states. Pure: time, files and models are somebody else's.

==============  ===============================  ==========================================================
state           leads to                         when
==============  ===============================  ==========================================================
(none), final   ``verifying``                    a new job has been staged
``verifying``   ``trial``                        signatures, hash, shapes and test vectors are good
``verifying``   ``rejected``                     they are not, or the job was withdrawn or took too long
``trial``       ``committed``                    it has watched long enough without an error
``trial``       ``rolled_back``                  it has not; or the job was withdrawn or took too long
``committed``   ``rolled_back``                  the job was withdrawn, or the file is damaged
==============  ===============================  ==========================================================

``committed``, ``rolled_back`` and ``rejected`` are final: what comes after them is another job. ``queued`` and ``downloading`` come
before all of these and belong to the sending process. A state is stored before the next one is acted on. What may end the process
(a model that crashes the runtime) is counted before it is tried, so that a device which dies of it three times goes back.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pydantic import BaseModel, ConfigDict

from device.contract_manifest import Entry
from device.contract_model import FINAL, ModelJob, ModelName, ModelState, Reason, Release, State, Trial
from device.errors import ModelError

ATTEMPTS: Final = 3  # to verify, or to get through the trial, of which the process does not come back
LEAST_PASSES: Final = 10  # through the model before its mean time counts


class RolloutError(ModelError):
    """A model that the fleet wants to install cannot be.

    Attributes:
        reason: For the fleet.
    """

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class Stopped(Exception):  # noqa: N818 (not an error: somebody wanted it)
    """The download was told to stop."""


class Progress(BaseModel):
    """What is stored: the newest job, how far it is, and which models are in force instead of the packaged ones.

    Attributes:
        model: Which one the job is about, once that is known.
        before: What was in force in its place before this job; ``None`` for the packaged one.
        damaged: Models whose files were found damaged, so that the packaged ones are back; until a new one is committed.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    job: ModelJob | None = None
    state: State | None = None
    reason: Reason | None = None
    milliseconds: float | None = None
    attempts: int = 0
    model: ModelName | None = None
    before: Entry | None = None
    installed: dict[ModelName, Entry] = {}
    damaged: tuple[ModelName, ...] = ()

    @property
    def told(self) -> ModelState | None:
        """What the fleet is to know; ``None`` before the first job."""
        if self.job is None or self.state is None:
            return None
        return ModelState(schema=1, job=self.job.job, state=self.state, reason=self.reason, milliseconds=self.milliseconds)

    @property
    def files(self) -> set[str]:
        """Names of the files that are needed: of what is in force, and of what may have to come back."""
        kept = {entry.file for entry in self.installed.values()}
        return kept | ({self.before.file} if self.before else set())


@dataclass(frozen=True, slots=True)
class Staged:
    """The sending process has left a job."""

    job: ModelJob


@dataclass(frozen=True, slots=True)
class Begun:
    """Something begins of which the process may not come back: verifying, or watching with the new model."""


@dataclass(frozen=True, slots=True)
class Survived:
    """The process ends as it should, or verification has to wait for ``reason``: the attempt does not count."""

    reason: Reason | None = None


@dataclass(frozen=True, slots=True)
class Verified:
    """All that can be known before a trial is good."""

    release: Release
    milliseconds: float


@dataclass(frozen=True, slots=True)
class Passed:
    """The trial is over."""


@dataclass(frozen=True, slots=True)
class Ended:
    """The job cannot go on."""

    reason: Reason


@dataclass(frozen=True, slots=True)
class Damaged:
    """The file of a model in force is not whole any more."""

    model: ModelName


Event = Staged | Begun | Survived | Verified | Passed | Ended | Damaged


def step(progress: Progress, event: Event) -> Progress:
    """What to store after an event; the same object where the event means nothing in this state."""
    match event:
        case Staged(job):
            return _staged(progress, job)
        case Begun() if progress.state in ("verifying", "trial"):
            if progress.attempts >= ATTEMPTS:
                return _end(progress, "crashed")
            return _with(progress, attempts=progress.attempts + 1)
        case Survived(reason) if progress.state in ("verifying", "trial"):
            return _with(progress, attempts=0, reason=reason)
        case Verified(release, milliseconds) if progress.state == "verifying":
            return _with(
                progress,
                state="trial",
                reason=None,
                milliseconds=milliseconds,
                attempts=0,
                model=release.model,
                before=progress.installed.get(release.model),
                installed={**progress.installed, release.model: release.entry},
            )
        case Passed() if progress.state == "trial":
            cured = tuple(name for name in progress.damaged if name != progress.model)
            return _with(progress, state="committed", attempts=0, damaged=cured)
        case Ended(reason):
            return _end(progress, reason)
        case Damaged(model):
            return _damaged(progress, model)
    return progress


def _staged(progress: Progress, job: ModelJob) -> Progress:
    same = progress.job is not None and progress.job.job == job.job
    if job.action == "withdraw":
        return _end(progress, "withdrawn") if same else progress
    if same:
        return progress
    if progress.state not in FINAL:
        progress = _end(progress, "withdrawn")  # by the job that comes instead
    return Progress(job=job, state="verifying", installed=progress.installed, damaged=progress.damaged)


def _end(progress: Progress, reason: Reason) -> Progress:
    if progress.state == "verifying":
        return _with(progress, state="rejected", reason=reason, attempts=0)
    if progress.state == "trial" or (progress.state == "committed" and reason == "withdrawn"):
        return _with(_back(progress), state="rolled_back", reason=reason, attempts=0)
    return progress


def _damaged(progress: Progress, model: ModelName) -> Progress:
    """The packaged one is back; if it was this job's, the job says so. An older file is not tried: it has lain on the same disk."""
    installed = {name: entry for name, entry in progress.installed.items() if name != model}
    known = (*(name for name in progress.damaged if name != model), model)
    progress = _with(progress, installed=installed, damaged=known)
    if progress.model == model and progress.state in ("trial", "committed"):
        return _with(progress, state="rolled_back", reason="damaged", attempts=0, before=None)
    return progress


def _back(progress: Progress) -> Progress:
    """As before the job."""
    assert progress.model is not None
    installed = {name: entry for name, entry in progress.installed.items() if name != progress.model}
    if progress.before is not None:
        installed[progress.model] = progress.before
    return _with(progress, installed=installed, before=None)


def _with(progress: Progress, **changes: object) -> Progress:
    return progress.model_copy(update=changes)


def verdict(trial: Trial, *, over: bool, passes: int, spent: float) -> Event | None:
    """How a trial stands.

    Args:
        trial: What the job asks for.
        over: Whether the device has watched long enough with the model.
        passes: How often the model ran on pictures, which may be never: then the test vectors have to do.
        spent: Seconds that this took in all.

    Returns:
        ``Passed`` or ``Ended``; ``None`` while it goes on.
    """
    if passes >= LEAST_PASSES and 1000 * spent / passes > trial.slowest_ms:
        return Ended("slow")
    return Passed() if over else None
