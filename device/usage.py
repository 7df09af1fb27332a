"""What the kernel says about another process: memory, descriptors, threads, time. Reads /proc, and keeps nothing.

Memory is what is resident. The proportional set size would count what is shared in parts, and so change whenever another process
that uses the same libraries comes or goes. How many descriptors are open in ``watch`` and ``send``, which are not dumpable
(``device/process.py``), the kernel tells as the size of a folder, from Linux 6.2 on.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

PROC: Final = Path("/proc")
TICKS: Final = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Usage:
    """What a process holds.

    Attributes:
        rss: Resident memory, MiB.
        descriptors: How many are open; ``None`` where that is not told.
        threads: How many there are.
        processor: Seconds of processor time so far, of all threads.
    """

    rss: float
    descriptors: int | None
    threads: int
    processor: float


def usage(pid: int, proc: Path = PROC) -> Usage | None:
    """What this process holds now; ``None`` when there is none."""
    folder = proc / str(pid)
    try:
        status = (folder / "status").read_text(errors="replace")
        fields = (folder / "stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
    resident = _kilobytes(status, "VmRSS")
    if resident is None:  # it has ended, and waits for its parent
        return None
    threads = re.search(r"^Threads:\s+(\d+)$", status, re.MULTILINE)
    return Usage(
        rss=resident / 1024,
        descriptors=_descriptors(folder / "fd"),
        threads=int(threads[1]) if threads else 0,
        processor=(int(fields[11]) + int(fields[12])) / TICKS,
    )


def _descriptors(folder: Path) -> int | None:
    try:
        return len(os.listdir(folder))
    except OSError:  # not ours to read
        try:
            return folder.stat().st_size or None
        except OSError:
            return None


def _kilobytes(text: str, name: str) -> int | None:
    found = re.search(rf"^{name}:\s+(\d+) kB$", text, re.MULTILINE)
    return int(found[1]) if found else None
