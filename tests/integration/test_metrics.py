"""The health as Prometheus text on a Unix socket: what the sending process answers, and what it survives."""

from __future__ import annotations

import errno
import re
import shutil
import socket
import subprocess
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from device import metrics
from device.contract import Machine, SpoolState, Status
from device.errors import OutputError
from tests.build import Device
from tests.conftest import Mosquitto, Process, wait_for

LINE = re.compile(r'mien_[a-z_]+(\{[a-z]+="[^"\\\n]*"(,[a-z]+="[^"\\\n]*")*\})? -?[0-9.e+]+')
WELL = Status(
    schema=1,
    state="online",
    session="5e55104a",
    health="degraded",
    trouble="camera",
    machine=Machine(temperature="warm", throttled=True, power=None, memory="ok", disk="ok", uptime="days", clock="synced"),
    spool=SpoolState(waiting=3, dropped=0, set_aside=0),
)


@pytest.fixture
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A short path: 108 bytes are all that a socket may have."""
    return tmp_path_factory.mktemp("m") / "s"


def ask(path: Path, question: bytes = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n") -> tuple[str, str]:
    """Status line and body of the answer."""
    with closing(socket.socket(socket.AF_UNIX)) as line:
        line.settimeout(10)
        line.connect(str(path))
        line.sendall(question)
        answer = b""
        while more := line.recv(4096):
            answer += more
    head, _, body = answer.decode().partition("\r\n\r\n")
    return head.splitlines()[0], body


def values(said: str) -> dict[str, float]:
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in said.splitlines() if not line.startswith("#"))}


def test_every_line_is_a_metric_and_every_metric_says_what_it_is() -> None:
    said = metrics.text(WELL, connected=True, delivered=7)

    assert said.endswith("\n")
    for line in said.splitlines():
        assert LINE.fullmatch(line) or re.match(r"# (HELP|TYPE) mien_[a-z_]+ .+", line), line
    names = re.findall(r"^(mien_[a-z_]+)", said, re.MULTILINE)
    assert {f"# TYPE {name} " in said and f"# HELP {name} " in said for name in names} == {True}


def test_a_status_becomes_figures() -> None:
    found = values(metrics.text(WELL, connected=True, delivered=7))

    assert found["mien_connected"] == 1
    assert found["mien_reports_delivered_total"] == 7
    assert found["mien_spool_waiting"] == 3
    assert [name for name, value in found.items() if "health=" in name and value] == ['mien_health{health="degraded"}']
    assert [name for name, value in found.items() if "trouble=" in name and value] == ['mien_trouble{trouble="camera"}']
    assert found['mien_machine_temperature{step="warm"}'] == 1
    assert found['mien_machine_temperature{step="hot"}'] == 0
    assert found["mien_machine_throttled"] == 1
    assert "power" not in str(found)


@pytest.mark.parametrize(
    ("question", "status"),
    [
        (b"GET / HTTP/1.0\r\n\r\n", "HTTP/1.0 200 OK"),
        (b"GET /metrics?x=1 HTTP/1.1\r\n\r\n", "HTTP/1.0 200 OK"),
        (b"GET /spool HTTP/1.1\r\n\r\n", "HTTP/1.0 404 Not Found"),
        (b"POST /metrics HTTP/1.1\r\n\r\n", "HTTP/1.0 405 Method Not Allowed"),
        (b"\0" * 4096, "HTTP/1.0 405 Method Not Allowed"),
    ],
)
def test_only_one_question_has_an_answer(place: Path, question: bytes, status: str) -> None:
    with metrics.served(place) as board:
        board.said = "mien_connected 1\n"

        said, body = ask(place, question)

    assert said == status
    assert body == ("mien_connected 1\n" if "200" in status else "")


def test_one_who_says_nothing_does_not_keep_others_waiting_for_long(place: Path) -> None:
    with metrics.served(place) as board, closing(socket.socket(socket.AF_UNIX)) as silent:
        board.said = "mien_connected 1\n"
        silent.connect(str(place))

        assert ask(place)[1] == board.said


def test_the_socket_is_for_its_owner_and_group_takes_the_place_of_an_old_one_and_is_gone_afterwards(place: Path) -> None:
    place.touch()  # of a process that was killed
    with metrics.served(place):
        assert place.is_socket()
        assert place.stat().st_mode & 0o777 == 0o660

    assert not place.exists()


def test_it_answers_again_once_there_are_descriptors_again(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "PATIENCE", 0.1)
    accept, left = socket.socket.accept, [2]

    def scarce(listening: socket.socket) -> object:
        if left[0]:
            left[0] -= 1
            raise OSError(errno.EMFILE, "Too many open files")
        return accept(listening)

    monkeypatch.setattr(socket.socket, "accept", scarce)
    with metrics.served(place) as board:
        board.said = "mien_connected 1\n"

        assert ask(place)[1] == board.said


def test_a_file_that_is_no_socket_is_not_taken_away(place: Path) -> None:
    place.write_text("a key, and somebody's mistake")

    with pytest.raises(OutputError, match="a file that is no socket"), metrics.served(place):
        pass

    assert place.exists()


def test_a_socket_that_cannot_be_made_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"metrics_socket: .* cannot be made \(.*\); choose a folder"), metrics.served(
        tmp_path / ("long" * 30)
    ):  # fmt: skip
        pass


def test_mien_send_answers_curl_while_it_runs(
    device: Device, mosquitto: Mosquitto, mien: Callable[..., Process], place: Path
) -> None:
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    device.write(mosquitto.url, top=f'metrics_socket = "{place}"').put(2)
    send = mien("send", "--settings", device.settings)

    def curl() -> dict[str, float]:
        words = ["curl", "-sS", "--max-time", "5", "--unix-socket", str(place), "http://localhost/metrics"]
        said = subprocess.run(words, capture_output=True, text=True, check=False).stdout
        return values(said)

    wait_for(place.is_socket, why="the socket")
    wait_for(lambda: curl().get("mien_reports_delivered_total") == 2, 30, why="both reports")
    found = curl()

    assert found["mien_connected"] == 1
    assert found['mien_trouble{trouble="stopped"}'] == 1
    assert send.end() == 0
    assert not place.exists()


def test_a_place_where_no_socket_can_be_is_logged_and_sending_goes_on(
    device: Device, mosquitto: Mosquitto, mien: Callable[..., Process]
) -> None:
    device.write(mosquitto.url, top='metrics_socket = "/proc/nowhere/metrics.sock"').put(1)

    send = mien("send", "--settings", device.settings, "--once")

    assert send.wait() == 0
    assert "metrics_socket: /proc/nowhere/metrics.sock cannot be made" in send.events("error")[0]
    assert device.held("new") == 0
