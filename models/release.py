"""Put a model file into the project: the file, and its line in ``manifest.json``."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from models import graph


def release(folder: Path, name: str, content: bytes, *, file: str, **entry: Any) -> str:
    """Write ``content`` to ``folder/file`` and name it in the manifest, with its shapes and quantization; returns its SHA-256."""
    manifest = folder / "manifest.json"
    known: dict[str, Any] = json.loads(manifest.read_text()) if manifest.exists() else {"schema": 1, "models": {}}
    sha256 = hashlib.sha256(content).hexdigest()
    known["models"][name] = {"file": file, "sha256": sha256, **graph.describe(content), **entry}
    (folder / file).write_bytes(content)
    manifest.write_text(json.dumps(known, indent=2, sort_keys=True) + "\n")
    print(f"{folder / file}: {len(content)} bytes, sha256 {sha256}")
    return sha256
