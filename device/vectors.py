"""Test vectors of a model: does it compute here what it computed where it was made?

The pictures are noise and drawn faces, nobody's likeness. They are as large as the model's input and go into it as pixels of a
camera do, so the same vectors serve a model whose numbers are held as float and one in int8.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

import numpy as np
import numpy.typing as npt

from device.contract_model import ModelName, Vectors
from device.errors import ModelError, RuntimeMissingError, ShapeError
from device.nets import _letterbox, emotion, face
from device.rollout import RolloutError
from device.tflite import Model, ModelFile, Tensor, TensorSpec, Wanted, copies

Pictures = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Kind:
    """What a model of this name must look like, and how levels 0 to 255 become numbers of its input."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    levels: Callable[[Model], npt.NDArray[np.generic]]


def _face_levels(model: Model) -> npt.NDArray[np.generic]:
    if model.input_dtype == np.int8:
        return _letterbox.levels(model.scale, model.zero_point)
    return np.asarray(np.arange(256) * np.float32(1 / 127.5) - np.float32(1), np.float32)


def _emotion_levels(model: Model) -> npt.NDArray[np.generic]:
    return np.asarray(emotion.levels(model.scale, model.zero_point, model.input_dtype))


KINDS: dict[str, Kind] = {
    emotion.NAME: Kind(emotion.INPUTS, emotion.OUTPUTS, _emotion_levels),
    **{graph.name: Kind(graph.inputs, graph.outputs, _face_levels) for graph in (face.FULL, face.BACK, face.SHORT)},
}


def outputs_for(model: Model, name: ModelName, pictures: Pictures) -> tuple[list[npt.NDArray[np.float32]], float]:
    """What a model makes of pictures.

    Args:
        model: Loaded, as ``KINDS[name]`` wants it.
        name: Its name.
        pictures: ``uint8[N, height, width, channels]``, as large as its input.

    Returns:
        ``float32[N, …]`` for each output, dequantized; and the median time of a pass, milliseconds.
    """
    table = KINDS[name].levels(model)
    results: list[tuple[Tensor, ...]] = []
    times = []

    def fill(out: Tensor, picture: Pictures) -> None:
        np.take(table, picture, out=out[0], mode="clip")

    for picture in pictures:
        began = time.perf_counter()
        results.append(model.run(lambda out, picture=picture: fill(out, picture), copies))  # type: ignore[misc]
        times.append(time.perf_counter() - began)
    plain = [
        np.concatenate([(result[number].astype(np.float32) - zero) * (scale or 1.0) for result in results])
        for number, (scale, zero) in enumerate(model.output_scales)
    ]
    return [np.asarray(one, np.float32) for one in plain], 1000 * median(times)


def check(file: ModelFile, name: ModelName, vectors: Vectors, runtime: Wanted = "auto") -> float:
    """Load a model, and compare what it makes of its test vectors.

    Returns:
        The median time of a pass, milliseconds.

    Raises:
        RolloutError: ``runtime``, ``shape``, ``vectors``, or ``invalid`` where the vectors are for another kind of model.
    """
    kind = KINDS[name]
    try:
        model = Model(file, inputs=kind.inputs, outputs=kind.outputs, runtime=runtime)
    except ShapeError as error:
        raise RolloutError("shape", str(error)) from error
    except (ModelError, RuntimeMissingError) as error:
        raise RolloutError("runtime", str(error)) from error
    try:
        pictures = np.asarray(vectors.pictures.numbers(), np.uint8)
        expected = [one.numbers() for one in vectors.outputs]
    except ValueError as error:
        raise RolloutError("invalid", f"{file.path}: its test vectors cannot be read: {error}") from error
    if pictures.shape[1:] != kind.inputs[0].shape[1:] or len(expected) != len(kind.outputs):
        raise RolloutError("invalid", f"{file.path}: its test vectors are for another kind of model")
    try:
        found, milliseconds = outputs_for(model, name, pictures)
    except (RuntimeError, ValueError) as error:
        raise RolloutError("runtime", f"{file.path}: fails on its test vectors: {error}") from error
    for number, (one, wanted) in enumerate(zip(found, expected, strict=True)):
        if one.shape != wanted.shape:
            raise RolloutError("invalid", f"{file.path}: its test vectors are for another kind of model")
        worst = float(np.abs(one - wanted).max())
        if not worst <= vectors.tolerance[number]:  # also when it is not a number
            raise RolloutError(
                "vectors", f"{file.path}: output {number} is off by {worst:.3g}; {vectors.tolerance[number]:.3g} allowed"
            )
    return milliseconds
