"""Keys of models that are lost: what a fleet does then, and that its devices follow."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from device import trust
from device.contract_model import ENDORSED
from device.endorsed import for_sending, for_watching
from device.rollout import RolloutError
from device.settings import parse
from provisioning.authority import Authority
from provisioning.errors import WordsError
from provisioning.metadata import generation_of
from provisioning.rolekeys import ONLINE
from tests.build import settings_text
from tests.repository import PASSPHRASE, Now, Shop, another


class Field:
    """A fleet, and a device that downloads by itself what it is told to install: both its processes, without their loops."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.now = folder, Now()
        self.authority = Authority.create(folder / "fleet", PASSPHRASE, self.now)
        self.shop = Shop(folder / "fleet", self.now)
        self.keys = folder / "fleet" / "models" / "keys"
        text = settings_text(folder / "device", "mqtts://localhost:1", broker=f'ca_file = "{folder}/fleet/ca.pem"\nrollouts = true')
        self.settings = parse(f'{text}\n[models]\nroot_file = "{folder}/device/root.json"\n', "f")
        self.staged = folder / "device" / "inbox" / "model" / "metadata"
        self.endorse()

    def endorse(self) -> None:
        self.shop.repository.endorse(self.authority.endorse)

    def lose(self, *names: str) -> None:
        for name in names:
            (self.keys / f"{name}.pem").unlink()

    def replace_root(self) -> None:
        self.now.move(1)
        self.shop.repository.replace_root(PASSPHRASE)
        self.endorse()

    def fetch(self, name: str, limit: int) -> bytes | None:
        path = self.shop.served / "metadata" / name
        return path.read_bytes()[: limit + 1] if path.exists() else None

    def installs(self, target: str, timestamp: int | None = None) -> str:
        """What both processes have found for a job; returns the file."""
        job = self.shop.job(target, timestamp=self.shop.repository.timestamp() if timestamp is None else timestamp)
        root = for_sending(self.settings, self.staged, self.fetch, self.now())
        sent = trust.find(job, root, self.staged, self.fetch)
        root = for_watching(self.settings, self.staged, self.now())
        found = trust.find(job, root, self.settings.state_folder / "tuf", trust.staged_metadata(self.staged))
        assert sent == found
        return found.model.path.partition(".")[2]


@pytest.fixture
def field(tmp_path: Path) -> Field:
    made = Field(tmp_path)
    target = made.shop.publish(another(1))
    assert made.installs(target) == target
    return made


def test_without_the_root_s_keys_the_fleet_begins_anew_and_devices_follow(field: Field) -> None:
    field.lose("root-1", "root-2", *ONLINE)
    with pytest.raises(WordsError, match="mien-fleet model replace-root"):
        field.shop.repository.renew_root(PASSPHRASE)

    field.replace_root()
    new = field.shop.publish(another(2))

    assert field.installs(new) == new
    assert len(field.shop.repository.releases()) == 2
    assert sorted(path.name for path in field.keys.iterdir()) == sorted(
        f"{name}.pem" for name in ("root-1", "root-2", "root-3", *ONLINE)
    )


def test_the_new_root_has_heirs_as_the_old_one_had(field: Field) -> None:
    field.replace_root()
    assert field.installs(field.shop.repository.releases()[0].target)
    field.shop.repository.renew_root(PASSPHRASE)
    field.endorse()
    new = field.shop.publish(another(2))

    assert field.installs(new) == new


@pytest.mark.parametrize("names", [ONLINE, ("timestamp",), ("targets", "snapshot")])
def test_without_the_other_roles_keys_two_keys_of_the_root_are_enough(field: Field, names: tuple[str, ...]) -> None:
    """Nobody vouches again: devices follow the heir of the root that they have."""
    field.lose(*names, "root-2")

    field.shop.repository.renew_root(PASSPHRASE)
    new = field.shop.publish(another(2))

    assert field.installs(new) == new


def test_without_anything_a_new_repository_is_followed_too(field: Field) -> None:
    field.shop.repository.renew_root(PASSPHRASE)
    old = field.shop.publish(another(3))
    assert field.installs(old) == old
    of_before = (field.shop.served / "metadata" / "2.root.json").read_bytes()
    shutil.rmtree(field.shop.fleet / "models")
    field.now.move(1)

    field.shop.repository.create(PASSPHRASE)
    field.endorse()
    new = field.shop.publish(another(2))

    assert field.shop.repository.timestamp() < 3
    left = field.shop.served / "metadata" / "2.root.json"
    left.write_bytes(of_before)
    with pytest.raises(RolloutError) as caught:
        field.installs(new, timestamp=1)
    assert caught.value.reason == "signature"
    left.unlink()
    assert field.installs(new) == new


