"""Models in the watching process: verify what was staged, try it, commit it or go back. It has no network.

::

    state_folder/rollout.json     how far the newest job is, and which models are in force: device/rollout.py
    state_folder/models/          their files, by hash; nothing is ever written over
    state_folder/tuf/             the newest metadata that was seen here

Which model is in force is one fact in one file that is replaced as a whole: whenever the power fails, one whole model is loaded
after it, the new one or the one before.
"""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pydantic import ValidationError
from structlog.typing import FilteringBoundLogger

from device import durable, inbox, rollout, vectors
from device.clock import Clock
from device.contract import dump
from device.contract_manifest import Entry
from device.contract_model import FINAL, ModelJob, ModelName, Vectors
from device.contract_read import read
from device.errors import MienError, ModelError
from device.manifest import Manifest
from device.rollout import Begun, Damaged, Ended, Progress, RolloutError, Staged, Survived, Verified, step
from device.settings import Settings
from device.tflite import METERS, Meter, ModelFile, read_verified

if TYPE_CHECKING:
    from device.trust import Signed

NAME: Final = "rollout.json"
MAX_BYTES: Final = 256 * 1024
AGAIN: Final = 60.0  # seconds between two looks whether the clock has been set


def read_progress(folder: Path) -> Progress:
    """What is stored; nothing yet is an empty one.

    Args:
        folder: The state folder.

    Raises:
        ModelError: It cannot be read, or is damaged.
    """
    path = folder / NAME
    try:
        content = durable.read(path, MAX_BYTES)
        return Progress() if content is None else Progress.model_validate_json(content)
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror}); let the watching user read it") from None
    except ValidationError:
        raise ModelError(f"{path}: damaged; remove it: the packaged models are used, and the fleet's job is done again") from None


def in_force(manifest: Manifest, settings: Settings) -> Manifest:
    """The packaged models, with those in their place that came by a rollout, as far as it can be read which these are."""
    folder = settings.state_folder / "models"
    try:
        progress = read_progress(settings.state_folder)
    except ModelError:  # Models and mien doctor say so
        progress = Progress()
    came = {str(name): entry for name, entry in progress.installed.items()}
    return replace(manifest, entries={**manifest.entries, **came}, installed=dict.fromkeys(came, folder), damaged=progress.damaged)


def may_change(settings: Settings) -> bool:
    """Whether models may come by a rollout here, or have come so."""
    return settings.broker.rollouts or os.path.exists(settings.models.root_file) or os.path.lexists(settings.state_folder / NAME)


