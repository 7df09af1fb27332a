"""The demo, run as a person runs it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Mosquitto, wait_for

ROOT = Path(__file__).parents[2]


def demo(*words: str) -> list[str]:
    return [sys.executable, "-m", "device.entry", "demo", *words]


def test_reports_agree_with_what_the_scene_showed(tmp_path: Path) -> None:
    truth_file = tmp_path / "truth.json"

    ended = subprocess.run(
        demo("--seconds", "20", "--json", "--truth", str(truth_file)),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=55,
        check=False,
    )

    assert ended.returncode == 0, ended.stderr
    reports = [json.loads(line) for line in ended.stdout.splitlines()]
    truths = json.loads(truth_file.read_text())["windows"]
    assert [report["seq"] for report in reports] == [truth["seq"] for truth in truths] == [1, 2]
    for report, truth in zip(reports, truths, strict=True):
        counts = {cell: count or 0 for cell, count in report["groups"]["emotion"].items()}
        assert abs(report["people"] - truth["people"]) <= 1
        assert max(counts, key=lambda cell: counts[cell]) == truth["dominant"]


def test_ctrl_c_ends_everything_that_the_demo_started(tmp_path: Path) -> None:
    process = subprocess.Popen(
        demo("--json"), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ, "TMPDIR": str(tmp_path)}
    )
    wait_for(lambda: list(tmp_path.glob("mien-demo-*/run/health.json")), why="the watching process is at work")

    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)

    assert process.returncode == 0, err
    assert (out, err) == (b"", b"")
    assert not list(tmp_path.iterdir())
    assert str(tmp_path).encode() not in b"".join(p.read_bytes() for p in Path("/proc").glob("[0-9]*/cmdline") if readable(p))


def test_a_demo_that_is_killed_leaves_no_process_behind(tmp_path: Path) -> None:
    process = subprocess.Popen(
        demo("--json"), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ, "TMPDIR": str(tmp_path)}
    )
    wait_for(lambda: list(tmp_path.glob("mien-demo-*/run/health.json")), why="the watching process is at work")

    process.kill()
    process.communicate(timeout=20)

    wait_for(lambda: not working_in(tmp_path), why="the end of what the demo had started")


def working_in(folder: Path) -> list[str]:
    """The processes that work below a folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "cwd").resolve(strict=True).is_relative_to(folder):
                found.append(process.name)
        except OSError:
            continue
    return found


def readable(path: Path) -> bool:
    try:
        path.read_bytes()
    except OSError:
        return False
    return True


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--camera", "replay:/nowhere.mkv"], 69, "/nowhere.mkv"),
        (["--camera", "v4l2:/dev/video99"], 69, "/dev/video99"),
        (["--broker", "mqtt://127.0.0.1:9"], 69, "mqtt://127.0.0.1:9: cannot reach the broker"),
        (["--camera", "nonsense"], 2, "choose one of"),
        (["--broker", "foo"], 2, "expected mqtt://host:port"),
        (["--broker", "mqtt://127.0.0.1:99999"], 2, "expected mqtt://host:port"),
        (["--broker", "mqtt://me:secret@127.0.0.1"], 2, "without a name and a password"),
        (["--truth", "/dev/null"], 73, "/dev/null"),
        (["--seconds", "10", "--window", "20"], 2, "--window"),
        (["--truth", "/nowhere/truth.json"], 73, "/nowhere/truth.json"),
        (["--truth", "t.json", "--camera", "replay:x.mkv"], 2, "only a composite scene"),
        (["--picture", "p.svg"], 2, "--picture"),
    ],
)
def test_what_the_demo_cannot_use_is_named_in_one_line(words: list[str], code: int, said: str) -> None:
    ended = subprocess.run(demo("--json", *words), cwd=ROOT, capture_output=True, text=True, timeout=55, check=False)

    assert ended.returncode == code
    assert said in ended.stderr
    assert len(ended.stderr.splitlines()) == 1


def test_a_broker_that_refuses_the_reports_is_named_with_its_reason(
    start_mosquitto: Callable[..., Mosquitto], tmp_path: Path
) -> None:
    acl = tmp_path / "acl"
    acl.write_text("topic read mien/#\n")
    broker = start_mosquitto(f"acl_file {acl}\n")

    ended = subprocess.run(
        demo("--json", "--seconds", "10", "--broker", broker.url), cwd=ROOT, capture_output=True, text=True, timeout=55, check=False
    )

    assert ended.returncode == 69
    assert "1 of 1 reports did not arrive" in ended.stderr
    assert "the broker refuses what this device publishes (Not authorized); check its access list" in ended.stderr


def test_ctrl_c_before_anything_has_begun_ends_it_without_a_word() -> None:
    for delay in (0.0, 0.05, 0.2, 0.4):
        process = subprocess.Popen(demo("--json"), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        maps = Path(f"/proc/{process.pid}/maps")
        wait_for(lambda maps=maps: "pydantic_core" in maps.read_text(), why="mien's imports are under way")  # type: ignore[misc]
        try:
            process.wait(delay)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)

        assert process.returncode in (0, -signal.SIGINT)
        assert (out, err) == (b"", b"")