def test_a_device_with_the_new_root_is_not_led_back_to_the_old_one(field: Field, tmp_path: Path) -> None:
    old = tmp_path / "old"
    shutil.copytree(field.shop.served, old)
    (target,) = [one.target for one in field.shop.repository.releases()]
    field.replace_root()
    assert field.installs(target) == target

    shutil.rmtree(field.shop.served)
    shutil.copytree(old, field.shop.served)  # a web server that gives what it once had
    with pytest.raises(RolloutError) as caught:
        field.installs(target, timestamp=1)
    assert caught.value.reason in ("signature", "older")
    shutil.rmtree(field.staged)  # the sending process has lost its memory, or lies

    with pytest.raises(RolloutError) as caught:
        field.installs(target, timestamp=1)
    assert caught.value.reason == "signature"


def test_a_device_that_had_nothing_but_an_old_root_follows_two_new_ones(field: Field) -> None:
    field.replace_root()
    field.replace_root()
    (target,) = [one.target for one in field.shop.repository.releases()]

    assert field.installs(target) == target


def test_a_device_whose_root_is_installed_by_hand_follows_the_file_alone(field: Field) -> None:
    field.settings.models.root_file.parent.mkdir(exist_ok=True)
    field.settings.models.root_file.write_bytes(field.shop.root)
    (target,) = [one.target for one in field.shop.repository.releases()]
    assert field.installs(target) == target
    field.replace_root()
    with pytest.raises(RolloutError) as caught:
        field.installs(target)
    assert caught.value.reason == "signature"

    field.settings.models.root_file.write_bytes(field.shop.root)

    assert field.installs(target) == target


def test_a_device_that_lost_what_was_staged_follows_a_root_that_was_renewed_twice(field: Field) -> None:
    for _ in range(2):
        field.shop.repository.renew_root(PASSPHRASE)
        field.endorse()
    shutil.rmtree(field.staged)
    new = field.shop.publish(another(2))

    assert field.installs(new) == new


def test_generations_only_go_up_whatever_the_manager_s_clock_says(field: Field) -> None:
    before = generation_of(field.shop.repository._root())
    field.now.move(-400)

    field.shop.repository.replace_root(PASSPHRASE)

    assert generation_of(field.shop.repository._root()) == before + 1


def test_init_again_does_not_make_keys_that_no_root_names(field: Field) -> None:
    field.lose("root-1", "timestamp")

    field.shop.repository.create(PASSPHRASE)

    assert not (field.keys / "root-1.pem").exists()
    assert not (field.keys / "timestamp.pem").exists()


def test_keys_of_another_root_sign_no_heir(field: Field, tmp_path: Path) -> None:
    """They would make a root that nobody can check, and the repository could not be used any more."""
    other = Shop(tmp_path / "other")
    for name in ("root-1", "root-2"):
        (other.fleet / "models" / "keys" / f"{name}.pem").replace(field.keys / f"{name}.pem")

    with pytest.raises(WordsError, match=r"1 of root-1, root-2, root-3 that the root names"):
        field.shop.repository.renew_root(PASSPHRASE)

    assert field.shop.publish(another(2))


def test_what_a_device_kept_damaged_is_replaced_by_what_the_authority_vouches_for(field: Field) -> None:
    (field.settings.state_folder / ENDORSED).write_bytes(b"{")
    (target,) = [one.target for one in field.shop.repository.releases()]

    assert field.installs(target) == target


def test_what_the_web_server_still_has_is_enough_to_go_on_with(field: Field, tmp_path: Path) -> None:
    """The manager's folder of models is lost; what was published is not."""
    web = tmp_path / "web"
    shutil.copytree(field.shop.served, web)
    shutil.rmtree(field.shop.fleet / "models")
    shutil.copytree(web, field.shop.served)

    field.replace_root()

    (target,) = [one.target for one in field.shop.repository.releases()]
    assert field.installs(target) == target


def test_an_old_backup_is_refused_by_devices_until_it_begins_anew(field: Field, tmp_path: Path) -> None:
    backup = tmp_path / "backup"
    shutil.copytree(field.shop.fleet / "models", backup)
    newer = field.shop.publish(another(2))
    assert field.installs(newer) == newer
    shutil.rmtree(field.shop.fleet / "models")
    shutil.copytree(backup, field.shop.fleet / "models")
    (target,) = [one.target for one in field.shop.repository.releases()]
    with pytest.raises(RolloutError) as caught:
        field.installs(target)
    assert caught.value.reason == "older"

    field.replace_root()

    assert field.installs(target) == target


def test_a_device_that_moves_to_another_fleet_trusts_its_root_whatever_the_generations(field: Field, tmp_path: Path) -> None:
    field.replace_root()
    (target,) = [one.target for one in field.shop.repository.releases()]
    assert field.installs(target) == target
    other = Field(tmp_path / "other")
    other.settings, other.staged = field.settings, field.staged
    other.shop.repository.endorse(lambda root, _, version: other.authority.endorse(root, 1, version))
    new = other.shop.publish(another(2))

    assert field.settings.broker.ca_file is not None
    field.settings.broker.ca_file.write_bytes(other.authority.ca_pem)
    kept = field.settings.state_folder / ENDORSED
    with pytest.raises(RolloutError, match=f"if it has moved to another fleet, remove {kept}"):
        other.installs(new)
    kept.unlink()

    assert other.installs(new) == new
