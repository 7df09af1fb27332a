"""Brokers that limit and forget, and a copy of this device."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from device.contract import Envelope
from device.spool import Spool
from tests.build import Device, envelope
from tests.conftest import Listener, Mosquitto, Process, wait_for

pytestmark = pytest.mark.timeout(180)
Mien = Callable[..., Process]
Listen = Callable[..., Listener]
Start = Callable[..., Mosquitto]
REPORTS = ("-t", "mien/v1/shelf-7/up/report")


def changed(start: Callable[..., Process], device: Device, **constants: float) -> Process:
    """``mien send`` with other constants of the sender, so that no test waits for minutes."""
    lines = [f"sender.{name} = {value}" for name, value in constants.items()]
    code = "\n".join(["from device import sender", *lines, "from device.cli import main", "main()"])
    return start(sys.executable, "-c", code, "send", "--settings", device.settings)


def acknowledge(broker: Mosquitto, seq: int) -> None:
    """What a collector says, retained."""
    words = ("-V", "mqttv5", "-p", str(broker.port), "-q", "1", "-r", "-t", "mien/v1/shelf-7/down/ack")
    subprocess.run(["mosquitto_pub", *words, "-m", f'{{"seq": {seq}}}'], check=True, timeout=20)


def test_what_a_broker_confirmed_and_then_lost_comes_again_until_a_collector_has_it(
    device: Device, mosquitto: Mosquitto, start: Callable[..., Process], listen: Listen
) -> None:
    device.write(mosquitto.url, 'acknowledge = "collector"').put(5)
    lost = listen(mosquitto, *REPORTS)
    changed(start, device, RESEND_AFTER=2.0)
    wait_for(lambda: device.held("sent") == 5, 60, why="the broker's confirmations")
    wait_for(lambda: lost.seqs == [1, 2, 3, 4, 5], why="the reports, which nobody stores")
    mosquitto.stop(signal.SIGKILL)
    lost.end(signal.SIGKILL)

    mosquitto.start()
    collector = listen(mosquitto, *REPORTS)
    device.put(1)
    wait_for(lambda: set(collector.seqs) == {1, 2, 3, 4, 5, 6}, 60, why="all of it, again")
    acknowledge(mosquitto, 6)

    wait_for(lambda: device.seqs("sent") == [6], 60, why="that only the newest is kept, which holds the number")
    assert device.held("new") == 0
    assert dict(zip(lost.ids, lost.seqs, strict=True)).items() <= dict(zip(collector.ids, collector.seqs, strict=True)).items()
    assert len(set(collector.ids)) == 6


def larger(seq: int) -> Envelope:
    """A report under a policy with a long name."""
    one = envelope(seq)
    terms = one.report.privacy.model_copy(update={"policy": "x" * 64})
    return one.model_copy(update={"report": one.report.model_copy(update={"privacy": terms})})


@pytest.mark.parametrize("limit", ["max_packet_size", "message_size_limit"])
def test_a_report_larger_than_the_broker_takes_is_named_and_kept_and_the_others_go_on(
    device: Device, start_mosquitto: Start, start: Callable[..., Process], listen: Listen, limit: str
) -> None:
    """The one limit is told beforehand, the other by the end of the connection."""
    size = len(envelope().payload())
    broker = start_mosquitto(f"{limit} {size + (225 if limit == 'max_packet_size' else 30)}\n")
    with closing(Spool(device.folder / "spool", "watch")) as spool:
        for one in (envelope(1), larger(2), envelope(3)):
            spool.put(one)
    fleet = listen(broker, *REPORTS)
    send = changed(start, device.write(broker.url), TOO_LARGE_WAIT=10.0)

    wait_for(lambda: {1, 3} == set(fleet.seqs), 60, why="the others")
    wait_for(lambda: send.events("error"), why="the line")
    device.put(1)
    wait_for(lambda: {1, 3, 4} == set(fleet.seqs), 60, why="a later one")

    line = send.events("error")[0]
    assert "the broker takes packets of" in line or "it may be larger than its limit" in line
    assert "This report stays in the spool, others go on" in line
    wait_for(lambda: device.seqs("new") == [2], why="the confirmations of the others")
    broker.stop()
    broker.extra = ""
    broker.start()
    mended = listen(broker, *REPORTS)
    wait_for(lambda: mended.seqs == [2], 60, why="the large one, once it may")
    wait_for(lambda: device.held("new") == 0, why="its confirmation")


def returned(fleet: Listener) -> set[str]:
    """The sessions that have connected more than once, as their statuses say."""
    online = [message["payload"] for message in fleet.statuses if message["payload"]["state"] == "online"]
    return {status["session"] for status in online if status["connections"] > 1}


def test_a_copy_of_a_device_is_named_by_both_shows_in_the_status_and_loses_nothing(
    device: Device, mosquitto: Mosquitto, mien: Mien, listen: Listen, tmp_path: Path
) -> None:
    fleet = listen(mosquitto)
    one = mien("send", "--settings", device.write(mosquitto.url).put(3).settings)
    wait_for(lambda: fleet.seqs == [1, 2, 3], 60, why="the first reports")
    copy = Device(tmp_path / "copy")
    copy.folder.mkdir()
    shutil.copytree(device.folder / "send", copy.folder / "send")

    other = mien("send", "--settings", copy.write(mosquitto.url).put(4).settings)

    wait_for(lambda: one.events("warning") and other.events("warning"), 60, why="that both notice")
    for process in (one, other):  # Mosquitto 2.0.11 does not say why it ends a connection, later ones do
        assert all(
            "another device may use the same name" in line or "a copy of this device" in line for line in process.events("warning")
        )
    device.put(3)
    wait_for(lambda: device.held("new") == copy.held("new") == 0, 120, why="the reports of both")
    wait_for(lambda: len(set(fleet.ids)) == 10, why="ten reports, by id")
    wait_for(lambda: len(returned(fleet)) == 2, 60, why="statuses of two sessions that both connect again and again")
    assert one.running
    assert other.running


def test_an_online_status_does_not_outlive_a_device_that_died_with_its_broker(
    device: Device, start_mosquitto: Start, start: Callable[..., Process], listen: Listen, tmp_path: Path
) -> None:
    """The broker is gone before it can tell the last will, and comes back with what it had stored."""
    broker = start_mosquitto(f"persistence true\npersistence_location {tmp_path}/\nautosave_interval 1\nautosave_on_changes true\n")
    fleet = listen(broker)
    send = changed(start, device.write(broker.url), STATUS_LASTS=5)
    wait_for(lambda: fleet.statuses, 60, why="the birth")
    wait_for((tmp_path / "mosquitto.db").exists, 60, why="that the broker stores it")
    assert fleet.statuses[0]["properties"]["message-expiry-interval"] <= 5
    broker.stop(signal.SIGKILL)
    send.end(signal.SIGKILL)

    broker.start()

    def stale() -> list[str]:
        late = listen(broker, "-W", "1", "-t", "mien/#")
        late.wait(20)
        return [message["payload"]["state"] for message in late.statuses]

    wait_for(lambda: not stale(), 60, why="that nobody is said to be online")


def test_an_acknowledgement_left_from_an_earlier_life_deletes_nothing(
    device: Device, mosquitto: Mosquitto, mien: Mien, listen: Listen
) -> None:
    """The card was written anew, so that its numbers begin at 1; the broker still has what a collector said about the old ones."""
    acknowledge(mosquitto, 5000)
    fleet = listen(mosquitto, *REPORTS)

    send = mien("send", "--settings", device.write(mosquitto.url, 'acknowledge = "collector"').put(3).settings)

    wait_for(lambda: fleet.seqs == [1, 2, 3] and device.held("sent") == 3, 60, why="the reports, kept")
    wait_for(lambda: send.events("warning"), why="the line")
    assert "names a report that was never sent" in send.events("warning")[0]
    acknowledge(mosquitto, 3)
    wait_for(lambda: device.seqs("sent") == [3], 60, why="the acknowledgement of this life")
