"""Whatever comes down on ``down/twin``, through a broker that lets everything through."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Listener, Mosquitto, Process, wait_for
from tests.faults.test_twin_kill import Box

pytestmark = pytest.mark.timeout(180)
HOSTILE = {
    "half": b'{"epoch": 9',
    "deep": b"[" * 10_000 + b"]" * 10_000,
    "deep in its place": b'{"epoch":9,"version":9,"desired":' + b"[" * 1800 + b"]" * 1800 + b"}",
    "one megabyte": b"x" * 1_000_000,
    "not UTF-8": b"\xff\xfe\x00",
    "not a table": b'{"epoch":9,"version":9,"desired":[1]}',
    "unknown key": b'{"epoch":9,"version":9,"desired":{"broker":{"url":"mqtt://evil"}}}',
    "wrong type": b'{"epoch":9,"version":9,"desired":{"window_seconds":"long"}}',
    "empty": b"",
}


def publish(broker: Mosquitto, payload: bytes) -> None:
    words = ("-V", "mqttv5", "-p", str(broker.port), "-q", "1", "-t", "mien/v1/shelf-7/down/twin")
    subprocess.run(("mosquitto_pub", *words, "-s" if payload else "-n"), input=payload, check=True, timeout=20)


def test_whatever_comes_down_neither_ends_a_process_nor_changes_a_setting(
    tmp_path: Path, start: Callable[..., Process], mosquitto: Mosquitto, listen: Callable[..., Listener]
) -> None:
    box = Box(tmp_path, start, mosquitto.url)
    watch, send = box.mien("watch"), box.mien("send")
    heard = listen(mosquitto, "-t", "mien/v1/shelf-7/up/twin")
    wait_for(lambda: heard.messages, 60, why="the first answer")
    for payload in HOSTILE.values():
        publish(mosquitto, payload)
    publish(mosquitto, json.dumps({"epoch": 9, "version": 10, "desired": {"window_seconds": 6}}).encode())
    wait_for(lambda: heard.messages[-1]["payload"]["desired_version"] == 10, 60, why="the last answer")

    answers = [message["payload"] for message in heard.messages]
    assert watch.running
    assert send.running
    assert (answers[0]["desired_version"], answers[0]["reported"]["window_seconds"]) == (1, 8)
    assert {one["reported"]["window_seconds"] for one in answers if one["desired_version"] != 10} == {8}
    assert (answers[-1]["state"], answers[-1]["reported"]["window_seconds"]) == ("applied", 6)
    said = [event for event in send.events("warning") if "was ignored" in event]
    assert any("bytes, where 4096 are allowed" in event for event in said)
    assert any("nested deeper" in event for event in said)
