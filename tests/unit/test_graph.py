"""What is read out of a ``.tflite``: arithmetic that can be checked by hand, shapes, quantization, and files that are none."""

from __future__ import annotations

from pathlib import Path

import flatbuffers
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from device.manifest import FOLDER, read_manifest
from device.nets import emotion
from models import graph
from models.data import DataError
from models.release import release


def tensor(shape: list[int], kind: str = "FLOAT32", scales: list[float] | None = None) -> schema.TensorT:
    made = schema.TensorT()
    made.shape, made.type, made.name = shape, getattr(schema.TensorType, kind), "t"
    if scales:
        made.quantization = schema.QuantizationParametersT()
        made.quantization.scale, made.quantization.zeroPoint = scales, [3] * len(scales)
    return made


def model_of(steps: list[tuple[str, list[int]]], tensors: list[schema.TensorT], out: int) -> bytes:
    """A model of one graph: each step is an operator's name with the tensors that it takes and, last, the one that it makes."""
    model, whole = schema.ModelT(), schema.SubGraphT()
    model.version, model.operatorCodes, model.buffers, model.subgraphs = 3, [], [schema.BufferT()], [whole]
    whole.tensors, whole.inputs, whole.outputs, whole.operators = tensors, [0], [out], []
    for number, (name, used) in enumerate(steps):
        code, operator = schema.OperatorCodeT(), schema.OperatorT()
        code.builtinCode = getattr(schema.BuiltinOperator, name)
        operator.opcodeIndex, operator.inputs, operator.outputs = number, used[:-1], used[-1:]
        model.operatorCodes.append(code)
        whole.operators.append(operator)
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


@pytest.fixture
def by_hand() -> bytes:
    """8 × 8 × 3, a 3 × 3 convolution to 4 × 4 × 5, a 3 × 3 depthwise one, an activation, and a layer from 80 to 7."""
    kernel = tensor([5, 3, 3, 3], "INT8", [0.1, 0.2, 0.3, 0.4, 0.5])
    shapes = [[1, 4, 4, 5], [1, 3, 3, 5], [1, 4, 4, 5], [1, 4, 4, 5], [7, 80], [1, 7]]
    tensors = [tensor([1, 8, 8, 3], "INT8", [0.25]), kernel, *(tensor(shape) for shape in shapes)]
    steps = [("CONV_2D", [0, 1, 2]), ("DEPTHWISE_CONV_2D", [2, 3, 4]), ("RELU", [4, 5]), ("FULLY_CONNECTED", [5, 6, 7])]
    return model_of(steps, tensors, 7)


def test_multiply_adds_are_those_of_a_count_by_hand(by_hand: bytes, tmp_path: Path) -> None:
    (tmp_path / "m.tflite").write_bytes(by_hand)

    assert graph.multiply_adds(tmp_path / "m.tflite") == 4 * 4 * 5 * 27 + 4 * 4 * 5 * 9 + 7 * 80


def test_shapes_and_quantization_are_told_as_the_file_has_them(by_hand: bytes) -> None:
    assert graph.describe(by_hand) == {
        "shapes": {"inputs": [[1, 8, 8, 3]], "outputs": [[1, 7]]},
        "quantization": {
            "inputs": [{"dtype": "int8", "scale": 0.25, "zero_point": 3}],
            "outputs": [{"dtype": "float32", "scale": 0.0, "zero_point": 0}],
            "weights": "float32",  # 560 + 45 of them, against 135
        },
    }


def test_weights_behind_a_dequantize_are_what_is_stored() -> None:
    tensors = [tensor([1, 80]), tensor([7, 80], "FLOAT16"), tensor([7, 80]), tensor([1, 7])]

    content = model_of([("DEQUANTIZE", [1, 2]), ("FULLY_CONNECTED", [0, 2, 3])], tensors, 3)

    assert graph.describe(content)["quantization"]["weights"] == "float16"


def test_arithmetic_that_is_not_known_is_refused_rather_than_left_out(tmp_path: Path) -> None:
    content = model_of([("SVDF", [0, 0, 1])], [tensor([1, 80]), tensor([1, 7])], 1)
    (tmp_path / "odd.tflite").write_bytes(content)

    with pytest.raises(DataError, match=r"odd\.tflite: its operator SVDF"):
        graph.multiply_adds(tmp_path / "odd.tflite")


def test_the_shipped_emotion_model_needs_at_most_45_million_multiply_adds() -> None:
    assert graph.multiply_adds(read_manifest().file(emotion.NAME).path) <= 45_000_000


def test_the_manifest_tells_the_shapes_and_the_quantization_of_the_shipped_emotion_model() -> None:
    entry = read_manifest()[emotion.NAME]
    assert entry.shapes is not None
    assert entry.quantization is not None

    told = {"shapes": entry.shapes.model_dump(mode="json"), "quantization": entry.quantization.model_dump(mode="json")}

    assert told == graph.describe((FOLDER / entry.file).read_bytes())


def test_a_released_model_is_described_in_the_manifest(by_hand: bytes, tmp_path: Path) -> None:
    release(tmp_path, "one", by_hand, file="one.tflite", source="a test", licence="none")

    shapes = read_manifest(tmp_path)["one"].shapes
    assert shapes is not None
    assert shapes.outputs == ((1, 7),)


def test_a_missing_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"absent\.tflite: cannot read the model \(No such file"):
        graph.multiply_adds(tmp_path / "absent.tflite")


@pytest.mark.parametrize("length", [0, 7, 8, 40, 400])
def test_a_file_that_is_cut_off_is_refused(length: int, by_hand: bytes) -> None:
    with pytest.raises(DataError, match=r"not a \.tflite file|a damaged \.tflite file"):
        graph.describe(by_hand[:length])


def test_damaged_bytes_are_read_or_refused_and_nothing_else(by_hand: bytes) -> None:
    rng = np.random.default_rng(1)
    refused = 0

    for _ in range(400):
        content = bytearray(by_hand)
        for place in rng.integers(8, len(content), 3):
            content[place] = rng.integers(0, 256)
        try:
            graph.describe(bytes(content))
        except DataError:
            refused += 1

    assert refused > 50
