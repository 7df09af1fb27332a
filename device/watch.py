"""The watching process: camera in, reports in the spool out. It has no network."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial

from structlog.typing import FilteringBoundLogger

from device import health, plug
from device.cameras import Camera, CameraOptions
from device.choice import form_for
from device.clock import Clock
from device.consent import Consent
from device.contract import Envelope, Health, ModelHashes, Trouble, utc
from device.errors import CameraError, ModelError, SpoolError
from device.gpio import open_controls
from device.ledger import Ledger
from device.looking import RECORDINGS, Eye, look
from device.manifest import FOLDER, read_manifest
from device.nets.cards import Door
from device.nets.emotion import EmotionNet, Unread
from device.nets.face import DETECTORS, FaceNet
from device.noise import discrete_laplace
from device.observe import observe
from device.outbox import Outbox
from device.privacy import Circumstances, Gate, PrivacyError, Terms
from device.settings import Settings
from device.spool import Limits, Spool
from device.tflite import Scrubber, find_runtime
from device.tracks import UNKNOWN_BELOW, Tracks
from device.types import Observation, unread
from device.window import Window, Windows


@dataclass(frozen=True, slots=True)
class Nets:
    """The models, loaded, and below which probability a person is counted as unknown.

    ``emotion_net`` is ``None`` where the policy does not permit emotions: that model is then not even opened.
    """

    face: FaceNet
    emotion_net: EmotionNet | None
    unknown_below: float

    @property
    def emotion(self) -> EmotionNet:
        """The emotion model. Raises ModelError where the policy does not permit it."""
        if self.emotion_net is None:
            raise ModelError("the emotion model is not loaded: the policy in force does not permit it; see mien doctor")
        return self.emotion_net

    @property
    def read(self) -> EmotionNet | Unread:
        """What reads a face: the emotion model, or nothing."""
        return self.emotion_net or Unread()

    @property
    def hashes(self) -> ModelHashes:
        emotion = f"sha256:{self.emotion_net.model.sha256}" if self.emotion_net else None
        return ModelHashes(face=f"sha256:{self.face.model.sha256}", emotion=emotion)

    def scrubber(self) -> Scrubber:
        """As long as its block lasts, no model holds anything of an image for longer than a second after it."""
        return Scrubber((self.face.model, self.emotion_net.model) if self.emotion_net else (self.face.model,))


def load_nets(settings: Settings) -> Nets:
    """Load and check the models that the settings name and the policy permits.

    Raises:
        ModelError, RuntimeMissingError: One cannot be used.
    """
    wanted = settings.models
    manifest, runtime = read_manifest(wanted.folder or FOLDER), find_runtime(wanted.runtime)[0]
    name = DETECTORS[wanted.detector].name
    form = form_for(manifest, name, settings, runtime)
    face = FaceNet(manifest.file(name, form), detector=wanted.detector, tiles=wanted.tiles, runtime=runtime)
    if "emotion" not in settings.policy.decided.may:
        return Nets(face, None, UNKNOWN_BELOW)
    point = manifest["emotion"].point("count")
    emotion = EmotionNet(manifest.file("emotion"), temperature=point.temperature, offsets=point.offsets, runtime=runtime)
    return Nets(face, emotion, point.unknown_below)


def open_camera(settings: Settings) -> Camera:
    """Open the camera that the settings name.

    Raises:
        SettingsError: There is no camera of that name.
        CameraError: It cannot be opened.
    """
    name, _, address = settings.camera.source.partition(":")
    wanted = settings.camera
    options = CameraOptions(wanted.width, wanted.height, wanted.fps, wanted.timeout_seconds, wanted.fast, wanted.seed)
    camera: Camera = plug.find("device.cameras", name).open_camera(address, options)
    return camera


class Watcher:
    """From observations to reports: what a watching process remembers between two frames."""

    def __init__(
        self,
        settings: Settings,
        models: ModelHashes,
        clock: Clock,
        outbox: Outbox,
        log: FilteringBoundLogger,
        *,
        ledger: Ledger | None = None,
        unknown_below: float = UNKNOWN_BELOW,
    ) -> None:
        self._settings = settings
        self._models = models
        self._clock = clock
        self._outbox = outbox
        self._log = log
        self._tracks = Tracks(unknown_below)
        self._declined = Tracks()  # those who said no, followed by place alone, so that each counts once
        self._emotion = "emotion" in settings.policy.decided.may
        self._windows = Windows(settings.window_seconds, 1 / settings.camera.fps)
        self._ledger = ledger
        self._gate = gate(settings, ledger)
        self._told = float("-inf")
        self._trouble: Trouble | None = "budget" if ledger and ledger.damage else None

    def see(self, seen: Observation) -> None:
        """Take in one frame's numbers; publish the windows that it ends."""
        while over := self._windows.due(seen.taken_at):
            self._publish(over)
        self._windows.frame(seen.taken_at)
        self._tracks.see(seen)
        self._declined.see(Observation(seen.taken_at, seen.aspect, tuple(map(unread, seen.declined))))
        self.tell()

    def idle(self, now: float) -> None:
        """Nobody consents: time passes as if nobody were in view, so that no figure but the noised ones tells of it."""
        self.see(Observation(now, 1.0, ()))

    def rest(self, now: float) -> None:
        """Watching is paused; publish the windows that end meanwhile."""
        while over := self._windows.due(now):
            self._publish(over)
        self._windows.rest(now)
        self.tell()

    def finish(self) -> None:
        """Publish the window that has begun; its coverage says that it was cut short."""
        if over := self._windows.finish():
            self._publish(over, last=True)

    def tell(self, trouble: Trouble | None = None) -> None:
        """Write the health file: on its schedule, and at once when watching ends with a trouble."""
        now = self._clock.now()
        if trouble is None and now - self._told < health.EVERY:
            return
        trouble = trouble or ("disk" if self._outbox.stuck else self._trouble)
        state: Health = "degraded" if trouble else "ok"
        try:
            health.write(self._settings.run_folder, health.WatchHealth(at=now, health=state, trouble=trouble, models=self._models))
        except SpoolError as error:
            self._log.warning(str(error))
        self._told = now

    def _publish(self, window: Window, *, last: bool = False) -> None:
        counts = self._tracks.close_window()
        window.counts = counts if self._emotion else {"unknown": sum(counts.values())}
        window.opted_out = sum(self._declined.close_window().values())
        now = self._clock.now()
        circumstances = Circumstances(
            seq=self._outbox.next_seq,
            start=self._clock.utc(window.start),
            boot=self._clock.boot,
            synced=self._clock.synced(),
            models=self._models,
            last=last,
        )
        try:
            reports = self._gate.release(window, circumstances)
        except PrivacyError as error:
            self._trouble = "privacy"
            self._log.error(str(error))
            return
        self._trouble = None
        if self._ledger and self._ledger.refusal:
            self._trouble = "budget"
            self._log.warning(self._ledger.refusal)
        for report in reports:
            self._outbox.put(Envelope(time=utc(self._clock.utc(now)), report=report))


