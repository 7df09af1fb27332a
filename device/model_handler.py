"""Model rollout in the sending process: jobs come down, files are downloaded, states go up.

``queued`` and ``downloading`` are this process's; what comes after is the watching process's, which finds the job in the inbox and
leaves its state in the run folder. The download has a thread of its own; everything else is the loop of ``device/send.py``.
"""

from __future__ import annotations

import random
import shutil
import ssl
import threading
from collections.abc import Callable
from functools import partial
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from device import durable, inbox
from device.contract import dump, topic
from device.contract_model import FINAL, ModelJob, ModelState, Reason
from device.contract_read import read
from device.downward import Context, Handler
from device.errors import SpoolError
from device.publishers import Message, Received
from device.rollout import RolloutError, Stopped

LOOK_EVERY: Final = 1.0  # seconds between two looks for the watching process's word
FIRST_WAIT: Final = 2.0  # seconds before a download that was cut goes on; doubles each time
LONGEST_WAIT: Final = 60.0
PASSING: Final[frozenset[Reason]] = frozenset({"unreachable", "older"})  # may pass by themselves within the job's time
DOUBTS: Final = 6  # signatures that do not hold, in a row: while a new root is put in place old and new lie side by side
MAX_BYTES: Final = 16 * 1024


class Memory(BaseModel):
    """What this process stores: the newest job, and what it has done about it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    job: ModelJob | None = None
    state: Literal["queued", "downloading", "handed", "rejected"] = "rejected"
    reason: Reason | None = None


class _Work:
    """A download in a thread."""

    def __init__(self, do: Callable[[Callable[[], bool]], None]) -> None:
        self._stop = threading.Event()
        self._do = do
        self.error: RolloutError | None = None
        self.wanted = True
        self._thread = threading.Thread(target=self._run, name="download", daemon=True)
        self._thread.start()

    @property
    def running(self) -> bool:
        return self._thread.is_alive()

    def stop(self) -> None:
        self.wanted = False
        self._stop.set()

    def _run(self) -> None:
        try:
            self._do(self._stop.is_set)
        except RolloutError as error:
            self.error = error
        except Stopped:
            self.wanted = False


class ModelHandler(Handler):
    """See the module. ``dice`` gives random numbers, 0 to 1."""

    listens = ("down/model",)

    def __init__(self, context: Context, dice: Callable[[], float] = random.random) -> None:
        self._context, self._settings, self._log, self._dice = context, context.settings, context.log, dice
        self._staging = self._settings.inbox_folder / inbox.STAGING
        self._work: _Work | None = None
        self._told: ModelState | None = None
        self._said: ModelState | None = None
        self._start = self._next_look = context.clock.now()
        self._give_up = float("inf")
        self._wait = FIRST_WAIT
        self._complaint = ""
        self._doubts = 0
        try:
            content = durable.read(self._settings.send_folder / "model.json", MAX_BYTES)
            self._memory = Memory() if content is None else Memory.model_validate_json(content)
        except (OSError, ValidationError):
            self._memory = Memory()  # the broker has the job, and gives it again

    def receive(self, name: str, message: Received) -> None:
        """Take a job; the one at hand again changes nothing."""
        if not message.payload:
            return  # the fleet has cleared what was retained
        job = read(ModelJob, message.payload)
        if isinstance(job, str):
            self._log.warning(f"{name} is not a rollout job and was ignored ({job})")
            return
        now, same = self._context.clock.now(), self._memory.job is not None and self._memory.job.job == job.job
        if job.action == "withdraw":
            self._leave(job)
            if not same or self._memory.state in ("queued", "downloading") or not self._is_told(job):
                self._end(job, "withdrawn")
        elif same:
            self._said = None  # whoever asks again has missed the answer
        else:
            self._log.info("rollout", job=job.job, target=job.target, state="queued")
            self._stop_work()
            self._doubts = 0
            self._keep(Memory(job=job, state="queued"))
            self._start, self._give_up = now + self._dice() * job.spread_seconds, float("inf")

    def due(self, now: float) -> list[Message]:
        """How far it is, when that has changed."""
        if now >= self._next_look:
            self._next_look = now + LOOK_EVERY
            self._listen()
        if self._memory.state in ("queued", "downloading") and self._memory.job is not None:
            self._go_on(self._memory.job, now)
        state = self._state()
        if state is None or state == self._said:
            return []
        self._said = state
        return [Message(topic(self._settings.device, "up/model"), dump(state), retain=True)]

    def connected(self) -> None:
        """Say again what is retained."""
        self._said = None

    # Within

    def _go_on(self, job: ModelJob, now: float) -> None:
        if self._memory.state == "queued":
            if now < self._start:
                return
            self._keep(Memory(job=job, state="downloading"))
        if self._give_up == float("inf"):  # also after a restart of this process
            self._give_up, self._wait = now + job.timeout_seconds, FIRST_WAIT
        work = self._work
        if now >= self._give_up:
            self._end(job, self._memory.reason or "timeout")
        elif work is None or (not work.wanted and not work.running):
            if now >= self._start:
                self._work = _Work(partial(self._download, job))
        elif not work.running:
            self._work = None
            if work.error is None:
                self._hand_over(job)
            else:
                self._failed(job, work.error, now)

    def _download(self, job: ModelJob, stopping: Callable[[], bool]) -> None:
        """In the thread."""
        from device import endorsed
        from device.download import download  # with 11 MB of python-tuf, which a device needs on the days of a rollout

        try:
            tls = ssl.create_default_context()
            if self._settings.broker.ca_file is not None:
                tls.load_verify_locations(self._settings.broker.ca_file)
        except OSError as error:
            raise RolloutError("no_root", f"{error.filename or 'ca_file'}: cannot be read ({error.strerror})") from None
        now = self._context.clock.utc(self._context.clock.now())
        download(job, partial(endorsed.for_sending, self._settings, now=now), self._staging, tls, stopping)

    def _failed(self, job: ModelJob, error: RolloutError, now: float) -> None:
        self._doubts = self._doubts + 1 if error.reason == "signature" else 0
        passing = (
            error.reason in PASSING or 0 < self._doubts < DOUBTS or (error.reason == "expired" and not self._context.clock.synced())
        )
        if str(error) != self._complaint:
            self._complaint = str(error)
            (self._log.warning if passing else self._log.error)(f"rollout {job.job}: {error}")
        if not passing:
            self._end(job, error.reason)
            return
        self._start, self._wait = now + self._wait * (0.5 + self._dice() / 2), min(LONGEST_WAIT, 2 * self._wait)
        self._keep(Memory(job=job, state="downloading", reason=error.reason))

    def _hand_over(self, job: ModelJob) -> None:
        if self._leave(job):
            self._keep(Memory(job=job, state="handed"))
        else:
            self._start = self._context.clock.now() + self._wait

    def _leave(self, job: ModelJob) -> bool:
        """Put a job where the watching process finds it."""
        try:
            inbox.put_slot(self._settings.inbox_folder, "model", job.model_dump_json().encode())
        except SpoolError as error:
            self._log.error(str(error))
            return False
        return True

    def _end(self, job: ModelJob, reason: Reason) -> None:
        """This job has failed here, and leaves nothing behind."""
        self._stop_work()
        self._keep(Memory(job=job, state="rejected", reason=reason))
        self._tidy()

    def _stop_work(self) -> None:
        if self._work is not None:
            self._work.stop()

    def _tidy(self) -> None:
        if self._work is None or not self._work.running:
            shutil.rmtree(self._staging / "targets", ignore_errors=True)

    def _listen(self) -> None:
        """What the watching process says; and whether the files are needed any more."""
        try:
            content = durable.read_regular(self._settings.run_folder / "model.json", MAX_BYTES)
            told = None if content is None else ModelState.model_validate_json(content)
        except (OSError, ValidationError):
            return
        if told != self._told:
            self._told = told
        mine = self._memory.job is not None and told is not None and told.job == self._memory.job.job
        if (mine and told is not None and told.state in FINAL) or self._memory.state == "rejected":
            self._tidy()

    def _is_told(self, job: ModelJob) -> bool:
        self._listen()
        return self._told is not None and self._told.job == job.job

    def _state(self) -> ModelState | None:
        memory = self._memory
        if memory.job is None or (
            self._told is not None and self._told.job == memory.job.job and memory.state not in ("queued", "downloading")
        ):
            return self._told
        if memory.state == "handed":
            return ModelState(schema=1, job=memory.job.job, state="verifying")
        return ModelState(schema=1, job=memory.job.job, state=memory.state, reason=memory.reason)

    def _keep(self, memory: Memory) -> None:
        self._memory = memory
        path = self._settings.send_folder / "model.json"
        try:
            durable.write(path, memory.model_dump_json().encode())
        except OSError as error:
            self._log.error(f"{path}: cannot be written ({error.strerror}); after a restart this job begins anew")
