"""Models in the watching process: what was staged is tried, committed or taken back; there is always one whole model."""

from __future__ import annotations

import hashlib
from contextlib import closing
from pathlib import Path

import pytest

from device import health
from device.contract_model import Trial
from device.errors import CameraError, ModelError
from device.outbox import Outbox
from device.spool import Spool
from device.tflite import METERS, Meter
from device.watch import load_nets
from device.watcher import Watcher
from models.vectors import make
from tests.build import SetClock
from tests.model_device import NEW, Device, refused
from tests.repository import EMOTION, PACKAGED, another


class Unsynced(SetClock):
    """A clock that nobody has set."""

    def synced(self) -> bool:
        return False


@pytest.fixture
def device(tmp_path: Path) -> Device:
    return Device(tmp_path)


def test_a_good_model_is_tried_with_its_operating_points_and_committed(device: Device) -> None:
    point = PACKAGED["emotion"].point("count").model_copy(update={"unknown_below": 0.77})
    points = PACKAGED["emotion"].points
    assert points is not None
    entry = PACKAGED["emotion"].model_copy(update={"points": points.model_copy(update={"count": point})})

    device.install(entry=entry)

    assert device.state == ("trial", None)
    assert device.told.milliseconds is not None
    nets = load_nets(device.settings)
    assert nets.hashes.emotion == f"sha256:{NEW}"
    assert nets.unknown_below == 0.77
    device.pass_trial()
    assert device.state == ("committed", None)
    assert device.in_force == NEW


def test_a_committed_model_is_still_there_after_a_restart_and_told_again(device: Device) -> None:
    device.install()
    device.pass_trial()
    (device.settings.run_folder / "model.json").unlink()

    device.start()

    assert device.state == ("committed", None)
    device.run()
    assert device.in_force == NEW


def test_the_job_waits_for_the_window_to_end(device: Device) -> None:
    device.run()
    job = device.shop.job(device.shop.publish())
    device.shop.stage(device.settings.inbox_folder, job)

    assert device.models.wants(device.clock.now())
    assert device.models.wants(device.clock.now())
    assert device.state == ("verifying", None)
    assert device.in_force == EMOTION.sha256


def test_a_clock_that_is_not_set_waits_before_it_says_expired_and_costs_no_attempt(device: Device) -> None:
    device.clock = Unsynced()
    device.start()
    device.shop.now.move(-400)
    device.install(timeout_seconds=600)
    assert device.state == ("verifying", "expired")
    for _ in range(8):
        assert not device.models.wants(device.clock.now())
        device.clock.move(61)
        assert device.models.wants(device.clock.now())
        device.run()
        assert device.state == ("verifying", "expired")

    device.clock.move(600)
    device.models.wants(device.clock.now())

    refused(device, "expired")


def test_a_model_that_fails_in_its_trial_is_taken_back(device: Device) -> None:
    device.install()

    assert device.models.failed(ModelError("invoke failed"))

    assert device.state == ("rolled_back", "error")
    assert device.in_force == EMOTION.sha256


def test_a_camera_that_fails_says_nothing_about_the_model(device: Device) -> None:
    device.install()

    assert not device.models.failed(CameraError("gone"))

    assert device.state == ("trial", None)
    assert device.in_force == NEW


def test_a_model_that_is_slow_on_pictures_is_taken_back(device: Device) -> None:
    device.install(trial=Trial(seconds=60, slowest_ms=50))
    METERS[NEW] = Meter(METERS[NEW].passes + 20, METERS[NEW].seconds + 20 * 0.06)

    assert device.models.wants(device.clock.now())

    assert device.state == ("rolled_back", "slow")
    device.run()
    assert device.in_force == EMOTION.sha256


def test_a_trial_takes_as_long_as_the_job_says_and_begins_anew_with_a_run(device: Device) -> None:
    device.install(trial=Trial(seconds=60))
    device.clock.move(50)
    device.models.wants(device.clock.now())
    device.run()
    device.clock.move(50)
    device.models.wants(device.clock.now())
    assert device.state == ("trial", None)

    device.clock.move(10)
    device.models.wants(device.clock.now())

    assert device.state == ("committed", None)


