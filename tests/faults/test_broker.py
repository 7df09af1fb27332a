"""A broker that dies at the worst moment."""

from __future__ import annotations

import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest

from tests.build import Device
from tests.conftest import Listener, Mosquitto, Process, wait_for


class Wire:
    """What lies between a device and its broker: can lose the broker's answers, and can be cut.

    Attributes:
        deaf: Nothing that the broker says after its greeting reaches the device.
        cut: Connections are closed as soon as they are made.
    """

    def __init__(self, port: int) -> None:
        self.deaf = self.cut = False
        self._to = ("127.0.0.1", port)
        self._server = socket.create_server(("127.0.0.1", 0))
        self.url = f"mqtt://127.0.0.1:{self._server.getsockname()[1]}"
        self._open: list[socket.socket] = []
        self._thread = threading.Thread(target=self._accept)
        self._thread.start()

    def _accept(self) -> None:
        threads: list[threading.Thread] = []
        with suppress(OSError):
            while True:
                device, _ = self._server.accept()
                try:
                    if self.cut:
                        raise OSError("cut")
                    broker = socket.create_connection(self._to)
                except OSError:
                    device.close()
                    continue
                self._open += [device, broker]
                for pair in ((device, broker, False), (broker, device, True)):
                    threads.append(threading.Thread(target=self._carry, args=pair))
                    threads[-1].start()
        for thread in threads:
            thread.join()

    def _carry(self, source: socket.socket, target: socket.socket, answers: bool) -> None:
        greeted = False
        with suppress(OSError):
            while data := source.recv(65_536):
                if not (answers and greeted and self.deaf):
                    target.sendall(data)
                greeted = True
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._server.shutdown(socket.SHUT_RDWR)
        for end in self._open:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        for end in (*self._open, self._server):
            end.close()


@pytest.fixture
def wire(mosquitto: Mosquitto) -> Iterator[Wire]:
    made = Wire(mosquitto.port)
    yield made
    made.close()


def test_a_broker_killed_before_it_could_confirm_gets_the_same_reports_again(
    device: Device, mosquitto: Mosquitto, wire: Wire, mien: Callable[..., Process], listen: Callable[..., Listener]
) -> None:
    device.write(wire.url).put(3)
    before = listen(mosquitto, "-t", "mien/v1/shelf-7/up/report")
    wire.deaf = True
    mien("send", "--settings", device.settings)
    wait_for(lambda: before.seqs == [1, 2, 3], why="the reports")
    assert device.seqs("new") == [1, 2, 3]  # published, and not confirmed

    before.end(signal.SIGKILL)  # or it comes back with the broker, and hears the same again
    wire.cut = True
    mosquitto.stop()
    mosquitto.start()
    after = listen(mosquitto, "-t", "mien/v1/shelf-7/up/report")
    wire.deaf = wire.cut = False

    wait_for(lambda: device.held("new") == 0, why="the confirmations")
    wait_for(lambda: len(after.seqs) == 3, why="the reports, again")
    assert after.seqs == [1, 2, 3]
    assert after.ids == before.ids  # so a consumer that drops repeated ids sees each once
    assert [message["payload"] for message in after.reports] == [message["payload"] for message in before.reports]


def test_reports_wait_while_the_broker_is_gone_and_go_when_it_is_back(
    device: Device, mosquitto: Mosquitto, mien: Callable[..., Process]
) -> None:
    send = mien("send", "--settings", device.write(mosquitto.url).put(2).settings)
    wait_for(lambda: device.held("new") == 0, why="the first reports")

    for _ in range(2):
        lost = len(send.events("warning"))
        mosquitto.stop()
        wait_for(lambda lost=lost: len(send.events("warning")) > lost, why="that the loss is noticed")  # type: ignore[misc]
        device.put(3)
        mosquitto.start()
        wait_for(lambda: device.held("new") == 0, why="the reports that waited")

    assert [line["seq"] for line in send.log if line["event"] == "delivered"] == list(range(1, 9))
    assert send.running


def test_an_answer_that_never_comes_holds_up_the_goodbye_for_seconds_only(
    device: Device, mosquitto: Mosquitto, wire: Wire, mien: Callable[..., Process], listen: Callable[..., Listener]
) -> None:
    fleet = listen(mosquitto)
    wire.deaf = True
    send = mien("send", "--settings", device.write(wire.url).put(1).settings)
    wait_for(lambda: fleet.reports, why="the report")

    assert send.end() == 0

    wait_for(lambda: fleet.statuses[-1]["payload"]["state"] == "lost", why="the last will")
    assert device.seqs("new") == [1]
