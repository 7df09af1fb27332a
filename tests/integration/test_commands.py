"""Commands over the real broker, with the real processes."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable
from typing import Any

import pytest

from device.commands._machine import LOOKS
from tests.build import Device
from tests.conftest import Listener, Mosquitto, Process, wait_for

pytestmark = pytest.mark.timeout(180)
Mien = Callable[..., Process]
PAUSE, RESUME = '{"command": "pause", "seconds": 600}', '{"command": "resume"}'


class Fleet:
    """A device whose two processes run, and somebody who commands it."""

    def __init__(self, device: Device, at: Mosquitto, mien: Mien, listener: Listener, broker: str = "commands = true") -> None:
        device.write(at.url, camera="", broker=broker)
        self.device, self.broker, self.listener = device, at, listener
        self.watch, self.send = (mien(name, "--settings", device.settings) for name in ("watch", "send"))
        wait_for(lambda: listener.statuses and "watching" in self.watch.events(), 40, why="both processes")

    def publish(self, name: str, payload: str | bytes, *words: str) -> None:
        content = payload.encode() if isinstance(payload, str) else payload
        base = ["mosquitto_pub", "-V", "mqttv5", "-p", str(self.broker.port), "-q", "1", "-t", f"mien/v1/shelf-7/{name}"]
        subprocess.run([*base, *words, "-s" if content else "-n"], input=content, check=True, timeout=20)

    def command(self, name: str, payload: str | bytes, *words: str, expires: int = 60) -> None:
        expiry = ("-D", "publish", "message-expiry-interval", str(expires))
        self.publish(f"down/command/{name}", payload, *expiry, *words)

    def said(self, name: str, under: str = "up/command") -> list[tuple[str, str | None]]:
        found = [m["payload"] for m in self.listener.messages if m["topic"] == f"mien/v1/shelf-7/{under}/{name}"]
        return [(one["state"], one["reason"]) for one in found]

    def answer(self, name: str, seconds: float = 30) -> Any:
        """How it ended."""
        over = ("succeeded", "failed", "rejected")
        wait_for(lambda: self.said(name) and self.said(name)[-1][0] in over, seconds, why=f"the end of {name}")
        return [m["payload"] for m in self.listener.messages if m["topic"].endswith(f"/up/command/{name}")][-1]


@pytest.fixture
def fleet(device: Device, mosquitto: Mosquitto, mien: Mien, listen: Callable[..., Listener]) -> Fleet:
    return Fleet(device, mosquitto, mien, listen(mosquitto))


def test_a_pause_acts_within_two_seconds(fleet: Fleet) -> None:
    """Of three, since what else this machine does delays them too; measured from before the publishing program starts."""
    took = []
    for n in range(3):
        began, paused = time.monotonic(), fleet.watch.events().count("paused")
        fleet.command(f"p{n}", PAUSE)
        wait_for(lambda paused=paused: fleet.watch.events().count("paused") > paused, why="the pause")  # type: ignore[misc]
        took.append(time.monotonic() - began)
        fleet.command(f"r{n}", RESUME)
        wait_for(lambda n=n: fleet.watch.events().count("resumed") > n, why="the resuming")  # type: ignore[misc]

    print("a pause took", [round(one, 2) for one in took], "s")
    assert min(took) < 2
    assert fleet.answer("p0")["state"] == "succeeded"


def test_a_command_that_is_retained_is_done_once_however_often_the_device_connects(fleet: Fleet, mien: Mien) -> None:
    fleet.command("a1", PAUSE, "-r")
    fleet.answer("a1")
    fleet.command("a2", RESUME)
    wait_for(lambda: "resumed" in fleet.watch.events(), why="the resuming")
    heard = len(fleet.said("a1"))

    fleet.send.end(9)
    mien("send", "--settings", fleet.device.settings)

    wait_for(lambda: len(fleet.said("a1")) > heard, why="the answer to what is retained")
    fleet.command("a3", RESUME)
    fleet.answer("a3")
    assert fleet.watch.events().count("paused") == 1
    assert set(fleet.said("a1")) == {("accepted", None), ("succeeded", None)}


def test_a_pause_outlives_the_watching_process_which_does_not_even_open_its_camera(fleet: Fleet, mien: Mien) -> None:
    fleet.command("a1", PAUSE)
    fleet.answer("a1")
    fleet.watch.end(9)
    before = max([0, *fleet.listener.seqs])

    again = mien("watch", "--settings", fleet.device.settings)

    wait_for(lambda: max([0, *fleet.listener.seqs]) > before + 1, 40, why="reports after the start")
    late = [one["payload"] for one in fleet.listener.reports if one["payload"]["seq"] > before]
    assert {(one["withheld"], one["quality"]["coverage"]) for one in late} == {("paused", 0.0)}
    assert "paused" in again.events()


def test_a_command_that_has_expired_when_the_watching_process_comes_back_is_not_done(fleet: Fleet, mien: Mien) -> None:
    fleet.watch.end(9)
    fleet.command("a1", PAUSE, expires=3)
    wait_for(lambda: fleet.said("a1") == [("accepted", None)], why="that it was accepted")
    (left,) = (fleet.device.folder / "inbox" / "command").iterdir()
    until = json.loads(left.read_bytes())["until"]
    wait_for(lambda: time.monotonic() > until, why="the end of its time")

    again = mien("watch", "--settings", fleet.device.settings)

    assert fleet.answer("a1") == {"schema": 1, "state": "rejected", "reason": "expired", "findings": None}
    assert "paused" not in again.events()


def test_a_doctor_tells_what_is_good_and_what_is_not_and_nothing_else(fleet: Fleet) -> None:
    fleet.command("d1", '{"command": "doctor"}')

    said = fleet.answer("d1", 60)

    assert said["state"] == "succeeded"
    assert set(said) == {"schema", "state", "reason", "findings"}
    findings = {name: found for name, found in said["findings"].items() if name not in LOOKS}  # they differ between machines
    assert said["findings"].keys() - findings.keys() == set(LOOKS)
    assert findings == {
        **dict.fromkeys(
            ("settings", "policy", "runtime", "models", "memory", "camera", "clock", "spool", "budget", "broker"), "ok"
        ),
        "notice": "wrong",  # nobody is named as responsible
    }
    assert "paused" not in fleet.watch.events()


def test_a_restart_begins_a_new_run_at_the_end_of_the_window_and_reads_the_settings_again(fleet: Fleet) -> None:
    wait_for(lambda: fleet.listener.reports, why="a report")
    fleet.device.write(fleet.broker.url, camera="", broker="commands = true", top="k = 7")

    fleet.command("s1", '{"command": "restart"}')

    assert fleet.answer("s1", 60)["state"] == "succeeded"
    wait_for(lambda: fleet.listener.reports[-1]["payload"]["privacy"]["k"] == 7, 40, why="a report of the new run")
    assert fleet.watch.events().count("watching") == 2
    assert {one["payload"]["span"]["seconds"] for one in fleet.listener.reports} == {5}  # no window was cut short
    seqs = fleet.listener.seqs
    assert seqs == list(range(1, len(seqs) + 1))


def test_a_flush_sends_what_no_collector_has_acknowledged(
    device: Device, mosquitto: Mosquitto, mien: Mien, listen: Callable[..., Listener]
) -> None:
    fleet = Fleet(device, mosquitto, mien, listen(mosquitto), broker='commands = true\nacknowledge = "collector"')
    wait_for(lambda: 1 in fleet.listener.seqs and device.held("sent"), why="the first report")

    fleet.command("f1", '{"command": "flush"}')

    assert fleet.answer("f1")["state"] == "succeeded"
    assert fleet.listener.seqs.count(1) == 2
    assert fleet.listener.ids[0] == fleet.listener.ids[fleet.listener.seqs.index(1, 1)]


def test_the_answer_goes_to_the_response_topic_with_the_correlation(fleet: Fleet) -> None:
    reply = ("-D", "publish", "response-topic", "mien/v1/shelf-7/up/reply/console-3", "-D", "publish", "correlation-data", "7f")

    fleet.command("a1", RESUME, *reply)

    wait_for(lambda: len(fleet.said("console-3", "up/reply")) == 2, why="both answers")
    found = [m for m in fleet.listener.messages if "/up/reply/" in m["topic"]]
    assert [m["payload"]["state"] for m in found] == ["accepted", "succeeded"]
    assert {m["properties"]["correlation-data"] for m in found} == {found[0]["properties"]["correlation-data"]}


BAD = {
    "no JSON": b"{'command': pause",
    "deep and small": b"[" * 2000 + b"]" * 2000,
    "deep": b"[" * 10_000 + b"]" * 10_000,
    "no UTF-8": b'{"command": "\xff\xfe"}',
    "empty": b"",
    "60 KB": b'{"desired": "' + b"x" * 60_000 + b'"}',
    "1 MB": b"x" * 1_000_000,
    "numbers too large": b'{"seq": 1e999, "epoch": 99999999999999999999}',
    "another type": b"[1, 2, 3]",
}


def test_nothing_that_comes_down_stops_a_device(
    device: Device, mosquitto: Mosquitto, mien: Mien, listen: Callable[..., Listener]
) -> None:
    every = 'commands = true\ntwin = true\nacknowledge = "collector"'
    fleet = Fleet(device, mosquitto, mien, listen(mosquitto, "-t", "mien/v1/shelf-7/up/#"), every)
    expiry = ("-D", "publish", "message-expiry-interval", "60")

    for name in ("down/command/bad", "down/twin", "down/model", "down/ack", "down/unknown"):
        for payload in BAD.values():
            fleet.publish(name, payload, *expiry)
        fleet.publish(name, BAD["deep"], *expiry, "-r")
    fleet.command("good", PAUSE)

    assert fleet.answer("good")["state"] == "succeeded"
    assert set(fleet.said("bad")) == {("rejected", "invalid")}
    assert not fleet.send.complaints
    assert not fleet.watch.complaints
    assert (fleet.watch.end(), fleet.send.end()) == (0, 0)
