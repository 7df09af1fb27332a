"""The revocation list: what is on it, for how long, and that it never ends. openssl must agree."""

from __future__ import annotations

import datetime as dt
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import x509

from provisioning import certificates, manage
from provisioning import fleet as fleets
from provisioning.authority import CRL_DAYS, CRL_RENEW_DAYS, Authority, crl_days_left, utc_now
from provisioning.errors import AuthorityError
from provisioning.housekeeping import compare, look_after_certificates
from provisioning.mosquitto import Size
from tests.conftest import ROOT
from tests.fleet import PASSPHRASE as FLEET_PASSPHRASE
from tests.fleet import Box, Manager
from tests.identities import PASSPHRASE, device, openssl_verify

needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority.create(tmp_path / "fleet", PASSPHRASE)


def later(days: float) -> Callable[[], dt.datetime]:
    return lambda: utc_now() + days * certificates.DAY


def revoked(crl: bytes) -> set[int]:
    return {entry.serial_number for entry in x509.load_pem_x509_crl(crl)}


@needs_openssl
def test_openssl_agrees_that_a_revoked_certificate_is_revoked(authority: Authority, tmp_path: Path) -> None:
    gone, other = device(authority, tmp_path, "shelf-7"), device(authority, tmp_path, "shelf-8")

    authority.revoke(gone.serial)

    assert "certificate revoked" in openssl_verify(authority, tmp_path, gone)
    assert openssl_verify(authority, tmp_path, other).endswith(": OK")


def test_revocations_add_up_over_processes_and_stay(tmp_path: Path) -> None:
    Authority.create(tmp_path, PASSPHRASE).revoke(11)
    Authority.open(tmp_path, PASSPHRASE).revoke(12)
    Authority.open(tmp_path, PASSPHRASE).revoke(12)

    assert revoked(Authority.open(tmp_path, PASSPHRASE).crl()) == {11, 12}


def test_each_list_is_later_than_the_one_before_even_within_a_second(authority: Authority) -> None:
    lists = [x509.load_pem_x509_crl(authority.renew_crl()) for _ in range(4)]

    times = [one.last_update_utc for one in lists]
    assert times == sorted(set(times))
    numbers = [one.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number for one in lists]
    assert numbers == sorted(set(numbers))


def test_a_list_is_never_one_that_is_yet_to_come_however_many_were_made(tmp_path: Path) -> None:
    now = utc_now()
    authority = Authority.create(tmp_path, PASSPHRASE, lambda: now)
    state = json.loads((tmp_path / "authority" / "crl.json").read_text())
    (tmp_path / "authority" / "crl.json").write_text(json.dumps({**state, "last_update": now.isoformat()}))

    authority.revoke_many(dict.fromkeys(range(1, 100)))

    made = x509.load_pem_x509_crl(authority.crl())
    assert made.last_update_utc == now
    assert len(list(made)) == 99


def test_a_certificate_that_has_ended_leaves_the_list(tmp_path: Path) -> None:
    made = Authority.create(tmp_path, PASSPHRASE)
    made.revoke(11, until=utc_now() + dt.timedelta(days=5))
    made.revoke(12)

    assert revoked(Authority.open(tmp_path, PASSPHRASE, later(4)).renew_crl()) == {11, 12}
    assert revoked(Authority.open(tmp_path, PASSPHRASE, later(6)).renew_crl()) == {12}


def test_the_list_renews_itself_before_it_ends(tmp_path: Path) -> None:
    original = Authority.create(tmp_path, PASSPHRASE).crl()

    assert Authority.open(tmp_path, PASSPHRASE, later(CRL_DAYS - CRL_RENEW_DAYS - 1)).crl() == original
    renewed = Authority.open(tmp_path, PASSPHRASE, later(CRL_DAYS - CRL_RENEW_DAYS + 1)).crl()
    assert renewed != original
    assert crl_days_left(renewed, later(CRL_DAYS - CRL_RENEW_DAYS + 1)()) > CRL_DAYS - 1


def test_a_damaged_memory_of_revocations_stops_everything(tmp_path: Path) -> None:
    made = Authority.create(tmp_path, PASSPHRASE)
    (tmp_path / "authority" / "crl.json").write_text("{}")

    with pytest.raises(AuthorityError, match=r"crl\.json: not what mien-fleet wrote; restore it from a backup"):
        made.revoke(11)


def test_a_copy_of_the_folder_on_another_machine_learns_once_a_day_what_has_ended(tmp_path: Path) -> None:
    """Each machine signs its own list; the registry is what they share."""
    manager = Manager(tmp_path)
    box = Box("SN-1")
    manager.batch("berlin", {"SN-1": box.id}).enrol(box)
    fleet = fleets.Fleet(tmp_path / "fleet", "mqtts://localhost", Size(10, 1))
    fleets.renew(fleet, manager.authority)
    shutil.copytree(tmp_path / "fleet", tmp_path / "copy")
    numbers = manage.to_revoke(manager.registry, manage.devices(manager.registry)[0].name)
    look_after_certificates(fleet, manager.authority, manager.registry)
    other = Authority.open(tmp_path / "copy", FLEET_PASSPHRASE)
    elsewhere = fleets.Fleet(tmp_path / "copy", "mqtts://localhost", Size(10, 1))
    look_after_certificates(elsewhere, other, manager.registry)
    before = other.revoked()

    compare(elsewhere, other, manager.registry)

    assert before == set()
    assert other.revoked() == {int(number, 16) for number in numbers} == revoked((tmp_path / "copy/broker/crl.pem").read_bytes())
    manager.close()


SEVERAL = """
import sys
from pathlib import Path
from provisioning.authority import Authority
authority = Authority.open(Path(sys.argv[1]), sys.argv[2].encode())
for number in sys.argv[3:]:
    authority.revoke(int(number))
    authority.renew_crl()
"""


def test_several_processes_at_once_lose_none_of_each_others_revocations(authority: Authority, tmp_path: Path) -> None:
    """As several ``mien-fleet serve`` do."""
    words = [sys.executable, "-c", SEVERAL, str(tmp_path / "fleet"), PASSPHRASE.decode()]
    several = [subprocess.Popen([*words, *map(str, range(10 * n + 1, 10 * n + 6))], cwd=ROOT) for n in range(3)]

    assert [one.wait(50) for one in several] == [0, 0, 0]
    assert revoked(authority.crl()) == {10 * n + m for n in range(3) for m in range(1, 6)}
    assert authority.revoked() == revoked(authority.crl())
    number = x509.load_pem_x509_crl(authority.crl()).extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
    assert number == 1 + 30  # each of them was the next


def test_a_service_that_looks_gives_the_broker_a_new_list_before_the_old_one_ends(tmp_path: Path) -> None:
    manager = Manager(tmp_path)
    fleet = fleets.Fleet(tmp_path / "fleet", "mqtts://localhost", Size(10, 1))
    fleets.renew(fleet, manager.authority)
    path = fleet.folder / "broker" / "crl.pem"
    old = path.read_bytes()

    for days, renewed in ((9, False), (11, True)):
        authority = Authority.open(tmp_path / "fleet", FLEET_PASSPHRASE, later(days))
        look_after_certificates(fleet, authority, manager.registry)
        assert (path.read_bytes() != old) == renewed
    assert crl_days_left(path.read_bytes(), later(11)()) > 29
    manager.close()
