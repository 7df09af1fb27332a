"""A soak run of a few seconds, as a person runs it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

from tests.conftest import ROOT, wait_for


def soak(*words: str) -> list[str]:
    return [sys.executable, "-m", "device.entry", "soak", *words]


def test_a_short_run_measures_both_processes_loses_nothing_and_leaves_a_log_and_a_picture(tmp_path: Path) -> None:
    log, picture = tmp_path / "soak.jsonl", tmp_path / "soak.svg"
    words = soak("--hours", str(18 / 3600), "--window", "5", "--json", "--log", str(log), "--plot", str(picture))

    ended = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=180, check=False)

    assert ended.stderr.strip() in ("", "soaking"), ended.stderr
    found = json.loads(ended.stdout)
    assert ended.returncode == (1 if found["broken"] else 0)
    assert (found["complete"], found["why"]) == (True, "the time is over")
    for process in found["processes"].values():
        assert process["memory"]["peak"] > 10
        assert process["descriptors"]["peak"] >= 3
    assert found["latency_ms"]["frames"] > 10
    assert 0 < found["latency_ms"]["p50"] <= found["latency_ms"]["p99"]
    assert found["reports"] == {"made": found["reports"]["arrived"], "arrived": found["reports"]["made"], "lost": [], "twice": 0}
    assert found["reports"]["made"] >= 2
    assert picture.read_text().startswith("<svg")

    again = subprocess.run(soak("--again", str(log), "--json"), cwd=ROOT, capture_output=True, text=True, check=False)
    assert json.loads(again.stdout) == found

    twice = subprocess.run(soak("--log", str(log)), cwd=ROOT, capture_output=True, text=True, check=False)
    assert twice.returncode == 73
    assert "is there already" in twice.stderr


def test_a_run_that_is_killed_has_lost_none_of_its_samples_and_leaves_no_process(tmp_path: Path) -> None:
    log = tmp_path / "soak.jsonl"
    process = subprocess.Popen(
        soak("--hours", "0.05", "--log", str(log)), cwd=ROOT, stderr=subprocess.DEVNULL, env={**os.environ, "TMPDIR": str(tmp_path)}
    )
    wait_for(lambda: log.exists() and log.read_text().count('"at"') >= 3, 60, "three samples")

    process.send_signal(signal.SIGKILL)
    process.wait(20)

    assert _ran_until(log) > 0
    wait_for(lambda: not _running(tmp_path), 30, "nothing of it runs any more")
    again = subprocess.run(soak("--again", str(log), "--json"), cwd=ROOT, capture_output=True, text=True, check=False)
    found = json.loads(again.stdout)
    assert (found["complete"], found["why"]) == (False, "cut off")
    assert found["samples"] >= 3


def test_a_file_that_is_no_log_is_refused_without_a_traceback(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.jsonl"
    wrong.write_text('{"at": 1}\n')

    ended = subprocess.run(soak("--again", str(wrong)), cwd=ROOT, capture_output=True, text=True, check=False)

    assert (ended.returncode, ended.stdout) == (2, "")
    assert "no log of a soak run" in ended.stderr
    assert "Traceback" not in ended.stderr


def _ran_until(log: Path) -> float:
    return max(float(json.loads(line).get("at", 0.0)) for line in log.read_text().splitlines() if line.endswith("}"))


def _running(folder: Path) -> list[str]:
    """Processes that name this folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            said = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if str(folder) in said and "-m pytest" not in said:
            found.append(said)
    return found
