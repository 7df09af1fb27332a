"""Load a TFLite model, run it, and leave no pixel behind in it.

Works with ``ai-edge-litert`` (the default) and with ``tflite-runtime``; they share one interface.
"""

from __future__ import annotations

import hashlib
import importlib
import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Lock, Thread
from typing import Any, Final, Literal, TypeVar

import numpy as np
import numpy.typing as npt

from device.errors import ModelError, RuntimeMissingError, ShapeError
from device.types import without_locals

Runtime = Literal["ai-edge-litert", "tflite-runtime"]
Wanted = Literal["auto", "ai-edge-litert", "tflite-runtime"]
RUNTIMES: dict[Runtime, str] = {
    "ai-edge-litert": "ai_edge_litert.interpreter",
    "tflite-runtime": "tflite_runtime.interpreter",
}
Tensor = npt.NDArray[Any]
Answer = TypeVar("Answer")
IDLE: Final = 0.75  # seconds after its last picture when a model is scrubbed: well below the second that is promised


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """What a tensor must look like: its shape and NumPy dtype names that are accepted."""

    shape: tuple[int, ...]
    dtypes: tuple[str, ...]

    def __str__(self) -> str:
        return f"{'|'.join(self.dtypes)}{list(self.shape)}"


@dataclass(slots=True)
class Meter:
    """How often a model ran on pictures, and how many seconds that took in all, preparation included."""

    passes: int = 0
    seconds: float = 0.0


METERS: Final[dict[str, Meter]] = {}  # of this process, by the model's SHA-256: for the trial of a new one


@dataclass(frozen=True, slots=True)
class ModelFile:
    """A model as the manifest names it: where it is and what it must hash to."""

    path: Path
    sha256: str


def find_runtime(wanted: Wanted = "auto") -> tuple[Runtime, type[Any]]:
    """Return the name and the ``Interpreter`` class of a runtime that is installed and fits this NumPy.

    Raises:
        RuntimeMissingError: None can be used; the message says why for each.
    """
    names = RUNTIMES if wanted == "auto" else {wanted: RUNTIMES[wanted]}
    reasons = []
    for name, module in names.items():
        if name == "tflite-runtime" and int(np.__version__.split(".")[0]) >= 2:
            reasons.append(f"{name} needs numpy<2 and this is numpy {np.__version__}")
            continue
        try:
            return name, importlib.import_module(module).Interpreter
        except ImportError as error:
            reasons.append(f"{name}: {error}")
    raise RuntimeMissingError(
        f"no TFLite runtime: {'; '.join(reasons)}. Install one: pip install mien (ai-edge-litert) "
        "or pip install 'mien[tflite-runtime]' (Python 3.11 and older)"
    )


class Model:
    """One model in memory, with pixels in it only while it runs.

    Args:
        file: Path and expected SHA-256.
        inputs, outputs: The tensors expected, in order; a model that differs is refused.
        runtime: Which runtime to use.
        threads: How many threads an invoke may use.

    Raises:
        ModelError: The file is missing, damaged, or its hash or tensors differ.
        RuntimeMissingError: No runtime can be used.
    """

    def __init__(
        self,
        file: ModelFile,
        *,
        inputs: tuple[TensorSpec, ...],
        outputs: tuple[TensorSpec, ...],
        runtime: Wanted = "auto",
        threads: int = 1,
    ) -> None:
        content = read_verified(file)
        self.runtime, interpreter_class = find_runtime(runtime)
        try:
            with _quiet():
                self._interpreter = interpreter_class(model_content=content, num_threads=threads)
                self._interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise ModelError(
                f"{file.path}: {self.runtime} cannot run this model ({str(error).splitlines()[0]}); restore the packaged file"
            ) from error
        self.sha256 = file.sha256
        self._meter = METERS.setdefault(file.sha256, Meter())
        details = self._interpreter.get_input_details()
        self._lock = Lock()
        self._used: float | None = None  # when a picture last went in, monotonic; None when nothing is left of it
        self._input = details[0]["index"]
        self._outputs = [detail["index"] for detail in self._interpreter.get_output_details()]
        _expect(file.path, "input", inputs, details)
        _expect(file.path, "output", outputs, self._interpreter.get_output_details())
        self.scale, self.zero_point = details[0]["quantization"]
        self.input_dtype = np.dtype(details[0]["dtype"])
        self.output_scales: list[tuple[float, int]] = [d["quantization"] for d in self._interpreter.get_output_details()]

    def run(self, fill: Callable[[Tensor], object], read: Callable[..., Answer]) -> Answer:
        """Let ``fill`` write the input tensor in place, invoke, zero the input, and return what ``read`` makes of the outputs.

        The input tensor still holds the face after an invoke (measured), so it is zeroed also when something raises. The
        intermediate tensors still do, too: they are left to ``scrub``, and ``Scrubber`` sees to it.

        Args:
            fill: Is given the input tensor.
            read: Is given the output tensors, in order; they are views, and nothing that it returns may be one: see ``copies``.
        """
        with self._lock:
            began = self._used = time.monotonic()
            try:
                with without_locals():  # a kept view of a tensor would forbid every further invoke
                    fill(self._interpreter.tensor(self._input)())
                    self.invoke()
                    return read(*(self._interpreter.tensor(index)() for index in self._outputs))
            finally:
                self._interpreter.tensor(self._input)().fill(0)
                self._meter.passes += 1
                self._meter.seconds += time.monotonic() - began

    def scrub(self, *, idle: float = 0.0) -> float:
        """Overwrite the intermediate tensors with those of a blank image (one invoke).

        Args:
            idle: Only when the last picture went through so many seconds ago; not if nothing is left of it.

        Returns:
            Seconds until it may be due again.
        """
        with self._lock:
            rest = idle if self._used is None else self._used + idle - time.monotonic()
            if idle and rest > 0:
                return rest
            self._interpreter.tensor(self._input)().fill(0)
            self.invoke()
            self._used = None
            return idle

    def invoke(self) -> None:
        """Run once on whatever the input holds, as to time the bare model."""
        self._interpreter.invoke()


