"""``mien send`` on another machine: ``python -m tests.send_elsewhere HARDWARE send --settings FILE``.

The hardware's own ids are in the file ``HARDWARE`` instead of in this machine's; the rest is the program as it is.
"""

from __future__ import annotations

import sys
from pathlib import Path

from device import identity
from device.cli import main

if __name__ == "__main__":
    identity.HARDWARE = (sys.argv.pop(1),)  # type: ignore[misc, assignment]
    identity.NETWORK = Path("/nonexistent")  # type: ignore[misc]
    main()
