"""Whatever a device, or the holder of a claim, sends to the service on any topic that it listens to; and the other way round."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import func, select

from device.commands import enroll
from device.contract_enroll import ENROLL_ROOT
from provisioning import fleet as fleets
from provisioning import manage
from provisioning.mosquitto import Size
from provisioning.routes import Context, Properties, Route
from provisioning.schema import METADATA
from provisioning.subjects import SUBJECTS
from tests.fleet import PASSPHRASE, Box, Manager
from tests.hostile import HOSTILE

NEARLY = [
    b'{"schema": 1, "state": "online", "session": "aaaaaaaa", "taken_over": -1}',
    b'{"schema": 1, "state": "online", "session": "aaaaaaaa", "box": "' + b"1" * 500 + b'"}',
    b'{"schema": 1, "state": "online", "session": "aaaaaaaa", "taken_over": 1e400}',
    b'{"schema": 1, "state": "committed", "job": "0123456789abcdef"}',
    b'{"schema": 1, "state": "succeeded"}',
]


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[tuple[Manager, str, list[Route]]]:
    """A manager, an enrolled device, and all that the service listens to."""
    folder = fleets.init(tmp_path / "service", "mqtts://localhost:1", Size(10, 24), PASSPHRASE)
    manager = Manager(tmp_path).batch(serials={"SN-1": None})
    box = Box("SN-1")
    manager.csr(box)
    manage.decide(manager.registry, "SN-1")
    name = manager.enrol(box)["device"]
    context = Context(folder, manager.authority, manager.registry)
    yield manager, name, [route for make in SUBJECTS for route in make(context).routes]
    manager.close()


def rows(manager: Manager) -> dict[str, int]:
    tables = METADATA.sorted_tables
    counts = [select(func.count()).select_from(table) for table in tables]
    return manager.registry.transact(
        lambda session: dict(zip((one.name for one in tables), map(session.scalar, counts), strict=True))
    )


def test_nothing_on_any_topic_ends_the_service_or_fills_the_registry(fleet: tuple[Manager, str, list[Route]]) -> None:
    manager, device, routes = fleet
    assert len({route.filter for route in routes}) >= 8

    sizes = []
    for _ in range(3):
        for route in routes:
            for payload in (*HOSTILE.values(), *NEARLY):
                for who in (device, "stranger"):
                    answers = route.handle(route.filter.replace("+", who, 1).replace("+", "ab" * 32), payload, Properties())
                    for answer in answers:
                        assert json.loads(answer.payload)["code"] in ("malformed", "unknown_claim")
        sizes.append(rows(manager))

    assert sizes[1] == sizes[2]
    (found,) = manage.devices(manager.registry)
    assert (found.state, found.two_machines) == ("live", None)


@pytest.mark.parametrize("what", sorted(HOSTILE))
@pytest.mark.parametrize("last", ["accepted", "rejected"])
def test_nothing_that_comes_in_place_of_an_answer_is_one_to_a_box_that_enrols(what: str, last: str) -> None:
    assert enroll._read(f"{ENROLL_ROOT}/berlin/{'ab' * 32}/{last}", HOSTILE[what]) is None
