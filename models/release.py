"""Put a model file into the project: the file, and its line in ``manifest.json``."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from device import durable
from models import graph


def release(folder: Path, name: str, content: bytes, *, file: str, **entry: Any) -> str:
    """Write ``content`` to ``folder/file`` and name it in the manifest, with its shapes and quantization; returns its SHA-256."""
    manifest = folder / "manifest.json"
    known: dict[str, Any] = json.loads(manifest.read_text()) if manifest.exists() else {"schema": 1, "models": {}}
    sha256 = hashlib.sha256(content).hexdigest()
    known["models"][name] = {"file": file, "sha256": sha256, **graph.describe(content), **entry}
    durable.write(folder / file, content)
    durable.write(manifest, (json.dumps(known, indent=2, sort_keys=True) + "\n").encode())
    print(f"{folder / file}: {len(content)} bytes, sha256 {sha256}")
    return sha256


def release_form(folder: Path, name: str, form: str, content: bytes, **entry: Any) -> str:
    """Write one form of a model and name it in the manifest; returns its SHA-256.

    Args:
        folder: Of the manifest.
        name: Of the model.
        form: How its numbers are held, such as ``float16`` or ``int8``.
        content: The file.
        entry: What else the manifest says about the model, whatever its form.
    """
    manifest = folder / "manifest.json"
    known: dict[str, Any] = json.loads(manifest.read_text()) if manifest.exists() else {"schema": 1, "models": {}}
    told = known["models"].setdefault(name, {})
    file, sha256 = f"{name}-{form}.tflite", hashlib.sha256(content).hexdigest()
    one = {"file": file, "sha256": sha256, **graph.describe(content)}
    told |= entry
    told.setdefault("forms", {})[form] = one
    if told.setdefault("form", form) == form:  # the first that was released is what tools load
        told |= one
    durable.write(folder / file, content)
    durable.write(manifest, (json.dumps(known, indent=2, sort_keys=True) + "\n").encode())
    print(f"{folder / file}: {len(content)} bytes, sha256 {sha256}")
    return sha256
