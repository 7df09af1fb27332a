"""Listens to one device's reports: the fleet's side of the demo."""

from __future__ import annotations

import queue
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions
from pydantic import ValidationError

from device.contract import Report, topic
from device.errors import BrokerError


class Subscriber:
    """A subscription to one device's reports, as long as its ``with`` block lasts.

    Raises:
        BrokerError: The broker cannot be reached, refuses, or sends something that is not a report.
    """

    def __init__(self, url: str, device: str, timeout: float = 10.0) -> None:
        self._url = url
        self._topic = topic(device, "up/report")
        self._timeout = timeout
        self._arrived: queue.Queue[bytes] = queue.Queue()
        self._ready: queue.Queue[str] = queue.Queue()
        self._seen: set[str] = set()
        self._client = paho.Client(CallbackAPIVersion.VERSION2, client_id=f"mien-{uuid4().hex[:8]}", protocol=paho.MQTTv5)
        self._client.on_connect = self._on_connect
        self._client.on_subscribe = lambda *_: self._ready.put("")
        self._client.on_message = self._on_message

    def __enter__(self) -> Subscriber:
        parts = urlsplit(self._url)
        try:
            self._client.connect(parts.hostname or "", parts.port or 1883, 10)
        except OSError as error:
            raise BrokerError(f"{self._url}: cannot reach the broker ({error.strerror or error}); is it running?") from error
        self._client.loop_start()
        try:
            refused = self._ready.get(timeout=self._timeout)
        except queue.Empty:
            refused = f"no answer within {self._timeout:.0f} s; does the broker speak MQTT 5?"
        if refused:
            self._client.loop_stop()
            raise BrokerError(f"{self._url}: {refused}")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def next_report(self, timeout: float) -> Report | None:
        """The next report, or ``None`` when none came within ``timeout`` seconds."""
        try:
            payload = self._arrived.get(timeout=timeout)
        except queue.Empty:
            return None
        try:
            return Report.model_validate_json(payload)
        except ValidationError as error:
            raise BrokerError(f"{self._topic}: not a report of this version of mien ({error.errors()[0]['msg']})") from error

    def _on_connect(self, client: paho.Client, _: Any, __: Any, code: ReasonCode, ___: Any) -> None:
        if code.is_failure:
            self._ready.put(f"the broker refuses the demo ({code}); it needs one that takes anybody and speaks MQTT 5")
        else:
            client.subscribe(self._topic, options=SubscribeOptions(qos=1))

    def _on_message(self, _: paho.Client, __: Any, message: paho.MQTTMessage) -> None:
        properties = dict(getattr(message.properties, "UserProperty", []))
        if properties.get("id") not in self._seen:  # at least once, until the id is looked at
            self._seen.add(properties.get("id", ""))
            self._arrived.put(bytes(message.payload))
