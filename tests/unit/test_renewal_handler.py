"""Renewal in the sending process: when it begins, and what disturbs it; without a broker."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from device.contract import topic
from device.contract_enroll import RenewRequest
from device.downward import Context
from device.publishers import Received
from device.renewal import LOOK_EVERY, RenewalHandler, can_renew
from device.settings import BrokerSettings, Settings
from provisioning.authority import Authority
from tests.build import NOON, SetClock, recorded
from tests.hostile import HOSTILE
from tests.identities import PASSPHRASE, device
from tests.limits import file_limit

DAY = 86_400.0


class Device:
    """A device whose certificate was made at noon, for 90 days."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.clock = folder, SetClock()
        Authority.create(folder / "fleet", PASSPHRASE, lambda: NOON - timedelta(days=10))
        own = device(Authority.open(folder / "fleet", PASSPHRASE, lambda: NOON), folder, "m1")
        files: dict[str, Any] = {"ca_file": folder / "fleet" / "ca.pem", "certificate_file": own.certificate, "key_file": own.key}
        self.broker = BrokerSettings(url="mqtts://localhost:1", **files)
        self.log, self.entries = recorded()

    def handler(self) -> RenewalHandler:
        settings = Settings(device="m1", broker=self.broker)
        return RenewalHandler(Context(settings, self.clock, self.log, lambda: None, lambda: True))

    def events(self, level: str) -> list[str]:
        return [entry["event"] for entry in self.entries if entry["log_level"] == level]


@pytest.fixture
def own(tmp_path: Path) -> Device:
    return Device(tmp_path)


def asked(handler: RenewalHandler, clock: SetClock) -> list[Any]:
    handler.tick(clock.now())
    return handler.due(clock.now())


def test_it_asks_in_the_last_third_of_a_certificates_life_and_not_before(own: Device) -> None:
    handler = own.handler()
    own.clock.move(56.9 * DAY)
    early = asked(handler, own.clock)
    own.clock.move(3.2 * DAY)

    (message,) = asked(handler, own.clock)

    assert (early, handler.busy) == ([], True)
    assert message.topic == topic("m1", "up/renew")
    RenewRequest.model_validate_json(message.payload)
    assert {path.stat().st_mode & 0o777 for path in own.folder.glob("renewal.*")} == {0o600}


def test_a_clock_at_1970_renews_nothing_and_complains_about_nothing(own: Device) -> None:
    handler = own.handler()
    own.clock.move(-56 * 365 * DAY)

    assert asked(handler, own.clock) == []
    assert own.entries == []


def test_a_certificate_that_has_ended_is_told_once_with_what_to_do(own: Device) -> None:
    handler = own.handler()
    for _ in range(3):
        own.clock.move(91 * DAY)
        assert asked(handler, own.clock) == []

    (said,) = own.events("warning")
    assert "give the device a claim and run mien enroll --again" in said


def test_files_that_cannot_be_written_delay_a_renewal_and_end_nothing(own: Device) -> None:
    handler = own.handler()
    own.clock.move(61 * DAY)

    with file_limit(0):
        assert asked(handler, own.clock) == []
    (said,) = own.events("error")
    own.clock.move(LOOK_EVERY + 1)

    assert said.startswith("the renewal waits: ")
    assert len(asked(handler, own.clock)) == 1


@pytest.mark.parametrize("what", sorted(HOSTILE))
@pytest.mark.parametrize("last", ["accepted", "rejected"])
def test_bytes_that_are_no_answer_change_nothing(own: Device, what: str, last: str) -> None:
    handler = own.handler()
    own.clock.move(61 * DAY)
    asked(handler, own.clock)
    before = {path.name: path.read_bytes() for path in own.folder.glob("*.*")}

    handler.receive(f"down/renew/{last}", Received(topic("m1", f"down/renew/{last}"), HOSTILE[what]))

    assert {path.name: path.read_bytes() for path in own.folder.glob("*.*")} == before
    assert handler.busy


def test_a_certificate_that_no_fleet_has_issued_is_somebody_elses_to_renew(own: Device, tmp_path: Path) -> None:
    assert can_renew(own.broker)
    own.broker.certificate_file.write_bytes((tmp_path / "fleet" / "ca.pem").read_bytes())  # type: ignore[union-attr]
    assert not can_renew(own.broker)
    own.broker.certificate_file.write_text("rubbish")  # type: ignore[union-attr]
    assert not can_renew(own.broker)
    assert not can_renew(BrokerSettings())
