"""The twin's decisions on the device: which wish counts, and what it may make of the settings."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from device import twin
from device.contract import dump
from device.contract_twin import SETTABLE, ReportedTwin, flatten
from device.settings import Settings, parse
from device.twin import Page, Wish, merged
from tests.twins import BASE, FILE, want, wish


def refused(base: Settings = BASE, **desired: Any) -> dict[str, str]:
    found = merged(base, json.dumps(desired))
    assert not isinstance(found, Settings)
    return {error.path: error.reason for error in found}


def test_every_key_that_may_be_set_is_a_setting_and_is_reported() -> None:
    fields = set(flatten(twin.values(Settings()).model_dump()))

    assert fields == set(SETTABLE)
    for key in SETTABLE:
        twin.value_of(Settings(), key)


def test_nothing_about_broker_identity_folders_pins_or_the_file_s_own_limits_may_be_set() -> None:
    assert not [key for key in SETTABLE if key.startswith(("broker.", "spool.")) or "folder" in key or "pin" in key]
    assert not {"device", "demo", "log_level", "camera.source", "models.folder", "models.runtime", "policy.purpose"} & set(SETTABLE)


def test_a_wish_is_laid_over_the_file_and_leaves_the_rest_of_it() -> None:
    now = want(window_seconds=1800, camera={"fps": 2})

    assert (now.window_seconds, now.camera.fps) == (1800, 2.0)
    assert (now.device, now.camera.source, now.k) == ("shelf-7", "v4l2:/dev/video0", 5)
    assert now.policy == BASE.policy


def test_an_epsilon_is_taken_as_it_is_written() -> None:
    assert want(epsilon_window=0.1).epsilon_window == Decimal("0.1")


@pytest.mark.parametrize(
    ("desired", "path"),
    [
        ({"k": 4}, "k"),
        ({"epsilon_window": 0.9}, "epsilon_window"),
        ({"epsilon_day": 91.0}, "epsilon_day"),
        ({"noise": "off"}, "noise"),
        ({"consent": {"pause_seconds": 300}}, "consent.pause_seconds"),
        ({"consent": {"lasts_seconds": 31}}, "consent.lasts_seconds"),
        ({"policy": {"setting": "research"}}, "policy.setting"),
        ({"policy": {"jurisdiction": "US"}}, "policy.jurisdiction"),
    ],
)
def test_nothing_that_comes_down_widens_what_the_file_permits(desired: dict[str, Any], path: str) -> None:
    assert list(refused(**desired)) == [path]


@pytest.mark.parametrize(
    "desired",
    [
        {"k": 6},
        {"epsilon_window": 0.5},
        {"epsilon_day": 85},
        {"consent": {"mode": "opt-in", "lasts_seconds": 10, "pause_seconds": 1200}},
        {"policy": {"setting": "classroom"}},
        {"policy": {"emotions": False}},
    ],
)
def test_narrowing_is_welcome(desired: dict[str, Any]) -> None:
    before, now = BASE.policy.decided.may, want(**desired).policy.decided.may

    assert now <= before


def test_a_wish_that_was_taken_back_leaves_nothing_behind() -> None:
    """The file is the measure, whatever was in force before: k = 9, then k = 5 again."""
    assert want(k=9).k == 9
    assert want().k == 5


def test_consent_does_not_go_back_to_notice_where_the_file_wants_opt_in() -> None:
    strict = parse(FILE.replace("[consent]", '[consent]\nmode = "opt-in"'), "f")

    assert list(refused(strict, consent={"mode": "notice"})) == ["consent.mode"]


def test_emotions_that_the_file_switches_off_stay_off() -> None:
    strict = parse(FILE.replace("[policy]", "[policy]\nemotions = false"), "f")

    assert "emotion" in refused(strict, policy={"emotions": True})["policy.emotions"]


def test_without_noise_a_window_only_gets_longer() -> None:
    counting = parse(f'demo = true\nnoise = "off"\n{FILE}', "f")

    assert list(refused(counting, window_seconds=600)) == ["window_seconds"]
    assert want(counting, window_seconds=600, noise="discrete-laplace", epsilon_window=0.5).window_seconds == 600
    assert want(counting, window_seconds=1800).window_seconds == 1800


def test_shorter_windows_must_fit_the_day_s_budget_of_the_file() -> None:
    assert "expected at least" in refused(window_seconds=300)["epsilon_day"]
    assert want(window_seconds=300, epsilon_window=0.2).window_seconds == 300


@pytest.mark.parametrize(
    ("desired", "path", "words"),
    [
        ({"window_seconds": "long"}, "window_seconds", "valid integer"),
        ({"window_seconds": True}, "window_seconds", "valid integer"),
        ({"window_seconds": 4}, "window_seconds", "greater than or equal to 5"),
        ({"window_seconds": None}, "window_seconds", "leave the key out"),
        ({"window_seconds": {"a": 1}}, "window_seconds", "valid integer"),
        ({"camera": 5}, "camera", "expected a table"),
        ({"camera": {"fps": 99.0}}, "camera.fps", "less than or equal to 30"),
        ({"camera": {"source": "composite"}}, "camera.source", "only the device's own settings file"),
        ({"broker": {"url": "mqtt://evil"}}, "broker.url", "only the device's own settings file"),
        ({"device": "other"}, "device", "only the device's own settings file"),
        ({"state_folder": "/tmp"}, "state_folder", "only the device's own settings file"),
        ({"windowseconds": 5}, "windowseconds", "did you mean window_seconds?"),
        ({"camera": {"sizes": {"x": 1}}}, "camera.sizes.x", "unknown key"),
        ({"": 5}, "", "unknown key"),
        ({"epsilon_window": "1e999999999"}, "epsilon_window", "six decimals"),
        ({"epsilon_window": "1e-999999999"}, "epsilon_window", "six decimals"),
    ],
)
def test_a_wish_is_refused_with_its_path_and_its_reason(desired: dict[str, Any], path: str, words: str) -> None:
    assert words in refused(**desired)[path]


@pytest.mark.parametrize("text", ["[]", "3", "null", '"k"', '{"k": NaN}', '{"k": Infinity}', "{", ""])
def test_what_is_no_table_is_refused_as_a_whole(text: str) -> None:
    found = merged(BASE, text)

    assert not isinstance(found, Settings)
    assert [error.path for error in found] == [""]


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"{",
        b"[1]",
        b"\xff\xfe{}",
        b'{"epoch": 1, "version": 1}',
        b'{"epoch": 0, "version": 1, "desired": {}}',
        b'{"epoch": 1, "version": 9007199254740993, "desired": {}}',
        b'{"epoch": "x", "version": 1, "desired": {}}',
        b'{"epoch": 1, "version": 1, "desired": {"notice": {"place": "\\ud800"}}}',
        b'{"epoch": 1, "version": 1, "desired": ' + b"[" * 2000 + b"]" * 2000 + b"}",
        b"[" * 10_000 + b"]" * 10_000,
        b'{"epoch": 1, "version": 1, "desired": {"k": "' + b"x" * 1_000_000 + b'"}}',
    ],
    ids=["empty", "half", "list", "not-utf8", "no-desired", "epoch-0", "too-big", "text", "surrogate", "deep", "deeper", "1-MB"],
)
def test_what_is_no_message_is_no_wish(payload: bytes) -> None:
    assert isinstance(twin.read(payload), str)


def test_a_message_may_hold_more_than_this_device_knows() -> None:
    found = twin.read(b'{"epoch": 1, "version": 2, "desired": {"k": 7}, "campaign": "autumn"}')

    assert found == Wish(epoch=1, version=2, desired='{"k":7}')


def test_a_wish_of_the_wrong_kind_can_be_answered_by_its_version() -> None:
    found = twin.read(b'{"epoch": 1, "version": 2, "desired": [1]}')

    assert isinstance(found, Wish)
    assert not isinstance(merged(BASE, found.desired), Settings)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*SETTABLE, "camera", "fps", "k", "x"]), inner),
    max_leaves=8,
)


@examples(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(st.sampled_from([*SETTABLE, "camera", "policy", "broker", "demo", "x.y"]), JSON, max_size=4))
def test_whatever_is_wished_is_settings_that_are_no_wider_or_reasons_that_can_be_told(desired: dict[str, Any]) -> None:
    found = merged(BASE, json.dumps(desired))

    if isinstance(found, Settings):
        assert found.policy.decided.may <= BASE.policy.decided.may
        assert found.k >= BASE.k
        assert found.epsilon_window <= BASE.epsilon_window
        assert found.epsilon_day <= BASE.epsilon_day
        assert (found.noise, found.demo, found.broker, found.spool) == (BASE.noise, BASE.demo, BASE.broker, BASE.spool)
        dump(twin.message(Page(applied=Wish(epoch=1, version=1, desired="{}"), epoch=1, version=1), found))
    else:
        page = Page().reject(wish(), found)
        assert ReportedTwin.model_validate_json(dump(twin.message(page, BASE))).errors


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_any_bytes_are_a_wish_or_a_few_words(payload: bytes) -> None:
    assert isinstance(twin.read(payload), (str, Wish))
