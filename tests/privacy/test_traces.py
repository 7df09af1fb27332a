"""Every byte that the real processes hand to the kernel, seen by strace: no picture in it, nor anything but reports."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from device.proof import canary, pictures
from device.proof.memory import HERE
from device.proof.tracer import NotTriedError, Trace, trace
from tests.build import Device
from tests.conftest import Listener, Mosquitto, wait_for

pytestmark = pytest.mark.timeout(240)
NEEDLES = canary.needles([canary.Tensor("face", 192, 192, 3, "float32"), canary.Tensor("emotion", 48, 48, 1, "int8")])
PICTURES = 40
MOST = 4096  # bytes of one message
WATCH_WRITES = r"/run/health\.(json|tmp)|/spool/(tmp|new)/report-\d{12}\.json|/spool/\.watch\.lock|/(state|inbox)/[^/]*"
SEND_WRITES = r"/spool/\.send\.lock|/(send|inbox)/.*"


@pytest.fixture
def traced(tmp_path: Path) -> Callable[..., Trace]:
    """A function that runs Python with these words under strace."""

    def run(*words: str | Path) -> Trace:
        try:
            return trace(
                [sys.executable, *map(str, words)], tmp_path / f"{words[1]}.trace", cwd=tmp_path, timeout=180,
                env={**os.environ, "PYTHONPATH": str(HERE), "PYTHONDONTWRITEBYTECODE": "1"},
            )  # fmt: skip
        except NotTriedError as error:
            pytest.skip(str(error))

    return run


def opened_elsewhere(seen: Trace, allowed: str, folder: Path) -> set[str]:
    """Files that were opened for writing and are not on the list."""
    pattern = re.compile(f"{re.escape(str(folder))}({allowed})|/dev/(null|tty)(<char [0-9:]+>)?")
    return {path for path in seen.opened if not pattern.fullmatch(path)}


def test_watching_people_writes_reports_and_nothing_else(device: Device, traced: Callable[..., Trace], tmp_path: Path) -> None:
    pictures.write_people(tmp_path / "people", PICTURES)
    device.write(top="k = 3", camera="fast = true")

    seen = traced("-m", "device.cli", "watch", "--settings", device.settings, "--camera", f"replay:{tmp_path / 'people'}")

    reports = [json.loads(path.read_bytes())["report"] for path in sorted((tmp_path / "spool" / "new").iterdir())]
    assert [report["people"] for report in reports] == [3, 3]  # so their faces were cut out and read
    assert not seen.find(NEEDLES)
    assert not seen.blind
    assert not {family for family in seen.sockets if "INET" in family}
    assert not opened_elsewhere(seen, WATCH_WRITES, tmp_path)
    for where, content in seen.written:
        if "eventfd" not in where:
            assert len(content) <= MOST
            assert content.decode("ascii").isprintable() or content.endswith(b"\n"), where


def test_sending_reports_writes_messages_and_nothing_else(
    device: Device, mosquitto: Mosquitto, traced: Callable[..., Trace], listen: Callable[..., Listener], tmp_path: Path
) -> None:
    fleet = listen(mosquitto)
    device.write(mosquitto.url).put(3)

    seen = traced("-m", "device.cli", "send", "--once", "--settings", device.settings)

    wait_for(lambda: len(fleet.reports) == 3, why="the reports")
    assert not seen.find(NEEDLES)
    assert not seen.blind
    assert not opened_elsewhere(seen, SEND_WRITES, tmp_path)
    sent = b"".join(content for where, content in seen.written if where.startswith("send"))
    assert sum(message["payload"]["seq"] for message in fleet.reports) == 6
    assert sent.count(b'"schema":1') >= 3
    assert all(len(content) <= MOST for _, content in seen.written)


@pytest.mark.parametrize("way", ["write", "send"])
def test_a_picture_that_is_let_out_is_found_by_the_same_tracer(way: str, traced: Callable[..., Trace], tmp_path: Path) -> None:
    picture = tmp_path / "picture"
    picture.write_bytes(canary.picture().tobytes())

    assert traced("-m", "device.proof.leak", way, picture).find(NEEDLES)


def test_a_store_into_a_shared_file_is_refused_by_the_same_tracer(traced: Callable[..., Trace], tmp_path: Path) -> None:
    picture = tmp_path / "picture"
    picture.write_bytes(canary.picture().tobytes())

    seen = traced("-m", "device.proof.leak", "map", picture)

    assert not seen.find(NEEDLES)  # strace sees no store
    assert any(call.startswith("mmap") for call in seen.blind)
    assert opened_elsewhere(seen, WATCH_WRITES, tmp_path) == {f"{picture}.leaked"}
