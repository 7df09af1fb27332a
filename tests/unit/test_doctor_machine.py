"""What a doctor says about the machine itself, and what to do about it."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest

from device.commands._machine import LOOKS, heat, limits, power, watchdog
from device.contract_command import Check
from device.errors import MienError
from device.machine import FIRMWARE
from device.settings import Settings


def put(root: Path, name: str, content: str) -> None:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(content)


def test_each_look_is_one_that_the_fleet_may_hear_of() -> None:
    assert set(LOOKS) <= set(get_args(Check))


def test_a_kernel_without_the_memory_control_group_is_named_with_what_to_write_where(tmp_path: Path) -> None:
    put(tmp_path, "sys/fs/cgroup/cgroup.controllers", "cpuset cpu io pids\n")
    put(tmp_path, "boot/firmware/cmdline.txt", "console=tty1 root=PARTUUID=1\n")

    with pytest.raises(MienError, match=r"append cgroup_enable=memory to the one line of /boot/firmware/cmdline\.txt"):
        limits(Settings(), tmp_path)


def test_a_machine_that_boots_with_grub_is_told_so(tmp_path: Path) -> None:
    put(tmp_path, "sys/fs/cgroup/cgroup.controllers", "pids\n")

    with pytest.raises(MienError, match=r"take cgroup_disable=memory out of .*GRUB_CMDLINE_LINUX"):
        limits(Settings(), tmp_path)


def test_a_kernel_that_limits_memory_is_good(tmp_path: Path) -> None:
    put(tmp_path, "sys/fs/cgroup/cgroup.controllers", "cpu memory pids\n")

    assert limits(Settings(), tmp_path) == "the kernel can limit the memory of a service"
    assert "no control groups" in limits(Settings(), tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("temp", "bits", "words"),
    [
        ("85000", "0", "give it a cooler, or shade"),
        ("60000", "8", "slowed down by its firmware"),
        ("82000", None, "82 °C, 80 or more"),
    ],
)
def test_a_device_that_is_too_hot_is_wrong(tmp_path: Path, temp: str, bits: str | None, words: str) -> None:
    put(tmp_path, "sys/class/thermal/thermal_zone0/temp", temp)
    if bits is not None:
        put(tmp_path, FIRMWARE, bits)

    with pytest.raises(MienError, match=words):
        heat(Settings(), tmp_path)


@pytest.mark.parametrize(
    ("temp", "bits", "words"),
    [
        ("48500", "0", "the processor is at 48 °C"),
        ("74000", "0", "above 70: fewer frames are read"),
        ("50000", "40000", "was slowed down since it was switched on"),
    ],
)
def test_a_device_that_is_cool_enough_is_good(tmp_path: Path, temp: str, bits: str, words: str) -> None:
    put(tmp_path, "sys/class/thermal/thermal_zone0/temp", temp)
    put(tmp_path, FIRMWARE, bits)

    assert words in heat(Settings(), tmp_path)


def test_a_machine_without_a_thermometer_is_not_wrong(tmp_path: Path) -> None:
    assert "no thermometer" in heat(Settings(), tmp_path)


@pytest.mark.parametrize(("bits", "when"), [("1", "now"), ("10000", "since it was switched on")])
def test_a_weak_power_supply_is_named(tmp_path: Path, bits: str, when: str) -> None:
    put(tmp_path, FIRMWARE, bits)

    with pytest.raises(MienError, match=rf"voltage is too low .*{when}: that damages cards"):
        power(Settings(), tmp_path)


def test_a_good_power_supply_and_one_that_nobody_knows_are_good(tmp_path: Path) -> None:
    assert "does not say" in power(Settings(), tmp_path)
    put(tmp_path, FIRMWARE, "0")
    assert power(Settings(), tmp_path) == "the supply is strong enough"


@pytest.mark.parametrize(
    ("states", "words"),
    [
        ([], "has no hardware watchdog"),
        (["inactive"], "RuntimeWatchdogSec=15s"),
        (["inactive", "active"], "watchdog1 restarts this machine"),
    ],
)
def test_a_watchdog_that_is_not_used_is_told_how_it_would_be(tmp_path: Path, states: list[str], words: str) -> None:
    for number, state in enumerate(states):
        put(tmp_path, f"sys/class/watchdog/watchdog{number}/state", f"{state}\n")

    assert words in watchdog(Settings(), tmp_path)
