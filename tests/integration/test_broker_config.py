"""The broker's configuration against the real Mosquitto: what it keeps, what it refuses, and how it begins and ends."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from provisioning.dynsec import Control
from provisioning.errors import BrokerError
from tests.conftest import Process, wait_for
from tests.identities import Identity
from tests.trial import Trial

KEY = "0123456789abcdef" * 4


def test_a_service_that_was_away_finds_more_than_the_default_queue_after_a_restart(trial: Trial) -> None:
    with trial.client(trial.service, name="collector", session=3600) as service:
        service.subscribe("mien/v1/+/up/report")
    with trial.client(trial.d1) as one:
        for number in range(1500):
            one.send("mien/v1/d1/up/report", b"%d" % number)
        wait_for(lambda: len(one.codes) == 1500, why="all PUBACKs")
    trial.broker.end(signal.SIGTERM)
    trial.start()

    with trial.client(trial.service, name="collector", session=3600) as service:
        wait_for(lambda: len(service.received) >= 1500, why="all reports")

    assert [payload for _, payload in service.received] == [b"%d" % number for number in range(1500)]


def test_a_packet_that_is_too_large_ends_its_sender_alone(trial: Trial) -> None:
    with trial.client(trial.d1) as large, trial.client(trial.d2) as other:
        assert not large.publish("mien/v1/d1/up/report", b"x" * 1_000_000)
        wait_for(large.ended.is_set, why="the end")

        assert other.publish("mien/v1/d2/up/report", b"x" * 4096)


@pytest.mark.skipif(shutil.which("mosquitto_pub") is None, reason="mosquitto-clients is not installed")
def test_mosquitto_pub_and_sub_agree(trial: Trial, start: Callable[..., Process]) -> None:
    def words(who: Identity) -> tuple[str | Path, ...]:
        where: tuple[str | Path, ...] = ("-V", "mqttv5", "-h", "localhost", "-p", str(trial.fleet.port), "--cafile", trial.fleet.ca)
        return (*where, "--cert", who.certificate, "--key", who.key, "-q", "1")

    def publish(who: Identity, topic: str) -> str:
        done = subprocess.run(["mosquitto_pub", *words(who), "-t", topic, "-m", topic], check=False, capture_output=True, text=True)
        return done.stderr

    heard = start(
        "stdbuf", "-oL", "mosquitto_sub", *words(trial.service), "-d", "-t", "mien/v1/+/up/#", "-t", "mien-enroll/v1/+/+/csr"
    )
    wait_for(lambda: "Subscribed" in heard.out.read_text(), why="the subscription")

    assert publish(trial.d1, "mien/v1/d1/up/report") == ""
    assert "Not authorized" in publish(trial.d1, "mien/v1/d2/up/report")
    assert "Not authorized" in publish(trial.d1, f"mien-enroll/v1/b1/{KEY}/csr")
    assert publish(trial.b1, f"mien-enroll/v1/b1/{KEY}/csr") == ""
    assert "Not authorized" in publish(trial.b1, f"mien-enroll/v1/b2/{KEY}/csr")
    assert "Not authorized" in publish(trial.b1, "mien/v1/b1/up/report")
    wait_for(lambda: f"mien-enroll/v1/b1/{KEY}/csr\n" in heard.out.read_text(), why="the CSR")
    assert "mien/v1/d2" not in heard.out.read_text()


def test_a_broker_that_does_not_run_is_one_clear_line(trial: Trial) -> None:
    trial.broker.end()

    with pytest.raises(BrokerError, match="is the broker running, and is this its name"), Control(trial.fleet):
        pass


def test_a_broker_whose_port_is_taken_says_so(trial: Trial, start: Callable[..., Process]) -> None:
    second = start(sys.executable, "-m", "provisioning.cli", "broker", trial.fleet.folder)

    assert second.wait() == 69
    assert f"port {trial.fleet.port} is taken" in second.err.read_text()


def test_a_trial_broker_ends_with_the_command_that_started_it(trial: Trial) -> None:
    trial.broker.end(signal.SIGKILL)

    def gone() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", trial.fleet.port)) != 0

    wait_for(gone, why="the end of mosquitto")
