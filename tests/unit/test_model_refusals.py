"""What the watching process does not install: nothing of it is left behind, and the model before stays in force."""

from __future__ import annotations

import json
import resource
from collections.abc import Callable, Iterator
from pathlib import Path

import flatbuffers
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from device.contract_model import Array, Trial
from tests.model_device import Device, refused
from tests.repository import EMOTION, PACKAGED, Shop, another, vectors_of

STRICT = 'setting = "workplace"\njurisdiction = "EU"'


@pytest.fixture
def device(tmp_path: Path) -> Device:
    return Device(tmp_path)


def test_a_model_of_another_shape_is_refused(device: Device) -> None:
    device.install(PACKAGED.file("face-short", "int8-weights").path.read_bytes())

    refused(device, "shape")


def test_a_file_that_is_no_model_is_refused(device: Device) -> None:
    device.install(b"no model" * 1000)

    refused(device, "runtime")


def test_operators_of_a_version_that_the_runtime_does_not_have_are_refused(device: Device) -> None:
    model = schema.ModelT.InitFromPackedBuf(another(), 0)
    for code in model.operatorCodes:
        code.version = 99
    builder = flatbuffers.Builder(len(another()))
    builder.Finish(model.Pack(builder), b"TFL3")

    device.install(bytes(builder.Output()))

    refused(device, "runtime")


def test_a_model_with_other_results_than_where_it_was_made_is_refused(device: Device) -> None:
    wrong = vectors_of().model_copy(update={"outputs": (Array.of(np.zeros((8, 8), np.float32)),)})

    device.install(vectors=wrong.model_dump_json(by_alias=True).encode())

    refused(device, "vectors")


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff", b"[" * 10_000, b'{"schema": 1, "pictures": 3}'])
def test_test_vectors_that_are_none_are_refused(device: Device, content: bytes) -> None:
    device.install(vectors=content)

    refused(device, "invalid")


def test_test_vectors_that_unpack_to_more_than_they_say_are_refused(device: Device) -> None:
    bomb = vectors_of().model_copy(update={"pictures": Array.of(np.zeros((8, 48, 48, 1), np.uint8))}).model_dump(by_alias=True)
    bomb["pictures"] = {**Array.of(np.zeros((60, 200, 200, 1), np.uint8)).model_dump(), "shape": [8, 48, 48, 1]}

    device.install(vectors=json.dumps(bomb).encode())

    refused(device, "invalid")


def test_a_model_that_is_too_slow_on_its_test_vectors_is_refused(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("device.model_store.vectors.check", lambda *_: 17.0)

    device.install(trial=Trial(seconds=0, slowest_ms=16))

    refused(device, "slow")


def test_a_model_of_emotions_is_not_even_unpacked_where_the_policy_forbids_them(tmp_path: Path) -> None:
    device = Device(tmp_path, STRICT)

    device.install()

    assert device.state == ("rejected", "policy")
    assert not (device.settings.state_folder / "models").exists()


def _swap(device: Device, suffix: str, content: bytes | None) -> None:
    (path,) = (device.settings.inbox_folder / "model" / "targets").glob(f"*{suffix}")
    path.unlink()
    if content is not None:
        path.write_bytes(content)


@pytest.mark.parametrize("suffix", [".tflite", ".vectors.json"])
@pytest.mark.parametrize("content", [None, b"", b"other", b"x" * 2_000_000])
def test_a_staged_file_that_is_not_what_was_signed_is_refused(device: Device, suffix: str, content: bytes | None) -> None:
    """Whoever has the sending process may write anything into the inbox."""
    job = device.shop.job(device.shop.publish())
    device.shop.stage(device.settings.inbox_folder, job)
    _swap(device, suffix, content)

    device.run()

    refused(device, "hash")


def test_a_staged_link_is_not_followed(device: Device, tmp_path: Path) -> None:
    job = device.shop.job(device.shop.publish())
    device.shop.stage(device.settings.inbox_folder, job)
    (path,) = (device.settings.inbox_folder / "model" / "targets").glob("*.tflite")
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")

    device.run()

    assert device.state == ("rejected", "invalid")


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[" * 10_000, b"x" * 1_000_000, b'{"job": 1}'])
def test_nonsense_in_the_inbox_is_ignored(device: Device, content: bytes) -> None:
    device.settings.inbox_folder.mkdir()
    (device.settings.inbox_folder / "model.json").write_bytes(content)

    device.run()

    assert not (device.settings.run_folder / "model.json").exists()
    assert device.in_force == EMOTION.sha256


def test_metadata_signed_by_others_is_refused_also_when_the_sending_process_took_it(device: Device, tmp_path: Path) -> None:
    other = Shop(tmp_path / "other")
    other.stage(device.settings.inbox_folder, other.job(other.publish()))

    device.run()

    refused(device, "signature")


def test_expired_metadata_is_refused_by_a_clock_that_is_set(device: Device) -> None:
    device.shop.now.move(-400)

    device.install()

    refused(device, "expired")


@pytest.fixture
def small_files() -> Iterator[Callable[[int], None]]:
    """A function after which no file may grow beyond so many bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_disk_that_is_full_is_said_and_nothing_is_left_behind(device: Device, small_files: Callable[[int], None]) -> None:
    job = device.shop.job(device.shop.publish())
    device.shop.stage(device.settings.inbox_folder, job)
    small_files(100_000)

    device.run()

    refused(device, "disk_full")
