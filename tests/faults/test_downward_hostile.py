"""Whatever comes down on any topic of a device, through a broker that lets everything through."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.build import settings_text
from tests.conftest import Listener, Mosquitto, Process, wait_for
from tests.hostile import HOSTILE

pytestmark = pytest.mark.timeout(180)
BROKER = 'acknowledge = "collector"\ncommands = true\ntwin = true\nrollouts = true'
TOPICS = ("down/ack", "down/twin", "down/command/a1", "down/command/", "down/command/a/b", "down/model", "down/unheard-of")
JOB = {"job": "0123456789abcdef", "target": "../../etc/passwd", "url": "file:///etc/passwd", "timestamp": -1}
NEARLY = {
    "down/ack": [b'{"seq": -1}', b'{"seq": 1e400}', b'{"seq": "1"}'],
    "down/twin": [b'{"epoch": 1, "version": 1, "desired": {"demo": true}}'],
    "down/command/a1": [b'{"command": "format", "seconds": 1}', b'{"command": "pause", "seconds": -1}'],
    "down/model": [json.dumps(JOB).encode(), b'{"job": "0123456789abcdef"}'],
}


def publish(broker: Mosquitto, topic: str, payload: bytes, *words: str) -> None:
    where = ("-V", "mqttv5", "-p", str(broker.port), "-q", "1", "-t", f"mien/v1/shelf-7/{topic}")
    subprocess.run(("mosquitto_pub", *where, *words, "-s" if payload else "-n"), input=payload, check=True, timeout=20)


@pytest.mark.parametrize("retained", [False, True], ids=["as it happens", "retained"])
def test_nothing_on_any_topic_ends_a_process_or_is_taken_for_something(
    tmp_path: Path, start: Callable[..., Process], mosquitto: Mosquitto, listen: Callable[..., Listener], retained: bool
) -> None:
    file = tmp_path / "settings.toml"
    file.write_text(settings_text(tmp_path, mosquitto.url, broker=BROKER) + f'\n[models]\nroot_file = "{tmp_path}/none"\n')
    watch, send = (start(sys.executable, "-m", "device.cli", one, "--settings", file) for one in ("watch", "send"))
    heard = listen(mosquitto, "-t", "mien/v1/shelf-7/up/#")
    wait_for(lambda: any(one["topic"].endswith("up/twin") for one in heard.messages), 60, why="the first words")

    for payload in HOSTILE.values():
        for topic in TOPICS:
            publish(mosquitto, topic, payload, *(["-r"] if retained else []))
    for topic, payloads in NEARLY.items():
        for payload in payloads:
            publish(mosquitto, topic, payload, *(["-r"] if retained else []))
    if retained:  # and what the broker kept comes again
        assert send.end() == 0
        send = start(sys.executable, "-m", "device.cli", "send", "--settings", file)
        wait_for(lambda: "connected" in send.events(), 60, why="the next connection")
    expiry = ("-D", "publish", "message-expiry-interval", "60")
    publish(mosquitto, "down/command/last", b'{"command": "pause", "seconds": 60}', *expiry)

    done = "mien/v1/shelf-7/up/command/last"
    wait_for(lambda: [one for one in heard.messages if one["topic"] == done][1:], 60, why="a good command's two answers")
    assert [one["payload"]["state"] for one in heard.messages if one["topic"] == done] == ["accepted", "succeeded"]
    assert {one["payload"]["state"] for one in heard.messages if one["topic"].endswith("/up/command/a1")} <= {"rejected"}
    assert not [one for one in heard.messages if one["topic"].endswith("up/model")]
    assert {one["payload"]["state"] for one in heard.messages if one["topic"].endswith("up/twin")} <= {"applied", "rejected"}
    assert {one["payload"]["reported"]["window_seconds"] for one in heard.messages if one["topic"].endswith("up/twin")} == {5}
    for process in (watch, send):
        assert process.running
        assert "Traceback" not in process.err.read_text()
        assert process.end() == 0
