"""Downloads of models from a real web server that misbehaves: bounded, resumed, and nothing wrong is handed on."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from device.download import download
from device.rollout import RolloutError, Stopped
from tests.limits import file_limit
from tests.repository import Shop, Web, another, serve

TLS = ssl.create_default_context()


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    made = Shop(tmp_path_factory.mktemp("shop") / "fleet")
    made.publish()
    return made


@pytest.fixture
def web(shop: Shop) -> Iterator[Web]:
    with serve(shop.served) as web:
        yield web


def get(shop: Shop, web: Web, staging: Path, stopping: Callable[[], bool] = lambda: False, **job: Any) -> None:
    (target,) = [one.target for one in shop.repository.releases()]
    download(shop.job(target, **{"url": web.url, **job}), lambda *_: shop.root, staging, TLS, stopping)


def refused(shop: Shop, web: Web, staging: Path, **job: Any) -> str:
    with pytest.raises(RolloutError) as caught:
        get(shop, web, staging, **job)
    return caught.value.reason


def model(staging: Path) -> bytes | None:
    found = list((staging / "targets").glob("*.tflite"))
    return found[0].read_bytes() if found else None


def test_a_model_comes_whole_and_is_not_fetched_again(shop: Shop, web: Web, tmp_path: Path) -> None:
    get(shop, web, tmp_path)
    asked = len(web.asked)

    get(shop, web, tmp_path)

    assert model(tmp_path) == another()
    assert not [path for path, _ in web.asked[asked:] if path.startswith("/targets/")]


def test_a_download_that_is_cut_goes_on_where_it_stopped(shop: Shop, web: Web, tmp_path: Path) -> None:
    web.cut = [300_000, 500_000]
    assert refused(shop, web, tmp_path) == "unreachable"
    assert refused(shop, web, tmp_path) == "unreachable"

    get(shop, web, tmp_path)

    assert model(tmp_path) == another()
    assert [asked for path, asked in web.asked if path.endswith(".tflite")] == [None, "bytes=300000-", "bytes=800000-"]


def test_a_web_server_that_knows_no_parts_sends_it_all_again(shop: Shop, web: Web, tmp_path: Path) -> None:
    web.cut, web.ranges = [300_000], False
    assert refused(shop, web, tmp_path) == "unreachable"

    get(shop, web, tmp_path)

    assert model(tmp_path) == another()


def test_a_part_that_is_not_of_this_file_is_noticed_and_thrown_away(shop: Shop, web: Web, tmp_path: Path) -> None:
    web.cut = [300_000]
    assert refused(shop, web, tmp_path) == "unreachable"
    (part,) = (tmp_path / "targets").glob("*.part")
    part.write_bytes(b"x" * 300_000)

    assert refused(shop, web, tmp_path) == "hash"

    assert not part.exists()
    get(shop, web, tmp_path)
    assert model(tmp_path) == another()


def test_a_body_without_an_end_is_given_up_after_the_length_that_was_signed(shop: Shop, web: Web, tmp_path: Path) -> None:
    web.endless = True

    assert refused(shop, web, tmp_path) == "too_large"

    (part,) = (tmp_path / "targets").glob("*.part")
    assert part.stat().st_size <= len(another())


def test_another_file_of_the_same_length_is_refused(shop: Shop, web: Web, tmp_path: Path) -> None:
    (path,) = (shop.served / "targets").glob("*.tflite")
    path.write_bytes(another(7))
    try:
        assert refused(shop, web, tmp_path) == "hash"
    finally:
        path.write_bytes(another())

    assert model(tmp_path) is None
    assert not list((tmp_path / "targets").glob("*.part"))


@pytest.mark.parametrize(("status", "reason"), [(404, "not_found"), (403, "not_found"), (500, "unreachable"), (302, "unreachable")])
def test_what_the_web_server_says_is_told(shop: Shop, web: Web, tmp_path: Path, status: int, reason: str) -> None:
    web.status = status

    assert refused(shop, web, tmp_path) == reason


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:9", "http://nobody.invalid", "http://127.0.0.1:99999", "http://[::1", "https://127.0.0.1:9/x"]
)
def test_a_web_server_that_is_not_there_is_said(shop: Shop, web: Web, tmp_path: Path, url: str) -> None:
    assert refused(shop, web, tmp_path, url=url) in {"unreachable", "invalid"}


def test_metadata_without_an_end_is_given_up(shop: Shop, web: Web, tmp_path: Path) -> None:
    path = shop.served / "metadata" / "timestamp.json"
    content = path.read_bytes()
    path.write_bytes(content + b" " * 1_000_000)
    try:
        assert refused(shop, web, tmp_path) == "too_large"
    finally:
        path.write_bytes(content)


def test_a_disk_that_fills_up_while_staging_is_said(shop: Shop, web: Web, tmp_path: Path) -> None:
    with file_limit(200_000):
        assert refused(shop, web, tmp_path) == "disk_full"


def test_it_stops_when_it_is_told_to(shop: Shop, web: Web, tmp_path: Path) -> None:
    with pytest.raises(Stopped):
        get(shop, web, tmp_path, lambda: bool(list((tmp_path / "targets").glob("*.tflite.part"))))


def test_files_of_earlier_jobs_are_removed(shop: Shop, web: Web, tmp_path: Path) -> None:
    (tmp_path / "targets").mkdir()
    (tmp_path / "targets" / "old.tflite.part").write_bytes(b"x")

    get(shop, web, tmp_path)

    assert not (tmp_path / "targets" / "old.tflite.part").exists()
