"""Cutting sessions on a running broker, through its dynamic security plugin."""

from __future__ import annotations

import secrets
import ssl
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Final

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from device.contract import topic
from provisioning import mosquitto
from provisioning.errors import BrokerError
from provisioning.fleet import Fleet

SECONDS: Final = 5.0  # for a connection, and for an answer


class Control:
    """A connection of the manager's own, used as ``with Control(fleet) as control``. Not for several threads.

    Args:
        fleet: Whose broker.
        host, port: Where it is, if not as in the fleet's URL.
        identity: Certificate and key, if not those of the fleet.

    Raises:
        BrokerError: The broker does not answer within ``SECONDS``, is not to be trusted, or refuses.
    """

    def __init__(
        self, fleet: Fleet, *, host: str | None = None, port: int | None = None, identity: tuple[Path, Path] | None = None
    ) -> None:
        self._where = (host or fleet.host, port or fleet.port)
        self._correlation = secrets.token_hex(8)
        self._ready, self._answered = threading.Event(), threading.Event()
        self._why = "no answer"
        self._wrong: list[str] = []
        self._client = paho.Client(CallbackAPIVersion.VERSION2, f"mien-fleet-control-{self._correlation}", protocol=paho.MQTTv5)
        certificate, key = identity or fleet.service
        try:
            context = ssl.create_default_context(cafile=str(fleet.ca))
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            context.load_cert_chain(certificate, key)
        except (OSError, ssl.SSLError) as error:
            raise BrokerError(
                f"{fleet.folder}: its identity cannot be used ({error}); run mien-fleet renew {fleet.folder}"
            ) from None
        self._client.tls_set_context(context)
        self._client.on_connect, self._client.on_subscribe = self._connected, self._subscribed
        self._client.on_message = self._message

    def __enter__(self) -> Control:
        host, port = self._where
        try:
            self._client.connect_timeout = SECONDS
            self._client.connect(host, port, clean_start=True)
        except (OSError, ValueError) as error:
            raise BrokerError(f"mqtts://{host}:{port}: {error}; is the broker running, and is this its name?") from None
        self._client.loop_start()
        if not self._ready.wait(SECONDS):
            self._client.loop_stop()
            raise BrokerError(f"mqtts://{host}:{port}: {self._why}; does the broker run with the configuration of mien-fleet init?")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def cut(self, device: str) -> None:
        """End every session of a device, now, and refuse it all topics from now on."""
        self._send(mosquitto.cut(device))

    def restore(self, device: str) -> None:
        """Let a device's name in again; its revoked certificates stay revoked."""
        self._send(mosquitto.restore(device))

    def clear(self, device: str) -> None:
        """Remove what the broker keeps for a device's topics, from either side: what it was, and what was wanted of it."""
        for name in mosquitto.RETAINED:
            sent = self._client.publish(topic(device, name), b"", qos=1, retain=True)
            sent.wait_for_publish(SECONDS)
            if not sent.is_published():
                raise BrokerError(f"the broker does not take what clears {topic(device, name)}; revoke the device once more later")

    def _send(self, commands: list[dict[str, Any]]) -> None:
        self._answered.clear()
        deadline = time.monotonic() + SECONDS
        self._client.publish(mosquitto.CONTROL, mosquitto.control(commands, self._correlation), qos=1)
        if not self._answered.wait(deadline - time.monotonic()):
            raise BrokerError(
                "the broker does not answer to commands; is its dynamic security plugin loaded, as in broker/mosquitto.conf?"
            )
        if self._wrong:
            raise BrokerError(f"the broker's dynamic security refuses: {'; '.join(self._wrong)}; see its log")

    def _connected(self, client: paho.Client, _data: Any, _flags: Any, code: ReasonCode, _properties: Properties | None) -> None:
        if code.is_failure:
            self._why = f"refused ({code})"
        else:
            client.subscribe(mosquitto.ANSWERS, qos=1)

    def _subscribed(
        self, _client: paho.Client, _data: Any, _mid: int, codes: list[ReasonCode], _properties: Properties | None
    ) -> None:
        if not any(code.is_failure for code in codes):
            self._ready.set()

    def _message(self, _client: paho.Client, _data: Any, message: paho.MQTTMessage) -> None:
        wrong = mosquitto.answers(bytes(message.payload), self._correlation)
        if wrong is not None:
            self._wrong = wrong
            self._answered.set()
