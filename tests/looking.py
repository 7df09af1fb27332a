"""Everything around ``looking.look``, with a camera, buttons and a lamp that the test works by hand."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

from device.cameras import Camera
from device.care import Care
from device.consent import Consent
from device.contract import Trouble
from device.contract_command import Command
from device.errors import EndOfFrames
from device.looking import Eye, look
from device.notify import NOBODY, Notify
from device.order import by_hand
from device.orders import Orders
from device.settings import parse
from device.types import Frame, Observation
from tests.build import SetClock, recorded, seen

FOLDERS = "".join(f'{name}_folder = "{{0}}/{name}"\n' for name in ("inbox", "run", "state"))


class Panel:
    """Buttons that the test presses, and a lamp with a memory."""

    def __init__(self, clock: SetClock) -> None:
        self.clock = clock
        self.lit = False
        self.pauses = 0
        self.consents: Callable[[float], bool] = lambda _: False
        self.waited: Callable[[], object] = lambda: None

    def pause_pressed(self) -> bool:
        pressed, self.pauses = self.pauses > 0, 0
        return pressed

    def consenting(self) -> bool:
        return self.consents(self.clock.now())

    def lamp(self, on: bool) -> None:
        self.lit = on

    def wait(self, seconds: float) -> None:
        self.clock.move(seconds)
        self.waited()

    def close(self) -> None:
        self.lit = False


class OneEye:
    """A camera that remembers whether it is open."""

    opened = 0
    is_open = False

    def __call__(self) -> Camera:
        self.opened, self.is_open = self.opened + 1, True
        return self

    def take(self) -> AbstractContextManager[Frame]:
        raise AssertionError

    def close(self) -> None:
        self.is_open = False


class Scene:
    """Everything around ``look``; each frame takes a second."""

    def __init__(self, folder: Path, consent: str = "", frames: int = 1000) -> None:
        self.settings = parse(f"{FOLDERS.format(folder)}[consent]\n{consent}", "f")
        self.clock, self.camera = SetClock(100.0), OneEye()
        self.panel = Panel(self.clock)
        self.care, self.trying = Care(self.settings, self.clock, root=folder), False
        self.systemd: Notify = NOBODY
        self.opens: Callable[[], Camera] | None = None  # instead of this camera
        self.frames = frames
        self.told: list[tuple[str, float]] = []
        self.lit: list[bool] = []
        self.log, self.entries = recorded()

    def observe(self, _: Camera) -> Observation:
        if not self.frames:
            raise EndOfFrames
        self.frames -= 1
        self.lit.append(self.panel.lit)
        self.clock.move(1.0)
        return seen(self.clock.now())

    def see(self, seen: Observation) -> None:
        self.told.append(("see", seen.taken_at))

    def rest(self, now: float) -> None:
        assert not self.panel.lit
        self.told.append(("rest", now))

    def idle(self, now: float) -> None:
        assert not self.panel.lit
        self.told.append(("idle", now))

    def blind(self, now: float, why: Trouble) -> None:
        assert why == "dark" or not self.panel.lit
        self.told.append((why, now))

    def command(self, name: str, seconds: int | None = None) -> None:
        by_hand(self.settings.inbox_folder, self.clock, Command.model_validate({"command": name, "seconds": seconds}))

    def run(self, until: float, *, keep: bool = False) -> list[str]:
        """Look until that time; returns what was told, without repetitions."""
        eye = Eye(self.opens or self.camera, self.panel, keep=keep)
        opt_in = self.settings.consent.mode == "opt-in"
        consent = Consent(opt_in=opt_in, lasts=self.settings.consent.lasts_seconds)
        self.orders = Orders(self.settings, self.clock, self.log)
        self.orders.begin(consent)
        look(
            eye, self.panel, settings=self.settings, consent=consent, orders=self.orders, observe=self.observe, listener=self,
            clock=self.clock, log=self.log, stopping=lambda: self.clock.now() >= until, care=self.care,
            trying=lambda: self.trying, systemd=self.systemd,
        )  # fmt: skip
        eye.close()
        kinds = [kind for kind, _ in self.told]
        return [kind for n, kind in enumerate(kinds) if n == 0 or kinds[n - 1] != kind]
