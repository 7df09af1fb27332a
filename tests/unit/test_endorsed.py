"""Whom a device trusts with models when nobody has told it by hand: whom its fleet's authority vouches for, and nobody else."""

from __future__ import annotations

import datetime as dt
import json
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from device import endorsed, trust
from device.contract_model import ENDORSED, EndorsedRoot, endorsed_bytes
from device.endorsed import for_sending, for_watching
from device.rollout import RolloutError
from device.settings import Settings, parse
from provisioning.authority import Authority
from tests.build import settings_text
from tests.identities import PASSPHRASE, device
from tests.repository import Now, Shop


class Site:
    """A fleet with an authority and a repository of models, and a device that has the fleet's ``ca.pem`` and no more."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.now = Now()
        self.authority = Authority.create(folder / "fleet", PASSPHRASE, self.now)
        self.shop = Shop(folder / "fleet", self.now)
        self.settings = self.with_it(f'ca_file = "{folder}/fleet/ca.pem"\nrollouts = true')
        self.staged = folder / "staged"
        self.asked: list[str] = []

    def with_it(self, broker: str) -> Settings:
        text = settings_text(self.folder, "mqtts://localhost:1", broker=broker)
        return parse(f'{text}\n[models]\nroot_file = "{self.folder}/none"\n', "f")

    def fetch(self, name: str, limit: int) -> bytes | None:
        self.asked.append(name)
        path = self.shop.served / "metadata" / name
        return path.read_bytes()[: limit + 1] if path.exists() else None

    def vouch(self, **other: Any) -> None:
        """What the repository gives to devices; as the authority says, or else."""
        self.shop.repository.endorse(self.authority.endorse)
        path = self.shop.served / "metadata" / ENDORSED
        path.write_text(json.dumps({**json.loads(path.read_bytes()), **other}))

    def send(self) -> bytes:
        return for_sending(self.settings, self.staged, self.fetch, self.shop.now())

    def watch(self) -> bytes:
        return for_watching(self.settings, self.staged, self.shop.now())


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def refused(ask: Callable[[], bytes]) -> str:
    with pytest.raises(RolloutError) as caught:
        ask()
    assert caught.value.reason == "no_root"
    return str(caught.value)


def test_both_processes_trust_the_root_that_the_authority_vouches_for_also_while_it_is_gone(site: Site) -> None:
    site.vouch()
    assert [site.send(), site.watch()] == [site.shop.root] * 2

    (site.shop.served / "metadata" / ENDORSED).unlink()

    assert [site.send(), site.watch()] == [site.shop.root] * 2


@pytest.mark.parametrize(
    ("generation", "version"), [(-1, 1), (0, 1), (-1, 9)], ids=["earlier", "the same", "earlier, later version"]
)
def test_nobody_goes_back_to_a_root_of_an_earlier_generation(site: Site, tmp_path: Path, generation: int, version: int) -> None:
    site.vouch()
    kept = [site.send(), site.watch()]
    word = EndorsedRoot.model_validate_json((site.staged / ENDORSED).read_bytes())
    other = Shop(tmp_path / "other").root
    old = site.authority.endorse(other, word.generation + generation, version).model_dump_json(by_alias=True)
    (site.shop.served / "metadata" / ENDORSED).write_text(old)
    assert site.send() == kept[0]

    (site.staged / ENDORSED).write_text(old)

    assert site.watch() == kept[1] != other


def test_a_root_that_was_renewed_is_followed_from_the_one_that_is_kept(site: Site, tmp_path: Path) -> None:
    site.vouch()
    site.send()
    first = site.watch()
    site.shop.repository.renew_root(b"only for this test")
    target = site.shop.publish()

    found = trust.find(site.shop.job(target), first, tmp_path / "cache", site.fetch)

    assert found.model.path.endswith(target)
    assert "2.root.json" in site.asked


def test_a_root_that_was_installed_by_hand_counts_alone(site: Site) -> None:
    site.vouch()
    site.settings.models.root_file.write_bytes(b"by hand")

    assert (site.send(), site.watch(), site.asked) == (b"by hand", b"by hand", [])


def test_no_device_of_the_fleet_can_vouch_for_a_root(site: Site, tmp_path: Path) -> None:
    """Its certificate is signed by the same authority, which some have in ``ca_file``, too."""
    (tmp_path / "fleet" / "ca.pem").write_bytes(site.authority.bundle_pem)
    thief = device(site.authority, tmp_path, "thief")
    key = serialization.load_pem_private_key(thief.key.read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    root = Shop(tmp_path / "other").root
    certificate = x509.load_pem_x509_certificate(thief.certificate.read_bytes())
    order = (2**40, 1, certificate.not_valid_after_utc)
    signature = key.sign(endorsed_bytes(root, order), ec.ECDSA(hashes.SHA256())).hex()
    about = dict(zip(("generation", "version"), order[:2], strict=True))
    expires = f"{order[2]:%Y-%m-%dT%H:%M:%SZ}"
    site.vouch(root=root.decode(), signer=thief.certificate.read_text(), signature=signature, expires=expires, **about)

    assert "has signed" in refused(site.send)


def test_an_authority_of_another_fleet_cannot_vouch_for_a_root(site: Site, tmp_path: Path) -> None:
    other = Authority.create(tmp_path / "foreign", PASSPHRASE)
    site.vouch(**other.endorse(site.shop.root, 2**40, 1).model_dump(by_alias=True, mode="json"))

    refused(site.send)


@pytest.mark.parametrize(
    "other",
    [
        *({"root": "{}"}, {"signature": "00" * 70}, {"signature": "x"}, {"signer": "x"}, {"signer": ""}, {"schema": 2}),
        *({"generation": 2**50}, {"version": 2}, {"expires": "2050-01-01T00:00:00Z"}, {"expires": "never"}),
    ],
)
def test_whatever_was_changed_in_it_is_noticed_by_both(site: Site, other: dict[str, Any]) -> None:
    site.vouch(**other)
    site.staged.mkdir()
    (site.staged / ENDORSED).write_bytes((site.shop.served / "metadata" / ENDORSED).read_bytes())

    refused(site.send)
    refused(site.watch)
    assert not (site.settings.state_folder / ENDORSED).exists()


@pytest.mark.parametrize("content", [b"", b"null", b"[" * 10_000, b"\xff\xfe{}", b" " * 2**20])
def test_what_is_no_message_of_this_contract_is_refused(site: Site, content: bytes) -> None:
    site.staged.mkdir()
    (site.staged / ENDORSED).write_bytes(content)
    (site.shop.served / "metadata" / ENDORSED).write_bytes(content)

    refused(site.send)
    refused(site.watch)


def test_a_repository_without_it_and_a_device_without_an_authority_are_told_apart(site: Site) -> None:
    assert "mien-fleet model refresh" in refused(site.send)
    site.vouch()
    site.settings = site.with_it("")

    assert "without broker.ca_file" in refused(site.send)


def test_the_authority_that_follows_vouches_again_and_old_words_still_count(site: Site) -> None:
    assert site.shop.repository.endorse(site.authority.endorse)
    before = EndorsedRoot.model_validate_json((site.shop.served / "metadata" / ENDORSED).read_bytes())
    assert not site.shop.repository.endorse(site.authority.endorse)
    site.send()
    site.authority.announce()
    site.authority.use_announced()
    site.now.move(1)

    assert site.shop.repository.endorse(site.authority.endorse)

    after = EndorsedRoot.model_validate_json((site.shop.served / "metadata" / ENDORSED).read_bytes())
    assert before.signer != after.signer
    assert endorsed._checked(after.model_dump_json(by_alias=True).encode(), site.settings) == after
    assert site.send() == site.watch() == site.shop.root


@pytest.mark.parametrize("beside", [False, True], ids=["in its place", "beside it"])
def test_whoever_writes_the_authority_s_file_cannot_lead_a_watching_process_away(site: Site, tmp_path: Path, beside: bool) -> None:
    """The sending process can: ``mien enroll`` runs as its user."""
    site.vouch()
    site.send()
    trusted = site.watch()
    other = Site(tmp_path / "other")
    other.shop.repository.endorse(lambda root, _, version: other.authority.endorse(root, 2**40, version))
    assert site.settings.broker.ca_file is not None
    mine = site.settings.broker.ca_file.read_bytes()
    site.settings.broker.ca_file.write_bytes(other.authority.ca_pem + (mine if beside else b""))
    (site.staged / ENDORSED).write_bytes((other.shop.served / "metadata" / ENDORSED).read_bytes())

    assert "names another authority" in refused(site.watch)
    (site.staged / ENDORSED).unlink()
    assert site.watch() == trusted


def test_what_a_watching_process_keeps_is_checked_for_damage(site: Site) -> None:
    site.vouch()
    site.send()
    kept, trusted = site.settings.state_folder / ENDORSED, site.watch()
    kept.write_bytes(kept.read_bytes().replace(b"Ed25519", b"Ed25518").replace(b"ed25519", b"ed25518"))

    assert site.watch() == trusted


def test_a_signer_that_is_no_certificate_of_any_version_vouches_for_nothing(site: Site) -> None:
    der = ssl.PEM_cert_to_DER_cert(site.authority.endorse(site.shop.root, 1, 1).signer)
    version = bytes.fromhex("a003020102")
    assert version in der
    site.vouch(signer=ssl.DER_cert_to_PEM_cert(der.replace(version, version[:-1] + b"\x07", 1)))

    assert "has signed" in refused(site.send)


def test_a_word_that_is_over_begins_no_trust_and_ends_none(site: Site) -> None:
    site.vouch()
    site.now.move(61)

    for ask in (site.send, site.watch):
        with pytest.raises(RolloutError) as caught:
            ask()
        assert caught.value.reason == ("expired" if ask == site.send else "no_root")
        assert "mien-fleet model refresh" in str(caught.value)
    site.shop.repository.endorse(site.authority.endorse)
    trusted = [site.send(), site.watch()]
    site.now.move(61)

    assert [site.send(), site.watch()] == trusted


def test_what_was_staged_in_time_is_refused_by_a_watching_process_that_comes_too_late(site: Site) -> None:
    site.vouch()
    site.send()
    site.now.move(61)

    with pytest.raises(RolloutError) as caught:
        site.watch()

    assert caught.value.reason == "expired"
    assert not (site.settings.state_folder / ENDORSED).exists()


def test_the_word_is_renewed_in_time_and_never_outlives_its_signer(site: Site) -> None:
    def word() -> EndorsedRoot:
        return EndorsedRoot.model_validate_json((site.shop.served / "metadata" / ENDORSED).read_bytes())

    site.vouch()
    site.now.move(29)
    assert not site.shop.repository.endorse(site.authority.endorse)
    site.now.move(2)
    assert site.shop.repository.endorse(site.authority.endorse)
    assert (word().expires - site.now()).days == 60
    ends = x509.load_pem_x509_certificate(word().signer.encode()).not_valid_after_utc
    site.now.at = ends - dt.timedelta(days=10)

    assert site.shop.repository.endorse(site.authority.endorse)

    assert word().expires == ends
    assert not site.shop.repository.endorse(site.authority.endorse)


def test_a_word_that_would_outlive_its_signer_is_none(site: Site) -> None:
    later = Authority.open(site.folder / "fleet", PASSPHRASE, site.now)
    site.shop.repository.endorse(later.endorse)
    assert site.send()
    signer = x509.load_pem_x509_certificate(later.endorse(site.shop.root, 1, 1).signer.encode())
    key = later._issuers().active.key
    order = (2**40, 1, signer.not_valid_after_utc + dt.timedelta(days=1))
    signature = key.sign(endorsed_bytes(site.shop.root, order), ec.ECDSA(hashes.SHA256())).hex()
    said = {
        "generation": order[0],
        "version": order[1],
        "expires": order[2],
        "signature": signature,
        "root": site.shop.root.decode(),
    }
    content = EndorsedRoot.model_validate({**said, "signer": signer.public_bytes(serialization.Encoding.PEM).decode()})

    assert endorsed._checked(content.model_dump_json(by_alias=True).encode(), site.settings) is None
