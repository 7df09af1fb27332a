"""Time: monotonic for windows, UTC as a label, the boot id that says which monotonic clock it was."""

from __future__ import annotations

import ctypes
import time
import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path

SYNCHRONIZED = Path("/run/systemd/timesync/synchronized")  # touched by systemd-timesyncd once the clock is set
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
TIMEX_BYTES = 208  # struct timex of linux/timex.h on 64-bit machines, and more than that on others; all zeros: only look
TIME_ERROR = 5  # what adjtimex(2) returns while nobody keeps the clock


@dataclass(frozen=True, slots=True)
class Clock:
    """What this boot's monotonic clock means."""

    boot: str

    def now(self) -> float:
        """Seconds on the monotonic clock."""
        return time.monotonic()

    def utc(self, at: float) -> datetime:
        """The UTC time of a moment on the monotonic clock, by the system clock as it is set now."""
        return datetime.now(timezone.utc) - timedelta(seconds=self.now() - at)

    def synced(self) -> bool:
        """Whether the system clock has been set from the network, as timesyncd says, or the kernel of chrony, ntpd and the like.

        The kernel is asked by a call that a service may be forbidden (``ProtectClock=yes``): then timesyncd alone counts.
        """
        return SYNCHRONIZED.exists() or kept_by_the_kernel()


def kept_by_the_kernel() -> bool:
    """Whether the kernel believes that somebody keeps its clock (not STA_UNSYNC); False where it does not say."""
    library = ctypes.CDLL(None)
    if not hasattr(library, "adjtimex"):
        return False
    return library.adjtimex(ctypes.create_string_buffer(TIMEX_BYTES)) not in (-1, TIME_ERROR)


def this_boot() -> Clock:
    """The clock of this boot; where the kernel tells no boot id, of this process."""
    try:
        boot = BOOT_ID.read_text().strip()
    except OSError:
        boot = str(uuid.uuid4())
    return Clock(boot.replace("-", "")[:8].lower())
