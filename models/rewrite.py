"""Rewrite a ``.tflite`` graph without changing what it computes: what the quantizer needs before it can do its work.

The published face detectors are of 2020: their float16 constants stand behind DEQUANTIZE, their RELUs are operators of their own,
and operator codes are in the 8-bit field alone. A model here is the tree of objects that ``schema.ModelT`` unpacks.
"""

from __future__ import annotations

from typing import Any, Final

import flatbuffers
import numpy as np
import numpy.typing as npt
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter

OPERATOR: Final = schema.BuiltinOperator
CONVOLUTIONS: Final = (OPERATOR.CONV_2D, OPERATOR.DEPTHWISE_CONV_2D)
JOINS: Final = (OPERATOR.ADD, OPERATOR.MAX_POOL_2D, OPERATOR.PAD, OPERATOR.RESIZE_BILINEAR)
LIMIT: Final = 100.0  # the most that a channel of a sum is divided or multiplied by
FUSES_RELU: Final = (OPERATOR.CONV_2D, OPERATOR.DEPTHWISE_CONV_2D, OPERATOR.ADD)
Floats = npt.NDArray[np.float32]


def unpack(content: bytes) -> Any:
    """The graph in the bytes of a model, its operator codes filled in the form that today's tools read."""
    model = schema.ModelT.InitFromPackedBuf(content, 0)
    for code in model.operatorCodes:
        code.builtinCode = max(code.builtinCode, code.deprecatedBuiltinCode)
    return model


def pack(model: Any) -> bytes:
    """The bytes of a model."""
    builder = flatbuffers.Builder(1 << 20)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


def kind(model: Any, operator: Any) -> int:
    """Which operator it is, ``schema.BuiltinOperator``."""
    return int(model.operatorCodes[operator.opcodeIndex].builtinCode)


def values(model: Any, index: int) -> Floats:
    """A float32 constant."""
    tensor = model.subgraphs[0].tensors[index]
    return np.asarray(np.frombuffer(bytes(model.buffers[tensor.buffer].data), np.float32).reshape(tensor.shape).copy())


def replace(model: Any, index: int, new: Floats) -> None:
    """Give a float32 constant other values."""
    model.buffers[model.subgraphs[0].tensors[index].buffer].data = np.frombuffer(new.astype(np.float32).tobytes(), np.uint8)


def fold(model: Any) -> None:
    """Turn float16 constants behind DEQUANTIZE into float32 constants."""
    graph, kept = model.subgraphs[0], []
    for operator in graph.operators:
        source = graph.tensors[operator.inputs[0]]
        if kind(model, operator) != OPERATOR.DEQUANTIZE or source.type != schema.TensorType.FLOAT16:
            kept.append(operator)
            continue
        buffer = model.buffers[source.buffer]
        half = np.frombuffer(bytes(buffer.data), np.float16)
        buffer.data = np.frombuffer(half.astype(np.float32).tobytes(), np.uint8)
        graph.tensors[operator.outputs[0]].buffer = source.buffer
    graph.operators = kept


def fuse(model: Any) -> None:
    """Put each RELU into the operator before it."""
    graph = model.subgraphs[0]
    made_by: dict[int, Any] = {int(index): operator for operator in graph.operators for index in operator.outputs}
    used = [int(index) for operator in graph.operators for index in operator.inputs] + [int(index) for index in graph.outputs]
    kept = []
    for operator in graph.operators:
        before = made_by.get(int(operator.inputs[0]))
        alone = used.count(int(operator.inputs[0])) == 1
        if kind(model, operator) != OPERATOR.RELU or before is None or kind(model, before) not in FUSES_RELU or not alone:
            kept.append(operator)
            continue
        before.builtinOptions.fusedActivationFunction = schema.ActivationFunctionType.RELU
        before.outputs = operator.outputs
    graph.operators = kept


def tidy(model: Any) -> None:
    """Drop tensors, buffers and operator codes that nothing uses."""
    graph = model.subgraphs[0]
    places = [graph.inputs, graph.outputs, *(side for operator in graph.operators for side in (operator.inputs, operator.outputs))]
    used = sorted({int(index) for place in places for index in place} - {-1})
    new = {old: number for number, old in enumerate(used)} | {-1: -1}
    graph.tensors = [graph.tensors[index] for index in used]
    buffers = [model.buffers[0]]
    for tensor in graph.tensors:
        if tensor.buffer:
            buffers.append(model.buffers[tensor.buffer])
            tensor.buffer = len(buffers) - 1
    model.buffers, model.metadata = buffers, []
    graph.inputs, graph.outputs = ([new[int(index)] for index in side] for side in (graph.inputs, graph.outputs))
    for operator in graph.operators:
        operator.inputs, operator.outputs = ([new[int(i)] for i in side] for side in (operator.inputs, operator.outputs))
    for signature in model.signatureDefs or []:
        for entry in (*signature.inputs, *signature.outputs):
            entry.tensorIndex = new[int(entry.tensorIndex)]
    codes = sorted({operator.opcodeIndex for operator in graph.operators})
    model.operatorCodes = [model.operatorCodes[index] for index in codes]
    for operator in graph.operators:
        operator.opcodeIndex = codes.index(operator.opcodeIndex)


