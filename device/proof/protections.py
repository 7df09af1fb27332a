"""Every protection of a picture's memory, with the line that switches it off, in a copy of the code.

The tests search such a copy and must find the picture there; ``mien bench`` times one without any of them, to say what they cost.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from device.errors import MienError
from device.manifest import FOLDER

DEVICE: Final = Path(__file__).resolve().parents[1]


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


PROTECTIONS: Final = (
    Protection("frame", "types.py", (("            self._pixels.fill(0)\n", ""),), "greed"),
    Protection(
        "smaller copies", "types.py", (("            self._derived.popitem()[1].fill(0)\n", "            break\n"),), "greed"
    ),
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
        (
            (
                "            finally:\n                self._interpreter.tensor(self._input)().fill(0)\n",
                "            finally:\n                pass\n",
            ),
        ),
        wait=False,
    ),
    Protection("layers", "tflite.py", (("min(model.scrub(idle=IDLE) for model in self._models)", "IDLE"),)),
    Protection("driver's buffers", "cameras/picamera2.py", (("                buffer.array.fill(0)\n", "                pass\n"),)),
    Protection("freed rows", "process.py", (("        _start_without_cache()\n", "        pass\n"),), "forgotten"),
    Protection("freed memory", "process.py", ((" and library.mallopt(M_PERTURB, FREED) == 1", ""),), "forgotten"),
)


def weakened(folder: Path, protections: Sequence[Protection]) -> Path:
    """A copy of the code without those protections.

    Args:
        folder: Where to make it.
        protections: What to take out.

    Returns:
        The folder to import it from.

    Raises:
        MienError: A line is not there, or more than once: this code has been changed.
    """
    shutil.copytree(DEVICE, folder / "device", ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "models").symlink_to(FOLDER)
    for protection in protections:
        file = folder / "device" / protection.file
        text = file.read_text(encoding="utf-8")
        for line, instead in protection.lines:
            if text.count(line) != 1:
                raise MienError(
                    f"device/{protection.file}: expected just one {line.strip()!r}, and it is there {text.count(line)} times; "
                    "change device/proof/protections.py with it, or reinstall mien"
                )
            text = text.replace(line, instead)
        file.write_text(text, encoding="utf-8")
    return folder
