"""Signatures that do not hold: a new root that is being put in place passes, somebody else's repository does not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import wait_for
from tests.repository import PASSPHRASE, Shop, Web, serve
from tests.unit.test_model_handler import Sending


@pytest.fixture
def sending(tmp_path: Path) -> Sending:
    return Sending(tmp_path)


@pytest.fixture
def web(sending: Sending) -> Iterator[Web]:
    with serve(sending.shop.served) as web:
        yield web


def test_a_job_outlives_the_moment_in_which_a_new_root_is_served_with_what_the_old_keys_have_signed(
    sending: Sending, web: Web
) -> None:
    metadata = sending.shop.served / "metadata"
    before = {name: (metadata / name).read_bytes() for name in ("timestamp.json",)}
    sending.shop.repository.renew_root(PASSPHRASE)
    after = {name: (metadata / name).read_bytes() for name in before}
    for name, content in before.items():
        (metadata / name).write_bytes(content)
    sending.job(web.url, timeout_seconds=86_400)
    wait_for(lambda: sending.look() == ("downloading", "signature"), why=f"the doubt to be told: {sending.states}")

    for name, content in after.items():
        (metadata / name).write_bytes(content)

    assert sending.until("verifying") is None


def test_somebody_elses_repository_is_rejected_after_a_few_tries_and_leaves_nothing(sending: Sending, web: Web) -> None:
    (sending.folder / "root.json").write_bytes(Shop(sending.folder / "other").root)

    sending.job(web.url)

    assert sending.until("rejected") == "signature"
    sending.look()
    assert sending.staged == []
    assert sending.slot is None
    assert len([path for path, _ in web.asked if path.endswith(("timestamp.json", "root.json"))]) < 20