def copies(*outputs: Tensor) -> tuple[Tensor, ...]:
    """The outputs themselves, to be kept: for ``Model.run``."""
    return tuple(output.copy() for output in outputs)


class Scrubber:
    """Scrubs models in which no picture came after the last: nobody is in view, the camera stalls, watching is paused.

    It has a thread of its own, because a camera may block for longer than a second. On the way out all are scrubbed at once.
    """

    def __init__(self, models: Iterable[Model]) -> None:
        self._models = tuple(models)
        self._stopping = Event()
        self._failure = ""
        self._thread = Thread(target=self._run, daemon=True, name="scrubber")

    def __enter__(self) -> Scrubber:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()
        for model in self._models:
            model.scrub()

    def check(self) -> None:
        """Raises ModelError when models are no longer scrubbed: then nothing more may be watched."""
        if self._failure:
            raise ModelError(f"a model cannot be overwritten with a blank image ({self._failure}); restart, and report this")

    def _run(self) -> None:
        wait = IDLE
        while not self._stopping.wait(wait):
            try:
                wait = min(model.scrub(idle=IDLE) for model in self._models)
            except (RuntimeError, ValueError) as error:
                self._failure = str(error).splitlines()[0]
                return


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the runtimes' greeting, written by C++, off standard error; what goes wrong comes as an exception."""
    saved, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(nowhere)


def read_verified(file: ModelFile) -> bytes:
    """Return a model file's bytes, having checked their hash.

    Raises:
        ModelError: The file is missing, unreadable, empty, or its hash differs.
    """
    try:
        content = file.path.read_bytes()
    except OSError as error:
        raise ModelError(f"{file.path}: cannot read the model ({error.strerror}); reinstall mien or restore the file") from error
    found = hashlib.sha256(content).hexdigest()
    if found != file.sha256:
        raise ModelError(
            f"{file.path}: the model is damaged or not the one in the manifest ({len(content)} bytes, sha256 {found[:12]}…, "
            f"expected {file.sha256[:12]}…); restore the packaged file"
        )
    return content


def _expect(path: Path, side: str, wanted: tuple[TensorSpec, ...], found: list[dict[str, Any]]) -> None:
    shapes = [(tuple(int(n) for n in d["shape"]), np.dtype(d["dtype"]).name) for d in found]
    fits = len(shapes) == len(wanted) and all(
        shape == spec.shape and dtype in spec.dtypes for (shape, dtype), spec in zip(shapes, wanted, strict=True)
    )
    if not fits:
        raise ShapeError(
            f"{path}: {side} tensors are {', '.join(f'{d}{list(s)}' for s, d in shapes)}; expected "
            f"{', '.join(str(spec) for spec in wanted)}; this model does not fit this version of mien"
        )
