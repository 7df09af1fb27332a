"""Without a broker."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable

from tests.build import Device
from tests.conftest import Process

Mien = Callable[..., Process]


def test_reports_can_be_printed_instead(device: Device, mien: Mien) -> None:
    device.write("mqtt://127.0.0.1:1", 'publisher = "stdout"').put(3)

    send = mien("send", "--settings", device.settings, "--once")

    assert send.wait() == 0
    assert [json.loads(line)["seq"] for line in send.out.read_text().splitlines()] == [1, 2, 3]
    assert device.held("new") == 0


def test_a_pipe_whose_reader_has_gone_is_one_clear_line_and_the_reports_stay(device: Device) -> None:
    device.write("mqtt://127.0.0.1:1", 'publisher = "stdout"').put(3)
    command = [sys.executable, "-m", "device.cli", "send", "--settings", str(device.settings), "--once"]

    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as send:
        assert send.stdout is not None
        assert send.stderr is not None
        send.stdout.close()
        said = send.stderr.read()
        ended = send.wait(20)

    assert ended == 69
    assert [line for line in said.splitlines() if not line.startswith("{")] == [
        "mien: standard output: cannot write the report (Broken pipe); it stays in the spool"
    ]
    assert device.held("new") == 3
