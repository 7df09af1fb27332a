"""Policy, pauses, cards and the notice, with the real processes."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from device.cameras.composite import Painter
from device.manifest import FOLDER
from device.nets.cards import CONSENT, NO_THANKS
from device.scene import Figure
from tests.build import Device
from tests.cards import show
from tests.conftest import Listener, Mosquitto, Process, wait_for

CLASSROOM = 'setting = "classroom"\njurisdiction = "FR"'
FPS, SECONDS, WIDTH, HEIGHT = 5, 6, 640, 480


def stored(device: Device) -> list[Any]:
    """The reports in the spool."""
    return [json.loads(path.read_text())["report"] for path in sorted((device.folder / "spool" / "new").glob("*.json"))]


def clip(folder: Path, marker: int | None, places: tuple[float, ...] = (0.25, 0.5, 0.75)) -> Path:
    """A video of people who stand still; the one on the left may hold a card."""
    path = folder / "clip.avi"
    painter = Painter(WIDTH, HEIGHT, 0)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), FPS, (WIDTH, HEIGHT))
    clothes = ((1.0, 0.95, 0.9), (60, 40, 30), (40, 60, 90))
    figures = [Figure(n + 1, x, 0.4, 100, (("happiness", 1.0),), *clothes, mirrored=False) for n, x in enumerate(places)]
    for n in range(FPS * SECONDS):
        picture = painter.paint(tuple(figures), n)
        if marker is not None:
            show(picture, marker, places[0] * WIDTH, 0.8 * HEIGHT, 75, turn=8)
        writer.write(np.ascontiguousarray(picture[..., ::-1]))
    writer.release()
    return path


def test_in_a_classroom_of_the_union_people_are_counted_without_the_emotion_model(
    device: Device, tmp_path: Path, mien: Callable[..., Process]
) -> None:
    models = tmp_path / "models"
    models.mkdir()
    manifest = json.loads((FOLDER / "manifest.json").read_text())
    del manifest["models"]["emotion"]
    (models / "manifest.json").write_text(json.dumps(manifest))
    for file in FOLDER.glob("*.tflite"):
        if "emotion" not in file.name:
            (models / file.name).write_bytes(file.read_bytes())
    device.write(policy=f'{CLASSROOM}\n[models]\nfolder = "{models}"', top="k = 3")

    watch = mien("watch", "--settings", device.settings, "--camera", f"replay:{clip(tmp_path, None)}")

    assert watch.wait() == 0, watch.complaints
    reports = stored(device)
    assert (reports[0]["people"], reports[0]["groups"]) == (3, {"emotion": None, "opted_out": None})
    assert reports[0]["models"]["emotion"] is None
    assert all(report["privacy"]["policy"] == "classroom/FR@1" for report in reports)
    assert any("only people are counted" in line for line in watch.events("warning"))


@pytest.mark.parametrize("command", ["watch", "send", "notice"])
def test_settings_that_insist_on_emotions_in_a_classroom_end_with_78_and_the_article(
    device: Device, mien: Callable[..., Process], command: str
) -> None:
    device.write(policy=f"{CLASSROOM}\nemotions = true")

    ended = mien(command, "--settings", device.settings)

    assert ended.wait() == 78
    (line,) = ended.complaints
    assert "policy.emotions" in line
    assert "Regulation (EU) 2024/1689 Art. 5(1)(f)" in line


def test_a_no_thanks_card_keeps_its_holder_out_of_the_counts_and_nobody_else(
    device: Device, tmp_path: Path, mien: Callable[..., Process]
) -> None:
    device.write(top="k = 2\ndemo = true")

    watch = mien("watch", "--settings", device.settings, "--camera", f"replay:{clip(tmp_path, NO_THANKS, (0.2, 0.75, 0.93))}")

    assert watch.wait() == 0, watch.complaints
    assert stored(device)[0]["people"] == 2


def test_with_opt_in_people_are_counted_while_a_consent_card_is_in_view(
    device: Device, tmp_path: Path, mien: Callable[..., Process]
) -> None:
    device.write(top="k = 2\ndemo = true", policy='setting = "research"\njurisdiction = "EU"\n[consent]\nmode = "opt-in"')
    counts = []
    for marker in (None, CONSENT):
        watch = mien("watch", "--settings", device.settings, "--camera", f"replay:{clip(tmp_path, marker)}")
        assert watch.wait() == 0, watch.complaints
        counts.append(stored(device)[-2])

    assert (counts[0]["withheld"], counts[0]["quality"]["coverage"]) == ("k", 1.0)
    assert counts[1]["people"] == 3


def test_a_pause_from_the_command_line_shows_in_the_reports(
    device: Device, mien: Callable[..., Process], mosquitto: Mosquitto
) -> None:
    device.write(mosquitto.url, camera="")
    watch = mien("watch", "--settings", device.settings)
    wait_for(lambda: "watching" in watch.events(), why="the watching")

    assert mien("pause", "--settings", device.settings, "--seconds", "60").wait() == 0

    wait_for(lambda: any(report["withheld"] == "paused" for report in stored(device)), seconds=40, why="a paused report")
    paused = next(report for report in stored(device) if report["withheld"] == "paused")
    assert (paused["pauses"], paused["people"], paused["quality"]["coverage"]) == (1, None, 0.0)
    assert mien("pause", "--settings", device.settings, "--seconds", "0").wait() == 0
    wait_for(lambda: "resumed" in watch.events(), why="the resuming")
    assert watch.end() == 0


def test_a_pause_over_mqtt_is_answered_and_reaches_the_watching_process(
    device: Device, mosquitto: Mosquitto, mien: Callable[..., Process], listen: Callable[..., Listener]
) -> None:
    device.write(mosquitto.url, camera="", broker="commands = true")
    fleet = listen(mosquitto)
    watch, send = (mien(name, "--settings", device.settings) for name in ("watch", "send"))
    wait_for(lambda: fleet.statuses, why="the birth")

    for name, payload in (("a1", '{"command": "pause", "seconds": 600}'), ("a2", '{"command": "open"}')):
        words = ["mosquitto_pub", "-V", "mqttv5", "-p", str(mosquitto.port), "-q", "1"]
        words += ["-D", "publish", "message-expiry-interval", "60"]
        subprocess.run([*words, "-t", f"mien/v1/shelf-7/down/command/{name}", "-m", payload], check=True, timeout=20)

    def answers(name: str) -> list[tuple[str, str | None]]:
        mine = [m["payload"] for m in fleet.messages if m["topic"].endswith(f"/up/command/{name}")]
        return [(one["state"], one["reason"]) for one in mine]

    wait_for(lambda: len(answers("a1")) == 2 and answers("a2"), why="the answers")
    assert answers("a1") == [("accepted", None), ("succeeded", None)]
    assert answers("a2") == [("rejected", "invalid")]
    wait_for(lambda: "paused" in watch.events(), why="the pause")
    assert (watch.end(), send.end()) == (0, 0)


def test_the_notice_is_retained_at_the_broker_as_the_settings_have_it(
    device: Device, mosquitto: Mosquitto, mien: Callable[..., Process], listen: Callable[..., Listener]
) -> None:
    device.write(mosquitto.url, policy=f'{CLASSROOM}\n[notice]\nlanguage = "de"\nresponsible = "Schule"\ncontact = "Büro"')
    send = mien("send", "--settings", device.settings)
    wait_for(lambda: "connected" in send.events(), why="the connection")

    printed = mien("notice", "--settings", device.settings, "--format", "text")

    assert printed.wait() == 0
    late = listen(mosquitto, "-t", "mien/v1/shelf-7/up/notice")
    wait_for(lambda: late.messages, why="the retained notice")
    (message,) = late.messages
    assert message["payload"] == {"schema": 1, "language": "de", "policy": "classroom/FR@1", "text": printed.out.read_text()}
    assert send.end() == 0


def test_a_pin_that_does_not_exist_is_one_line_and_78(
    device: Device, mien: Callable[..., Process], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("gpiozero", reason="gpiozero is not installed: pip install 'mien[gpio]'")
    monkeypatch.setenv("GPIOZERO_PIN_FACTORY", "mock")
    device.write(policy="[consent]\nlamp_pin = 99")

    watch = mien("watch", "--settings", device.settings)

    assert watch.wait() == 78
    (line,) = watch.complaints
    assert "consent.lamp_pin: GPIO99 does not exist on this board" in line
