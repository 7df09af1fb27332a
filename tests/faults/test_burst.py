"""30,000 messages come down at once: memory stays bounded, reports and commands still go through, and nothing ends."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from tests.build import Device
from tests.conftest import Listener, Mosquitto, Process, wait_for

pytestmark = pytest.mark.timeout(400)
BURST = 30_000
MOST_KB = 20_000  # that the process may grow by
TOPICS = ("down/twin", "down/ack")
PAYLOADS = (b'{"epoch": 9', b"x" * 4000, b'{"seq": -1}')


def memory(send: Process, name: str) -> int:
    """VmRSS or VmHWM (the most so far) of a process, KB."""
    status = Path(f"/proc/{send.process.pid}/status").read_text()
    return int(status.split(f"{name}:")[1].split()[0])


def burst(broker: Mosquitto) -> None:
    """Publish all of it as fast as the broker takes it: commands with ids of their own, and rubbish on each other topic."""
    client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
    client.max_inflight_messages_set(20)
    done, acked = threading.Event(), 0

    def published(*_: object) -> None:
        nonlocal acked
        acked += 1
        if acked == BURST:
            done.set()

    client.on_publish = published
    client.connect("127.0.0.1", broker.port)
    client.loop_start()
    for n in range(BURST):
        name = TOPICS[n // 2 % 2] if n % 2 else f"down/command/burst{n}"
        client.publish(f"mien/v1/shelf-7/{name}", PAYLOADS[n % 3], qos=1)
    assert done.wait(240)
    client.disconnect()
    client.loop_stop()


def command(broker: Mosquitto, name: str, payload: str) -> None:
    words = ("-V", "mqttv5", "-p", str(broker.port), "-q", "1", "-D", "publish", "message-expiry-interval", "600")
    subprocess.run(["mosquitto_pub", *words, "-t", f"mien/v1/shelf-7/down/command/{name}", "-m", payload], check=True, timeout=30)


def test_a_burst_of_30000_messages_costs_no_memory_and_holds_up_neither_reports_nor_commands(
    device: Device, start_mosquitto: Callable[..., Mosquitto], mien: Callable[..., Process], listen: Callable[..., Listener]
) -> None:
    broker = start_mosquitto("max_queued_messages 0\n")  # the broker drops nothing: all of it comes
    fleet = listen(broker, "-t", "mien/v1/shelf-7/up/report", "-t", "mien/v1/shelf-7/up/command/wanted")
    send = mien("send", "--settings", device.write(broker.url, 'commands = true\ntwin = true\nacknowledge = "collector"').settings)
    wait_for(lambda: "connected" in send.events(), 60, why="the connection")
    device.put(1)
    wait_for(lambda: fleet.reports, 60, why="a report before the burst")
    before = memory(send, "VmRSS")

    began = time.monotonic()
    flood = threading.Thread(target=burst, args=(broker,))
    flood.start()
    wait_for(lambda: len(send.err.read_text()) > 100_000, 120, why="that the burst arrives")
    device.put(1)
    asked = time.monotonic()
    wait_for(lambda: fleet.seqs[-1] == 2, 240, why="a report in the midst of the burst")
    delay = time.monotonic() - asked
    flood.join()
    command(broker, "wanted", '{"command": "flush"}')
    wait_for(
        lambda: any(one["topic"].endswith("wanted") and one["payload"]["state"] == "succeeded" for one in fleet.messages),
        240,
        why="the command, done",
    )
    took, grown = time.monotonic() - began, memory(send, "VmHWM") - before

    print(f"{BURST} messages in {took:.0f} s; memory {before} KB before, {grown} KB more at most; a report after {delay:.1f} s")
    assert send.running
    assert sum("a command was refused" in line for line in send.events("warning")) == BURST / 2  # none was dropped
    assert grown < MOST_KB
    assert not send.events("error")
    assert "not connected" not in " ".join(send.events("warning"))
    device.put(1)
    wait_for(lambda: fleet.seqs[-1] == 3, 60, why="a report after the burst")
