"""Print what the shipped models answer to fixed inputs, as JSON: run by ``test_both_runtimes`` with each runtime.

    python tests/integration/model_outputs.py ai-edge-litert|tflite-runtime

The answers of the two are then compared.
"""

from __future__ import annotations

import json
import sys
from typing import cast

import numpy as np

from device.manifest import read_manifest
from device.nets import emotion, face
from device.tflite import Model, Runtime, Tensor

SAMPLES = 5


def outputs(runtime: Runtime) -> dict[str, list[list[float]]]:
    """Per model, the output values of some smooth random pictures, all in one list per picture."""
    answers: dict[str, list[list[float]]] = {}
    for net in (face, emotion):
        model = Model(read_manifest().file(net.NAME), inputs=net.INPUTS, outputs=net.OUTPUTS, runtime=runtime)
        rng = np.random.default_rng(7)
        answers[net.NAME] = []
        for _ in range(SAMPLES):
            coarse = rng.uniform(-1, 1, (6, 6, net.INPUTS[0].shape[3]))
            picture = np.kron(coarse, np.ones((net.SIDE // 6, net.SIDE // 6, 1)))

            def fill(out: Tensor, picture: Tensor = picture) -> None:
                out[0] = picture if out.dtype == np.float32 else np.rint(picture * 127)

            answers[net.NAME].append(np.concatenate([output.ravel() for output in model.run(fill)]).astype(float).tolist())
    return answers


if __name__ == "__main__":
    print(json.dumps(outputs(cast("Runtime", sys.argv[1]))))
