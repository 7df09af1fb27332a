"""The watching process: camera in, reports in the spool out. It has no network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass

from structlog.typing import FilteringBoundLogger

from device.cameras import Camera, open_camera
from device.care import Care
from device.choice import form_for
from device.clock import Clock
from device.consent import Consent
from device.contract import ModelHashes, Trouble
from device.errors import CameraError, ModelError, SpoolError, WornError
from device.gpio import open_controls
from device.ledger import Ledger
from device.looking import RECORDINGS, Eye, look
from device.manifest import FOLDER, read_manifest
from device.model_store import in_force
from device.nets.cards import Door
from device.nets.emotion import EmotionNet, Unread
from device.nets.face import DETECTORS, FaceNet
from device.notify import NOBODY, Notify
from device.observe import observe
from device.orders import Orders
from device.outbox import Outbox
from device.reload import Change, Run, run_again
from device.settings import Settings
from device.spool import Limits, Spool
from device.tflite import Scrubber, find_runtime
from device.tracks import UNKNOWN_BELOW
from device.types import Observation
from device.watcher import Watcher


@dataclass(frozen=True, slots=True)
class Nets:
    """The models, loaded, and below which probability a person is counted as unknown.

    ``emotion_net`` is ``None`` where the policy does not permit emotions: that model is then not even opened. ``trouble`` is
    ``model`` where one that came by a rollout is damaged, so that the packaged one is used.
    """

    face: FaceNet
    emotion_net: EmotionNet | None
    unknown_below: float
    trouble: Trouble | None = None

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
    manifest, runtime = in_force(read_manifest(wanted.folder or FOLDER), settings), find_runtime(wanted.runtime)[0]
    name = DETECTORS[wanted.detector].name
    form = form_for(manifest, name, settings, runtime)
    face = FaceNet(manifest.file(name, form), detector=wanted.detector, tiles=wanted.tiles, runtime=runtime)
    trouble: Trouble | None = "model" if manifest.damaged else None
    if "emotion" not in settings.policy.decided.may:
        return Nets(face, None, UNKNOWN_BELOW, trouble)
    point = manifest["emotion"].point("count")
    emotion = EmotionNet(manifest.file("emotion"), temperature=point.temperature, offsets=point.offsets, runtime=runtime)
    return Nets(face, emotion, point.unknown_below, trouble)


def watch(
    settings: Settings,
    clock: Clock,
    log: FilteringBoundLogger,
    stopping: Callable[[], bool],
    changes: Sequence[Change] = (),
    *,
    orders: Orders | None = None,
    systemd: Notify = NOBODY,
    care: Care | None = None,
) -> None:
    """Watch until told to stop or until a recording ends: one run after the other, as ``changes`` want them.

    Raises:
        SpoolError, LedgerError, ModelError, RuntimeMissingError, SettingsError: Something is missing; nothing was started.
        CameraError: The camera does not come back; the window that had begun was published.
        WornError: This process holds too much memory, and should be started again; the last window was published.
    """
    consent, orders, care = Consent(), orders or Orders(settings, clock, log), care or Care(settings, clock)

    def once(wanted: Settings, run: Run) -> None:
        nonlocal consent
        consent = consent.renewed(opt_in=wanted.consent.mode == "opt-in", lasts=wanted.consent.lasts_seconds)
        orders.begin(consent)
        _once(wanted, run, consent, orders, clock=clock, log=log, stopping=stopping, systemd=systemd, care=care)

    run_again(settings, (orders, *changes), once, lambda: stopping() or care.worn)
    systemd.stopping()
    if care.worn:
        raise WornError(
            f"mien watch holds {care.memory:.0f} MB, more than memory_megabytes, and ends so that it is started again; should that "
            "happen every day, report this bug"
        )


def _once(
    settings: Settings,
    run: Run,
    consent: Consent,
    orders: Orders,
    *,
    clock: Clock,
    log: FilteringBoundLogger,
    stopping: Callable[[], bool],
    systemd: Notify,
    care: Care,
) -> None:
    """One run: everything opened, watched, closed."""
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
        watcher = Watcher(
            settings,
            nets.hashes,
            clock,
            outbox,
            log,
            ledger=ledger,
            unknown_below=nets.unknown_below,
            run=run,
            standing=nets.trouble,
            care=care,
        )
        controls = stack.enter_context(closing(open_controls(settings.consent)))
        try:
            kept = settings.camera.source.partition(":")[0] in RECORDINGS
            eye = stack.enter_context(closing(Eye(lambda: open_camera(settings.camera), controls, keep=kept)))
            care.begin(settings, recording=kept)
            policy = settings.policy.decided
            if nets.emotion_net is None:
                why = f"only people are counted: {policy.why['emotion']}"
                log.warning(why, policy=policy.id)
            said = settings.model_dump(include={"window_seconds", "k", "noise"})
            log.info("watching", camera=settings.camera.source, runtime=nets.face.model.runtime, policy=policy.id, **said)
            wanted = settings.consent
            door = Door(nets.face, consent, by_card=wanted.mode == "opt-in" and wanted.input == "card")

            def observed(camera: Camera) -> Observation:
                scrubber.check()
                return observe(camera.take, door.faces, nets.read, door.choose)

            look(
                eye,
                controls,
                settings=settings,
                consent=consent,
                orders=orders,
                observe=observed,
                listener=watcher,
                clock=clock,
                log=log,
                stopping=lambda: run.over or stopping(),
                care=care,
                trying=lambda: run.trying,
                systemd=systemd,
            )
        except CameraError:
            watcher.finish()
            watcher.tell("camera")
            if outbox.stuck:
                log.error(outbox.lost())  # noqa: TRY400 (a traceback would say nothing more)
            raise
        if care.worn:
            watcher.tell("memory")
        if run.over:
            return
        watcher.finish()
        watcher.tell("stopped")
        if outbox.stuck:
            raise SpoolError(outbox.lost())
        log.info("stopped watching")
