"""Which form of the face detector a device loads: what the settings say, or what was measured to be fastest here."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict, ValidationError

from device import durable
from device.errors import ModelError, OutputError
from device.manifest import Manifest, Sha256
from device.settings import Settings
from device.tflite import Runtime

NAME: Final = "models.json"  # in the state folder
MAX_BYTES: Final = 4096
USUAL: Final = "int8-weights"  # as fast as float16 on every processor and in both runtimes, and smaller


class Choice(BaseModel):
    """What ``mien bench --choose --write`` found: with this runtime, this form of this detector is the fastest."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    runtime: Runtime
    detector: str
    form: str
    sha256: Sha256


def read_choice(folder: Path) -> Choice | None:
    """What was chosen on this device; ``None`` when nothing was.

    Raises:
        ModelError: The file cannot be read or is not a choice.
    """
    path = folder / NAME
    try:
        content = durable.read(path, MAX_BYTES)
        return None if content is None else Choice.model_validate_json(content)
    except OSError as error:
        raise ModelError(f"{path}: cannot read which model was chosen ({error.strerror}); let the watching user read it") from error
    except ValidationError as error:
        raise ModelError(
            f"{path}: not what mien bench --choose --write writes ({error.errors()[0]['msg']}); run that again, or remove the file"
        ) from error


def write_choice(folder: Path, choice: Choice) -> Path:
    """Keep a choice, replacing the one before as a whole; returns the file.

    Raises:
        OutputError: The folder cannot be written.
    """
    path = folder / NAME
    try:
        durable.write(path, choice.model_dump_json(indent=2).encode() + b"\n")
    except OSError as error:
        raise OutputError(f"{path}: cannot keep the choice ({error.strerror}); run this as a user who may write there") from error
    return path


def form_for(manifest: Manifest, model: str, settings: Settings, runtime: Runtime) -> str | None:
    """The form of a detector's model to load: the one in the settings; with ``auto`` the one that was chosen, as long as that was
    about this detector, runtime and file; else, and where the choice cannot be read, the usual one. ``None`` is the only one of a
    model whose forms have no names.
    """
    if settings.models.form != "auto":
        return settings.models.form
    forms = manifest[model].forms
    try:
        choice = read_choice(settings.state_folder)
    except ModelError:  # mien doctor says so; watching goes on
        choice = None
    if choice is not None and (choice.runtime, choice.detector) == (runtime, settings.models.detector):
        known = forms.get(choice.form)
        if known is not None and known.sha256 == choice.sha256:
            return choice.form
    return USUAL if USUAL in forms else None
