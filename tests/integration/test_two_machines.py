"""A card that was copied: two real sending processes with one identity, the real broker, the real service."""

from __future__ import annotations

import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import select

from device import identity
from device.contract import Status, dump
from device.contract_enroll import box_in_status
from provisioning.doubles import Seen
from provisioning.registry import opened
from provisioning.tables_double import DoubleRow
from tests.conftest import MOSQUITTO, Process, wait_for
from tests.identities import Client, Identity
from tests.world import BoxFiles, World

pytestmark = [
    pytest.mark.skipif(MOSQUITTO is None, reason="mosquitto is not installed: sudo apt install mosquitto mosquitto-clients"),
    pytest.mark.timeout(180),
]


@pytest.fixture
def box(world: World, start: Callable[..., Process]) -> tuple[BoxFiles, str]:
    made = BoxFiles(world, "box", start)
    made.key.parent.mkdir()
    return made, world.old_device(made, "SN-1", days=1)


def called(file: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """What this hardware is called at enrolment."""
    monkeypatch.setattr(identity, "HARDWARE", (str(file),))
    found = identity.hardware()
    assert found is not None
    return found


def marked(world: World) -> str:
    return world.devices()[0]["two_machines"] or ""


def heard(world: World) -> Seen:
    """What the registry knows of the one device's runs."""
    with opened(f"sqlite:///{world.folder}/registry.db") as registry:
        found = registry.transact(lambda session: session.scalars(select(DoubleRow.seen)).first())
    return Seen() if found is None else Seen.model_validate_json(found)


def test_a_copied_card_is_noticed_and_both_machines_are_named(
    world: World, box: tuple[BoxFiles, str], start: Callable[..., Process], monkeypatch: pytest.MonkeyPatch
) -> None:
    card, name = box
    services = [world.serve(), world.serve()]
    (card.folder / "send").mkdir()
    (card.folder / "send" / "connection_name").write_text("0123456789abcdef012345")  # as after its first start
    copy = world.base / "copy"
    shutil.copytree(card.folder, copy)
    text = (copy / "settings.toml").read_text().replace(str(card.folder), str(copy))
    (copy / "settings.toml").write_text(text)
    boards = {card.folder: world.base / "board-1", copy: world.base / "board-2"}
    sends = []
    for folder, board in boards.items():
        board.write_text(board.name)
        words = (str(board), "send", "--settings", str(folder / "settings.toml"))
        sends.append(start(sys.executable, "-m", "tests.send_elsewhere", *words))

    wait_for(lambda: marked(world), 90, why="the mark")

    hardware = [box_in_status(name, called(board, monkeypatch)) for board in boards.values()]
    assert marked(world).startswith("two machines run with this one identity: ")
    assert all(f"hardware {one} (mien " in marked(world) for one in hardware)
    shown = world.fleet("devices").splitlines()
    assert shown[2].strip().startswith(marked(world)[:60])
    assert f"mien-fleet revoke {world.folder} {name}" in shown[2]
    said = [line for line in world.fleet("audit", "--serial", "SN-1").splitlines() if "two_machines" in line]
    assert len(said) == 1
    assert sum("two machines" in one.err.read_text() for one in services) == 1

    world.fleet("revoke", name, *world.secret)
    assert marked(world) == ""
    for one in sends:
        wait_for(lambda one=one: "refuses" in one.err.read_text() or "not connected" in one.err.read_text(), 60, why="the end")  # type: ignore[misc]
    assert [one.end() for one in (*sends, *services)] == [0, 0, 0, 0]


def test_copies_that_do_not_disturb_each_other_are_noticed_by_speaking_in_turns(world: World, box: tuple[BoxFiles, str]) -> None:
    """As a copy without ``send_folder`` would: its connection has another name."""
    card, name = box
    service = world.serve()
    who, topic = Identity(card.certificate, card.key), f"mien/v1/{name}/up/status"

    def status(session: str, board: str) -> bytes:
        return dump(Status.model_validate({"schema": 1, "state": "online", "session": session, "box": board, "software": "1"}))

    with Client(world.folder / "ca.pem", world.port, who) as one, Client(world.folder / "ca.pem", world.port, who) as other:
        for _ in range(3):
            assert one.publish(topic, status("aaaaaaaa", "11111111"), retain=True)
            assert other.publish(topic, status("bbbbbbbb", "22222222"), retain=True)
        wait_for(lambda: marked(world), 30, why="the mark")

    assert "hardware 11111111 (" in marked(world)
    assert "hardware 22222222 (" in marked(world)
    assert service.end() == 0


def test_a_device_that_restarts_is_killed_and_loses_its_broker_is_not_marked(world: World, box: tuple[BoxFiles, str]) -> None:
    """Of one machine, too, there are many runs and connections; two services hear of them."""
    card, _ = box
    services = [world.serve(), world.serve()]
    for count, number in enumerate((signal.SIGTERM, signal.SIGKILL, signal.SIGKILL), 1):
        send = card.send()
        wait_for(lambda count=count: len(heard(world).runs) == count, 60, why="the run")  # type: ignore[misc]
        send.end(number)
    send = card.send()
    for times in (1, 2):
        wait_for(lambda times=times: send.events().count("connected") == times, 60, why="the connection")  # type: ignore[misc]
        if times == 1:
            world.restart_broker()

    wait_for(lambda: len(heard(world).runs) == 4, 60, why="the last run")

    assert (heard(world).signs, marked(world)) == (0, "")
    assert [one.end() for one in (send, *services)] == [0, 0, 0]
