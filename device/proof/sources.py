"""Who may make a report, and who may see a frame, checked in the source itself."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Final

DEVICE: Final = Path(__file__).resolve().parents[1]
MAKES_REPORTS: Final = "device/privacy.py"
SEES_FRAMES: Final = (
    "device/types.py", "device/observe.py", "device/tflite.py", "device/cameras/", "device/nets/", "device/commands/bench.py",
    "device/commands/choose.py",
)  # fmt: skip
SECOND_MAKERS: Final = (
    "from device.contract import Report\nReport(schema=1)",
    "from device.contract import Report as Note\nNote(schema=1)",
    "from device import contract\ncontract.Report(schema=1)",
    "from device.contract import Report\nReport.model_construct(people=3)",
    "def change(report): return report.model_copy(update={'people': 3})",
)  # what must be caught
SECOND_SEERS: Final = (
    "from device.types import Frame",
    "from device.types import Frame as F",
    "from device.types import *",
    "import device.types\ndevice.types.Frame",
)


def report_makers(code: str) -> set[str]:
    """The expressions that make or change a ``Report``, by whatever name it was imported."""
    tree = ast.parse(code)
    names = {"Report"}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            names |= {alias.asname for alias in node.names if alias.name == "Report" and alias.asname}
    made = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            called, text = node.func, ast.unparse(node.func)
            if (isinstance(called, ast.Name) and called.id in names) or (
                isinstance(called, ast.Attribute) and called.attr == "Report"
            ):
                made.add(text)
            if isinstance(called, ast.Attribute) and called.attr in {"model_construct", "model_copy", "__new__"}:
                made |= {text for name in names if name.lower() in text.lower()}
    return made


def sees_frames(code: str) -> bool:
    """Whether ``Frame`` is imported, or reached through its module."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.ImportFrom) and node.module == "device.types" and {"Frame", "*"} & {a.name for a in node.names}:
            return True
        if isinstance(node, ast.Attribute) and node.attr == "Frame":
            return True
    return False


def strangers() -> list[str]:
    """Modules of this installation that make reports or see frames, and should not; ``sources.py`` names both as examples."""
    found = []
    for path in sorted(DEVICE.rglob("*.py")):
        name, code = path.relative_to(DEVICE.parent).as_posix(), path.read_text(encoding="utf-8")
        if report_makers(code) and name != MAKES_REPORTS:
            found.append(f"{name} makes reports")
        if sees_frames(code) and not name.startswith(SEES_FRAMES):
            found.append(f"{name} sees frames")
    return found
