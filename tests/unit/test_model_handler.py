"""Jobs in the sending process: taken, downloaded, handed over, told; and what becomes of them when that cannot be done."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from device.contract_model import ModelJob, ModelState
from device.downward import Context
from device.model_handler import ModelHandler
from device.publishers import Received
from device.settings import parse
from tests.build import SetClock, recorded, settings_text
from tests.conftest import wait_for
from tests.limits import file_limit
from tests.repository import Shop, Web, serve


class Sending:
    """The sending process's side of a device, without its broker."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.shop = folder, Shop(folder / "fleet")
        self.target = self.shop.publish()
        (folder / "root.json").write_bytes(self.shop.root)
        self.settings = parse(settings_text(folder) + f'\n[models]\nroot_file = "{folder}/root.json"\n', "f")
        self.clock, (self.log, self.said) = SetClock(1000.0), recorded()
        self.states: list[tuple[str, str | None]] = []
        self.start()

    def start(self) -> None:
        context = Context(self.settings, self.clock, self.log, lambda: None, lambda: True)
        self.handler = ModelHandler(context, lambda: 0.5)

    def receive(self, payload: bytes) -> None:
        self.handler.receive("down/model", Received("mien/v1/shelf-7/down/model", payload))

    def job(self, url: str, **other: Any) -> ModelJob:
        made = self.shop.job(self.target, url, **other)
        self.receive(made.model_dump_json().encode())
        return made

    def look(self) -> tuple[str, str | None]:
        """Let a second pass; what was told last."""
        self.clock.move(1.0)
        for message in self.handler.due(self.clock.now()):
            assert message.retain
            state = ModelState.model_validate_json(message.payload)
            self.states.append((state.state, state.reason))
        return self.states[-1] if self.states else ("", None)

    def until(self, state: str) -> str | None:
        wait_for(lambda: self.look()[0] == state, why=f"{state}: {self.states} {self.said}")
        return self.states[-1][1]

    def watch_says(self, job: ModelJob, state: str, reason: str | None = None) -> None:
        said = ModelState.model_validate({"schema": 1, "job": job.job, "state": state, "reason": reason})
        self.settings.run_folder.mkdir(exist_ok=True)
        (self.settings.run_folder / "model.json").write_text(said.model_dump_json(by_alias=True))

    @property
    def slot(self) -> dict[str, Any] | None:
        path = self.settings.inbox_folder / "model.json"
        return dict(json.loads(path.read_text())) if path.exists() else None

    @property
    def staged(self) -> list[str]:
        return sorted(path.name.partition(".")[2] for path in (self.settings.inbox_folder / "model" / "targets").glob("*"))


@pytest.fixture
def sending(tmp_path: Path) -> Sending:
    return Sending(tmp_path)


@pytest.fixture
def web(sending: Sending) -> Iterator[Web]:
    with serve(sending.shop.served) as web:
        yield web


def test_a_job_is_downloaded_handed_over_and_told_as_the_watching_process_says_it(sending: Sending, web: Web) -> None:
    job = sending.job(web.url)
    assert sending.until("verifying") is None

    assert sending.slot == json.loads(job.model_dump_json())
    stem = sending.target.removesuffix(".tflite")
    assert sending.staged == [f"{stem}.tflite", f"{stem}.vectors.json"]
    sending.watch_says(job, "trial")
    sending.until("trial")
    sending.watch_says(job, "committed")
    sending.until("committed")
    assert [state for state, _ in sending.states] == ["downloading", "verifying", "trial", "committed"]
    assert sending.staged == []


def test_downloads_of_a_fleet_are_spread(sending: Sending, web: Web) -> None:
    sending.job(web.url, spread_seconds=100)

    for _ in range(49):
        assert sending.look() == ("queued", None)

    assert web.asked == []
    sending.until("verifying")


def test_the_same_job_again_is_answered_again_and_not_done_again(sending: Sending, web: Web) -> None:
    job = sending.job(web.url)
    sending.until("verifying")
    asked = len(web.asked)

    sending.receive(job.model_dump_json().encode())
    sending.look()

    assert sending.states[-2:] == [("verifying", None)] * 2
    assert len(web.asked) == asked


def test_a_new_connection_is_told_again(sending: Sending, web: Web) -> None:
    sending.job(web.url)
    sending.until("verifying")
    count = len(sending.states)

    sending.handler.connected()
    sending.look()

    assert len(sending.states) == count + 1


def test_a_cut_download_goes_on_by_itself_and_says_why_it_waits(sending: Sending, web: Web) -> None:
    web.cut = [300_000]
    sending.job(web.url)

    wait_for(lambda: sending.look() == ("downloading", "unreachable"), why="the cut to be told")
    sending.until("verifying")

    assert [asked for path, asked in web.asked if path.endswith(".tflite")] == [None, "bytes=300000-"]


