"""A name server that does not answer, certificates that have expired, a clock that was never set: each is named, and mended."""

from __future__ import annotations

import glob
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.build import Device
from tests.conftest import Mosquitto, Process, wait_for
from tests.integration.test_mqtt_tls import Authority, tls

pytestmark = pytest.mark.timeout(180)
Start = Callable[..., Mosquitto]


def library(name: str, package: str) -> str:
    """A library that stands between a program and the system."""
    found = sorted(glob.glob(f"/usr/lib/*/{name}"))
    if not found:
        pytest.skip(f"{name} is not installed: sudo apt install {package}")
    return found[0]


def send_with(start: Callable[..., Process], device: Device, **environment: str | Path) -> Process:
    variables = [f"{name}={value}" for name, value in environment.items()]
    return start("env", *variables, sys.executable, "-m", "device.cli", "send", "--settings", device.settings)


def test_a_name_that_cannot_be_resolved_is_said_and_tried_again(
    device: Device, mosquitto: Mosquitto, start: Callable[..., Process], tmp_path: Path
) -> None:
    hosts = tmp_path / "hosts"
    hosts.write_text("127.0.0.1 localhost\n")
    device.write(f"mqtt://broker.test:{mosquitto.port}", top='log_level = "debug"').put(3)
    wrapper = library("libnss_wrapper.so", "libnss-wrapper")
    send = send_with(start, device, LD_PRELOAD=wrapper, NSS_WRAPPER_HOSTS=hosts)
    wait_for(lambda: send.events("warning") and send.events("debug"), 90, why="two attempts")
    assert f"broker.test:{mosquitto.port}: no such host (" in send.events("warning")[0]
    assert "check the url and the name server" in send.events("warning")[0]

    hosts.write_text("127.0.0.1 localhost\n127.0.0.1 broker.test\n")
    os.utime(hosts, (time.time() + 60,) * 2)  # the wrapper reads a file again when its whole second is another

    wait_for(lambda: device.held("new") == 0, 90, why="the delivery")


def test_a_broker_whose_certificate_has_expired_is_refused_by_name_until_it_is_renewed(
    device: Device, start_mosquitto: Start, start: Callable[..., Process], tmp_path: Path
) -> None:
    authority = Authority(tmp_path / "authority")
    authority.hours = (-48, -24)
    broker = start_mosquitto(tls(authority))
    device.write(f"mqtts://127.0.0.1:{broker.port}", f'ca_file = "{authority.ca}"').put(3)
    send = send_with(start, device)
    wait_for(lambda: send.events("warning"), 60, why="the line")
    (line,) = send.events("warning")
    assert "the broker's certificate is not to be trusted (certificate has expired; the clock of this device says 20" in line
    assert "set the clock if that is wrong, else renew the certificate" in line
    assert device.held("new") == 3

    broker.stop()
    authority.hours = (-1, 1)
    broker.extra = tls(authority)
    broker.start()

    wait_for(lambda: device.held("new") == 0, 60, why="the delivery")


def test_a_device_whose_clock_says_1970_says_so_and_sends_once_the_clock_is_set(
    device: Device, start_mosquitto: Start, start: Callable[..., Process], tmp_path: Path
) -> None:
    authority = Authority(tmp_path / "authority")
    broker = start_mosquitto(tls(authority))
    device.write(f"mqtts://127.0.0.1:{broker.port}", f'ca_file = "{authority.ca}"').put(3)
    clock = tmp_path / "clock"
    clock.write_text("@1970-01-01 00:05:00\n")
    send = send_with(
        start,
        device,
        LD_PRELOAD=library("faketime/libfaketimeMT.so.1", "faketime"),
        FAKETIME_TIMESTAMP_FILE=clock,
        FAKETIME_NO_CACHE="1",
        FAKETIME_DONT_FAKE_MONOTONIC="1",
    )
    wait_for(lambda: send.events("warning"), 60, why="the line")
    (line,) = send.events("warning")
    assert "certificate is not yet valid; the clock of this device says 1970-01-01); set the clock if that is wrong" in line
    assert device.held("new") == 3

    clock.write_text("+0\n")

    wait_for(lambda: device.held("new") == 0, 60, why="the delivery")
    assert send.running
