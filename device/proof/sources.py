"""Who may make a report, and who may see a frame, checked in the source itself."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from pathlib import Path
from typing import Final

DEVICE: Final = Path(__file__).resolve().parents[1]
MAKES_REPORTS: Final = "device/privacy.py"
READS_REPORTS: Final = {
    "device/contract.py": {"Report"},  # where it is defined and listed
    "device/contract_messages.py": {"Report", "contract.Report"},
    "device/spool.py": {"Envelope.model_validate_json"},  # reads what watch has stored
    "device/commands/subscriber.py": {"Report.model_validate_json"},  # the demo, on the other side of the broker
}
SEES_FRAMES: Final = (
    "device/types.py", "device/observe.py", "device/tflite.py", "device/cameras/", "device/nets/", "device/commands/bench.py",
    "device/commands/choose.py", "device/proof/pipeline.py",
)  # fmt: skip
SECOND_MAKERS: Final = (
    "from device.contract import Report\nReport(schema=1)",
    "from device.contract import Report as Note\nNote(schema=1)",
    "from device import contract\ncontract.Report(schema=1)",
    "from device import contract\ngetattr(contract, 'Report')(schema=1)",
    "from device.contract import Report\nmake = Report\nmake(schema=1)",
    "from device.contract import Report\nclass Note(Report): pass\nNote(schema=1)",
    "from device.contract import Report\nReport.model_construct(people=3)",
    "from device.contract import Report\nReport.model_validate({'people': 3})",
    "from device.contract import Report\nTypeAdapter(Report).validate_python({'people': 3})",
    "from device.contract import Envelope\nEnvelope.model_validate({'report': {'people': 3}})",
    "from device.contract import Envelope\nEnvelope.model_construct(report=window)",
    "def change(report): return report.model_copy(update={'people': 3})",
)  # what must be caught
SECOND_SEERS: Final = (
    "from device.types import Frame",
    "from device.types import Frame as F",
    "from device.types import *",
    "import device.types\ndevice.types.Frame",
    "def leak(camera):\n    with camera.take() as seen:\n        return seen.pixels",
    "def leak(seen): return getattr(seen, 'pixels')",
)


def report_makers(code: str) -> set[str]:
    """The expressions that make or change a ``Report``, or could: whatever names the class outside of an annotation."""
    tree = ast.parse(code)
    named = {"Report": "Report", "Envelope": "Envelope"}  # what it is called here → what it is
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            named |= {alias.asname: alias.name for alias in node.names if alias.asname and alias.name in named.values()}
        if isinstance(node, ast.arg | ast.AnnAssign):
            node.annotation = ast.Constant(None)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            node.returns = None
    called = {id(node.func): node.func for node in ast.walk(tree) if isinstance(node, ast.Call)}
    inside = {id(node.value) for node in called.values() if isinstance(node, ast.Attribute)}
    made = {ast.unparse(node) for node in called.values() if _changes_a_report(node, named)}
    for node in ast.walk(tree):
        what = named.get(node.id) if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""
        if what == "Report" and id(node) not in inside:
            made.add(ast.unparse(node))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "getattr" and "'Report'" in ast.unparse(node):
            made.add(ast.unparse(node))
    return made


def _changes_a_report(called: ast.expr, named: Mapping[str, str]) -> bool:
    """Whether a method is called that makes a message out of anything, or another one out of a report."""
    if not isinstance(called, ast.Attribute):
        return False
    owner = ast.unparse(called.value)
    is_class = named.get(owner) is not None or owner.rpartition(".")[2] in {"Report", "Envelope"}
    return is_class or (called.attr in {"model_construct", "model_copy", "__new__"} and "report" in owner.lower())


def sees_frames(code: str) -> bool:
    """Whether ``Frame`` is imported or reached through its module, or anybody's ``pixels`` are."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.ImportFrom) and node.module == "device.types" and {"Frame", "*"} & {a.name for a in node.names}:
            return True
        if isinstance(node, ast.Attribute) and node.attr in {"Frame", "pixels", "_pixels"}:
            return True
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "getattr" and "pixels'" in ast.unparse(node):
            return True
    return False


def strangers() -> list[str]:
    """Modules of this installation that make reports or see frames, and should not."""
    found = []
    for path in sorted(DEVICE.rglob("*.py")):
        name, code = path.relative_to(DEVICE.parent).as_posix(), path.read_text(encoding="utf-8")
        if name != MAKES_REPORTS and (made := report_makers(code) - READS_REPORTS.get(name, set())):
            found.append(f"{name} makes reports: {', '.join(sorted(made))}")
        if sees_frames(code) and not name.startswith(SEES_FRAMES):
            found.append(f"{name} sees frames")
    return found