def gate(settings: Settings, ledger: Ledger | None) -> Gate:
    """The way out that these settings ask for; with noise, nothing passes it that the ledger has not been charged for."""
    policy = settings.policy.decided
    terms = Terms(settings.k, settings.noise, policy=policy.id, emotion="emotion" in policy.may)
    if settings.noise == "off" or ledger is None:
        return Gate(terms)
    terms = replace(terms, epsilon=Fraction(settings.epsilon_window), max_hold=settings.max_hold)
    return Gate(terms, charge=ledger.charge, noise=partial(discrete_laplace, below=secrets.randbelow))


def watch(settings: Settings, clock: Clock, log: FilteringBoundLogger, stopping: Callable[[], bool]) -> None:
    """Watch until told to stop or until a recording ends.

    Raises:
        SpoolError, LedgerError, ModelError, RuntimeMissingError, SettingsError: Something is missing; nothing was started.
        CameraError: The camera is missing, or stopped; the window that had begun was published.
    """
    with ExitStack() as stack:
        limits = Limits(settings.spool_files, int(settings.spool.megabytes * 1024 * 1024))
        spool = stack.enter_context(closing(Spool(settings.spool.folder, "watch", limits)))
        ledger = None
        if settings.noise != "off":
            ledger = stack.enter_context(closing(Ledger(settings.state_folder, settings.budget, clock)))
            if ledger.damage:
                log.error(ledger.damage)
        nets = load_nets(settings)
        scrubber = stack.enter_context(nets.scrubber())
        outbox = Outbox(spool, log, settings.spool_files)
        watcher = Watcher(settings, nets.hashes, clock, outbox, log, ledger=ledger, unknown_below=nets.unknown_below)
        controls = stack.enter_context(closing(open_controls(settings.consent)))
        try:
            kept = settings.camera.source.partition(":")[0] in RECORDINGS
            eye = stack.enter_context(closing(Eye(lambda: open_camera(settings), controls, keep=kept)))
            eye.open()
            policy = settings.policy.decided
            if nets.emotion_net is None:
                why = f"only people are counted: {policy.why['emotion']}"
                log.warning(why, policy=policy.id)
            log.info(
                "watching",
                camera=settings.camera.source,
                runtime=nets.face.model.runtime,
                window_seconds=settings.window_seconds,
                k=settings.k,
                noise=settings.noise,
                policy=policy.id,
            )
            wanted = settings.consent
            consent = Consent(opt_in=wanted.mode == "opt-in", lasts=wanted.lasts_seconds)
            door = Door(nets.face, consent, by_card=wanted.mode == "opt-in" and wanted.input == "card")

            def observed(camera: Camera) -> Observation:
                scrubber.check()
                return observe(camera.take, door.faces, nets.read, door.choose)

            look(
                eye,
                controls,
                settings=settings,
                consent=consent,
                observe=observed,
                listener=watcher,
                clock=clock,
                log=log,
                stopping=stopping,
            )
        except CameraError:
            watcher.finish()
            watcher.tell("camera")
            if outbox.stuck:
                log.error(outbox.lost())  # noqa: TRY400 (a traceback would say nothing more)
            raise
        watcher.finish()
        watcher.tell("stopped")
        if outbox.stuck:
            raise SpoolError(outbox.lost())
        log.info("stopped watching")
