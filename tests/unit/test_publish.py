"""The repository of models: what is published, what keeps it alive, and ``kill -9`` of the manager before each of its steps."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from provisioning.errors import FilesError, WordsError
from provisioning.metadata import PublishError
from provisioning.publish import Repository
from tests.conftest import ROOT
from tests.repository import PACKAGED, PASSPHRASE, Now, Shop, another, release_of


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path / "fleet")


def test_what_is_published_has_its_entry_its_test_vectors_and_its_card(shop: Shop) -> None:
    target = shop.publish()

    (one,) = shop.repository.releases()

    assert (one.target, one.release, one.length) == (target, release_of(another()), len(another()))
    assert one.release.entry.confusion == PACKAGED["emotion"].confusion
    names = {path.name.partition(".")[2] for path in (shop.served / "targets").iterdir()}
    assert names == {target, one.release.vectors, one.release.card}


def test_the_same_again_changes_nothing(shop: Shop) -> None:
    shop.publish()
    before = shop.repository.timestamp()

    shop.publish()

    assert shop.repository.timestamp() == before


def test_a_model_may_be_published_again_with_another_entry(shop: Shop) -> None:
    shop.publish()
    entry = PACKAGED["emotion"].model_copy(update={"temperature": 2.0})

    shop.publish(entry=entry)

    assert [one.release.entry.temperature for one in shop.repository.releases()] == [2.0]


@pytest.mark.parametrize(
    ("days", "signed"),
    [
        (0, []),
        (3, []),
        (5, ["timestamp"]),
        (13, ["timestamp"]),
        (31, ["snapshot", "timestamp"]),
        (400, ["targets", "snapshot", "timestamp"]),
    ],
)
def test_what_ends_soon_is_signed_anew(shop: Shop, days: float, signed: list[str]) -> None:
    shop.publish()
    shop.now.move(days)

    assert shop.repository.refresh(PASSPHRASE) == signed
    assert shop.repository.refresh(PASSPHRASE) == []
    assert len(shop.repository.releases()) == 1


def test_secrets_are_encrypted_and_for_the_owner_alone(shop: Shop) -> None:
    keys = list((shop.fleet / "models" / "keys").iterdir())

    assert len(keys) == 6
    for path in keys:
        assert path.stat().st_mode & 0o777 == 0o600
        assert b"ENCRYPTED" in path.read_bytes()
    served = b"".join(path.read_bytes() for path in shop.served.rglob("*") if path.is_file())
    assert b"PRIVATE" not in served


def test_the_keys_of_the_root_are_not_needed_to_publish(shop: Shop) -> None:
    for path in (shop.fleet / "models" / "keys").glob("root-*"):
        path.unlink()

    assert shop.publish()
    with pytest.raises(WordsError, match="expected any 2"):
        shop.repository.renew_root(PASSPHRASE)


def test_two_keys_of_the_root_from_another_place_make_a_new_one(shop: Shop, tmp_path: Path) -> None:
    away = tmp_path / "safe"
    away.mkdir()
    for number in (1, 3):
        (shop.fleet / "models" / "keys" / f"root-{number}.pem").rename(away / f"root-{number}.pem")

    assert shop.repository.renew_root(PASSPHRASE, away) == 2


def test_a_wrong_passphrase_is_said(shop: Shop) -> None:
    with pytest.raises(WordsError, match="the passphrase does not open it"):
        shop.repository.publish(b"another passphrase", another(), release_of(another()), b"{}", b"")


def test_metadata_that_somebody_else_has_written_is_not_signed_on(shop: Shop) -> None:
    """Whoever may write to what the web server gives out must not get the manager to sign it."""
    shop.publish()
    path = shop.served / "metadata" / "2.targets.json"
    path.write_bytes(path.read_bytes().replace(b"emotion-", b"emotioN-"))

    with pytest.raises(PublishError, match="not what this fleet has signed"):
        shop.publish(another(2))


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"[" * 10_000])
def test_damaged_metadata_is_said(shop: Shop, content: bytes) -> None:
    (shop.served / "metadata" / "timestamp.json").write_bytes(content)

    with pytest.raises(PublishError, match="restore models/ from a backup"):
        shop.publish()


def test_a_fleet_without_a_repository_is_told_how_to_make_one(tmp_path: Path) -> None:
    repository = Repository(tmp_path, Now())

    with pytest.raises(WordsError, match="mien-fleet model init"):
        repository.publish(PASSPHRASE, b"", release_of(b""), b"", b"")
    with pytest.raises(WordsError, match="mien-fleet model init"):
        repository.releases()


def test_a_lost_key_is_said(shop: Shop) -> None:
    (shop.fleet / "models" / "keys" / "timestamp.pem").unlink()

    with pytest.raises(FilesError, match=r"timestamp\.pem.*restore it from a backup"):
        shop.publish()


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("what", "steps"), [("init", 10), ("publish", 6), ("refresh", 2), ("renew-root", 11), ("replace-root", 14)]
)
def test_killed_before_any_step_the_repository_is_whole_and_the_same_again_carries_it_through(
    tmp_path: Path, what: str, steps: int
) -> None:
    words = [sys.executable, "-m", "tests.killed_publishing", str(tmp_path), what]
    done = subprocess.run(words, capture_output=True, text=True, check=False, cwd=ROOT)

    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= steps
