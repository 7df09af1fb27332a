"""What systemd hears, on a real socket."""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from device.notify import Notify, from_environment


@pytest.fixture(params=["path", "abstract"])
def systemd(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[socket.socket, str]]:
    """A socket to listen on, and its address as systemd would give it."""
    address = str(tmp_path / "n") if request.param == "path" else f"@mien-{secrets.token_hex(8)}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(address.replace("@", "\0", 1) if address.startswith("@") else address)
        listening.setblocking(False)
        yield listening, address


def heard(listening: socket.socket) -> list[str]:
    found = []
    while True:
        try:
            found.append(listening.recv(4096).decode())
        except BlockingIOError:
            return found


def test_it_says_ready_what_it_does_and_that_it_stops(systemd: tuple[socket.socket, str]) -> None:
    listening, address = systemd
    notify = from_environment({"NOTIFY_SOCKET": address})

    notify.ready("watching\na camera")
    notify.ready()
    notify.status("paused")
    notify.stopping()

    assert heard(listening) == ["READY=1\nSTATUS=watching a camera", "READY=1", "STATUS=paused", "STOPPING=1"]


def test_signs_of_life_come_four_times_in_the_watchdogs_time_however_often_the_loop_goes_round(
    systemd: tuple[socket.socket, str],
) -> None:
    listening, address = systemd
    at = 1000.0
    notify = Notify(address, watchdog=90.0, now=lambda: at)

    for _ in range(900):
        notify.alive()
        at += 0.1

    assert heard(listening) == ["WATCHDOG=1"] * 4


@pytest.mark.parametrize(
    "environment",
    [{}, {"WATCHDOG_USEC": "0"}, {"WATCHDOG_USEC": "soon"}, {"WATCHDOG_USEC": "8000000", "WATCHDOG_PID": "1"}],
    ids=["none", "zero", "no number", "another process's"],
)
def test_without_a_watchdog_of_its_own_it_gives_no_sign_of_life(
    systemd: tuple[socket.socket, str], environment: dict[str, str]
) -> None:
    listening, address = systemd
    notify = from_environment({"NOTIFY_SOCKET": address, **environment})

    notify.alive()

    assert heard(listening) == []


def test_a_watchdog_for_this_process_is_fed(systemd: tuple[socket.socket, str]) -> None:
    listening, address = systemd
    notify = from_environment({"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "8000000", "WATCHDOG_PID": str(os.getpid())})

    notify.alive()

    assert heard(listening) == ["WATCHDOG=1"]


@pytest.mark.parametrize("address", ["", "/nowhere/at/all", "@nobody-is-there", "vsock:2:1"])
def test_whoever_cannot_be_reached_is_not_told_and_nothing_is_raised(address: str) -> None:
    notify = from_environment({"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "1000000"})

    notify.ready("watching")
    notify.alive()
    notify.stopping()
