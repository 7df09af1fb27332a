"""How long pictures live: from when one is handed out until its pixels are destroyed. For ``mien soak`` alone."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from device.latency import Latencies

if TYPE_CHECKING:
    from device.cameras import Camera, CameraOptions, OpenCamera
    from device.types import Frame

KEPT_EVERY: Final = 1.0  # seconds between two writings


class Timed:
    """A camera whose pictures are timed.

    Args:
        camera: The camera.
        latencies: Where each picture's life is counted: the models and everything around them.
        keep: Told after each picture.
    """

    def __init__(self, camera: Camera, latencies: Latencies, keep: Callable[[Latencies], None]) -> None:
        self._camera, self._latencies, self._keep = camera, latencies, keep

    @contextmanager
    def take(self) -> Iterator[Frame]:
        """See ``Camera.take``."""
        with self._camera.take() as frame:
            began = time.perf_counter()
            yield frame
        self._latencies.add(time.perf_counter() - began)
        self._keep(self._latencies)

    def close(self) -> None:
        """See ``Camera.close``."""
        self._camera.close()


class Kept:
    """The histogram in a file, replaced once a second: nobody can read half of it.

    Args:
        path: The file.
        now: A monotonic clock, seconds.
    """

    def __init__(self, path: Path, now: Callable[[], float] = time.monotonic) -> None:
        self._path, self._now, self._due = path, now, 0.0

    def __call__(self, latencies: Latencies) -> None:
        """Write it when it is time; a disk that fails is somebody else's matter."""
        if self._now() < self._due:
            return
        self._due = self._now() + KEPT_EVERY
        aside = self._path.with_suffix(".tmp")
        with suppress(OSError):
            aside.write_text(json.dumps(latencies.as_json()))
            aside.replace(self._path)


def timed(open_camera: OpenCamera, path: Path) -> OpenCamera:
    """The same way to open a camera, with the histogram of all that it opens in ``path``."""
    latencies, keep = Latencies(), Kept(path)

    def opened(address: str, options: CameraOptions) -> Camera:
        return Timed(open_camera(address, options), latencies, keep)

    return opened
