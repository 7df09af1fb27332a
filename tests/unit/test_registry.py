"""The registry: migrations, several processes at once, and ``kill -9`` at every point of every step."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from cryptography import x509
from sqlalchemy import text

from device.contract_enroll import Step, enroll_topic
from provisioning import fleet as fleets
from provisioning import groups, manage
from provisioning.errors import WordsError
from provisioning.housekeeping import look_after_certificates
from provisioning.mosquitto import Size
from provisioning.registry import Registry, RegistryError, alembic_config
from provisioning.schema import METADATA
from tests.build import free_port
from tests.conftest import ROOT
from tests.fleet import PASSPHRASE, Box, Manager

END = b"-----END X509 CRL-----\n"


@pytest.mark.parametrize("count", [1, 3])
def test_migrations_make_exactly_the_tables_and_may_be_run_by_several_at_once(bare_url: str, count: int) -> None:
    with ThreadPoolExecutor(count) as pool:
        registries = list(pool.map(Registry.open, [bare_url] * count))

    with registries[0].engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, METADATA) == []
    for registry in registries:
        registry.close()


def test_a_registry_of_the_version_before_is_brought_up_to_date_with_what_is_in_it(url: str, tmp_path: Path) -> None:
    box = Box("SN-1")
    manager = Manager(tmp_path / "manager", url).batch("berlin", {"SN-1": box.id})
    manager.enrol(box)
    before, config = manage.devices(manager.registry), alembic_config()
    with manager.registry.engine.begin() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "-1")
    manager.close()

    registry = Registry.open(url)

    assert manage.devices(registry) == before
    with registry.engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection, opts={"compare_type": True}), METADATA) == []
    registry.close()


def test_the_whole_way_works_on_either_database(url: str, tmp_path: Path) -> None:
    box = Box("SN-1")
    manager = Manager(tmp_path / "manager", url).batch("berlin", {"SN-1": box.id})

    given = manager.enrol(box)

    assert [one.state for one in manage.devices(manager.registry)] == ["live"]
    groups.set_label(manager.registry, given["device"], "store", "berlin-3")
    assert manage.devices(manager.registry)[0].labels == {"store": "berlin-3"}
    manager.close()


def test_several_processes_that_get_the_same_request_at_once_issue_one_certificate(url: str, tmp_path: Path) -> None:
    box = Box("SN-1")
    managers = [Manager(tmp_path / "manager", url) for _ in range(4)]
    managers[0].batch("berlin", {"SN-1": box.id})
    requests = [box.csr() for _ in range(12)]

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda n: managers[n % 4].ask("berlin", box.id, "csr", requests[n]), range(12)))

    assert {one["said"] for one in answers} == {"accepted"}
    assert len({one["certificate"] for one in answers}) == 1
    assert len({one["token"] for one in answers}) == 1
    for manager in managers:
        manager.close()


def test_a_database_newer_than_the_program_is_refused_in_words(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/registry.db"
    registry = Registry.open(url)
    with registry.engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    registry.close()

    with pytest.raises(RegistryError, match=r"made by a newer mien-fleet"):
        Registry.open(url)


@pytest.mark.parametrize("url", ["", "nothing", "mysql://a/b", "sqlite://", "sqlite:////nowhere/at/all.db"])
def test_a_database_that_cannot_be_used_is_refused_in_words(url: str) -> None:
    with pytest.raises(RegistryError, match=r"expected sqlite|check that the database is there"):
        Registry.open(url)


def test_a_password_in_a_url_is_never_said() -> None:
    with pytest.raises(RegistryError) as refused:
        Registry.open(f"postgresql://mien:secret@127.0.0.1:{free_port()}/x")

    assert "secret" not in str(refused.value)


def test_words_that_a_batch_cannot_have_are_refused_and_nothing_changes(tmp_path: Path) -> None:
    manager = Manager(tmp_path).batch("berlin", {"SN-1": None})
    wrong: list[tuple[str, str, dict[str, str | None]]] = [
        ("a/b", "retail", {}),
        ("berlin", "kiosk", {}),
        ("berlin", "retail", {"SN-2": None, "+": None}),
        ("berlin", "retail", {"SN-2": "short"}),
        ("paris", "retail", {"SN-2": None, "SN-1": None}),
    ]
    for name, setting, serials in wrong:
        with pytest.raises(WordsError):
            manage.add_batch(manager.registry, name, setting, "DE", serials)

    assert [one.serial for one in manage.devices(manager.registry)] == ["SN-1"]
    manager.close()


# Lives of a service that is killed: at the beginning of the request, after it is decided and before it is stored, or after that.
# What is expensive is imported once; each life is a fork.
LIVES = """
import json, os, signal, sys
from pathlib import Path
from sqlalchemy import event
from tests.fleet import Manager

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

