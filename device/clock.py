"""Time: monotonic for windows, UTC as a label, the boot id that says which monotonic clock it was."""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path

SYNCHRONIZED = Path("/run/systemd/timesync/synchronized")  # touched by systemd-timesyncd once the clock is set
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


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
        """Whether the system clock has been set from the network."""
        return SYNCHRONIZED.exists()


def this_boot() -> Clock:
    """The clock of this boot; where the kernel tells no boot id, of this process."""
    try:
        boot = BOOT_ID.read_text().strip()
    except OSError:
        boot = str(uuid.uuid4())
    return Clock(boot.replace("-", "")[:8].lower())
