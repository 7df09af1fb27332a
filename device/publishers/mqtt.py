"""MQTT 5 through paho-mqtt.

paho keeps its session in memory only, ignores what a broker says it can take, and reconnects without jitter: each connection
here is a fresh client, and what was not confirmed is published again from the spool. paho may not be written to from two
threads, so one thread does all of it; ``publish`` and ``close`` leave word and wake it. A 3.1.1 broker is refused: it reports
success for a publish that its access list has thrown away.
"""

from __future__ import annotations

import queue
import random
import select
import socket
import ssl
import struct
import threading
import time
from collections import deque
from contextlib import suppress
from typing import Any, Final

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import MQTTException, Properties  # type: ignore[attr-defined]  # 2.1 defines it here
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from device import backoff
from device.publishers import Connected, Delivered, Disconnected, Event, Message, NotListening, Received, Refused
from device.publishers._broker import ENDING, TAKEN_OVER, TOO_LARGE, Outcome, read_password, tls_context, why
from device.publishers._packets import connect_properties, forget_names, message_properties, packet_bytes
from device.settings import BrokerSettings

FORGET_EVERY: Final = 8  # messages
FIRST_WAIT: Final = backoff.FIRST  # seconds
CONNECT_TIMEOUT: Final = 10.0  # seconds for TCP, the same again for TLS, and for CONNACK
TICK: Final = 0.5  # seconds between two looks at the clock
MAX_WAITING: Final = 100  # events that nobody has handled yet; beyond, nothing is read, and what comes down waits at the broker
BREATH: Final = 0.02  # seconds between two looks whether they are handled
SILENCE: Final = 1.5  # times the keepalive: whoever says nothing for so long, not even to a ping, is not there (MQTT 5.0, 3.1.2.10)
UNCONFIRMED: Final = 3  # times the keepalive: whoever confirms nothing of what waits for so long never will, pings or not
GARBLED: Final = (MQTTException, ValueError, LookupError, TypeError, struct.error)  # what paho raises for bytes that are not MQTT