def test_a_trial_that_the_process_does_not_survive_three_times_is_taken_back(device: Device) -> None:
    device.install()
    for _ in range(2):
        device.start()
        device.run()
        assert device.state == ("trial", None)

    device.start()
    device.run()

    assert device.state == ("rolled_back", "crashed")
    assert device.in_force == EMOTION.sha256


def test_processes_that_end_as_they_should_do_not_fail_the_trial(device: Device) -> None:
    device.install()
    for _ in range(5):
        device.models.close()
        device.start()
        device.run()

    assert device.state == ("trial", None)


@pytest.mark.parametrize("committed", [False, True])
def test_a_withdrawn_job_brings_back_what_was_before(device: Device, committed: bool) -> None:
    device.install()
    device.pass_trial()
    second = device.install(another(2), job="b" * 16)
    if committed:
        device.pass_trial()
    assert device.in_force == hashlib.sha256(another(2)).hexdigest()

    device.shop.leave(device.settings.inbox_folder, second.model_copy(update={"action": "withdraw"}))

    assert device.models.wants(device.clock.now())
    assert device.state == ("rolled_back", "withdrawn")
    assert device.in_force == NEW


def test_files_that_nobody_needs_any_more_are_removed(device: Device) -> None:
    for number in (1, 2, 3):
        device.install(another(number), job=f"{number:016x}")
        device.pass_trial()

    kept = {path.name for path in (device.settings.state_folder / "models").iterdir()}

    assert kept == {f"{hashlib.sha256(another(number)).hexdigest()}.tflite" for number in (2, 3)}


@pytest.mark.parametrize("content", [None, b"", b"cut"])
def test_a_damaged_model_at_the_start_falls_back_to_the_packaged_one_and_says_so(device: Device, content: bytes | None) -> None:
    device.install()
    device.pass_trial()
    path = device.settings.state_folder / "models" / f"{NEW}.tflite"
    path.unlink()
    if content is not None:
        path.write_bytes(content)

    device.start()
    device.run()

    assert device.state == ("rolled_back", "damaged")
    nets = load_nets(device.settings)
    assert (nets.hashes.emotion, nets.trouble) == (f"sha256:{EMOTION.sha256}", "model")
    device.install(another(2), job="b" * 16)
    device.pass_trial()
    assert load_nets(device.settings).trouble is None


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"[" * 10_000])
def test_a_damaged_memory_means_the_packaged_models_and_the_job_anew(device: Device, content: bytes) -> None:
    device.install()
    device.pass_trial()
    (device.settings.state_folder / "rollout.json").write_bytes(content)

    device.start()
    assert device.in_force == EMOTION.sha256
    device.run()

    assert device.state == ("trial", None)
    assert device.in_force == NEW


def test_the_status_says_that_a_damaged_model_was_given_up(device: Device) -> None:
    device.install()
    device.pass_trial()
    (device.settings.state_folder / "models" / f"{NEW}.tflite").write_bytes(b"cut")
    device.start()
    device.run()
    nets = load_nets(device.settings)
    with closing(Spool(device.settings.spool.folder, "watch")) as spool:
        outbox = Outbox(spool, device.log)
        watcher = Watcher(device.settings, nets.hashes, device.clock, outbox, device.log, standing=nets.trouble)
        watcher.tell()

    said = health.read(device.settings.run_folder, device.clock.now())

    assert (said.health, said.trouble, said.models) == ("degraded", "model", nets.hashes)


def test_a_detector_comes_the_same_way_whatever_its_form(device: Device) -> None:
    """The packaged one has three forms, of which the settings choose; the new one has one."""
    packaged = PACKAGED.file("face", "int8-weights")
    content = packaged.path.read_bytes() + b"\1" * 16
    said = make(packaged, "face").model_dump_json(by_alias=True).encode()
    entry = PACKAGED["face"].model_copy(update={"forms": {}, "form": None})

    device.install(content, model="face", entry=entry, vectors=said)
    device.pass_trial()

    assert device.state == ("committed", None)
    nets = load_nets(device.settings)
    assert nets.hashes.face == f"sha256:{hashlib.sha256(content).hexdigest()}"
    assert nets.hashes.emotion == f"sha256:{EMOTION.sha256}"
