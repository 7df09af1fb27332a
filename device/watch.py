"""The watching process: camera in, reports in the spool out. It has no network."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import dataclass

from structlog.typing import FilteringBoundLogger

from device import health, plug
from device.cameras import Camera, CameraOptions
from device.clock import Clock
from device.contract import Envelope, Health, ModelHashes, Trouble, utc
from device.errors import CameraError, EndOfFrames, SpoolError
from device.manifest import FOLDER, read_manifest
from device.nets.emotion import EmotionNet
from device.nets.face import FaceNet
from device.observe import observe
from device.privacy import Circumstances, PrivacyError, Terms, release
from device.settings import Settings
from device.spool import Limits, Spool, SpoolFullError
from device.tracks import UNKNOWN_BELOW, Tracks
from device.types import Observation
from device.window import Window, Windows


@dataclass(frozen=True, slots=True)
class Nets:
    """The models, loaded, and below which probability a person is counted as unknown."""

    face: FaceNet
    emotion: EmotionNet
    unknown_below: float

    @property
    def hashes(self) -> ModelHashes:
        face, emotion = (f"sha256:{net.model.sha256}" for net in (self.face, self.emotion))
        return ModelHashes(face=face, emotion=emotion)

    def scrub(self) -> None:
        """Overwrite whatever the interpreters still hold of an image."""
        self.face.model.scrub()
        self.emotion.model.scrub()


def load_nets(settings: Settings) -> Nets:
    """Load and check the models that the settings name.

    Raises:
        ModelError, RuntimeMissingError: One cannot be used.
    """
    manifest, runtime = read_manifest(settings.models.folder or FOLDER), settings.models.runtime
    point = manifest["emotion"].point("count")
    return Nets(
        FaceNet(manifest.file("face"), runtime=runtime),
        EmotionNet(manifest.file("emotion"), temperature=point.temperature, offsets=point.offsets, runtime=runtime),
        point.unknown_below,
    )


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


class Outbox:
    """Reports on their way to the spool, kept in memory while the disk is full: as many as the spool may hold."""

    def __init__(self, spool: Spool, log: FilteringBoundLogger, limit: int = 10_000) -> None:
        self._spool = spool
        self._log = log
        self._limit = limit
        self._next_seq = spool.next_seq
        self._waiting: list[Envelope] = []

    @property
    def next_seq(self) -> int:
        return self._next_seq

    @property
    def stuck(self) -> bool:
        return bool(self._waiting)

    def lost(self) -> str:
        """What to say when this process ends while reports wait."""
        return (
            f"{len(self._waiting)} reports could not be stored in {self._spool.folder} and are lost with this process; "
            "free some space or mend the disk before the next start"
        )

    def put(self, envelope: Envelope | None = None) -> None:
        """Store a report, after those that wait; what cannot be stored waits too."""
        if envelope is not None:
            self._waiting.append(envelope)
            self._next_seq = envelope.seq + 1
        if len(self._waiting) > self._limit:
            self._log.warning("memory is full too: the oldest report was dropped", seq=self._waiting.pop(0).seq)
        try:
            while self._waiting:
                dropped = self._spool.put(self._waiting[0])
                stored = self._waiting.pop(0)
                self._log.info("report", seq=stored.seq, people=stored.report.people, withheld=stored.report.withheld)
                if dropped:
                    self._log.warning("the spool is full: the oldest reports were dropped", dropped=dropped)
        except SpoolFullError as error:
            self._log.error(str(error), waiting=len(self._waiting))


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
        unknown_below: float = UNKNOWN_BELOW,
    ) -> None:
        self._settings = settings
        self._models = models
        self._clock = clock
        self._outbox = outbox
        self._log = log
        self._tracks = Tracks(unknown_below)
        self._windows = Windows(settings.window_seconds, 1 / settings.camera.fps)
        self._told = float("-inf")
        self._trouble: Trouble | None = None

    def see(self, seen: Observation) -> None:
        """Take in one frame's numbers; publish the windows that it ends."""
        while over := self._windows.due(seen.taken_at):
            self._publish(over)
        self._windows.frame(seen.taken_at)
        self._tracks.see(seen)
        self.tell()

    def finish(self) -> None:
        """Publish the window that has begun; its coverage says that it was cut short."""
        if over := self._windows.finish():
            self._publish(over)

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

    def _publish(self, window: Window) -> None:
        window.counts = self._tracks.close_window()
        now = self._clock.now()
        circumstances = Circumstances(
            seq=self._outbox.next_seq,
            start=self._clock.utc(window.start),
            boot=self._clock.boot,
            synced=self._clock.synced(),
            models=self._models,
        )
        try:
            report = release(window, Terms(self._settings.k, self._settings.noise), circumstances)
        except PrivacyError as error:
            self._trouble = "privacy"
            self._log.error(str(error))
            return
        self._trouble = None
        self._outbox.put(Envelope(time=utc(self._clock.utc(now)), report=report))


def watch(settings: Settings, clock: Clock, log: FilteringBoundLogger, stopping: Callable[[], bool]) -> None:
    """Watch until told to stop or until a recording ends.

    Raises:
        SpoolError, ModelError, RuntimeMissingError, SettingsError: Something is missing; nothing was started.
        CameraError: The camera is missing, or stopped; the window that had begun was published.
    """
    with ExitStack() as stack:
        limits = Limits(settings.spool_files, int(settings.spool.megabytes * 1024 * 1024))
        spool = stack.enter_context(closing(Spool(settings.spool.folder, "watch", limits)))
        nets = load_nets(settings)
        stack.callback(nets.scrub)
        outbox = Outbox(spool, log, settings.spool_files)
        watcher = Watcher(settings, nets.hashes, clock, outbox, log, unknown_below=nets.unknown_below)
        try:
            camera = stack.enter_context(closing(open_camera(settings)))
            log.info(
                "watching",
                camera=settings.camera.source,
                runtime=nets.face.model.runtime,
                window_seconds=settings.window_seconds,
                k=settings.k,
                noise=settings.noise,
            )
            _look(camera, nets, watcher, stopping)
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


def _look(camera: Camera, nets: Nets, watcher: Watcher, stopping: Callable[[], bool]) -> None:
    faces_before = False
    while not stopping():
        try:
            seen = observe(camera.take, nets.face, nets.emotion)
        except EndOfFrames:
            return
        if faces_before and not seen.sightings:
            nets.emotion.model.scrub()
        faces_before = bool(seen.sightings)
        watcher.see(seen)
