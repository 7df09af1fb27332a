"""The fleet manager's folder: what init makes, what is renewed, and what the broker is given."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from provisioning import certificates
from provisioning import fleet as fleets
from provisioning.authority import utc_now
from provisioning.cli import main
from provisioning.errors import BrokerError
from provisioning.mosquitto import Size, answers, configuration
from provisioning.trial import program
from tests.identities import PASSPHRASE


def later(days: float) -> Callable[[], dt.datetime]:
    return lambda: utc_now() + days * certificates.DAY


def run(*words: str | Path) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    path = tmp_path / "passphrase"
    path.touch(mode=0o600)
    path.write_bytes(PASSPHRASE + b"\n")
    return path


def test_init_makes_everything_with_keys_for_their_owner_alone(tmp_path: Path, secret: Path) -> None:
    folder = tmp_path / "fleet"

    said = run("init", folder, "--broker", "mqtts://broker.example", "--passphrase-file", secret)

    assert said.exit_code == 0, said.output
    assert f"mien-fleet broker {folder}" in said.output
    modes = {path.relative_to(folder).as_posix(): path.stat().st_mode & 0o777 for path in folder.rglob("*")}
    assert {name: mode for name, mode in modes.items() if name.endswith(".key")} == dict.fromkeys(
        ("root/root.key", "authority/issuing.key", "broker/broker.key", "service/mien-fleet.key"), 0o600
    )
    assert {modes[name] for name in ("root", "authority", "broker", "service", "claims")} == {0o700}
    assert folder.stat().st_mode & 0o777 == 0o700
    assert "listener 8883\n" in (folder / "broker" / "mosquitto.conf").read_text()
    assert not [path for path in tmp_path.iterdir() if path.name not in {"fleet", "passphrase"}]


def test_init_overwrites_nothing(tmp_path: Path, secret: Path) -> None:
    (tmp_path / "fleet").mkdir()
    (tmp_path / "fleet" / "something").touch()

    said = run("init", tmp_path / "fleet", "--broker", "mqtts://broker.example", "--passphrase-file", secret)

    assert said.exit_code == 2
    assert "init overwrites nothing" in said.output
    assert [path.name for path in (tmp_path / "fleet").iterdir()] == ["something"]


@pytest.mark.parametrize(
    "url", ["mqtt://host:8883", "host:8883", "mqtts://", "mqtts://host:x", "mqtts://a@host", "mqtts://host/x", "mqtts://a b"]
)
def test_init_wants_the_url_of_a_broker_with_tls(tmp_path: Path, secret: Path, url: str) -> None:
    said = run("init", tmp_path / "fleet", "--broker", url, "--passphrase-file", secret)

    assert said.exit_code in {2, 65}
    assert "mqtts://host:8883" in said.output
    assert not (tmp_path / "fleet").exists()


def test_a_passphrase_comes_from_a_file_that_its_owner_alone_may_read(tmp_path: Path, secret: Path) -> None:
    secret.chmod(0o644)

    said = run("init", tmp_path / "fleet", "--broker", "mqtts://host", "--passphrase-file", secret)

    assert said.exit_code == 2
    assert f"run chmod 600 {secret}" in said.output


def test_a_passphrase_that_is_short_or_missing_is_refused_with_the_way_to_make_one(tmp_path: Path, secret: Path) -> None:
    secret.write_text("short\n")

    for words in (("--passphrase-file", secret), ("--passphrase-file", tmp_path / "none"), ()):
        said = run("init", tmp_path / "fleet", "--broker", "mqtts://host", *words)
        assert said.exit_code == 2
        assert "openssl rand -base64 24" in said.output


def test_a_passphrase_comes_from_systemds_credentials(tmp_path: Path, secret: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secret.rename(tmp_path / "mien-fleet-passphrase")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))

    assert run("init", tmp_path / "fleet", "--broker", "mqtts://host").exit_code == 0


def test_renewing_changes_certificates_and_sizes_but_no_identity(tmp_path: Path, secret: Path) -> None:
    folder = tmp_path / "fleet"
    run("init", folder, "--broker", "mqtts://host:1883", "--passphrase-file", secret)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    said = run("renew", folder, "--fleet", "1000", "--passphrase-file", secret)

    assert said.exit_code == 0, said.output
    changed = {path.relative_to(folder).as_posix() for path, content in before.items() if path.read_bytes() != content}
    assert changed >= {
        "broker/broker.pem",
        "broker/broker.key",
        "broker/crl.pem",
        "service/mien-fleet.pem",
        "broker/mosquitto.conf",
    }
    assert not changed & {
        "ca.pem",
        "root/root.key",
        "authority/issuing.key",
        "authority/issuing.pem",
        "broker/clients.pem",
        "broker/acl",
    }
    assert "max_queued_messages 1680000\n" in (folder / "broker" / "mosquitto.conf").read_text()


def test_what_ends_soon_is_said_with_what_to_do(tmp_path: Path) -> None:
    fleet = fleets.init(tmp_path / "fleet", "mqtts://host", Size(10, 1), PASSPHRASE)

    assert fleets.ending(fleet) == []
    said = fleets.ending(fleet, later(330))
    assert [line.partition(":")[0] for line in said] == [
        "the broker's certificate ends in 35 days",
        "the service's certificate ends in 35 days",
    ]


def test_a_missing_mosquitto_is_told_with_the_way_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(BrokerError, match="mosquitto is not installed; on Debian or Raspberry Pi OS: sudo apt install mosquitto"):
        program(str(tmp_path))


def test_every_option_of_the_brokers_configuration_has_its_reason() -> None:
    lines = configuration(Size(10, 1)).splitlines()

    explained = False
    for line in lines:
        explained = bool(line) and (line.startswith("#") or explained)
        assert explained or not line, line
    options = [line.split()[0] for line in lines if line and not line.startswith(("#", "log_type"))]
    assert len(options) == len(set(options))


@pytest.mark.parametrize(
    ("payload", "wrong"),
    [
        (b'{"responses": [{"command": "disableClient", "correlationData": "me"}]}', []),
        (b'{"responses": [{"command": "createClient", "error": "Client already exists", "correlationData": "me"}]}', []),
        (
            b'{"responses": [{"command": "createClient", "error": "Role not found", "correlationData": "me"}]}',
            ["createClient: Role not found"],
        ),
        (b'{"responses": [{"command": "disableClient", "correlationData": "you"}]}', None),
        (b'{"responses": "nothing"}', None),
        (b"nothing", None),
        (b"[" * 100_000, None),
    ],
)
def test_answers_of_dynamic_security_are_read_with_care(payload: bytes, wrong: list[str] | None) -> None:
    assert answers(payload, "me") == wrong
