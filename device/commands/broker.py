"""An embedded MQTT 5 broker for demonstrations: rumqttd, from the ``iotcore`` wheel, on a free port of 127.0.0.1."""

from __future__ import annotations

import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from device.errors import BrokerError

CONFIG = """\
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
    try:
        from iotcore import Broker
    except ImportError as error:
        raise BrokerError("the embedded broker is not installed; pip install 'mien[demo]', or use --broker URL") from error
    port = _free_port()
    config = folder / "broker.toml"
    config.write_text(CONFIG.format(port=port))
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # inherited: Ctrl-C is for us to handle, not for the broker
    try:
        broker = Broker(config_path=str(config)).start()
    except (OSError, RuntimeError) as error:
        raise BrokerError(f"the embedded broker did not start on 127.0.0.1:{port} ({error}); use --broker URL") from error
    finally:
        signal.signal(signal.SIGINT, before)
    try:
        yield f"mqtt://127.0.0.1:{port}"
    finally:
        broker.stop()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
