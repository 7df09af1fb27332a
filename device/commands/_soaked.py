"""``mien watch`` as it is, with its camera's pictures timed: what ``mien soak`` starts.

``python -m device.commands._soaked SETTINGS CAMERA HISTOGRAM``. Nothing else of the process is changed; the histogram goes to a
file, and holds durations only.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from device import plug
from device.cameras._timed import timed


def _watch(settings: str, camera: str, histogram: str) -> None:
    from device.cli import main

    adapter: Any = plug.find("device.cameras", camera)
    adapter.open_camera = timed(adapter.open_camera, Path(histogram))
    main(["watch", "--settings", settings])


if __name__ == "__main__":
    _watch(*sys.argv[1:])
