"""The next issuing authority against the real Mosquitto: nobody is locked out, and nothing changes before the broker knows it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from cryptography import x509

from provisioning.authority import Authority
from provisioning.cli import main
from tests.conftest import wait_for
from tests.identities import PASSPHRASE, Identity, device, store
from tests.trial import Trial


@pytest.fixture
def secret(trial: Trial) -> Path:
    path = trial.fleet.folder / "passphrase"
    path.touch(mode=0o600)
    path.write_bytes(PASSPHRASE)
    return path


def renew(trial: Trial, secret: Path, *words: str) -> Result:
    return CliRunner().invoke(main, ["authority", "renew", str(trial.fleet.folder), "--passphrase-file", str(secret), *words])


def issuer(identity: Identity) -> str:
    return x509.load_pem_x509_certificate(identity.certificate.read_bytes()).issuer.rfc4514_string()


def test_devices_of_the_old_and_of_the_new_issuing_authority_connect_and_are_revoked(
    trial: Trial, secret: Path, tmp_path: Path
) -> None:
    with trial.client(trial.d1) as standing:
        done = renew(trial, secret)
        assert done.exit_code == 0, done.output
        opened = Authority.open(trial.fleet.folder, PASSPHRASE)
        new = device(opened, tmp_path, "d2")

        assert (issuer(trial.d1), issuer(new)) == ("CN=mien issuing", "CN=mien issuing 2")
        assert standing.publish("mien/v1/d1/up/report", b"x")  # its session was not touched
    for one, name in ((trial.d1, "d1"), (new, "d2"), (Identity(*trial.fleet.service), "d1")):
        with trial.client(one) as client:
            assert client.publish(f"mien/v1/{name}/up/report", b"x")
    assert issuer(Identity(*trial.fleet.service)) == "CN=mien issuing 2"

    opened.revoke_many({trial.d1.serial: None, new.serial: None})
    (trial.fleet.folder / "broker" / "crl.pem").write_bytes(opened.crl())

    for one in (trial.d1, new):
        wait_for(lambda one=one: not trial.client(one).open(), why="the refusal")  # type: ignore[misc]
    with trial.client(trial.witness_identity):
        pass


def test_the_brokers_own_new_certificate_is_trusted_by_who_trusts_the_root(trial: Trial, secret: Path) -> None:
    assert renew(trial, secret).exit_code == 0
    trial.broker.end()
    trial.start()

    with trial.client(trial.d1) as client:
        assert client.publish("mien/v1/d1/up/report", b"x")
    broker = Identity(trial.fleet.folder / "broker" / "broker.pem", trial.fleet.folder / "broker" / "broker.key")
    assert issuer(broker) == "CN=mien issuing 2"


def test_nothing_changes_before_the_broker_knows_the_next_one_and_running_it_again_ends_it(
    trial: Trial, secret: Path, tmp_path: Path
) -> None:
    trial.broker.end()

    early = renew(trial, secret)

    assert early.exit_code == 69
    assert "all is as it was" in early.output
    assert "clients.pem and crl.pem to the broker" in early.output
    opened = Authority.open(trial.fleet.folder, PASSPHRASE)
    assert issuer(device(opened, tmp_path, "d9")) == "CN=mien issuing"
    assert issuer(Identity(*trial.fleet.service)) == "CN=mien issuing"
    (trial.fleet.folder / "root" / "root.key").rename(tmp_path / "root.key")  # needed once only, and taken away again
    trial.start()
    assert renew(trial, secret).exit_code == 0
    assert issuer(device(opened, tmp_path, "d9")) == "CN=mien issuing 2"  # an authority that was open notices
    assert not list((trial.fleet.folder / "service").glob("next.*"))


def test_the_roots_key_may_be_elsewhere_and_a_missing_or_wrong_one_is_one_clear_line(
    trial: Trial, secret: Path, tmp_path: Path
) -> None:
    away = tmp_path / "safe"
    away.mkdir()
    (trial.fleet.folder / "root" / "root.key").rename(away / "root.key")
    Authority.create(tmp_path / "other", PASSPHRASE)

    missing, foreign = renew(trial, secret), renew(trial, secret, "--root", str(tmp_path / "other" / "root"))
    there = renew(trial, secret, "--root", str(away))

    assert (missing.exit_code, foreign.exit_code, there.exit_code) == (73, 65, 0), there.output
    assert "root.key: cannot be read" in missing.output
    assert "not the key of its certificate" in foreign.output


def test_openssl_agrees_about_both_issuing_authorities_and_their_lists(trial: Trial, secret: Path, tmp_path: Path) -> None:
    assert renew(trial, secret).exit_code == 0
    opened = Authority.open(trial.fleet.folder, PASSPHRASE)
    new = device(opened, tmp_path, "d2")
    gone = store(tmp_path, "gone", *opened.issue_claim("gone", 1))
    opened.revoke(gone.serial)
    (tmp_path / "crl.pem").write_bytes(opened.crl())
    (tmp_path / "chain.pem").write_bytes(opened.bundle_pem)

    def verify(identity: Identity) -> str:
        files = ["-CAfile", str(trial.fleet.ca), "-untrusted", f"{tmp_path}/chain.pem", "-CRLfile", f"{tmp_path}/crl.pem"]
        words = ["openssl", "verify", "-x509_strict", *files, "-crl_check_all", "-purpose", "sslclient", str(identity.certificate)]
        done = subprocess.run(words, check=False, capture_output=True, text=True)
        return done.stdout + done.stderr

    assert verify(trial.d1).strip().endswith(": OK")
    assert verify(new).strip().endswith(": OK")
    assert "certificate revoked" in verify(gone)