class MqttPublisher:
    """A connection that is made again and again, with full jitter between the attempts."""

    def __init__(self, settings: BrokerSettings, client_id: str, topics: tuple[str, ...], last_will: Message | None) -> None:
        self.events: queue.Queue[Event] = queue.Queue()
        self._settings = settings
        self._client_id = client_id
        self._topics = topics
        self._last_will = last_will
        self._tls = tls_context(settings) if settings.tls else None
        self._password = read_password(settings.password_file) if settings.password_file else None
        self._outgoing: deque[tuple[int, Message]] = deque()  # left for the network thread
        self._last_token = 0
        self._closing = threading.Event()
        self._farewell: Message | None = None
        self._give_up = 0.0  # when closing takes too long
        self._woken, self._wake = socket.socketpair()
        self._wake.setblocking(False)
        self._thread = threading.Thread(target=self._keep_connected, name="mqtt", daemon=True)
        self._thread.start()

    def publish(self, message: Message) -> int:
        self._last_token += 1
        self._outgoing.append((self._last_token, message))
        self._wake_up()
        return self._last_token

    def close(self, farewell: Message | None, timeout: float) -> None:
        self._farewell = farewell
        self._give_up = time.monotonic() + timeout
        self._closing.set()
        self._wake_up()
        self._thread.join(timeout + TICK)
        if not self._thread.is_alive():  # else it hangs in a connection attempt, and ends with this process
            self._woken.close()
            self._wake.close()

    def _wake_up(self) -> None:
        with suppress(BlockingIOError):  # so many words are left that it is awake anyway
            self._wake.send(b"\0")

    # The network thread

    def _keep_connected(self) -> None:
        waits = backoff.Backoff(self._settings.longest_wait_seconds, random.uniform, FIRST_WAIT)
        while not self._closing.is_set():
            outcome = Outcome(self._settings)
            try:
                self._connect_once(outcome)
            except Exception as error:  # whatever it is: nobody would notice that this thread has ended
                outcome.reason = f"{type(error).__name__} while connected or connecting ({error}); report this bug"
            stood = None if outcome.connected_at is None else time.monotonic() - outcome.connected_at
            if self._closing.is_set():
                return
            wait = waits.after(stood)
            self.events.put(Disconnected(f"{self._settings.url}: {outcome.explain()}", wait, taken_over=outcome.taken_over))
            self._closing.wait(wait)

    def _connect_once(self, outcome: Outcome) -> None:
        """Connect and stay connected; ``outcome`` says how that went and why it ended."""
        connection = _Connection(self.events, self._topics, outcome)
        client = self._make_client(connection)
        try:
            client.connect(
                self._settings.host,
                self._settings.port,
                self._settings.keepalive_seconds,
                clean_start=True,
                properties=connect_properties(),
            )
            self._serve(client, connection)
        except (OSError, UnicodeError) as error:
            outcome.reason = why(error)
        finally:
            if (left_open := client.socket()) is not None:
                left_open.close()  # without a word: if this was not meant, the last will speaks

    def _serve(self, client: paho.Client, connection: _Connection) -> None:
        """Read and write until the connection ends."""
        outcome, began = connection.outcome, time.monotonic()
        heard, silence = began, SILENCE * self._settings.keepalive_seconds - TICK
        patience = UNCONFIRMED * self._settings.keepalive_seconds
        while (wire := client.socket()) is not None:
            full = self.events.qsize() >= MAX_WAITING and not self._closing.is_set()
            decrypted = not full and isinstance(wire, ssl.SSLSocket) and wire.pending() > 0  # bytes that select does not see
            readable, writable, _ = select.select(
                [self._woken] if full else [wire, self._woken],
                [wire] if client.want_write() else [],
                [],
                0 if decrypted else BREATH if full else TICK,
            )
            if full or decrypted or wire in readable:
                heard = time.monotonic()
            if self._woken in readable:
                self._woken.recv(4096)
            if decrypted or wire in readable:
                try:
                    client.loop_read()
                except GARBLED as error:
                    outcome.reason = f"what answers is not an MQTT 5 broker ({error}); check the url"
                    return
            if wire in writable:
                client.loop_write()
            if outcome.connected_at is not None:
                self._hand_over(client, connection)
            elif self._closing.is_set():
                return
            elif time.monotonic() - began > CONNECT_TIMEOUT:
                outcome.reason = f"no answer within {CONNECT_TIMEOUT:.0f} seconds; check the url and that the broker speaks MQTT 5"
                return
            if time.monotonic() - heard >= silence:  # paho would wait for twice the keepalive
                outcome.reason = f"nothing was heard for {silence:.0f} seconds, not even an answer to a ping; check the network"
                return
            if full:
                connection.progress = time.monotonic()  # confirmations are not read either
            elif connection.waits(time.monotonic()) >= patience:
                outcome.reason = f"the broker answers, but has confirmed nothing for {patience:.0f} seconds; see its log and disk"
                return
            if self._closing.is_set() and time.monotonic() > self._give_up:
                return
            client.loop_misc()

    def _hand_over(self, client: paho.Client, connection: _Connection) -> None:
        """Publish what was left for this thread, as much as the broker takes at once; say goodbye after the last of it."""
        if not connection.greeted:
            self._outgoing.clear()  # left for the connection before this one: it is published again from the spool
            connection.greeted = True
            self.events.put(Connected())
        while self._outgoing and len(connection.tokens) < connection.at_once:
            token, message = self._outgoing.popleft()
            connection.publish(client, token, message)
        if self._closing.is_set() and not self._outgoing and not connection.tokens:
            if self._farewell is not None:
                farewell, self._farewell = self._farewell, None
                connection.publish(client, 0, farewell)
            if not connection.tokens:
                client.disconnect()

    def _make_client(self, connection: _Connection) -> paho.Client:
        client = paho.Client(
            CallbackAPIVersion.VERSION2, client_id=self._client_id, protocol=paho.MQTTv5, reconnect_on_failure=False
        )
        client.connect_timeout = CONNECT_TIMEOUT
        client.suppress_exceptions = False
        if self._settings.username:
            client.username_pw_set(self._settings.username, self._password)
        if self._tls is not None:
            client.tls_set_context(self._tls)
        if (will := self._last_will) is not None:
            client.will_set(will.topic, will.payload, 1, will.retain, message_properties(will, PacketTypes.WILLMESSAGE))
        client.on_connect, client.on_disconnect = connection.on_connect, connection.on_disconnect
        client.on_publish, client.on_message = connection.on_publish, connection.on_message
        client.on_subscribe = connection.on_subscribe
        return client


