"""What an interpreter holds of a picture is overwritten in time, whatever the camera does."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress

import numpy as np
import pytest

from device.errors import ModelError
from device.manifest import read_manifest
from device.nets import emotion
from device.tflite import IDLE, Model, Scrubber, Tensor, copies
from tests.conftest import wait_for

SECOND = 1.0


@pytest.fixture
def model() -> Model:
    return Model(read_manifest().file(emotion.NAME), inputs=emotion.INPUTS, outputs=emotion.OUTPUTS)


@pytest.fixture
def times(model: Model, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """When the model was invoked."""
    made: list[float] = []
    real = model.invoke

    def invoke() -> None:
        real()
        made.append(time.monotonic())

    monkeypatch.setattr(model, "invoke", invoke)
    return made


def look(model: Model) -> None:
    model.run(lambda out: out.fill(1), copies)


def test_a_model_is_scrubbed_within_a_second_of_its_last_picture_though_the_camera_stalls(model: Model, times: list[float]) -> None:
    with Scrubber([model]):
        look(model)

        wait_for(lambda: len(times) == 2, seconds=5, why="the blank invoke")

    assert IDLE / 2 < times[1] - times[0] < SECOND


def test_a_model_that_is_in_use_is_left_alone(model: Model, times: list[float]) -> None:
    with Scrubber([model]):
        until = time.monotonic() + 1.0
        while time.monotonic() < until:
            look(model)
        seen = len(times)

    assert len(times) <= seen + 1  # on the way out


def test_a_model_is_scrubbed_once_and_not_again_until_it_has_seen_a_picture(model: Model, times: list[float]) -> None:
    with Scrubber([model]):
        look(model)
        wait_for(lambda: len(times) == 2, seconds=5, why="the blank invoke")
        look(model)
        wait_for(lambda: len(times) == 4, seconds=5, why="the second blank invoke")

    assert len(times) == 5


def test_an_error_on_the_way_out_scrubs_all_the_same(model: Model, times: list[float]) -> None:

    with pytest.raises(KeyError), Scrubber([model]):
        look(model)
        raise KeyError

    assert len(times) == 2


def test_a_model_that_cannot_be_scrubbed_ends_the_watch(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    with suppress(RuntimeError), Scrubber([model]) as scrubber:
        look(model)
        monkeypatch.setattr(model, "invoke", failing("out of memory"))

        wait_for(lambda: scrubber._failure, seconds=5, why="the failure")
        with pytest.raises(ModelError, match=r"out of memory.*restart"):
            scrubber.check()


def failing(reason: str) -> Callable[[], None]:
    def fail() -> None:
        raise RuntimeError(reason)

    return fail


def test_an_error_that_somebody_keeps_holds_neither_the_input_nor_a_crop(model: Model) -> None:
    held: list[Tensor] = []

    def broken(out: Tensor) -> None:
        crop = np.full((48, 48), 7, np.uint8)
        held.append(out)
        held.clear()
        raise ValueError(crop.shape)

    with pytest.raises(ValueError) as kept:
        model.run(broken, copies)

    trace = kept.value.__traceback__
    names = []
    while trace is not None:
        names += [name for name, value in trace.tb_frame.f_locals.items() if isinstance(value, np.ndarray)]
        trace = trace.tb_next
    assert names == []
    look(model)  # a view that was kept would forbid this


def test_a_model_says_when_it_may_be_due() -> None:
    model = Model(read_manifest().file(emotion.NAME), inputs=emotion.INPUTS, outputs=emotion.OUTPUTS)

    assert model.scrub(idle=100) == 100
    look(model)
    assert 90 < model.scrub(idle=100) <= 100
    model.scrub()
    assert model.scrub(idle=100) == 100
