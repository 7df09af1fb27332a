"""What is not to be believed: signatures that do not hold, and nonsense. A new root that is being put in place passes."""

from __future__ import annotations

import json
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


@pytest.mark.parametrize(
    "payload",
    [b"", b"{", b"\xff\xfe", b"null", b"[" * 10_000, b'{"a":' * 2000, b"x" * 1_000_000, b'{"job": "0123456789abcdef"}'],
    ids=["empty", "cut", "not-utf8", "null", "deep", "deep-object", "megabyte", "half"],
)
def test_what_is_no_job_is_ignored(sending: Sending, payload: bytes) -> None:
    sending.receive(payload)

    assert sending.look() == ("", None)
    assert sending.slot is None


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://host/", "http://", "http://a b/", "//host/x", "https://" + "a" * 400])
def test_a_url_that_is_not_of_a_web_server_makes_it_no_job(sending: Sending, url: str) -> None:
    said = json.loads(sending.shop.job(sending.target).model_dump_json())

    sending.receive(json.dumps({**said, "url": url}).encode())

    assert sending.look() == ("", None)


def test_a_job_with_words_of_a_newer_fleet_is_understood(sending: Sending, web: Web) -> None:
    said = json.loads(sending.shop.job(sending.target, web.url).model_dump_json())

    sending.receive(json.dumps({**said, "colour": "blue"}).encode())

    sending.until("verifying")


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b'{"schema": 1, "state": "committed"}', b"[" * 10_000])
def test_nonsense_in_the_run_folder_is_no_state(sending: Sending, web: Web, content: bytes) -> None:
    sending.job(web.url)
    sending.until("verifying")
    sending.settings.run_folder.mkdir()
    (sending.settings.run_folder / "model.json").write_bytes(content)

    assert sending.look() == ("verifying", None)