class Models:
    """A ``Change`` (see ``device/reload.py``): the models of the next run.

    Args:
        settings: Where folders are; what the policy permits is asked anew for each run.
        clock: The time, and whether it is known.
        log: For people.
    """

    def __init__(self, settings: Settings, clock: Clock, log: FilteringBoundLogger) -> None:
        self._settings, self._clock, self._log = settings, clock, log
        self._state, self._folder = settings.state_folder, settings.state_folder / "models"
        self._slot: bytes | None = None
        self._complaint = ""
        self._in_trial = False  # it runs, and the attempt at it has been counted
        self._meter = Meter()  # what had been counted when the run began
        self._running: dict[ModelName, Entry] = {}  # what it was to run with
        self._began = self._due = self._heard = clock.now()
        try:
            self._progress = read_progress(self._state)
        except ModelError as error:
            log.error("the packaged models are used now", because=str(error))  # noqa: TRY400 (a traceback would say nothing more)
            self._progress = Progress()
            self._keep(self._progress)
        self._tell()

    # A change

    def before(self, settings: Settings) -> Settings:
        """Verify what is to be verified, and see that what is in force is whole."""
        self._settings = settings
        self._look()
        for name, entry in self._progress.installed.items():
            try:
                read_verified(ModelFile(self._folder / entry.file, entry.sha256))
            except ModelError as error:
                self._log.error(f"{error}. The packaged one is used instead")
                self._go(Damaged(name))
        if self._progress.state == "verifying":
            self._verify()
        if self._progress.state == "trial" and not self._in_trial:
            self._go(Begun())
            self._in_trial = self._progress.state == "trial"
            self._heard = self._clock.now()
        self._meter, self._running = self._meter_of_trial(), self._progress.installed
        self._began = self._clock.now()
        return settings

    def wants(self, now: float) -> bool:
        """Whether the next run has to have other models, or has to look at one; it says so until that run begins."""
        self._look()
        state, job = self._progress.state, self._progress.job
        if job is not None and state not in FINAL:
            needed = max(job.trial.seconds, self._settings.window_seconds)
            if now - self._heard > job.timeout_seconds + needed:
                self._go(Ended(self._progress.reason or "timeout"))
            elif state == "verifying":
                return now >= self._due
            elif self._in_trial and (event := self._judge(job, over=now - self._began >= needed)):
                self._go(event)
        return self._progress.installed != self._running

    def trying(self) -> bool:
        """No: a camera that does not work says nothing about a model."""
        return False

    def works(self) -> None:
        """Nothing follows: that a model works takes a trial to tell."""

    def failed(self, error: MienError) -> bool:
        """A model in its trial that cannot be loaded or fails goes back; a camera that fails says nothing about it."""
        if self._progress.state != "trial":
            return False
        if not isinstance(error, ModelError):
            self.close()
            return False
        self._log.error(f"the model in its trial has failed: {error}")
        return self._go(Ended("error"))

    def close(self) -> None:
        """The process ends as it should, which is no failure of the model."""
        self._go(Survived(self._progress.reason))
        self._in_trial = False

    # Within

    def _look(self) -> None:
        """Take in what the sending process has left."""
        content = inbox.slot(self._settings.inbox_folder, "model")
        if content is None or content == self._slot:
            return
        self._slot = content
        job = read(ModelJob, content)
        if isinstance(job, str):
            self._log.warning(f"{self._settings.inbox_folder / 'model.json'}: is not a rollout job ({job}); it was ignored")
        elif self._go(Staged(job)):
            self._heard = self._due = self._clock.now()
            self._in_trial = False
        elif self._complaint:
            self._slot = None  # again, once there is room

    def _judge(self, job: ModelJob, *, over: bool) -> rollout.Event | None:
        now = self._meter_of_trial()
        passes, spent = now.passes - self._meter.passes, now.seconds - self._meter.seconds
        return rollout.verdict(job.trial, over=over, passes=passes, spent=spent)

    def _meter_of_trial(self) -> Meter:
        """As it stands: how often the model in its trial has run."""
        model = self._progress.model
        return (
            replace(METERS.get(self._progress.installed[model].sha256, Meter())) if model in self._progress.installed else Meter()
        )

    def _verify(self) -> None:
        job = self._progress.job
        assert job is not None
        self._due = self._clock.now() + AGAIN  # where it cannot be stored how far this is
        if not self._go(Begun()) or self._progress.state != "verifying":
            return
        try:
            self._go(self._verified(job))
        except RolloutError as error:
            if error.reason == "expired" and not self._clock.synced():  # who knows what time it is
                self._go(Survived("expired"))
                return
            self._log.error(f"rollout {job.job}: {error}")
            self._go(Ended(error.reason))

    def _verified(self, job: ModelJob) -> Verified:
        """Signatures, hash, shapes, test vectors. Raises RolloutError."""
        from device import endorsed, trust  # 11 MB of python-tuf, which a device needs on the days of a rollout

        staging = self._settings.inbox_folder / inbox.STAGING
        try:
            root = endorsed.for_watching(self._settings, staging / "metadata", self._clock.utc(self._clock.now()))
            found = trust.find(job, root, self._state / "tuf", trust.staged_metadata(staging / "metadata"))
            release = found.release
            if release.model == "emotion" and "emotion" not in self._settings.policy.decided.may:
                raise RolloutError("policy", "the policy in force does not permit to read emotions: their model is not installed")
            model, said = self._staged(staging, found.model), self._staged(staging, found.vectors)
            examples = Vectors.model_validate_json(said)
            entry = release.entry.model_copy(update={"file": f"{release.entry.sha256}.tflite", "form": None, "forms": {}})
            file = ModelFile(self._folder / entry.file, entry.sha256)
            if not file.path.exists() or hashlib.sha256(file.path.read_bytes()).hexdigest() != file.sha256:
                durable.write(file.path, model)
        except ValidationError:
            raise RolloutError("invalid", f"{job.target}: its test vectors are none") from None
        except OSError as error:
            path = error.filename or self._folder
            raise RolloutError("disk_full" if durable.is_full(error) else "invalid", f"{path}: {error.strerror}") from None
        milliseconds = vectors.check(file, release.model, examples, self._settings.models.runtime)
        if milliseconds > job.trial.slowest_ms:
            raise RolloutError("slow", f"{job.target}: {milliseconds:.1f} ms for a pass; {job.trial.slowest_ms} are allowed")
        return Verified(release.model_copy(update={"entry": entry}), round(milliseconds, 1))

    def _staged(self, folder: Path, signed: Signed) -> bytes:
        content = durable.read_regular(folder / "targets" / signed.path, signed.length)
        if content is None:
            raise RolloutError("hash", f"{folder / 'targets' / signed.path}: not there, or longer than what was signed")
        return signed.check(content)

    def _go(self, event: rollout.Event) -> bool:
        """Store what follows from an event before anything else; what cannot be stored does not follow.

        Returns:
            Whether anything does.
        """
        after = step(self._progress, event)
        if after == self._progress or not self._keep(after):
            return False
        before, self._progress = self._progress, after
        if (before.state, before.job) != (after.state, after.job) and after.job is not None:
            self._log.info("rollout", job=after.job.job, target=after.job.target, state=after.state, reason=after.reason)
        self._tell()
        return True

    def _keep(self, progress: Progress) -> bool:
        """Store how far this is, then remove the files that nobody needs any more; returns False, said once, where it cannot be."""
        path = self._state / NAME
        try:
            durable.write(path, progress.model_dump_json().encode())
        except OSError as error:
            self._complain(f"{path}: cannot be written ({error.strerror}), so the rollout waits; make room, or check the disk")
            return False
        self._complaint = ""
        if progress.state != "verifying":
            self._tidy(progress)
        return True

    def _tidy(self, progress: Progress) -> None:
        with suppress(OSError):  # there is no such folder yet, or it cannot be read now
            for old in self._folder.iterdir():
                if old.name not in progress.files:
                    with suppress(OSError):
                        durable.remove(old)

    def _complain(self, words: str) -> None:
        if words != self._complaint:
            self._log.error(words)
        self._complaint = words

    def _tell(self) -> None:
        """Leave word for the sending process, which may be lost and is said again at each start."""
        told = self._progress.told
        if told is None:
            return
        path = self._settings.run_folder / "model.json"
        try:
            durable.write(path, dump(told))
        except OSError as error:
            self._log.warning(f"{path}: cannot be written ({error.strerror}); make run_folder writable for this user")
