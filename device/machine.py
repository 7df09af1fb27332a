"""What the kernel says about this machine: temperature, throttling, power, memory. Reads files, and keeps nothing.

``root`` is where ``/sys`` and ``/proc`` are; tests give a folder. What cannot be read is ``None``: no machine has all of it.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path("/")
PROCESSOR: Final = re.compile(r"cpu|soc|gpu|pkg|\btj\b", re.IGNORECASE)  # zones that say how hot the work makes it
FIRMWARE: Final = "sys/devices/platform/soc/soc:firmware/get_throttled"  # Raspberry Pi: the bits of vcgencmd get_throttled
UNDER_VOLTAGE, CAPPED, THROTTLED, SOFT_LIMIT = (1 << bit for bit in range(4))  # now; 16 bits further: since it was switched on
SINCE_BOOT: Final = 16


@dataclass(frozen=True, slots=True)
class Firmware:
    """What a Raspberry Pi's firmware has noticed.

    Attributes:
        throttled: It slows the processor down now, for heat or for want of power.
        under_voltage: The supply is too weak now.
        was_throttled, was_under_voltage: The same, at any time since the machine was switched on.
    """

    throttled: bool
    under_voltage: bool
    was_throttled: bool
    was_under_voltage: bool


def celsius(root: Path = ROOT) -> float | None:
    """The hottest of the processor's zones in °C; where none is called so, the hottest of all."""
    found: list[tuple[bool, float]] = []
    for zone in sorted((root / "sys/class/thermal").glob("thermal_zone*")):
        with suppress(OSError, ValueError):  # a zone may be switched off
            degrees = int((zone / "temp").read_text()) / 1000
            if -40 <= degrees <= 150:
                found.append((PROCESSOR.search(_text(zone / "type") or "") is not None, degrees))
    processor = [degrees for ours, degrees in found if ours]
    return max(processor or [degrees for _, degrees in found], default=None)


def firmware(root: Path = ROOT) -> Firmware | None:
    """What the firmware has noticed; ``None`` where there is none that says so."""
    try:
        bits = int((_text(root / FIRMWARE) or "").strip(), 16)
    except ValueError:
        return None
    slow = CAPPED | THROTTLED | SOFT_LIMIT
    before = bits >> SINCE_BOOT
    return Firmware(bool(bits & slow), bool(bits & UNDER_VOLTAGE), bool(before & slow), bool(before & UNDER_VOLTAGE))


def megabytes(root: Path = ROOT) -> float:
    """What this process holds of the memory (its resident set), in MB of 2^20 bytes; 0 where nobody says."""
    fields = (_text(root / "proc/self/statm") or "").split()
    return int(fields[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20 if len(fields) > 1 else 0.0


def limits_memory(root: Path = ROOT) -> bool | None:
    """Whether the kernel can limit the memory of a service: ``None`` where there are no control groups at all."""
    folder = root / "sys/fs/cgroup"
    if (unified := _text(folder / "cgroup.controllers")) is not None:
        return "memory" in unified.split()
    return (folder / "memory").is_dir() if folder.is_dir() and any(folder.iterdir()) else None


def _text(path: Path) -> str | None:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return None
