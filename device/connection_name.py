"""The name of the connection to the broker (MQTT's client id): random, and kept.

A broker ends a connection when another one comes with the same name, whoever makes it. So the name must not be known to others in
the fleet, whose certificates are as good: it is no topic, no part of the device's name, and never published. It is kept, so that a
process that starts again takes over the connection that its predecessor left half open, and that one's last will is told before
the new birth instead of after it.
"""

from __future__ import annotations

import re
import secrets
from contextlib import suppress
from pathlib import Path
from typing import Final

from device import durable
from device.errors import SpoolError

FILE: Final = "connection_name"
FORM: Final = re.compile(rb"[0-9a-f]{22}")  # of at most 23 characters every MQTT 5 broker takes them all (MQTT 5.0, 3.1.3.1)


def connection_name(folder: Path) -> str:
    """The name kept in this folder; a new one where there is none, or none that can be read.

    Raises:
        SpoolError: The folder cannot be written.
    """
    path, kept = folder / FILE, None
    try:
        with suppress(OSError):  # one that cannot be read is replaced
            kept = durable.read(path, 64)
        if kept is None or not FORM.fullmatch(kept):
            kept = secrets.token_hex(11).encode()
            durable.write(path, kept, mode=0o600)
    except OSError as error:
        raise SpoolError(f"{path}: cannot be used ({error.strerror}); make send_folder writable for this user") from error
    return kept.decode()
