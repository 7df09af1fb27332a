"""Turn a checkpoint into the model that ships: int8, per channel, with its operating points in the manifest.

    python -m models.export --checkpoint runs/first/best.pt --data ../shared/data/ferplus-train.npz

Calibration sees training crops, cut as the device cuts them. Operating points (``models.calibrate``) and the loss from float to
int8 are measured on the held-out tenth through ``EmotionNet``, that is, through the code that runs on the device. Softmax stays
outside of the graph, batch normalisation is folded into the convolutions, the input is exactly ``grey - 128`` and the last layer
stays float.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import tempfile
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

try:
    import litert_torch
    import torch
    from litert_quantizer import algorithm_manager, calibrator, qtyping, quantizer, recipe_manager
    from litert_quantizer.utils import qsv_utils
except ModuleNotFoundError as error:
    sys.exit(f"export: {error.name} is not installed; pip install 'mien[train]'")

from device.manifest import FOLDER, read_manifest
from device.nets import emotion, face
from device.nets.emotion import EmotionNet
from device.nets.face import FaceNet
from device.tflite import ModelFile
from models import calibrate, data, measures, nets, shake
from models.data import DataError
from models.errors import run
from models.eval_emotion import read_all, scored
from models.release import release

CALIBRATED_ON: Final = 400  # training crops
LARGEST: Final = 1_200_000  # bytes of the shipped file
LARGEST_LOSS: Final = 0.005  # of accuracy, from float to int8, on the held-out tenth
INPUT_RANGE: Final = (-1.0, 127 / 128)  # 255 steps of 1/128: level 0 is -128, level 255 is 127
SIGNATURE, ARGUMENT = "serving_default", "args_0"  # as litert_torch names them


class Head(torch.nn.Module):
    """``float32[1, 48, 48, 1]`` → ``float32[1, 8]`` logits: the trained net with its input as pictures lie in memory."""

    def __init__(self, net: torch.nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.net(x.permute(0, 3, 1, 2))  # type: ignore[no-any-return]


def to_float(net: torch.nn.Module) -> bytes:
    """The network as a float32 TFLite model."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "float.tflite"
        litert_torch.convert(Head(net).eval(), (torch.zeros(1, emotion.SIDE, emotion.SIDE, 1),)).export(str(path))
        return path.read_bytes()


def to_int8(content: bytes, crops: npt.NDArray[np.float32]) -> bytes:
    """Quantize a float model: int8 weights per channel, int8 activations by the least and greatest value seen.

    Args:
        content: The float model.
        crops: ``float32[N, 48, 48, 1]``, what the device would put in.
    """
    recipe = recipe_manager.RecipeManager()
    operation, keep = qtyping.TFLOperationName, algorithm_manager.AlgorithmName.NO_QUANTIZE
    recipe.add_static_config(".*", operation.ALL_SUPPORTED, activation_num_bits=8, weight_num_bits=8)
    for name in (operation.FULLY_CONNECTED, operation.OUTPUT):
        recipe.add_quantization_config(".*", name, algorithm_key=keep)
    seen = calibrator.Calibrator(content, num_threads=1, qsv_update_func=qsv_utils.min_max_update)
    seen.calibrate({SIGNATURE: [{ARGUMENT: crop[None]} for crop in crops]}, recipe)
    ranges = seen.get_model_qsvs()
    for name, values in ranges.items():
        if name.endswith(ARGUMENT):
            for key, end in zip(("min", "max"), INPUT_RANGE, strict=True):
                values[key] = np.full_like(values[key], end)
    whole = quantizer.Quantizer(content, recipe.get_quantization_recipe())
    return bytes(whole.quantize(ranges, enable_progress_report=False).quantized_model)


def load(content: bytes, folder: Path, name: str) -> EmotionNet:
    """The model as the device loads it, at temperature 1; refused when its tensors are not those of ``nets.emotion``."""
    path = folder / name
    path.write_bytes(content)
    return EmotionNet(ModelFile(path, hashlib.sha256(content).hexdigest()))


def export(checkpoint: Path, path: Path, out: Path, seed: int) -> None:
    """Convert, quantize, measure, and release if it is good enough.

    Raises:
        DataError, ModelError: A file is missing, damaged, or of another format; the result is too large or too much worse.
    """
    net = nets.load(checkpoint, "small").to(memory_format=torch.contiguous_format)  # channels last comes out garbled
    rows = scored(data.load(path))
    aside = data.held_out(rows.names)
    detector = FaceNet(read_manifest().file(face.NAME))
    chosen = np.random.default_rng(seed).choice(np.flatnonzero(~aside), min(CALIBRATED_ON, int((~aside).sum())), replace=False)
    crops = shake.plain(rows.images[chosen], data.align(rows.images[chosen], detector))
    plain = to_float(net)
    small = to_int8(plain, np.ascontiguousarray(crops.permute(0, 2, 3, 1).numpy()))
    if len(small) > LARGEST:
        raise DataError(f"{checkpoint}: the model would have {len(small)} bytes, more than {LARGEST}; not released")

    held = rows[aside]
    labels, faces = data.majority(held.votes), data.find_faces(held.images, detector)
    with tempfile.TemporaryDirectory() as folder:
        both = {"float": load(plain, Path(folder), "float.tflite"), "int8": load(small, Path(folder), "int8.tflite")}
        read = {name: read_all(net, held, faces) for name, net in both.items()}
    read_as = calibrate.choose(read["int8"], labels, calibrate.log_prior(data.majority(rows.votes[~aside])))
    found = {name: measures.accuracy(probabilities, labels) for name, probabilities in read.items()}
    for name, value in found.items():
        print(f"{name:<6} accuracy on {len(held)} held-out rows  {value:.2%}")
    print(calibrate.report(read_as, read["int8"], labels))
    loss = found["float"] - found["int8"]
    if loss > LARGEST_LOSS:
        raise DataError(f"{checkpoint}: int8 loses {loss:.2%} of accuracy, more than {LARGEST_LOSS:.1%}; not released")
    release(
        out,
        emotion.NAME,
        small,
        file=f"{emotion.NAME}.tflite",
        source=f"models.train on ferplus-train.npz (FER2013 images with FER+ votes: research data), checkpoint sha256 "
        f"{hashlib.sha256(checkpoint.read_bytes()).hexdigest()}, models.export",
        licence="Apache-2.0",
        exported={"rows": len(held), **{f"accuracy_{name}": round(value, 4) for name, value in found.items()}},
        **read_as.entry(),
    )


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m models.export", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--checkpoint", type=Path, required=True, help="best.pt of a training run")
    parser.add_argument("--data", type=Path, required=True, help="ferplus-train.npz")
    parser.add_argument("--out", type=Path, default=FOLDER, help="folder of the manifest (default: models/)")
    parser.add_argument("--seed", type=int, default=1, help="which crops calibrate")
    args = parser.parse_args()
    return run("export", lambda: export(args.checkpoint, args.data, args.out, args.seed))


if __name__ == "__main__":
    sys.exit(main())
