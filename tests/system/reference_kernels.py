"""Print what the shipped int8 models answer in the runtime's reference kernels, as JSON; ``test_arm64`` compares the answers.

    python reference_kernels.py ai-edge-litert|tflite-runtime

The reference kernels are plain C++ and the same on every processor: when they answer alike, the file, the packages and the emulator
are right, and what else differs is how a processor's fast kernels round.
"""

from __future__ import annotations

import importlib
import json
import sys
from typing import Final, cast

import numpy as np

from device.manifest import read_manifest
from device.nets import emotion
from device.tflite import RUNTIMES, Runtime

MODELS: Final = ((emotion.NAME, None), ("face-short", "int8"))  # the two that take less than a minute there


def answers(runtime: Runtime, name: str, form: str | None) -> list[float]:
    """All output values of a model for one coarse random picture."""
    module = importlib.import_module(RUNTIMES[runtime])
    interpreter = module.Interpreter(
        model_path=str(read_manifest().file(name, form).path), experimental_op_resolver_type=module.OpResolverType.BUILTIN_REF
    )
    interpreter.allocate_tensors()
    wanted = interpreter.get_input_details()[0]
    _, side, _, channels = wanted["shape"]
    coarse = np.random.default_rng(7).uniform(-1, 1, (8, 8, channels))
    picture = np.kron(coarse, np.ones((side // 8, side // 8, 1)))[None]
    whole = wanted["dtype"] == np.int8
    interpreter.set_tensor(wanted["index"], np.rint(picture * 127).astype(np.int8) if whole else picture.astype(np.float32))
    interpreter.invoke()
    return [
        float(value) for output in interpreter.get_output_details() for value in interpreter.get_tensor(output["index"]).ravel()
    ]


if __name__ == "__main__":
    chosen = cast("Runtime", sys.argv[1])
    print(json.dumps({f"{name}, reference kernels": answers(chosen, name, form) for name, form in MODELS}))
