"""The manager's commands on either database, and a database server that goes away for a moment."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from click.testing import CliRunner

from provisioning import fleet as fleets
from provisioning import manage
from provisioning.cli import main
from provisioning.mosquitto import Size
from provisioning.registry import Registry, opened
from tests import postgres as postgresql
from tests.fleet import PASSPHRASE, Box, Manager


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    fleets.init(tmp_path / "fleet", "mqtts://localhost:8883", Size(10, 1), PASSPHRASE)
    (tmp_path / "passphrase").write_bytes(PASSPHRASE)
    (tmp_path / "passphrase").chmod(0o600)
    return tmp_path / "fleet"


def test_every_command_of_the_registry_works_on_either_database(url: str, folder: Path, tmp_path: Path) -> None:
    manager, box = Manager(tmp_path / "manager", url), Box("SN-1")
    manager.batch("berlin", {"SN-1": box.id})
    device = manager.enrol(box)["device"]
    manager.close()
    secret = ("--passphrase-file", str(tmp_path / "passphrase"))

    def run(command: str, *words: str) -> str:
        result = CliRunner().invoke(main, [*command.split(), str(folder), *words, "--database", url])
        assert result.exit_code == 0, result.output
        return result.output

    assert "1 new of 2 serials" in run("batch add", "berlin", "SN-1", "SN-2", "--setting", "retail", "--jurisdiction", "DE")
    assert "good until" in run("claim new", "berlin", *secret)
    run("label", device, "store=berlin-3")
    (live,) = [one for one in map(json.loads, run("devices", "--json").splitlines()) if one["state"] == "live"]
    assert (live["name"], live["labels"]) == (device, {"store": "berlin-3"})
    assert f"{device}: version 1" in run("set", "--group", "store=berlin*", "window_seconds=1800", "camera.fps=4")
    (twin,) = [one for one in map(json.loads, run("twin", "--json").splitlines()) if one["device"] == device]
    assert twin["version"] == 1
    assert "pause for 1 devices" in run("command pause", "--group", "store=berlin*", "--seconds", "60")
    assert device in run("command show")
    steps = [json.loads(line)["step"] for line in run("audit").splitlines()]
    assert {"batch", "claim", "csr", "register", "confirm"} <= set(steps)
    run("restored")


def test_several_managers_at_once_lose_nothing(url: str) -> None:
    """Each puts serials of its own into one batch, while the others do."""
    registries = [Registry.open(url) for _ in range(4)]

    def add(number: int) -> int:
        serials: dict[str, str | None] = {f"SN-{number}-{n}": None for n in range(20)}
        return manage.add_batch(registries[number % 4], "berlin", "retail", "DE", serials)

    with ThreadPoolExecutor(4) as pool:
        new = list(pool.map(add, range(12)))

    assert new == [20] * 12
    assert len(manage.devices(registries[0])) == 240
    for registry in registries:
        registry.close()


def test_a_database_server_that_ends_every_connection_costs_one_more_try(postgres: str) -> None:
    with opened(postgresql.new_database(postgres, "interrupted")) as registry:
        manage.add_batch(registry, "berlin", "retail", "DE", {"SN-1": None})

        postgresql.end_connections(postgres, "interrupted")
        manage.add_batch(registry, "berlin", "retail", "DE", {"SN-2": None})

        assert [one.serial for one in manage.devices(registry)] == ["SN-1", "SN-2"]
