"""Who may import whom: the architecture, checked in the source itself."""

from __future__ import annotations

import ast
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CORE = {
    "dialogue",
    "renew",
    "contract_enroll",
    "contract_command",
    "contract_manifest",
    "contract_messages",
    "contract_read",
    "contract_model",
    "rollout",
    "contract_twin",
    "enroll",
    "types",
    "tracks",
    "window",
    "privacy",
    "terms",
    "noise",
    "contract",
    "errors",
    "policy",
    "jurisdictions",
    "consent",
    "governor",
    "reopen",
}
PURE_PACKAGES = {"numpy", "pydantic"}
STANDARD_IO = {"os", "socket", "subprocess", "pathlib", "time", "threading", "random", "secrets", "tempfile", "shutil"}
ONE_ADAPTER = {
    "tuf": {"device/trust.py"},
    "paho": {"device/publishers/mqtt.py", "device/publishers/_packets.py", "device/commands/subscriber.py"},
    "picamera2": {"device/cameras/picamera2.py"},
    "iotcore": {"device/commands/broker.py"},
    "rich": {"device/commands/screen.py"},
    "structlog": {
        "device/log.py",
        "device/changes.py",
        "device/looking.py",
        "device/outbox.py",
        "device/orders.py",
        "device/downward.py",
        "device/sender.py",
        "device/twin_keeper.py",
        "device/model_store.py",
        "device/watch.py",
        "device/watcher.py",
        "device/send.py",
        "device/commands/enroll.py",
    },
    "gpiozero": {"device/gpio.py"},
    "segno": {"device/notice_html.py"},
    "cryptography": {"device/bound.py", "device/endorsed.py", "device/identity.py"},
    "click": {
        "device/cli.py",
        "device/commands/_files.py",
        "device/commands/doctor.py",
        "device/commands/egress.py",
        "device/commands/enroll_words.py",
        "device/commands/prove.py",
        "device/commands/settings_words.py",
        "device/commands/soak_words.py",
    },
}
MAY_SEE_FRAMES = (
    "device/types.py",
    "device/observe.py",
    "device/cameras/",
    "device/nets/",
    "device/tflite.py",
    "device/commands/bench.py",
    "device/commands/choose.py",
)


def files(folder: str) -> list[Path]:
    return sorted(path for path in (ROOT / folder).rglob("*.py") if "__pycache__" not in path.parts)


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@cache
def imports(path: Path) -> frozenset[str]:
    """Every module that a file imports, wherever in it; ``from a import b`` counts as ``a`` and ``a.b``."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name(path)}: imports are absolute"
            found.add(node.module or "")
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return frozenset(found)


def ours(path: Path) -> set[str]:
    return {module for module in imports(path) if module.split(".")[0] in {"device", "models", "provisioning"}}


@pytest.mark.parametrize("module", sorted(CORE))
def test_the_core_does_no_io_and_imports_little(module: str) -> None:
    found = imports(ROOT / "device" / f"{module}.py")

    outside = {m.split(".")[0] for m in found} - {"device"}
    assert not outside & STANDARD_IO
    assert {m.split(".")[1] for m in found if m.startswith("device.")} <= CORE
    assert {top for top in outside if top not in sys.stdlib_module_names} <= PURE_PACKAGES


@pytest.mark.parametrize("package", sorted(ONE_ADAPTER))
def test_a_third_party_package_is_imported_by_its_adapter_only(package: str) -> None:
    users = {name(path) for path in files("device") if package in {m.split(".")[0] for m in imports(path)}}

    assert users <= ONE_ADAPTER[package]


def test_watching_and_sending_know_nothing_of_each_other() -> None:
    assert "device.send" not in ours(ROOT / "device/watch.py")
    for sending in ("send", "sender", "handlers", "commands_down", "downward"):
        assert not {"device.watch", "device.looking", "device.orders"} & ours(ROOT / f"device/{sending}.py")
    for watching in ("watch", "looking", "orders"):
        assert not {"device.send", "device.sender", "device.commands_down"} & ours(ROOT / f"device/{watching}.py")


def test_cameras_and_publishers_know_nothing_of_what_becomes_of_their_work() -> None:
    forbidden = {"device.watch", "device.send", "device.cli", "device.spool", "device.privacy", "device.tracks", "device.window"}
    for folder in ("device/cameras", "device/publishers", "device/nets"):
        for path in files(folder):
            assert not ours(path) & forbidden, name(path)


def test_only_the_command_line_wires_watch_and_send() -> None:
    users = {name(path) for path in files("device") if ours(path) & {"device.watch", "device.send"}}

    assert users <= {"device/cli.py", "device/commands/doctor.py", "device/commands/bench.py", "device/proof/pipeline.py"}


def test_the_device_imports_neither_the_fleet_nor_the_code_of_the_models() -> None:
    for path in files("device"):
        assert not {m for m in ours(path) if not m.startswith("device")}, name(path)


def test_the_fleet_imports_the_contract_and_the_settings_model_alone() -> None:
    for path in files("provisioning"):
        used = {m for m in ours(path) if m.startswith("device.")}
        may: tuple[str, ...] = ("device.contract", "device.settings")
        if path.parent.name == "simulate":  # its devices enrol and reconnect as real ones do
            may += ("device.enroll", "device.dialogue", "device.identity", "device.backoff")
        assert {m for m in used if not m.startswith(may)} == set(), name(path)


def test_frames_are_seen_only_where_they_live() -> None:
    users = {name(path) for path in files("device") if "device.types.Frame" in imports(path)}

    assert {user for user in users if not user.startswith(MAY_SEE_FRAMES)} <= {"device/cameras/__init__.py"}


def test_only_privacy_makes_a_report() -> None:
    makers = set()
    for path in files("device"):
        for node in ast.walk(ast.parse(path.read_text())):
            made = node.func if isinstance(node, ast.Call) else None
            if isinstance(made, ast.Name) and made.id == "Report":
                makers.add(name(path))
            if isinstance(made, ast.Attribute) and made.attr in {"model_construct", "model_copy"} and "Report" in ast.unparse(made):
                makers.add(name(path))

    assert makers == {"device/privacy.py"}


def test_no_module_is_too_long_to_read_in_one_go() -> None:
    long = {
        name(p): n for d in ("device", "models", "provisioning") for p in files(d) if (n := len(p.read_text().splitlines())) > 300
    }

    assert long == {}
