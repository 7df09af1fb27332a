"""What stands in a ``.tflite`` file: its tensors, how its numbers are held, and how much arithmetic it is."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import Any, Final

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from models.data import DataError

IDENTIFIER: Final = b"TFL3"
TYPES: Final[dict[int, str]] = {
    number: name.lower() for name, number in vars(schema.TensorType).items() if not name.startswith("_")
}
OPERATORS: Final[dict[int, str]] = {
    number: name for name, number in vars(schema.BuiltinOperator).items() if not name.startswith("_")
}
CONVOLUTIONS: Final = ("CONV_2D", "DEPTHWISE_CONV_2D")
WEIGHTED: Final = (*CONVOLUTIONS, "FULLY_CONNECTED")  # each has its weights as its second input
COUNTED_AS_NONE: Final = {  # at most a few operations per value: not what one counts
    *("ADD", "AVERAGE_POOL_2D", "CONCATENATION", "DENSIFY", "DEQUANTIZE", "LOGISTIC", "MAX_POOL_2D", "MEAN", "MUL", "PAD", "PADV2"),
    *("PRELU", "QUANTIZE", "RELU", "RELU6", "RESHAPE", "RESIZE_BILINEAR", "SLICE", "SOFTMAX", "STRIDED_SLICE", "SUB", "TRANSPOSE"),
}


@contextmanager
def _reading(name: str) -> Iterator[None]:
    """What the flatbuffer's reader raises over damaged bytes, as one line."""
    try:
        yield
    except (
        struct.error,
        LookupError,
        TypeError,
        ValueError,
        AttributeError,
        ArithmeticError,
        MemoryError,
        RecursionError,
    ) as error:
        raise DataError(f"{name}: a damaged .tflite file ({type(error).__name__} while reading it)") from error


def parse(content: bytes, name: str = "the model") -> Any:
    """The graph in the bytes of a model, as the schema of the format names its parts; ``named`` lists (name, operator).

    Args:
        content: The file.
        name: For the error.

    Raises:
        DataError: They are not a .tflite.
    """
    if content[4:8] != IDENTIFIER:
        raise DataError(f"{name}: not a .tflite file ({len(content)} bytes)")
    with _reading(name):
        model = schema.ModelT.InitFromPackedBuf(content, 0)
        graph = model.subgraphs[0]
        graph.named = [(_operator(model.operatorCodes[step.opcodeIndex]), step) for step in graph.operators]
    return graph


def _operator(code: Any) -> str:
    """Its name; old files fill the 8-bit field alone."""
    number = max(code.builtinCode, code.deprecatedBuiltinCode)
    return OPERATORS.get(number, f"operator {number}")


def multiply_adds(path: Path) -> int:
    """Multiplications with addition in one run: of convolutions and fully connected layers, biases and the rest not counted.

    A convolution makes each value of its output from (kernel height × kernel width × input channels) products, a depthwise one from
    (kernel height × kernel width), and a fully connected layer each value from one per input.

    Raises:
        DataError: The file is missing, not a .tflite, or has an operator whose arithmetic is not known here.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot read the model ({error.strerror}); give the path of a .tflite file") from error
    graph, total = parse(content, str(path)), 0
    with _reading(str(path)):
        for name, operator in graph.named:
            if name in COUNTED_AS_NONE:
                continue
            if name not in WEIGHTED:
                raise DataError(f"{path}: its operator {name} is not one whose multiply-adds are counted here")
            weights, out = (graph.tensors[index].shape.tolist() for index in (operator.inputs[1], operator.outputs[0]))
            total += prod(out) * (weights[1] * weights[2] if name == "DEPTHWISE_CONV_2D" else prod(weights[1:]))
    return total


def describe(content: bytes) -> dict[str, Any]:
    """What the manifest says about a model beside its name: ``{shapes, quantization}``, see ``device.manifest``.

    Raises:
        DataError: It is not a .tflite.
    """
    graph = parse(content)
    with _reading("the model"):
        sides = {"inputs": [graph.tensors[k] for k in graph.inputs], "outputs": [graph.tensors[k] for k in graph.outputs]}
        held: dict[str, int] = {}
        for name, operator in graph.named:
            if name in WEIGHTED:
                weights = _source(graph, operator.inputs[1])
                held[_held(weights)] = held.get(_held(weights), 0) + prod(weights.shape.tolist())
        return {
            "shapes": {side: [tensor.shape.tolist() for tensor in tensors] for side, tensors in sides.items()},
            "quantization": {
                **{side: [_numbers(tensor) for tensor in tensors] for side, tensors in sides.items()},
                "weights": max(held, key=lambda key: held[key]) if held else "none",
            },
        }


def _source(graph: Any, index: int) -> Any:
    """A tensor, or the one that it is unpacked from: float16 weights stand behind DEQUANTIZE."""
    for name, operator in graph.named:
        if name in {"DEQUANTIZE", "DENSIFY"} and index in operator.outputs:
            return _source(graph, operator.inputs[0])
    return graph.tensors[index]


def _scales(tensor: Any) -> list[float]:
    return [] if tensor.quantization is None or tensor.quantization.scale is None else list(tensor.quantization.scale)


def _held(tensor: Any) -> str:
    return TYPES[tensor.type] + (" per channel" if len(_scales(tensor)) > 1 else "")


def _numbers(tensor: Any) -> dict[str, Any]:
    scales = _scales(tensor)
    if not scales:
        return {"dtype": TYPES[tensor.type], "scale": 0.0, "zero_point": 0}
    return {
        "dtype": TYPES[tensor.type],
        "scale": float(np.float32(scales[0])),
        "zero_point": int(tensor.quantization.zeroPoint[0]),
    }
