"""Print what the shipped models answer to fixed inputs, as JSON; ``test_both_runtimes`` compares the answers.

    python tests/integration/model_outputs.py ai-edge-litert|tflite-runtime

``emotion`` is what a device gets. ``emotion, plain kernels`` is the same model without the XNNPACK delegate.
"""

from __future__ import annotations

import importlib
import json
import sys
from typing import cast

import numpy as np

from device.manifest import read_manifest
from device.nets import emotion, face
from device.tflite import RUNTIMES, Model, Runtime, Tensor, copies

SAMPLES, FEW, COARSE = 20, 2, 8
SPECS = {
    emotion.NAME: (emotion.INPUTS, emotion.OUTPUTS),
    **{detector.name: (detector.inputs, detector.outputs) for detector in face.DETECTORS.values()},
}
FORMS = [(detector.name, form) for detector in face.DETECTORS.values() for form in ("float16", "int8-weights", "int8")]


def pictures(side: int, channels: int) -> list[Tensor]:
    """Coarse random pictures, ``float64[side, side, channels]`` from -1 to 1."""
    rng = np.random.default_rng(7)
    return [
        np.kron(rng.uniform(-1, 1, (COARSE, COARSE, channels)), np.ones((side // COARSE, side // COARSE, 1)))
        for _ in range(SAMPLES)
    ]


def as_shipped(runtime: Runtime, name: str, form: str | None = None, samples: int = SAMPLES) -> list[list[float]]:
    """All output values of a model for each picture, through the device's own class."""
    inputs, outputs = SPECS[name]
    model = Model(read_manifest().file(name, form), inputs=inputs, outputs=outputs, runtime=runtime)
    answers = []
    for picture in pictures(*inputs[0].shape[2:])[:samples]:

        def fill(out: Tensor, picture: Tensor = picture) -> None:
            out[0] = picture if out.dtype == np.float32 else np.rint(picture * 127)

        answers.append([float(value) for output in model.run(fill, copies) for value in output.ravel()])
    return answers


def with_plain_kernels(runtime: Runtime) -> list[list[float]]:
    """The emotion model's logits for each picture, without any delegate."""
    module = importlib.import_module(RUNTIMES[runtime])
    interpreter = module.Interpreter(
        model_path=str(read_manifest().file(emotion.NAME).path),
        experimental_op_resolver_type=module.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )
    interpreter.allocate_tensors()
    inside, outside = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]
    answers = []
    for picture in pictures(emotion.SIDE, 1):
        interpreter.set_tensor(inside, np.rint(picture * 127).astype(np.int8)[None])
        interpreter.invoke()
        answers.append([float(value) for value in interpreter.get_tensor(outside)[0]])
    return answers


if __name__ == "__main__":
    chosen = cast("Runtime", sys.argv[1])
    print(
        json.dumps(
            {
                **{f"{name} {form}": as_shipped(chosen, name, form, FEW) for name, form in FORMS},
                "emotion": as_shipped(chosen, emotion.NAME),
                "emotion, plain kernels": with_plain_kernels(chosen),
            }
        )
    )
