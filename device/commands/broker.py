"""An embedded MQTT 5 broker for demonstrations: rumqttd, from the ``iotcore`` wheel, on a free port of 127.0.0.1."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from device.commands._children import child
from device.errors import BrokerError

START: Final = 10.0  # seconds within which it must listen
CONFIG: Final = """\
id = 0

[router]
id = 0
max_connections = 100
max_outgoing_packet_count = 200
max_segment_size = 10485760
max_segment_count = 10

[v5.1]
name = "v5"
listen = "127.0.0.1:{port}"
next_connection_delay_ms = 1

[v5.1.connections]
connection_timeout_ms = 5000
max_payload_size = 20480
max_inflight_count = 100
dynamic_filters = true
"""


@contextmanager
def embedded(folder: Path) -> Iterator[str]:
    """Run a broker as long as the block lasts, and yield its URL.

    Args:
        folder: Where its configuration file is written.

    Raises:
        BrokerError: ``iotcore`` is not installed, or the broker does not start.
    """
    if find_spec("iotcore") is None:
        raise BrokerError("the embedded broker is not installed; pip install 'mien[demo]', or use --broker URL")
    port = _free_port()
    config = folder / "broker.toml"
    config.write_text(CONFIG.format(port=port))
    with child("device.commands.broker", str(config), folder=folder, log="broker.log") as process:
        _wait_until_it_listens(process, port)
        yield f"mqtt://127.0.0.1:{port}"


def _wait_until_it_listens(process: subprocess.Popen[bytes], port: int) -> None:
    end = time.monotonic() + START
    while time.monotonic() < end and process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise BrokerError(f"the embedded broker does not listen on 127.0.0.1:{port}; use --broker URL")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _serve(config: str) -> None:
    """Be the broker."""
    import logging

    from iotcore import IotCoreBroker

    logging.getLogger("rumqttd").setLevel(logging.CRITICAL)  # it reports each message as an error span
    IotCoreBroker(config_path=config).run_forever()


if __name__ == "__main__":
    _serve(sys.argv[1])
