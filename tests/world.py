"""A fleet and its boxes as they are in the field: real processes, the real broker, mutual TLS."""

from __future__ import annotations

import json
import secrets
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from click.testing import CliRunner
from sqlalchemy import select

from device import identity
from device.contract_enroll import Step, enroll_topic
from device.identity import Key
from provisioning import fleet as fleets
from provisioning import manage
from provisioning.authority import Authority, utc_now
from provisioning.certificates import DAY
from provisioning.cli import main
from provisioning.fleet import load
from provisioning.intake import Intake
from provisioning.mosquitto import Size
from provisioning.registry import opened
from provisioning.tables import CertificateRow
from tests.build import free_port, settings_text
from tests.conftest import Process, wait_for
from tests.identities import Client, Identity


class World:
    """A fleet made by ``mien-fleet init``, ``age`` days ago, with its broker running."""

    def __init__(self, folder: Path, start: Callable[..., Process], *, age: float = 0) -> None:
        self.base, self.folder, self._start = folder, folder / "fleet", start
        secret = folder / "passphrase"
        secret.write_text("only for this test\n")
        secret.chmod(0o600)
        self.secret = ("--passphrase-file", str(secret))
        self.port = free_port()
        if age:
            past = lambda: utc_now() - age * DAY  # noqa: E731
            fleets.init(self.folder, f"mqtts://localhost:{self.port}", Size(100, 24), b"only for this test", past)
            self.fleet("crl", "renew", *self.secret)
        else:
            self.fleet("init", "--broker", f"mqtts://localhost:{self.port}", *self.secret)
        self.start_broker()

    def start_broker(self) -> None:
        self.broker = self.run("broker")
        wait_for(lambda: "listening on" in self.broker.err.read_text() or not self.broker.running, 60, why="the broker")
        assert self.broker.running, self.broker.err.read_text()

    def restart_broker(self) -> None:
        """It is killed, and comes back."""
        self.broker.end(signal.SIGKILL)
        self.start_broker()

    def fleet(self, *words: str) -> str:
        """``mien-fleet`` with these words and this fleet's folder."""
        count = 2 if words[0] in {"batch", "claim", "crl", "authority", "command", "model", "rollout"} else 1
        result = CliRunner().invoke(main, [*words[:count], str(self.folder), *words[count:]])
        assert result.exit_code == 0, result.output
        return result.output

    def run(self, *words: str) -> Process:
        return self._start(sys.executable, "-m", "provisioning.cli", words[0], self.folder, *words[1:])

    def serve(self) -> Process:
        return self._serving(self.run("serve", *self.secret))

    def odd(self, *words: str) -> Process:
        """A service with something odd about it: see ``tests/odd_service.py``."""
        return self._serving(self._start(sys.executable, "-m", "tests.odd_service", self.folder, *words))

    def _serving(self, process: Process) -> Process:
        wait_for(
            lambda: "serving" in process.err.read_text() + process.out.read_text() or not process.running, 60, why="the service"
        )
        assert process.running, process.err.read_text()
        return process

    def claim(self, box: Path) -> Path:
        """A copy of the claim, as every box of the batch has one."""
        (box / "claim").mkdir(parents=True)
        for file in (self.folder / "claims" / "berlin").iterdir():
            (box / "claim" / file.name).write_bytes(file.read_bytes())
        return box / "claim"

    def old_device(self, box: BoxFiles, serial: str, days: float = 65) -> str:
        """Give a box an identity that was made so many days ago; returns its name."""
        past = Authority.open(self.folder, b"only for this test", lambda: utc_now() - days * DAY)
        key = Key.open(box.key)
        with opened(f"sqlite:///{self.folder}/registry.db") as registry:
            manage.add_batch(registry, "berlin", "retail", "DE", {serial: key.sha256})
            manage.add_claim(registry, "berlin", "berlin", secrets.token_hex(8), 2**40, single=False)
            intake = Intake(registry, past)

            def ask(name: str, step: Step, token: str = "") -> dict[str, Any]:
                nonce = secrets.token_hex(16)
                said = {"schema": 1, "nonce": nonce}
                with_it = {"serial": serial, "csr": key.csr(serial)}
                proof = {"token": token, "signature": key.sign(step, name, nonce, token)}
                sent = json.dumps({**said, **(with_it if step == "csr" else proof)}).encode()
                answer = intake.handle(enroll_topic(name, key.sha256, step), sent)
                assert answer is not None
                assert answer.topic.endswith("/accepted"), answer.payload
                return dict(json.loads(answer.payload))

            given = ask("berlin", "csr")
            ask("berlin", "register", given["token"])
            ask(given["device"], "confirm", given["token"])
        identity.write(box.certificate, given["certificate"].encode())
        return str(given["device"])

    def certificates(self, serial: str) -> list[str]:
        """States of a serial's certificates, the oldest first."""
        with opened(f"sqlite:///{self.folder}/registry.db") as registry:
            rows = select(CertificateRow.state).where(CertificateRow.serial == serial).order_by(CertificateRow.id)
            return registry.transact(lambda session: list(session.scalars(rows)))

    def devices(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.fleet("devices", "--json").splitlines()]

    def audit(self, serial: str) -> list[tuple[str, str]]:
        lines = self.fleet("audit", "--serial", serial).splitlines()
        return [(one["step"], one["code"]) for one in map(json.loads, lines)]

    def service(self) -> Client:
        fleet = load(self.folder)
        return Client(fleet.ca, self.port, Identity(*fleet.service))


class BoxFiles:
    """A box: its settings, its claim and its identity."""

    def __init__(self, world: World, name: str, start: Callable[..., Process]) -> None:
        self.folder, self.world_folder, self._start = world.base / name, world.folder, start
        self.claim = world.claim(self.folder) if (world.folder / "claims" / "berlin").exists() else self.folder / "claim"
        own = self.folder / "identity"
        self.key, self.certificate, self.progress = own / "device.key", own / "device.pem", own / "enrolment.json"
        identity = f'ca_file = "{world.folder}/ca.pem"\ncertificate_file = "{self.certificate}"\nkey_file = "{self.key}"'
        text = settings_text(self.folder, f"mqtts://localhost:{world.port}", broker=identity)
        self.folder.mkdir(exist_ok=True)
        (self.folder / "settings.toml").write_text(text.replace('device = "shelf-7"\n', ""))

    def enroll(self, serial: str, *more: str) -> Process:
        words = ("enroll", "--settings", self.folder / "settings.toml", "--claim", self.claim, "--serial", serial, *more)
        return self._start(sys.executable, "-m", "device.cli", *words)

    def send(self, *words: str | Path) -> Process:
        return self._start(sys.executable, "-m", "device.cli", "send", "--settings", self.folder / "settings.toml", *words)

    def killed_send(self, after: int) -> Process:
        """``mien send`` that dies after so many durable steps."""
        words = ("-m", "tests.killed_send", str(after), "send", "--settings", self.folder / "settings.toml")
        return self._start(sys.executable, *words)

    @property
    def state(self) -> str:
        return str(json.loads(self.progress.read_text())["state"]) if self.progress.exists() else "asking"
