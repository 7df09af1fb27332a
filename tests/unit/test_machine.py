"""What the kernel says about a machine, from files as Raspberry Pis, Jetsons and PCs have them."""

from __future__ import annotations

from pathlib import Path

import pytest

from device import machine
from device.machine import FIRMWARE, Firmware


def put(root: Path, name: str, content: str) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)


def zones(root: Path, *found: tuple[str, str]) -> None:
    for number, (kind, temp) in enumerate(found):
        put(root, f"sys/class/thermal/thermal_zone{number}/type", f"{kind}\n")
        put(root, f"sys/class/thermal/thermal_zone{number}/temp", f"{temp}\n")


def test_a_raspberry_pi_has_one_zone(tmp_path: Path) -> None:
    zones(tmp_path, ("cpu-thermal", "61835"))

    assert machine.celsius(tmp_path) == pytest.approx(61.835)


def test_of_a_jetsons_zones_the_hottest_of_the_processor_counts(tmp_path: Path) -> None:
    zones(tmp_path, ("CPU-therm", "52500"), ("GPU-therm", "55000"), ("PMIC-Die", "100000"), ("Tboard_tegra", "70000"))

    assert machine.celsius(tmp_path) == 55.0


def test_a_zone_that_is_switched_off_or_says_nonsense_is_passed_over(tmp_path: Path) -> None:
    zones(tmp_path, ("cpu-thermal", ""), ("gpu-thermal", "-256000"), ("soc-thermal", "48000"))
    (tmp_path / "sys/class/thermal/thermal_zone3").mkdir()

    assert machine.celsius(tmp_path) == 48.0


def test_where_no_zone_is_called_after_a_processor_the_hottest_counts(tmp_path: Path) -> None:
    zones(tmp_path, ("acpitz", "27800"), ("acpitz", "29800"))

    assert machine.celsius(tmp_path) == 29.8


def test_a_machine_without_sensors_has_no_temperature(tmp_path: Path) -> None:
    assert machine.celsius(tmp_path) is None


@pytest.mark.parametrize(
    ("bits", "found"),
    [
        ("0", Firmware(False, False, False, False)),
        ("50005", Firmware(True, True, True, True)),  # under-voltage and throttled, now and before
        ("8", Firmware(True, False, False, False)),  # the soft limit of temperature
        ("10000", Firmware(False, False, False, True)),
        ("20000\n", Firmware(False, False, True, False)),
        ("0x4", Firmware(True, False, False, False)),
        ("", None),
        ("what", None),
    ],
)
def test_the_bits_of_the_firmware_are_read(tmp_path: Path, bits: str, found: Firmware | None) -> None:
    put(tmp_path, FIRMWARE, bits)

    assert machine.firmware(tmp_path) == found


def test_a_machine_without_that_firmware_says_nothing(tmp_path: Path) -> None:
    assert machine.firmware(tmp_path) is None


def test_this_process_holds_some_memory() -> None:
    before = machine.megabytes()
    held = b"\xff" * (64 * 2**20)

    assert 50 < machine.megabytes() - before < 90
    assert len(held) > 0


@pytest.mark.parametrize(
    ("files", "found"),
    [
        ({"cgroup.controllers": "cpuset cpu io memory pids\n"}, True),
        ({"cgroup.controllers": "cpuset cpu io pids\n"}, False),  # Raspberry Pi OS as it comes
        ({"memory/memory.stat": "", "cpu/cpu.shares": ""}, True),  # version 1
        ({"cpu/cpu.shares": ""}, False),
        ({}, None),
    ],
)
def test_whether_the_kernel_can_limit_memory_is_seen(tmp_path: Path, files: dict[str, str], found: bool | None) -> None:
    for name, content in files.items():
        put(tmp_path, f"sys/fs/cgroup/{name}", content)

    assert machine.limits_memory(tmp_path) is found
