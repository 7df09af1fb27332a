"""The collector of a rehearsal: counts what really arrives, under the manager's own identity."""

from __future__ import annotations

import json
import secrets
import ssl
import threading
from collections import defaultdict
from collections.abc import Container
from types import TracebackType
from typing import Any, Final

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from device.contract import ROOT
from provisioning.errors import BrokerError
from provisioning.fleet import Fleet

KEPT: Final = 3600  # seconds that the broker keeps what arrives while this is away
SECONDS: Final = 10.0  # for the first connection


class Witness:
    """Used as ``with Witness(fleet, port, names) as witness``. Its session outlives a restart of the broker.

    Attributes:
        seen: Device → numbers of its reports that have arrived.
        messages: Everything upward of these devices that has arrived, statuses and answers too.
        twice: Reports that arrived more than once.
    """

    def __init__(self, fleet: Fleet, port: int, names: Container[str]) -> None:
        self.seen: defaultdict[str, set[int]] = defaultdict(set)
        self.messages = self.twice = 0
        self._where, self._names = (fleet.host, port), names
        self._ready, self._why = threading.Event(), "no answer"
        self._client = paho.Client(CallbackAPIVersion.VERSION2, f"mien-fleet-simulate-{secrets.token_hex(6)}", protocol=paho.MQTTv5)
        self._client.reconnect_delay_set(1, 2)
        context = ssl.create_default_context(cafile=str(fleet.ca))
        context.load_cert_chain(*fleet.service, password="")
        self._client.tls_set_context(context)
        self._client.on_connect, self._client.on_message = self._on_connect, self._on_message

    def __enter__(self) -> Witness:
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.SessionExpiryInterval = KEPT
        host, port = self._where
        try:
            self._client.connect(host, port, clean_start=False, properties=properties)
        except OSError as error:
            raise BrokerError(
                f"mqtts://{host}:{port}: {error.strerror or error}; is the broker running (mien-fleet broker)?"
            ) from None
        self._client.loop_start()
        if not self._ready.wait(SECONDS):
            self._client.loop_stop()
            raise BrokerError(f"mqtts://{host}:{port}: {self._why}; does the broker run with the configuration of mien-fleet init?")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        properties = Properties(PacketTypes.DISCONNECT)  # type: ignore[no-untyped-call]
        properties.SessionExpiryInterval = 0
        self._client.disconnect(properties=properties)
        self._client.loop_stop()

    def lost(self, made: dict[str, int]) -> int:
        """How many of so many reports of each device have not arrived."""
        return sum(len(set(range(1, count + 1)) - self.seen[name]) for name, count in made.items())

    def _on_connect(self, client: paho.Client, _: Any, __: Any, code: ReasonCode, ___: Any) -> None:
        if code.is_failure:
            self._why = f"refused ({code})"
            return
        client.subscribe(f"{ROOT}/+/up/#", qos=1)
        self._ready.set()

    def _on_message(self, _: paho.Client, __: Any, message: paho.MQTTMessage) -> None:
        name, _slash, what = message.topic.removeprefix(f"{ROOT}/").partition("/")
        if name not in self._names:
            return
        self.messages += 1
        if what == "up/report":
            seq = json.loads(message.payload)["seq"]
            self.twice += seq in self.seen[name]
            self.seen[name].add(seq)