def live(folder, where, topic, payload):
    manager = Manager(Path(folder))
    if where == "before it is decided":
        manager.intake.decided = die
    elif where == "before it is stored":
        event.listen(manager.registry.engine, "commit", die)
    manager.intake.handle(topic, payload.encode())
    die()

for line in sys.stdin:
    child = os.fork()
    if child == 0:
        try:
            live(*json.loads(line))
        finally:
            os._exit(1)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


@pytest.fixture(scope="module")
def live() -> Iterator[Callable[..., int]]:
    """A function that lives one of these lives and returns how it ended: ``live(folder, where, topic, payload)``."""
    with subprocess.Popen(
        [sys.executable, "-c", LIVES], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as lives:

        def run(folder: Path, where: str, topic: str, payload: bytes) -> int:
            assert lives.stdin is not None
            assert lives.stdout is not None
            print(json.dumps([str(folder), where, topic, payload.decode()]), file=lives.stdin, flush=True)
            return int(lives.stdout.readline())

        yield run


@pytest.mark.parametrize("step", ["csr", "register", "confirm"])
@pytest.mark.parametrize("where", ["before it is decided", "before it is stored", "before it is answered"])
def test_a_service_killed_at_any_point_of_any_step_leaves_one_certificate(
    tmp_path: Path, step: Step, where: str, live: Callable[..., int]
) -> None:
    box = Box("SN-1")
    manager = Manager(tmp_path).batch("berlin", {"SN-1": box.id})
    given = {} if step == "csr" else manager.csr(box)
    if step == "confirm":
        manager.register(box, given["token"])
    name = given["device"] if step == "confirm" else "berlin"
    payload = box.csr() if step == "csr" else box.proof(step, name, given["token"])

    ended = live(tmp_path, where, enroll_topic(name, box.id, step), payload)
    stored = list(manager.states("SN-1").values())
    again = manager.ask(name, box.id, step, payload)

    assert ended == -signal.SIGKILL
    effect = {"csr": [], "register": [f"{box.id[:12]} pending"], "confirm": [f"{box.id[:12]} registered"]}[step]
    done = {"csr": "pending", "register": "registered", "confirm": "live"}[step]
    assert stored == ([f"{box.id[:12]} {done}"] if where == "before it is answered" else effect)
    assert again["said"] == "accepted"
    manager.enrol(box)
    assert list(manager.states("SN-1").values()) == [f"{box.id[:12]} live"]
    manager.close()


def test_what_was_replaced_or_waited_too_long_is_put_on_the_revocation_list(tmp_path: Path) -> None:
    fleet = fleets.init(tmp_path / "fleet", "mqtts://localhost:8883", Size(10, 24), PASSPHRASE)
    late, old, new = Box("SN-1"), Box("SN-2"), Box("SN-2")
    manager = Manager(tmp_path).batch("berlin", {"SN-1": late.id, "SN-2": old.id})
    manager.csr(late)
    manager.enrol(old)
    manage.add_batch(manager.registry, "berlin", "retail", "DE", {"SN-2": new.id})
    manager.csr(new)
    manage.decide(manager.registry, "SN-2", replace=True)
    manager.enrol(new)
    manager.clock.at += 3600

    look_after_certificates(fleet, manager.authority, manager.registry)
    look_after_certificates(fleet, manager.authority, manager.registry)

    (dropped,), (superseded, live) = manager.states("SN-1"), manager.states("SN-2")
    listed = x509.load_pem_x509_crl((fleet.folder / "broker" / "crl.pem").read_bytes().split(b"-----END X509 CRL-----")[0] + END)
    assert {f"{one.serial_number:x}" for one in listed} == {dropped, superseded}
    assert manager.states("SN-2")[live].endswith("live")
    assert manage.ended(manager.registry) == {}
    manager.close()


def test_a_stranger_with_a_claim_cannot_fill_the_audit_log_nor_drive_out_what_is_known(url: str, tmp_path: Path) -> None:
    manager, box = Manager(tmp_path, url).batch("berlin", {"SN-1": None}), Box("SN-1")
    manager.csr(box)
    strangers = [Box(f"SN-{number}") for number in range(100, 106)]
    for number, stranger in enumerate(strangers):
        manager.csr(stranger)
        manager.ask("berlin", f"{number:064x}", "csr", b"{")

    gone = manager.registry.forget_strangers(4)

    left = manage.audit_log(manager.registry)
    assert gone == 8
    assert [one.code for one in left if one.serial == "SN-1"] == ["waiting"]
    assert [one.serial for one in left if one.code == "unknown_serial"] == ["SN-104", "SN-105"]
    assert len([one for one in left if one.code == "malformed"]) == 2
    assert manager.registry.forget_strangers(4) == 0
    assert {"batch", "claim"} <= {one.step for one in left}
    manager.close()
