"""A renewal that was begun and whose files are damaged begins anew: nobody has to remove them before the certificate ends."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from device import identity
from device.contract_enroll import RenewRequest
from device.renew import Progress
from device.renewal import LOOK_EVERY
from tests.unit.test_renewal_handler import DAY, Device, asked

DAMAGE: dict[str, Callable[[Path], object]] = {
    "empty": lambda path: path.write_bytes(b""),
    "rubbish": lambda path: path.write_bytes(os.urandom(512)),
    "a folder": Path.mkdir,
    "a link to nothing": lambda path: path.symlink_to("nowhere/at/all"),
    "a pipe": os.mkfifo,
}


@pytest.fixture
def own(tmp_path: Path) -> Device:
    return Device(tmp_path)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("how", DAMAGE)
@pytest.mark.parametrize("name", ["renewal.key", "renewal.json", "renewal.pem"])
def test_a_damaged_file_of_a_renewal_delays_it_by_a_minute_at_most(own: Device, name: str, how: str) -> None:
    own.clock.move(61 * DAY)
    assert len(asked(own.handler(), own.clock)) == 1
    (own.folder / name).unlink(missing_ok=True)
    DAMAGE[how](own.folder / name)

    handler = own.handler()
    first = asked(handler, own.clock)
    own.clock.move(LOOK_EVERY + 1)
    (message,) = first or asked(handler, own.clock)

    RenewRequest.model_validate_json(message.payload)


@pytest.mark.parametrize("state", ["trying", "installing"])
@pytest.mark.parametrize("left", ["another", "none", "rubbish"])
def test_a_next_certificate_without_its_key_is_asked_for_anew_and_never_put_in_place(
    own: Device,
    state: str,
    left: str,
) -> None:
    own.clock.move(61 * DAY)
    asked(own.handler(), own.clock)
    key, certificate = (own.folder / name for name in ("renewal.key", "renewal.json"))
    before = own.broker.key_file.read_bytes(), own.broker.certificate_file.read_bytes()  # type: ignore[union-attr]
    chain = before[1].decode()  # of this device, and not for the next key
    certificate.write_text(Progress(state=state, certificate=chain, token="7" * 64).model_dump_json())  # type: ignore[arg-type]
    key.unlink()
    if left == "another":
        identity.Key.open(key)
    elif left == "rubbish":
        key.write_bytes(b"rubbish")

    handler = own.handler()
    own.clock.move(LOOK_EVERY + 1)
    (message,) = asked(handler, own.clock)

    RenewRequest.model_validate_json(message.payload)
    assert any("the renewal begins anew" in said for said in own.events("warning"))
    assert (own.broker.key_file.read_bytes(), own.broker.certificate_file.read_bytes()) == before  # type: ignore[union-attr]
