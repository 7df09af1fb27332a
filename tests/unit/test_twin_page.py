"""What a device remembers of wishes, and what it tells of them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from device import twin
from device.contract import MAX_MESSAGE_BYTES, dump
from device.contract_twin import DesiredTwin, ReportedTwin, TwinError, Values, flatten, unflatten
from device.errors import CameraError
from device.settings import Settings
from device.twin import Page, merged
from tests.twins import BASE, want, wish


@pytest.mark.parametrize(
    ("told", "kind"),
    [((3, 7), "same"), ((3, 6), "stale"), ((3, 8), "new"), ((4, 1), "new"), ((2, 900), "stale")],
)
def test_a_higher_epoch_counts_with_any_version_and_a_lower_one_never(told: tuple[int, int], kind: str) -> None:
    page = Page(epoch=3, version=7)

    assert page.judge(wish(epoch=told[0], version=told[1])) == kind


def test_a_wish_that_is_being_tried_is_no_news() -> None:
    page = Page(epoch=1, version=1).begin(wish(2))

    assert (page.judge(wish(2)), page.judge(wish(1)), page.judge(wish(3))) == ("same", "stale", "new")


def test_attempts_are_counted_for_one_wish() -> None:
    page = Page().begin(wish(2)).begin(wish(2))

    assert page.attempts == 2
    assert page.begin(wish(3)).attempts == 1


def test_a_rejected_wish_leaves_what_was_applied() -> None:
    page = Page().begin(wish(1, k=7)).apply().begin(wish(2, k=9)).reject(wish(2), twin.why(CameraError("no such size")))

    said = twin.message(page, want(k=7))
    assert (said.state, said.desired_version, said.reported.k, said.from_twin) == ("rejected", 2, 7, ("k",))
    assert [error.path for error in said.errors] == ["camera"]
    assert page.trying is None


def test_a_report_fits_a_message_whatever_is_in_it() -> None:
    """Long texts in every key, and more reasons than there is room for."""
    long = {key: "ж" * most for key, most in (("responsible", 120), ("contact", 120), ("place", 80))}
    url = "https://example.com/" + "ж" * 180
    errors = tuple(TwinError(path="notice.contact", reason="ж" * 240) for _ in range(8))
    settings = want(notice={**long, "url": url})

    content = dump(twin.message(Page(epoch=1, version=2, errors=errors), settings))

    assert len(content) <= MAX_MESSAGE_BYTES
    assert 1 <= len(ReportedTwin.model_validate_json(content).errors) < 8


def test_what_a_device_reports_holds_nothing_that_a_terminal_would_obey() -> None:
    found = merged(BASE, json.dumps({"notice": {"place": "\x1b[2J"}, "\x1b]0;x\x07": 1}))

    assert not isinstance(found, Settings)
    assert all(letter.isprintable() for error in found for letter in error.path + error.reason)
    with pytest.raises(ValueError, match="pattern"):
        TwinError(path="", reason="\x1b[2J")


def test_dotted_keys_and_tables_are_two_ways_of_writing_one_thing() -> None:
    tree: dict[str, Any] = {"k": 5, "camera": {"fps": 3, "width": 320}}

    assert unflatten(flatten(tree)) == tree
    assert DesiredTwin(epoch=1, version=1, desired=tree).desired == tree
    assert Values.model_validate(twin.values(BASE).model_dump()) == twin.values(BASE)
