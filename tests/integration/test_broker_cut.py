"""Cutting a device off, and the revocation list, against the real Mosquitto."""

from __future__ import annotations

import datetime as dt
import subprocess
import sys
import time
from pathlib import Path

from provisioning.authority import CRL_DAYS, Authority, utc_now
from provisioning.dynsec import Control
from provisioning.revocation import revoke
from tests.conftest import wait_for
from tests.identities import PASSPHRASE, device
from tests.trial import Trial


def test_revoking_ends_a_session_within_five_seconds_and_refuses_the_next_connection(trial: Trial) -> None:
    with trial.client(trial.d1) as gone, trial.client(trial.d2) as other, trial.witness() as witness:
        witness.subscribe("mien/v1/+/up/report")
        began = time.monotonic()

        revoke(trial.fleet, trial.authority, "d1", {trial.d1.serial: None})

        wait_for(gone.ended.is_set, seconds=5, why="the end of the session")
        assert time.monotonic() - began < 5
        again = trial.client(trial.d1)
        if again.open():  # before the broker has read the list: it may say nothing
            assert not again.publish("mien/v1/d1/up/report", b"still here")
        again.close()
        wait_for(lambda: not trial.client(trial.d1).open(), seconds=5, why="the refusal")
        assert other.publish("mien/v1/d2/up/report", b"here")  # nobody else notices
        wait_for(lambda: witness.received, why="the other's report")
        assert witness.received == [("mien/v1/d2/up/report", b"here")]
        assert not other.ended.is_set()


def test_a_name_that_was_cut_can_be_given_to_a_new_certificate(trial: Trial, tmp_path: Path) -> None:
    revoke(trial.fleet, trial.authority, "d1", {trial.d1.serial: None})
    revoke(trial.fleet, trial.authority, "d1", {trial.d1.serial: None})  # twice is as good as once
    new = device(trial.authority, tmp_path, "d1")

    with Control(trial.fleet) as control:
        control.restore("d1")
        control.restore("d1")

    with trial.client(new) as client:
        assert client.publish("mien/v1/d1/up/report", b"x")
    wait_for(lambda: not trial.client(trial.d1).open(), why="the refusal of the old one")


def test_a_cut_outlives_a_restart_of_the_broker(trial: Trial) -> None:
    with Control(trial.fleet) as control:
        control.cut("d1")
    trial.broker.end()
    trial.start()

    with trial.client(trial.d1) as client, trial.client(trial.d2) as other:
        assert not client.publish("mien/v1/d1/up/report", b"x")
        assert other.publish("mien/v1/d2/up/report", b"x")


def test_an_expired_list_refuses_everybody_until_it_is_renewed(trial: Trial) -> None:
    path = trial.fleet.folder / "broker" / "crl.pem"
    long_ago = Authority.open(trial.fleet.folder, PASSPHRASE, lambda: utc_now() - dt.timedelta(days=CRL_DAYS + 1))
    for name in ("crl.json", "crl.pem"):
        (trial.fleet.folder / "authority" / name).unlink()
    path.write_bytes(long_ago.crl())
    trial.broker.end()
    trial.start()
    assert not trial.client(trial.d1).open()
    secret = trial.fleet.folder / "passphrase"
    secret.write_bytes(PASSPHRASE)
    secret.chmod(0o600)

    words = ["-m", "provisioning.cli", "crl", "renew", str(trial.fleet.folder), "--passphrase-file", str(secret)]
    done = subprocess.run([sys.executable, *words], check=True, capture_output=True, text=True)

    assert f"{path} is good for 30 days" in done.stdout
    wait_for(lambda: trial.client(trial.d1).open(), why="the broker reads the new list")
