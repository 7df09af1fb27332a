"""Make int8 forms of the face detectors, from the float16 ones.

    python -m models.quantize_face --data ../shared/data/ferplus-train.npz [--detector full|short|back]

- **int8-weights**: weights int8, one scale per output channel, behind DEQUANTIZE; the arithmetic is float.
- **int8**: weights and activations int8, calibrated with the least and greatest values over training images pasted into drawn
  scenes (``models.pasted``); the first two convolutions and the last, from which boxes and scores come, stay float, and a few
  more where that was seen to matter (models/face.md). Input int8.

Before either, ``models.rewrite`` folds float16 constants, fuses RELUs and evens out channels. Each form is compared with
float16 on other such scenes, through ``FaceNet``; one that finds more than a point less there, or false faces, is not released.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

import numpy as np
from ai_edge_litert import schema_py_generated as schema

try:
    from litert_quantizer import algorithm_manager, calibrator, qtyping, quantizer, recipe_manager
    from litert_quantizer.utils import qsv_utils
except ModuleNotFoundError as error:
    sys.exit(f"quantize_face: {error.name} is not installed; pip install 'mien[train]'")

from device.errors import MienError
from device.manifest import FOLDER, read_manifest
from device.nets.face import DETECTORS, Detector, FaceNet
from device.tflite import ModelFile
from device.types import Frame
from models import data, pasted, rewrite
from models.data import DataError, Rows
from models.progress import track
from models.release import release_form

CALIBRATED_ON, COMPARED_ON = 60, 240  # scenes; the latter hold about 570 faces, so that one is a fifth of a point
LARGEST_LOSS: Final = 0.01  # of the pasted faces
MOST_MORE: Final = 0.1  # other detections in a scene beyond those of float16
HEADS: Final = "class|regress"  # in the names of what the last convolutions put out
FIRST: Final = r"^(activation|depthwise_conv2d)(;|$)"  # of what the first two convolutions put out
MORE: Final = {
    "full": r"^(activation_[1-3]|conv2d_[1-3]|depthwise_conv2d_[12])(;|$)",  # the rest of the first blocks: they shift all scores
    "back": "separable|^activation_32",  # the block before its coarse grid, of which int8 makes false alarms
}
SIGNATURE, ARGUMENT = "serving_default", "input"
OPERATION, KEEP = qtyping.TFLOperationName, algorithm_manager.AlgorithmName.NO_QUANTIZE


def float32(published: bytes, pictures: list[rewrite.Floats] | None = None) -> bytes:
    """The same network with float32 constants and fused RELUs; its channels evened out if there are pictures to look at."""
    model = rewrite.unpack(published)
    rewrite.fold(model)
    rewrite.fuse(model)
    rewrite.tidy(model)
    if pictures:
        rewrite.equalise(model, pictures)
    graph = model.subgraphs[0]
    signature = schema.SignatureDefT()
    signature.signatureKey, signature.subgraphIndex = SIGNATURE.encode(), 0
    signature.inputs = [_named(ARGUMENT, graph.inputs[0])]
    signature.outputs = [_named(f"output_{number}", index) for number, index in enumerate(graph.outputs)]
    model.signatureDefs = [signature]
    return rewrite.pack(model)


def _named(name: str, index: int) -> Any:
    entry = schema.TensorMapT()
    entry.name, entry.tensorIndex = name.encode(), index
    return entry


def weights_only(content: bytes) -> bytes:
    """Weights int8, arithmetic float."""
    recipe = recipe_manager.RecipeManager()
    for operation in (OPERATION.CONV_2D, OPERATION.DEPTHWISE_CONV_2D):
        recipe.add_weight_only_config(".*", operation, num_bits=8)
    recipe.add_quantization_config(HEADS, OPERATION.CONV_2D, algorithm_key=KEEP)
    whole = quantizer.Quantizer(content, recipe.get_quantization_recipe())
    return bytes(whole.quantize(enable_progress_report=False).quantized_model)


def static(content: bytes, pictures: list[rewrite.Floats], more: str | None = None) -> bytes:
    """Weights and activations int8, but for the first layers, the heads, and more layers whose outputs have such names."""
    stay = "|".join(filter(None, (FIRST, HEADS, more)))
    recipe = recipe_manager.RecipeManager()
    recipe.add_static_config(".*", OPERATION.ALL_SUPPORTED, activation_num_bits=8, weight_num_bits=8)
    for operation in (OPERATION.CONV_2D, OPERATION.DEPTHWISE_CONV_2D, OPERATION.ADD):
        recipe.add_quantization_config(stay, operation, algorithm_key=KEEP)
    for operation in (OPERATION.RESHAPE, OPERATION.CONCATENATION, OPERATION.OUTPUT):
        recipe.add_quantization_config(".*", operation, algorithm_key=KEEP)
    seen = calibrator.Calibrator(content, num_threads=1, qsv_update_func=qsv_utils.min_max_update)
    seen.calibrate({SIGNATURE: [{ARGUMENT: picture} for picture in pictures]}, recipe)
    ranges = seen.get_model_qsvs()
    whole = quantizer.Quantizer(content, recipe.get_quantization_recipe())
    return bytes(whole.quantize(ranges, enable_progress_report=False).quantized_model)


def inputs(net: FaceNet, scenes: list[pasted.Pasted]) -> list[rewrite.Floats]:
    """What the device would put into the float network for each scene."""
    made = []
    for scene in scenes:
        picture = np.zeros(net.detector.inputs[0].shape, np.float32)
        net.prepare(scene.pixels, picture)
        made.append(picture)
    return made


def open_net(content: bytes, detector: str, folder: Path, name: str) -> FaceNet:
    """A form as the device loads it."""
    path = folder / f"{name}.tflite"
    path.write_bytes(content)
    return FaceNet(ModelFile(path, hashlib.sha256(content).hexdigest()), detector=detector)


def look(net: FaceNet, scenes: list[pasted.Pasted], what: str) -> tuple[int, int]:
    """How many pasted faces were found, and how many other detections there were (the people drawn in the scene among them)."""
    hits = others = 0
    for scene in track(scenes, what):
        with Frame(scene.pixels.copy(), 0.0) as frame:
            right, wrong = pasted.matched(net(frame), scene)
        hits, others = hits + right, others + wrong
    return hits, others


def quantize(detector: str, rows: Rows, out: Path) -> None:
    """Make, compare and release both forms of one detector.

    Raises:
        DataError, ModelError: A file is missing or damaged, or a form finds too much less.
    """
    graph: Detector = DETECTORS[detector]
    file = read_manifest(out).file(graph.name, "float16")
    plain = FaceNet(file, detector=detector)
    published = file.path.read_bytes()
    pictures = inputs(plain, list(pasted.scenes(rows, CALIBRATED_ON, 1)))
    forms = {
        "int8-weights": weights_only(float32(published)),
        "int8": static(float32(published, pictures[: CALIBRATED_ON // 3]), pictures, MORE.get(detector)),
    }
    scenes = list(pasted.scenes(rows, COMPARED_ON, 2))
    found = {"float16": look(plain, scenes, "float16")}
    with tempfile.TemporaryDirectory() as folder:
        for form, content in forms.items():
            found[form] = look(open_net(content, detector, Path(folder), form), scenes, form)
    pasted_faces = sum(len(scene.places) for scene in scenes)
    for form, (hits, others) in found.items():
        print(f"{detector} {form:<13} finds {hits} of {pasted_faces} pasted faces, and {others} others")
    right, wrong = found["float16"]
    for form, content in forms.items():
        hits, others = found[form]
        if right - hits > LARGEST_LOSS * pasted_faces or others - wrong > MOST_MORE * len(scenes):
            raise DataError(f"{file.path}: {form} finds {hits} and {others} others, float16 {right} and {wrong}; not released")
        release_form(out, graph.name, form, content)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m models.quantize_face", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="ferplus-train.npz")
    parser.add_argument("--detector", choices=[*DETECTORS], help="only this one")
    parser.add_argument("--out", type=Path, default=FOLDER, help="folder of the manifest (default: models/)")
    args = parser.parse_args()
    try:
        rows = data.load(args.data)
        for detector in [args.detector] if args.detector else DETECTORS:
            quantize(detector, rows, args.out)
    except (DataError, MienError) as error:
        print(f"quantize_face: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