class _Connection:
    """What one connection remembers; all of it in the network thread."""

    def __init__(self, events: queue.Queue[Event], topics: tuple[str, ...], outcome: Outcome) -> None:
        self.outcome = outcome
        self.greeted = False
        self.tokens: dict[int, int] = {}  # message id → token
        self.at_once = 1  # messages that the broker takes unconfirmed
        self.progress = 0.0  # when the broker last confirmed one, or the first began to wait; monotonic
        self._asked = 0.0  # when it was asked to let this device listen
        self._deaf = False  # it has not answered to that
        self._largest: int | None = None  # bytes in a packet, as the broker says
        self._events = events
        self._topics = topics

    def waits(self, now: float) -> float:
        """Seconds for which the broker has confirmed nothing, though something waits for that."""
        return max(now - self.progress if self.tokens else 0.0, now - self._asked if self._deaf else 0.0)

    def publish(self, client: paho.Client, token: int, message: Message) -> None:
        properties = message_properties(message, PacketTypes.PUBLISH)
        if self._largest is not None and packet_bytes(message, properties) > self._largest:
            reason = f"the broker takes packets of {self._largest} bytes at most, and this one is larger; raise its limit"
            self._refuse(token, reason, alone=True)
            return
        sent = client.publish(message.topic, message.payload, 1, message.retain, properties)
        if not self.tokens:
            self.progress = time.monotonic()
        if sent.rc == MQTTErrorCode.MQTT_ERR_SUCCESS:  # else the connection has ended: Disconnected comes
            self.tokens[sent.mid] = token
        if token % FORGET_EVERY == 0:
            forget_names()

    def _refuse(self, token: int, reason: str, *, alone: bool = False) -> None:
        self._events.put(Refused(token, f"{self.outcome.url}: {reason}", alone=alone))

    # Called by paho

    def on_connect(self, client: paho.Client, _: Any, __: Any, code: ReasonCode, properties: Properties | None) -> None:
        if code.is_failure:
            self.outcome.refused = str(code)
            client.disconnect()
            return
        self.outcome.connected_at = time.monotonic()
        self._largest = getattr(properties, "MaximumPacketSize", None)
        self.at_once = getattr(properties, "ReceiveMaximum", 65_535)
        if self._topics:
            self._asked, self._deaf = time.monotonic(), True
            client.subscribe([(name, SubscribeOptions(qos=1)) for name in self._topics])

    def on_disconnect(self, _: paho.Client, __: Any, ___: Any, code: ReasonCode, ____: Any) -> None:
        self.outcome.taken_over |= code == TAKEN_OVER
        if code.value in ENDING and self.tokens:  # because of the oldest that it has not answered to, since it answers in order
            self._refuse(self.tokens.pop(next(iter(self.tokens))), ENDING[code.value], alone=True)
        self.outcome.reason = self.outcome.reason or f"the connection ended ({code})"

    def on_publish(self, _: paho.Client, __: Any, mid: int, code: ReasonCode, ___: Any) -> None:
        self.progress = time.monotonic()
        if (token := self.tokens.pop(mid, None)) is not None:
            if not code.is_failure:
                self._events.put(Delivered(token))
            elif code == TOO_LARGE:
                self._refuse(token, ENDING[TOO_LARGE], alone=True)
            else:
                self._refuse(token, f"the broker refuses what this device publishes ({code}); check its access list")

    def on_subscribe(self, _: paho.Client, __: Any, ___: int, codes: list[ReasonCode], ____: Any) -> None:
        self._deaf = False
        for topic, code in zip(self._topics, codes, strict=False):
            if code.is_failure:
                self._events.put(NotListening(topic, str(code)))

    def on_message(self, _: paho.Client, __: Any, message: paho.MQTTMessage) -> None:
        if self._events.qsize() < 2 * MAX_WAITING:  # more come only while this process ends
            self._events.put(_received(message))


def _received(message: paho.MQTTMessage) -> Received:
    """A message with those of its MQTT 5 properties that a request has."""
    said = message.properties
    response, correlation, expiry = (
        getattr(said, name, None) for name in ("ResponseTopic", "CorrelationData", "MessageExpiryInterval")
    )
    return Received(message.topic, bytes(message.payload), response, correlation, expiry)


def open_publisher(settings: BrokerSettings, client_id: str, topics: tuple[str, ...], last_will: Message | None) -> MqttPublisher:
    """Start to connect, and go on for ever.

    Raises:
        BrokerError: A certificate, key or password file cannot be used.
    """
    return MqttPublisher(settings, client_id, topics, last_will)
