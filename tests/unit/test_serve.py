"""The service around its subjects: what is done without a broker, and what a failure of one means for the others."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import structlog
from structlog.testing import capture_logs

from provisioning import fleet as fleets
from provisioning import serve as serve_module
from provisioning.errors import FleetError
from provisioning.mosquitto import Size
from provisioning.routes import Answer, Context, Subject, Tick
from provisioning.serve import Service
from tests.build import free_port
from tests.fleet import PASSPHRASE, Manager


@pytest.fixture
def context(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Context:
    """A fleet whose broker does not run, and is asked for again at once."""
    monkeypatch.setattr(serve_module, "LONGEST_WAIT", 0.05)
    fleet = fleets.init(tmp_path / "fleet", f"mqtts://localhost:{free_port()}", Size(10, 24), PASSPHRASE)
    manager = Manager(tmp_path)
    return Context(fleet, manager.authority, manager.registry)


def test_the_revocation_list_is_looked_after_while_there_is_no_broker(context: Context) -> None:
    """One whose list has expired lets nobody in, the service included."""
    listed = context.fleet.folder / "broker" / "crl.pem"
    listed.unlink()

    Service(context.fleet, context.authority, context.registry).run(listed.exists)

    assert listed.read_bytes() == context.authority.crl()


def test_work_that_fails_is_said_once_and_holds_up_nothing_else(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[int] = []

    def fails(_: int) -> list[Answer]:
        raise FleetError("the registry cannot be used")

    def works(now: int) -> list[Answer]:
        done.append(now)
        return []

    subjects = [lambda _: Subject(ticks=(Tick(fails, 0, offline=True),)), lambda _: Subject(ticks=(Tick(works, 0, offline=True),))]
    monkeypatch.setattr(serve_module, "SUBJECTS", subjects)
    structlog.reset_defaults()
    with capture_logs() as entries:
        Service(context.fleet, context.authority, context.registry).run(lambda: len(done) >= 3)

    said = [entry["event"] for entry in entries if entry["log_level"] == "error"]
    assert said == ["the registry cannot be used"]


def test_work_that_needs_the_broker_waits_for_it(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []

    def noting(what: str) -> Callable[[int], list[Answer]]:
        def work(_: int) -> list[Answer]:
            order.append(what)
            return []

        return work

    ticks = (Tick(noting("needs it"), 0), Tick(noting("does not"), 0, offline=True))
    monkeypatch.setattr(serve_module, "SUBJECTS", [lambda _: Subject(ticks=ticks)])

    Service(context.fleet, context.authority, context.registry).run(lambda: len(order) >= 3)

    assert set(order) == {"does not"}
