"""Every protection of a picture's memory, with the line that switches it off, in a copy of the code that a test searches."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from device.manifest import FOLDER

DEVICE = Path(__file__).parents[2] / "device"


@dataclass(frozen=True)
class Protection:
    """One protection.

    Attributes:
        name: What it is, as docs/proof.md calls it.
        file: Where it is, below ``device/``.
        lines: What of it is taken out, and what stands there instead.
        stage: During which stage of the proof its absence shows.
        wait: Whether a second passes before the search, as it may for what a model holds.
    """

    name: str
    file: str
    lines: tuple[tuple[str, str], ...]
    stage: str = "nothing"
    wait: bool = True


PROTECTIONS = (
    Protection("frame", "types.py", (("            self._pixels.fill(0)\n", ""),), "greed"),
    Protection("crops", "types.py", (("    finally:\n        array.fill(0)\n", "    finally:\n        pass\n"),), "greed"),
    Protection(
        "errors",
        "types.py",
        (
            ("    except BaseException:\n        array.fill(0)\n", "    except BaseException:\n"),
            ("            traceback.clear_frames(passed.__traceback__)\n", ""),
        ),
        "camera",
    ),
    Protection(
        "input tensors",
        "tflite.py",
        (("                self._interpreter.tensor(self._input)().fill(0)\n\n", "                pass\n\n"),),
        wait=False,
    ),
    Protection("layers", "tflite.py", (("                    model.scrub(idle=IDLE)\n", "                    pass\n"),)),
    Protection("driver's buffers", "cameras/picamera2.py", (("                buffer.array.fill(0)\n", "                pass\n"),)),
    Protection("freed rows", "process.py", (("        _start_without_cache()\n", "        pass\n"),), "forgotten"),
    Protection("freed memory", "process.py", ((" and library.mallopt(M_PERTURB, FREED) == 1", ""),), "forgotten"),
)


def weakened(protection: Protection, folder: Path, code: Path | None = None) -> Path:
    """A copy of the code without that protection; returns the folder to import it from."""
    shutil.copytree(code or DEVICE, folder / "device", ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "models").symlink_to(FOLDER)
    file = folder / "device" / protection.file
    text = file.read_text()
    for line, instead in protection.lines:
        assert text.count(line) == 1, f"{protection.file} has no longer just one {line!r}"
        text = text.replace(line, instead)
    file.write_text(text)
    return folder
