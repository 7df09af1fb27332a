"""``models/manifest.json``: which file is which model, and what it must hash to."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from pydantic import ValidationError

from device.contract_manifest import Entry, Models, Point, PointName, Sha256
from device.errors import ModelError
from device.tflite import ModelFile

__all__ = ["FOLDER", "Entry", "Manifest", "Models", "Point", "PointName", "Sha256", "read_manifest"]

FOLDER = Path(__file__).resolve().parent.parent / "models"  # beside this package, in a checkout and in site-packages


@dataclass(frozen=True, slots=True)
class Manifest:
    """The manifest and the folder that it describes.

    Attributes:
        installed: Models that came by a rollout and stand in for the packaged ones: the folder where each is.
        damaged: Models that came so and are damaged, so that the packaged ones are used.
    """

    folder: Path
    entries: dict[str, Entry]
    installed: dict[str, Path] = field(default_factory=dict)
    damaged: tuple[str, ...] = ()

    def file(self, name: str, form: str | None = None) -> ModelFile:
        """Where the model is and what it must hash to; its default form, or the one that is named.

        A model that came by a rollout has one form, which is what one gets whatever is named.

        Raises:
            ModelError: There is no such model, or it has no such form.
        """
        entry = self[name]
        if name in self.installed:
            return ModelFile(self.installed[name] / entry.file, entry.sha256)
        if form is None:
            return ModelFile(self.folder / entry.file, entry.sha256)
        if form not in entry.forms:
            known = ", ".join(entry.forms) or "one without a name"
            raise ModelError(f"{self.folder / 'manifest.json'}: model {name!r} has no form {form!r}; it has {known}")
        return ModelFile(self.folder / entry.forms[form].file, entry.forms[form].sha256)

    def __getitem__(self, name: str) -> Entry:
        try:
            return self.entries[name]
        except KeyError:
            path, known = self.folder / "manifest.json", ", ".join(self.entries)
            raise ModelError(f"{path}: no model named {name!r}; it has {known}; reinstall mien") from None


def read_manifest(folder: Path = FOLDER) -> Manifest:
    """Read the manifest in a folder of models.

    Raises:
        ModelError: It is missing or is not a manifest.
    """
    path = folder / "manifest.json"
    try:
        return Manifest(folder, Models.model_validate_json(path.read_bytes()).models)
    except OSError as error:
        raise ModelError(f"{path}: cannot read the list of models ({error.strerror}); reinstall mien") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise ModelError(f"{path}: {where}: {first['msg']}; reinstall mien") from error