def equalise(model: Any, pictures: list[Floats]) -> None:
    """Even out the channels of what flows between layers (after Nagel et al. 2019, arXiv 1906.04721): one int8 scale serves all.

    A channel may be divided by any number where it is made and multiplied by it where it is read, if nothing between the two mixes
    channels. Between a depthwise convolution and the 1 x 1 convolution after it the number is the root of how far the channel
    reaches over the weights that read it. In the sums between blocks it is how far the channel reaches: all who make and read it
    have a scale for each channel of their weights.

    Args:
        model: Folded and fused; changed in place.
        pictures: ``float32[1, side, side, 3]``, inputs on which the reach of each channel is measured.
    """
    graph = model.subgraphs[0]
    pairs, streams = _pairs(model, graph), _streams(model, graph)
    middles = [int(depthwise.outputs[0]) for depthwise, _ in pairs]
    reach = _reach(pack(model), [*middles, *(index for stream in streams for index in stream)], pictures)
    for stream in streams:
        width = max(len(reach[index]) for index in stream)
        logs = np.full((len(stream), width), np.nan)
        for row, index in zip(logs, stream, strict=True):
            usable = reach[index] > 0
            row[: len(usable)][usable] = np.log(reach[index][usable] / reach[index].max())
        known = ~np.isnan(logs).all(axis=0)
        by = np.ones(width, np.float32)
        by[known] = np.exp(np.nanmean(logs[:, known], axis=0)).clip(1 / LIMIT, LIMIT)
        for operator in graph.operators:
            made, read = int(operator.outputs[0]) in stream, int(operator.inputs[0]) in stream
            if made and kind(model, operator) in CONVOLUTIONS:
                _divide(model, operator, by)
            if read and kind(model, operator) in CONVOLUTIONS:
                _multiply(model, operator, by)
    for (depthwise, pointwise), middle in zip(pairs, middles, strict=True):
        read = np.abs(values(model, int(pointwise.inputs[1]))).max(axis=(0, 1, 2))
        usable = (reach[middle] > 0) & (read > 0)
        by = np.where(usable, np.sqrt(reach[middle] / np.where(usable, read, 1)), 1).astype(np.float32)
        _divide(model, depthwise, by)
        _multiply(model, pointwise, by)


def _divide(model: Any, operator: Any, by: Floats) -> None:
    """Divide the channels that a convolution puts out."""
    weights, bias = (int(index) for index in operator.inputs[1:3])
    old = values(model, weights)
    mine = by[: len(values(model, bias))]
    shape = mine if kind(model, operator) == OPERATOR.DEPTHWISE_CONV_2D else mine[:, None, None, None]
    replace(model, weights, old / shape)
    replace(model, bias, values(model, bias) / mine)


def _multiply(model: Any, operator: Any, by: Floats) -> None:
    """Multiply what a convolution reads of each channel: the last axis in either kind."""
    old = values(model, int(operator.inputs[1]))
    replace(model, int(operator.inputs[1]), old * by[: old.shape[-1]])


def _streams(model: Any, graph: Any) -> list[set[int]]:
    """Tensors whose channels belong together, because sums, pools and paddings join them; those with a sum among them."""
    streams: list[set[int]] = []
    for operator in graph.operators:
        if kind(model, operator) in JOINS:
            inputs = operator.inputs if kind(model, operator) == OPERATOR.ADD else operator.inputs[:1]
            joined = {int(index) for index in (*inputs, *operator.outputs)}
            for stream in [stream for stream in streams if stream & joined]:
                joined |= stream
                streams.remove(stream)
            streams.append(joined)
    outside = {int(index) for index in (*graph.inputs, *graph.outputs)}
    return [stream for stream in streams if not stream & outside]


def _pairs(model: Any, graph: Any) -> list[tuple[Any, Any]]:
    """Depthwise convolutions without activation whose output goes into one 1 x 1 convolution and nowhere else."""
    pairs = []
    for first in graph.operators:
        readers = [operator for operator in graph.operators if int(first.outputs[0]) in [int(i) for i in operator.inputs]]
        plain = kind(model, first) == OPERATOR.DEPTHWISE_CONV_2D and not first.builtinOptions.fusedActivationFunction
        if plain and len(readers) == 1 and kind(model, readers[0]) == OPERATOR.CONV_2D:
            pairs.append((first, readers[0]))
    return pairs


def _reach(content: bytes, tensors: list[int], pictures: list[Floats]) -> dict[int, Floats]:
    """The greatest absolute value of each channel of some tensors over all pictures."""
    interpreter = Interpreter(model_content=content, num_threads=1, experimental_preserve_all_tensors=True)
    interpreter.allocate_tensors()
    inside = interpreter.get_input_details()[0]["index"]
    reach: dict[int, Floats] = {}
    for picture in pictures:
        interpreter.set_tensor(inside, picture)
        interpreter.invoke()
        for index in tensors:
            found = np.abs(interpreter.get_tensor(index)).max(axis=(0, 1, 2))
            reach[index] = np.maximum(reach.get(index, found), found)
    return reach
