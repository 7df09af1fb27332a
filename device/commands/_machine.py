"""What ``mien doctor`` looks at on the machine itself: heat, power, the kernel's limits, the watchdog."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

from device import machine
from device.errors import MienError
from device.settings import Settings

DISABLE: Final = (
    "cgroup_disable=memory"  # the firmware of a Raspberry Pi says so before what is in cmdline.txt; the later word counts
)
ENABLE: Final = (
    "cgroup_enable=memory"  # of Raspberry Pi's kernels alone, and all that they need: github.com/raspberrypi/linux/issues/6980
)


def heat(settings: Settings, root: Path) -> str:
    """Temperature, and whether the processor is slowed down for it."""
    celsius, firmware = machine.celsius(root), machine.firmware(root)
    care = settings.care
    if celsius is None:
        return "this machine has no thermometer: only a processor that is slowed down lowers the frame rate"
    said = f"the processor is at {celsius:.0f} °C"
    if celsius >= care.hot_celsius:
        raise MienError(
            f"{said}, {care.hot_celsius:g} or more: only {settings.camera.fps_floor:g} frames a second are read; "
            "give it a cooler, or shade"
        )
    if firmware is not None and firmware.throttled:
        raise MienError(f"{said}, and slowed down by its firmware; give it a cooler, and a power supply that is strong enough")
    if celsius >= care.warm_celsius:
        return f"{said}, above {care.warm_celsius:g}: fewer frames are read"
    before = ", and was slowed down since it was switched on" if firmware is not None and firmware.was_throttled else ""
    return f"{said}{before}"


def power(_: Settings, root: Path) -> str:
    """Whether the supply is strong enough, where the firmware says so."""
    firmware = machine.firmware(root)
    if firmware is None:
        return "this machine does not say whether its supply is strong enough"
    if firmware.under_voltage or firmware.was_under_voltage:
        when = "now" if firmware.under_voltage else "at some time since it was switched on"
        raise MienError(f"the voltage is too low {when}: that damages cards; use the manufacturer's power supply and a short cable")
    return "the supply is strong enough"


def limits(_: Settings, root: Path) -> str:
    """Whether MemoryMax in the units does anything."""
    able = machine.limits_memory(root)
    if able is None:
        return "this system has no control groups: no service is limited"
    if not able:
        there = [path for path in ("boot/firmware/cmdline.txt", "boot/cmdline.txt") if (root / path).exists()]
        if there:
            what = f"append {ENABLE} to the one line of /{there[0]}"
        else:
            what = f"take {DISABLE} out of the kernel's command line (GRUB_CMDLINE_LINUX in /etc/default/grub)"
        raise MienError(
            f"the kernel's memory control group is off, so MemoryMax does nothing: {what}, and restart; until then "
            "memory_megabytes alone holds"
        )
    return "the kernel can limit the memory of a service"


def watchdog(_: Settings, root: Path) -> str:
    """Whether hardware would restart a machine that hangs, and whether systemd feeds it."""
    found = sorted(path.name for path in (root / "sys/class/watchdog").glob("watchdog*"))
    if not found:
        return "this machine has no hardware watchdog; systemd restarts what hangs, and nobody restarts systemd"
    states = [_text(root / "sys/class/watchdog" / name / "state") for name in found]
    if "active" in states:
        return f"{found[states.index('active')]} restarts this machine when it hangs"
    return (
        f"{found[0]} is there and not used: RuntimeWatchdogSec=15s in /etc/systemd/system.conf has it restart a machine that hangs"
    )


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""


LOOKS: Final[dict[str, Callable[[Settings, Path], str]]] = {"heat": heat, "power": power, "limits": limits, "watchdog": watchdog}
