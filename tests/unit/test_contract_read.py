"""Whatever arrives is a message or a few words, and costs no more than its size allows."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from device.contract import MAX_MESSAGE_BYTES, Ack
from device.contract_command import Command, CommandResult
from device.contract_messages import EVERY, kind
from device.contract_model import ModelJob
from device.contract_read import MAX_DEPTH, depth, read
from device.contract_twin import DesiredTwin

DOWN = [Ack, Command, DesiredTwin, ModelJob]


@pytest.mark.parametrize("message", DOWN)
@pytest.mark.parametrize(
    ("payload", "said"),
    [
        (b"", "JSON: "),
        (b"{", "JSON: "),
        (b'{"seq": 1,}', "JSON: "),
        (b"\xff\xfe\x00", "JSON: "),
        (b'{"seq": "\xc3\x28"}', "JSON: "),
        (b"[" * 2000 + b"]" * 2000, f"nested deeper than {MAX_DEPTH}"),
        (b'{"desired": ' * 300, f"nested deeper than {MAX_DEPTH}"),
        (b"[" * 10_000 + b"]" * 10_000, "20000 bytes, where 4096 are allowed"),
        (b" " * 1_000_000, "1000000 bytes, where 4096 are allowed"),
        (b"[]", "JSON: "),
        (b"null", "JSON: "),
    ],
    ids=lambda value: repr(value[:12]) if isinstance(value, bytes) else "",
)
def test_what_is_no_message_is_named_in_a_few_words(message: type[BaseModel], payload: bytes, said: str) -> None:
    found = read(message, payload)

    assert isinstance(found, str)
    assert found.startswith(said)
    assert len(found) < 200


def test_what_is_wrong_is_named_without_its_content() -> None:
    found = read(Command, b'{"command": "secret words"}')

    assert isinstance(found, str)
    assert found.startswith("command: ")
    assert "secret" not in found


def test_a_message_of_the_largest_size_is_read() -> None:
    payload = b'{"seq": 7' + b" " * (MAX_MESSAGE_BYTES - 10) + b"}"

    assert read(Ack, payload) == Ack(seq=7)


@given(st.recursive(st.none() | st.text(max_size=5), lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner)))
def test_the_depth_is_that_of_the_parsed_value_whatever_its_strings_hold(value: Any) -> None:
    def deep(one: Any) -> int:
        inside = one.values() if isinstance(one, dict) else one if isinstance(one, list) else None
        return 0 if inside is None else 1 + max(map(deep, inside), default=0)

    for ascii_only in (True, False):
        assert depth(json.dumps(value, ensure_ascii=ascii_only).encode()) == deep(value)


@given(st.binary(max_size=200))
def test_any_bytes_at_all_are_a_message_or_words(payload: bytes) -> None:
    assert isinstance(read(Command, payload), (Command, str))


def test_each_topic_has_its_message() -> None:
    assert kind("up/command/a1") is EVERY["up/command/{id}"]
    assert kind("up/report") is EVERY["up/report"]
    assert kind("up/nothing") is None
    assert kind("up/nothing/a1") is None
    assert kind("") is None


@pytest.mark.parametrize("key", ["\\u0000", "\\u001b[2J", "\\u202e", "\\n"])
def test_a_key_that_would_do_something_to_a_terminal_or_a_database_is_told_without_that(key: str) -> None:
    said = read(CommandResult, f'{{"schema": 1, "state": "succeeded", "{key}": 1}}'.encode())

    assert isinstance(said, str)
    assert "\ufffd" in said
    assert said.isprintable()
