"""What a box calls itself, by which a copy of its card in another one is told from it."""

from __future__ import annotations

from pathlib import Path

import pytest

from device import identity


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without a serial number, and its network interfaces."""
    monkeypatch.setattr(identity, "HARDWARE", (str(tmp_path / "serial"),))
    monkeypatch.setattr(identity, "NETWORK", tmp_path / "net")
    return tmp_path


def interface(machine: Path, name: str, address: str, *, real: bool = True) -> None:
    folder = machine / "net" / name
    (folder / "device" if real else folder).mkdir(parents=True)
    (folder / "address").write_text(f"{address}\n")


def test_a_machine_that_calls_itself_nothing_has_no_name(machine: Path) -> None:
    assert identity.hardware() is None


def test_a_modem_without_an_address_does_not_make_a_machine_nameless(machine: Path) -> None:
    interface(machine, "eth0", "02:00:00:00:00:01")
    before = identity.hardware()
    interface(machine, "wwan0", "")

    assert identity.hardware() == before is not None


def test_a_bridge_or_a_tunnel_is_no_hardware(machine: Path) -> None:
    interface(machine, "docker0", "02:00:00:00:00:01", real=False)

    assert identity.hardware() is None


def test_a_serial_number_counts_before_every_address(machine: Path) -> None:
    (machine / "serial").write_text("10000000abcdef01\0")
    before = identity.hardware()
    interface(machine, "eth0", "02:00:00:00:00:01")

    assert identity.hardware() == before is not None
