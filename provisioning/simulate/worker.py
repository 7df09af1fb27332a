"""A process with its share of the simulated devices: ``python -m provisioning.simulate.worker``.

It reads its orders from standard input and says what happened on standard output, one JSON object a line. When whoever started it
is gone, so is it.

====================  =======================================================================================
order                 what it says
====================  =======================================================================================
the ``Share``         ``{"keys": {serial: sha256 of the key}}``: they are to be put on the fleet's list
``"go"``              every second ``{"counts": {…}, "stamps": {…}}``: what happened since the last line
``"stop"``            no more reports; when all are delivered, ``{"devices": {name: [made, not delivered]}}``
====================  =======================================================================================
"""

from __future__ import annotations

import json
import os
import random
import resource
import ssl
import sys
import time
from collections import Counter, defaultdict
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from device.enroll import Who
from device.identity import Key
from provisioning.simulate.acts import Tell
from provisioning.simulate.device import SimulatedDevice, device
from provisioning.simulate.habits import Habits
from provisioning.simulate.link import Address
from provisioning.simulate.loop import Loop

STAMPED: Final = {"enrolled", "back"}  # each one's value is kept; all else is counted
SAY_EVERY: Final = 1.0  # seconds
DRAIN: Final = 20.0  # seconds for the last reports


@dataclass(frozen=True, slots=True)
class Share:
    """What one worker does.

    Attributes:
        serials: One device each.
        host, port: Of the broker.
        claim: The claim's name.
        claim_folder: With ``claim.pem``, ``claim.key`` and ``ca.pem``.
        identities: A folder of its own, for keys and certificates of its devices.
        habits: Of the devices.
        seed: Makes two rehearsals alike.
    """

    serials: tuple[str, ...]
    host: str
    port: int
    claim: str
    claim_folder: str
    identities: str
    habits: Habits
    seed: int

    def line(self) -> str:
        """As it is sent to a worker."""
        return json.dumps(asdict(self)) + "\n"

    @classmethod
    def of_line(cls, line: str) -> Share:
        said = json.loads(line)
        return cls(**{**said, "serials": tuple(said["serials"]), "habits": Habits(**said["habits"])})


class Worker:
    """The devices of one process, and what is told about them."""

    def __init__(self, share: Share) -> None:
        self._share = share
        self._authority = Path(share.claim_folder) / "ca.pem"
        self._claim = self._trusting()
        self._claim.load_cert_chain(f"{share.claim_folder}/claim.pem", f"{share.claim_folder}/claim.key", password="")
        self.keys: dict[str, str] = {}
        self._files: dict[str, Path] = {}
        authority = self._authority.read_bytes()
        devices = [self._device(serial, authority) for serial in share.serials]
        self.loop = Loop(devices, Address.of(share.host, share.port), self._context, self._hear)
        self._counts: Counter[str] = Counter()
        self._stamps: defaultdict[str, list[float]] = defaultdict(list)
        self.stopping = self.gone = False
        self._heard = b""

    def hear(self) -> None:
        """An order came, or nobody is there any more."""
        read = os.read(0, 4096)
        self.gone = not read
        *lines, self._heard = (self._heard + read).split(b"\n")
        for line in lines:
            if json.loads(line) == "go":
                self.loop.switch_on(self._share.habits.spread, random.Random(self._share.seed))  # noqa: S311 (no secret)
            else:
                self.stopping = True

    def run(self) -> None:
        """Live, until told to stop."""
        say({"keys": self.keys})
        self.loop.listen(0, self.hear)
        next_line, until = time.monotonic() + SAY_EVERY, 0.0
        while not self.gone:
            self.loop.step()
            if self.stopping and not until:
                until = time.monotonic() + DRAIN
                for device in self.loop.devices:
                    device.stop()
            if time.monotonic() >= next_line:
                next_line += SAY_EVERY
                self._say_what_happened()
            if until and (time.monotonic() >= until or not any(one.work.waiting for one in self.loop.devices if one.work)):
                break
        if not self.gone:
            for number, device in enumerate(self.loop.devices):
                self.loop.do(number, device.farewell())
            self._say_what_happened()
            say({"devices": {one.name: [one.work.made, sorted(one.work.waiting)] for one in self.loop.devices if one.work}})

    def _say_what_happened(self) -> None:
        say({"counts": self._counts, "stamps": self._stamps})
        self._counts.clear()
        self._stamps.clear()

    def _hear(self, told: Tell) -> None:
        self._counts[told.kind] += 1
        if told.kind in STAMPED:
            self._stamps[told.kind].append(told.value)

    def _device(self, serial: str, authority: bytes) -> SimulatedDevice:
        secret = ec.generate_private_key(ec.SECP256R1())
        pem = secret.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        path = Path(self._share.identities) / f"{serial}.key"
        path.touch(0o600)
        path.write_bytes(pem)
        key = Key(secret)
        self.keys[serial] = key.sha256
        seed = f"{self._share.seed} {serial}"
        return device(serial, key, claim=self._share.claim, authority=authority, habits=self._share.habits, seed=seed)

    def _trusting(self) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=str(self._authority))
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        return context

    def _context(self, device: SimulatedDevice, who: Who) -> ssl.SSLContext:
        if who == "claim":
            return self._claim
        certificate = Path(self._share.identities) / f"{device.serial}.pem"
        certificate.write_text(device.certificate)
        context = self._trusting()
        context.load_cert_chain(certificate, certificate.with_suffix(".key"), password="")
        return context


def many_files() -> None:
    """Let this process and those that it starts have as many connections as the system permits."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def say(what: dict[str, Any]) -> None:
    """A line on standard output."""
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


def _first_line() -> str:
    """Byte by byte, so that nothing of what follows is lost in a buffer."""
    read = bytearray()
    while not read.endswith(b"\n") and (one := os.read(0, 1)):
        read += one
    return read.decode()


if __name__ == "__main__":
    many_files()
    Worker(Share.of_line(_first_line())).run()