@pytest.mark.parametrize("wrong", ["status", "endless", "target"])
def test_what_will_not_get_better_is_rejected_at_once_and_leaves_nothing(sending: Sending, web: Web, wrong: str) -> None:
    expected = {"status": "not_found", "endless": "too_large", "target": "not_found"}[wrong]
    if wrong == "status":
        web.status = 404
    elif wrong == "endless":
        web.endless = True
    else:
        sending.target = "emotion-00000000.tflite"

    sending.job(web.url)

    assert sending.until("rejected") == expected
    sending.look()
    assert sending.staged == []
    assert sending.slot is None


def test_a_disk_that_is_full_is_told_and_leaves_nothing(sending: Sending, web: Web) -> None:
    sending.job(web.url)
    with file_limit(200_000):
        assert sending.until("rejected") == "disk_full"

    sending.look()
    assert sending.staged == []


def test_a_web_server_that_never_comes_back_ends_the_job_with_its_time(sending: Sending) -> None:
    sending.job("http://127.0.0.1:9", timeout_seconds=100)

    assert sending.until("rejected") == "unreachable"

    assert 1100 <= sending.clock.now() < 1110


def test_a_web_server_that_hangs_ends_the_job_with_its_time(sending: Sending, web: Web) -> None:
    web.cut, web.hang = [1000], threading.Event()
    sending.job(web.url, timeout_seconds=30)

    assert sending.until("rejected") == "timeout"


def test_a_stale_mirror_gets_time_to_catch_up(sending: Sending, web: Web) -> None:
    sending.shop.timestamp += 1
    sending.job(web.url)
    wait_for(lambda: sending.look() == ("downloading", "older"), why="the stale mirror to be told")

    sending.shop.publish(b"something else" * 10)

    sending.until("verifying")


def test_a_job_that_is_withdrawn_while_it_downloads_is_over(sending: Sending, web: Web) -> None:
    web.cut, web.hang = [1000], threading.Event()
    job = sending.job(web.url)
    wait_for(lambda: sending.look()[0] == "downloading" and bool(sending.staged), why="the download to begin")

    sending.receive(job.model_copy(update={"action": "withdraw"}).model_dump_json().encode())

    assert sending.until("rejected") == "withdrawn"
    web.hang.set()
    wait_for(lambda: bool(sending.look()[0]) and not sending.staged, why="the files to be removed")


def test_a_job_that_was_handed_over_is_withdrawn_by_the_watching_process(sending: Sending, web: Web) -> None:
    job = sending.job(web.url)
    sending.until("verifying")
    sending.watch_says(job, "trial")
    sending.until("trial")

    sending.receive(job.model_copy(update={"action": "withdraw"}).model_dump_json().encode())
    sending.look()

    assert sending.slot is not None
    assert sending.slot["action"] == "withdraw"
    assert sending.states[-1] == ("trial", None)
    sending.watch_says(job, "rolled_back", "withdrawn")
    assert sending.until("rolled_back") == "withdrawn"


def test_a_withdrawal_of_a_job_that_never_came_is_answered(sending: Sending, web: Web) -> None:
    job = sending.shop.job(sending.target, web.url, action="withdraw")

    sending.receive(job.model_dump_json().encode())

    assert sending.look() == ("rejected", "withdrawn")


def test_a_newer_job_takes_the_place_of_one_that_downloads(sending: Sending, web: Web) -> None:
    web.cut, web.hang = [1000], threading.Event()
    sending.job(web.url)
    wait_for(lambda: sending.look()[0] == "downloading" and bool(sending.staged), why="the download to begin")

    newer = sending.job(web.url, job="b" * 16)
    web.hang.set()

    sending.until("verifying")
    assert sending.slot == json.loads(newer.model_dump_json())


def test_a_restart_of_this_process_goes_on_with_the_job(sending: Sending, web: Web) -> None:
    web.cut = [300_000]
    job = sending.job(web.url)
    wait_for(lambda: sending.look() == ("downloading", "unreachable"), why="the cut")

    sending.start()
    sending.receive(job.model_dump_json().encode())

    sending.until("verifying")
    assert web.asked[-1][1] == "bytes=300000-"


def test_a_restart_does_not_do_again_what_was_rejected_or_handed_over(sending: Sending, web: Web) -> None:
    web.status = 404
    job = sending.job(web.url)
    sending.until("rejected")
    asked = len(web.asked)

    sending.start()
    sending.receive(job.model_dump_json().encode())

    assert sending.look() == ("rejected", "not_found")
    assert len(web.asked) == asked
