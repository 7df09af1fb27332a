"""Whom a device trusts with a model: metadata that is expired, rolled back, frozen, wrongly signed or nonsense is refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import Metadata, Root, Timestamp

from device import trust
from device.rollout import RolloutError
from device.trust import Fetch, Found
from provisioning import rolekeys
from tests.repository import PASSPHRASE, Shop, another, release_of


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path / "fleet")


def from_web(shop: Shop) -> Fetch:
    def fetch(name: str, limit: int) -> bytes | None:
        path = shop.served / "metadata" / name
        return path.read_bytes() if path.exists() else None

    return fetch


def find(shop: Shop, tmp_path: Path, target: str, root: bytes | None = None, fetch: Fetch | None = None, **job: Any) -> Found:
    return trust.find(shop.job(target, **job), root or shop.root, tmp_path / "cache", fetch or from_web(shop))


def refused(shop: Shop, tmp_path: Path, target: str, **other: Any) -> str:
    with pytest.raises(RolloutError) as caught:
        find(shop, tmp_path, target, **other)
    return caught.value.reason


def test_what_the_fleet_has_signed_is_found(shop: Shop, tmp_path: Path) -> None:
    content = another()
    target = shop.publish(content)

    found = find(shop, tmp_path, target)

    assert found.release == release_of(content)
    assert found.model.check(content) == content
    with pytest.raises(RolloutError, match="not those that were signed"):
        found.model.check(content[:-1] + b"x")


def test_a_new_root_is_followed_by_those_who_know_the_old_one(shop: Shop, tmp_path: Path) -> None:
    first = shop.root
    find(shop, tmp_path, shop.publish(), root=first)
    assert shop.repository.renew_root(PASSPHRASE) == 2
    assert shop.repository.renew_root(PASSPHRASE) == 3
    target = shop.publish(another(2))

    assert find(shop, tmp_path, target, root=first).release == release_of(another(2))


def test_expired_metadata_is_refused(shop: Shop, tmp_path: Path) -> None:
    shop.now.move(-400)
    target = Shop(tmp_path / "old", shop.now).publish()

    assert refused(Shop(tmp_path / "old", shop.now), tmp_path, target) == "expired"


def test_metadata_that_was_seen_to_be_newer_is_not_rolled_back(shop: Shop, tmp_path: Path) -> None:
    target = shop.publish()
    shutil.copytree(shop.served, tmp_path / "before")
    shop.publish(another(2))
    find(shop, tmp_path, target)
    shutil.rmtree(shop.served)
    (tmp_path / "before").rename(shop.served)

    assert refused(shop, tmp_path, target) == "older"


def test_a_mirror_that_is_frozen_before_what_the_job_asks_for_is_refused_by_a_device_that_never_saw_more(
    shop: Shop, tmp_path: Path
) -> None:
    target = shop.publish()

    assert refused(shop, tmp_path, target, timestamp=shop.repository.timestamp() + 1) == "older"


def test_metadata_of_another_fleet_is_refused(shop: Shop, tmp_path: Path) -> None:
    other = Shop(tmp_path / "other")
    target = other.publish()

    assert refused(other, tmp_path, target, root=shop.root) == "signature"


def test_a_root_signed_by_one_of_two_keys_is_refused(shop: Shop, tmp_path: Path) -> None:
    """One stolen root key, and keys of the thief for all other roles."""
    target = shop.publish()
    root: Metadata[Root] = Metadata.from_bytes(shop.root)
    thief = CryptoSigner.generate_ed25519()
    for role in ("timestamp", "snapshot", "targets"):
        root.signed.add_key(thief.public_key, role)
    root.signed.version = 2
    stolen = rolekeys.load(shop.fleet / "models" / "keys", ["root-1"], PASSPHRASE)["root-1"]
    root.sign(stolen)
    (shop.served / "metadata" / "2.root.json").write_bytes(root.to_bytes())

    assert refused(shop, tmp_path, target) == "signature"


def change(shop: Shop, name: str, change: Callable[[Any], None]) -> None:
    path = shop.served / "metadata" / name
    said = json.loads(path.read_bytes())
    change(said)
    path.write_text(json.dumps(said))


@pytest.mark.parametrize("name", ["timestamp.json", "2.snapshot.json", "2.targets.json"])
def test_one_changed_byte_of_what_is_signed_is_refused(shop: Shop, tmp_path: Path, name: str) -> None:
    target = shop.publish()
    change(shop, name, lambda said: said["signed"].update(expires="2100-01-01T00:00:00Z"))

    assert refused(shop, tmp_path, target) == "signature"


def test_a_timestamp_signed_with_the_key_of_another_role_is_refused(shop: Shop, tmp_path: Path) -> None:
    target = shop.publish()
    path = shop.served / "metadata" / "timestamp.json"
    timestamp: Metadata[Timestamp] = Metadata.from_bytes(path.read_bytes())
    timestamp.signed.version += 1
    timestamp.sign(rolekeys.load(shop.fleet / "models" / "keys", ["snapshot"], PASSPHRASE)["snapshot"])
    path.write_bytes(timestamp.to_bytes())

    assert refused(shop, tmp_path, target) == "signature"


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"\xff\xfe", b"null", b"[" * 10_000, b"{" * 10_000, b'{"signed": {"_type": "timestamp"}}', b"x" * 1_000_000],
    ids=["empty", "cut", "not-utf8", "null", "deep-array", "deep-object", "bare", "megabyte"],
)
def test_nonsense_instead_of_metadata_is_refused(shop: Shop, tmp_path: Path, content: bytes) -> None:
    target = shop.publish()
    for name in ("2.targets.json", "2.snapshot.json", "timestamp.json"):
        (shop.served / "metadata" / name).write_bytes(content)
        assert refused(shop, tmp_path, target) in {"invalid", "too_large"}


@pytest.mark.parametrize("name", ["timestamp.json", "2.snapshot.json", "2.targets.json"])
def test_metadata_that_is_not_there_is_said(shop: Shop, tmp_path: Path, name: str) -> None:
    target = shop.publish()
    (shop.served / "metadata" / name).unlink()

    assert refused(shop, tmp_path, target) == "not_found"


def test_a_target_that_nobody_has_signed_is_not_found(shop: Shop, tmp_path: Path) -> None:
    shop.publish()

    assert refused(shop, tmp_path, "emotion-00000000.tflite") == "not_found"


@pytest.mark.parametrize("root", [b"", b"{}", b"no root", b"[" * 10_000])
def test_a_root_file_that_is_none_is_said(shop: Shop, tmp_path: Path, root: bytes) -> None:
    (tmp_path / "root.json").write_bytes(root)
    target = shop.publish()

    with pytest.raises(RolloutError) as caught:
        trust.find(shop.job(target), root, tmp_path / "cache", from_web(shop))

    assert caught.value.reason == "no_root"


def test_what_another_process_has_staged_is_found_again_and_links_are_not_followed(shop: Shop, tmp_path: Path) -> None:
    target = shop.publish()
    find(shop, tmp_path, target)
    staged = trust.staged_metadata(tmp_path / "cache")

    again = trust.find(shop.job(target), shop.root, tmp_path / "second", staged)
    assert again.release.model == "emotion"

    (tmp_path / "cache" / "targets.json").rename(tmp_path / "elsewhere.json")
    (tmp_path / "cache" / "targets.json").symlink_to(tmp_path / "elsewhere.json")
    with pytest.raises(RolloutError, match="cannot be read"):
        staged("2.targets.json", 10_000)
    assert staged("../secret.json", 10_000) is None


def test_a_memory_that_was_cut_by_a_power_failure_is_filled_again(shop: Shop, tmp_path: Path) -> None:
    target = shop.publish()
    find(shop, tmp_path, target)
    for path in (tmp_path / "cache").glob("*.json"):
        path.write_bytes(b"")

    assert find(shop, tmp_path, target).release.model == "emotion"
