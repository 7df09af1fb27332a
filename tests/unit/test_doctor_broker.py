"""What a doctor says about the broker when the device's key is not for the doctor."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from device.commands.doctor import _broker
from device.errors import BrokerError
from device.settings import BrokerSettings, Settings

NOBODY = 65534


@contextmanager
def an_ordinary_user() -> Iterator[None]:
    """Root may read everything, so for a moment be somebody else."""
    before = os.geteuid()
    if before == 0:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(before)


def settings(key: Path) -> Settings:
    certificate = key.with_name("certificate.pem")
    certificate.write_text("no certificate")
    return Settings(broker=BrokerSettings(url="mqtts://192.0.2.1", certificate_file=certificate, ca_file=certificate, key_file=key))


def test_a_key_of_another_user_is_as_it_should_be_and_no_fault(tmp_path: Path) -> None:
    key = tmp_path / "key.pem"
    key.write_text("a key")
    key.chmod(0)
    wanted = settings(key)

    with an_ordinary_user():
        said = _broker(wanted)

    assert said == f"mqtts://192.0.2.1: not tried: {key} is another user's, as it should be; see systemctl status mien-send"


@pytest.mark.parametrize("content", ["no key", None])
def test_a_key_that_is_damaged_or_missing_is_a_fault(tmp_path: Path, content: str | None) -> None:
    key = tmp_path / "key.pem"
    if content is not None:
        key.write_text(content)

    with pytest.raises(BrokerError, match="cannot be used for TLS"):
        _broker(settings(key))
