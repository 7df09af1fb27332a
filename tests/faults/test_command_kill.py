"""``kill -9`` of the sending or of the watching process in every state of a command: its effect is there exactly once."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.build import Device
from tests.conftest import Listener, Mosquitto, Process, wait_for

pytestmark = pytest.mark.timeout(120)

# Kills its own process at a place in the real code: before a call, or after one whose result is something.
DIE = """
import importlib, os, signal, sys

def die(module, owner, name, when):
    target = importlib.import_module(module)
    target = getattr(target, owner) if owner else target
    real, calls = getattr(target, name), []
    def call(*args, **more):
        calls.append(name)
        if when == f"before {len(calls)}":
            os.kill(os.getpid(), signal.SIGKILL)
        result = real(*args, **more)
        if when == "after" or (when == "after something" and result is not None):
            os.kill(os.getpid(), signal.SIGKILL)
        return result
    setattr(target, name, call)

if sys.argv[2:]:
    die(*sys.argv[2:])
"""

SEND = f"""{DIE}
from device.cli import main
main(["send", "--settings", sys.argv[1]])
"""

# The watching process without a camera: what becomes of commands in it, and what is in force.
WATCH = f"""{DIE}
import time
from pathlib import Path
from device import log
from device.clock import this_boot
from device.consent import Consent
from device.orders import Orders
from device.settings import load

settings, consent = load(Path(sys.argv[1])), Consent()
orders = Orders(settings, this_boot(), log.set_up("watch"))
orders.before(settings)
orders.begin(consent)
orders.works()
while True:
    orders.look(consent)
    rest = orders._memory.by_command
    print(rest.until if rest and orders.paused(consent) else 0, flush=True)
    time.sleep(0.02)
"""

HANDLER = ("device.commands_down", "CommandHandler")
ORDERS = ("device.orders", "Orders")
STATES = {
    "sending: it has come": ("send", *HANDLER, "_take", "before 1"),
    "sending: it is kept": ("send", *HANDLER, "_take", "after"),
    "sending: it is left": ("send", *HANDLER, "_leave", "after"),
    "sending: accepted is said, and not noted as said": ("send", *HANDLER, "delivered", "before 1"),
    "sending: it is done, and that is not noted": ("send", *HANDLER, "_done", "after something"),
    "sending: its end is said, and not noted as said": ("send", *HANDLER, "delivered", "before 2"),
    "watching: it is found": ("watch", *ORDERS, "_do", "before 1"),
    "watching: it is noted, and the effect is not there": ("watch", "device.remember", "", "save", "after"),
    "watching: it is noted": ("watch", *ORDERS, "_do", "after"),
    "watching: it is removed": ("watch", "device.inbox", "", "remove", "after"),
    "watching: it is answered": ("watch", *ORDERS, "_write", "after"),
}


class Pair:
    """A device's two processes, of which one dies somewhere, and a fleet that repeats its command until there is an answer."""

    def __init__(self, device: Device, broker: Mosquitto, start: Callable[..., Process], fleet: Listener) -> None:
        self.device, self.broker, self.fleet, self._start = device.write(broker.url, broker="commands = true"), broker, fleet, start
        self.lives: list[Process] = []

    def run(self, which: str, *point: str) -> Process:
        code = SEND if which == "send" else WATCH
        process = self._start(sys.executable, "-c", code, self.device.settings, *point)
        if which == "watch":
            self.lives.append(process)
        return process

    def command(self, payload: str = '{"command": "pause", "seconds": 600}') -> None:
        words = ["mosquitto_pub", "-V", "mqttv5", "-p", str(self.broker.port), "-q", "1", "-m", payload]
        expiry = ["-D", "publish", "message-expiry-interval", "60"]
        subprocess.run([*words, *expiry, "-t", "mien/v1/shelf-7/down/command/a1"], check=True, timeout=20)

    @property
    def said(self) -> list[str]:
        return [m["payload"]["state"] for m in self.fleet.messages if m["topic"].endswith("/up/command/a1")]

    @property
    def births(self) -> int:
        return sum(status["payload"]["state"] == "online" for status in self.fleet.statuses)

    @property
    def effects(self) -> set[float]:
        """Until when there was a pause, in any life: each effect has another one."""
        return {float(line) for life in self.lives for line in whole_lines(life.out)} - {0.0}


def whole_lines(path: Path) -> list[str]:
    return path.read_text().rpartition("\n")[0].splitlines()


@pytest.mark.parametrize("state", STATES)
def test_a_command_is_done_once_wherever_a_process_is_killed(
    state: str, device: Device, mosquitto: Mosquitto, start: Callable[..., Process], listen: Callable[..., Listener]
) -> None:
    which, *point = STATES[state]
    pair = Pair(device, mosquitto, start, listen(mosquitto))
    other = pair.run("watch" if which == "send" else "send")
    dies = pair.run(which, *point)
    wait_for(lambda: pair.fleet.statuses, why="the birth")

    pair.command()
    assert dies.wait() == -9, dies.err.read_text()
    pair.run(which)
    if which == "send":
        wait_for(lambda: pair.births == 2, why="the second birth")
    if not pair.said:  # as the fleet does
        pair.command()
    wait_for(lambda: "succeeded" in pair.said, why="the answer")
    heard = len(pair.said)
    pair.command()
    wait_for(lambda: len(pair.said) > heard, why="the answer to the repeated command")

    wait_for(lambda: pair.effects, why="the pause")
    assert set(pair.said) <= {"accepted", "succeeded"}
    assert pair.said[-1] == "succeeded"
    assert len(pair.effects) == 1
    assert other.running


def test_a_command_for_a_device_whose_processes_both_die_is_done_once(
    device: Device, mosquitto: Mosquitto, start: Callable[..., Process], listen: Callable[..., Listener]
) -> None:
    pair = Pair(device, mosquitto, start, listen(mosquitto))
    first = pair.run("send", *STATES["sending: its end is said, and not noted as said"][1:]), pair.run("watch")
    wait_for(lambda: pair.fleet.statuses, why="the birth")
    pair.command()
    assert first[0].wait() == -9
    wait_for(lambda: pair.effects, why="the pause")
    first[1].end(9)

    pair.run("send"), pair.run("watch")
    wait_for(lambda: pair.said.count("succeeded") >= 2, why="the answer, again")
    pair.command('{"command": "resume"}')  # the same id: it is the pause that is known
    heard = len(pair.said)
    wait_for(lambda: len(pair.said) > heard, why="the answer to the repeated command")

    assert len(pair.effects) == 1
    assert json.loads((device.folder / "run" / "answers" / "a1.json").read_bytes())["state"] == "succeeded"
    wait_for(lambda: whole_lines(pair.lives[-1].out), why="a look")
    assert float(whole_lines(pair.lives[-1].out)[-1]) in pair.effects
