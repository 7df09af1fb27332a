"""The tables of docs/identity.md and docs/rollouts.md are those of the code."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import pytest

from device import enroll, renew
from device.contract_model import Reason, State
from device.dialogue import Row

DOCS = Path(__file__).parents[2] / "docs"


def section(page: str, title: str) -> str:
    """A section of a page, without those below it."""
    text = (DOCS / page).read_text(encoding="utf-8")
    return text.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def table(text: str, head: str) -> dict[str, list[str]]:
    """Its first table whose first column is called so: first cell → the others."""
    lines = text[text.index(f"| {head} |") :].split("\n\n", maxsplit=1)[0].splitlines()[2:]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {row[0]: row[1:] for row in rows}


@pytest.mark.parametrize(
    ("title", "states", "end"),
    [("Enrolment", enroll.STATES, "enrolled"), ("Renewal", renew.STATES, None)],
    ids=["enrolment", "renewal"],
)
def test_the_states_of_the_page_are_those_of_the_program(title: str, states: dict[str, Row], end: str | None) -> None:
    found = table(section("identity.md", title), "state")

    assert list(found) == [*states, *([end] if end else ["installing"])]
    for name, row in states.items():
        assert row.step in found[name][1] or f"`up/{row.step}`" in found[name][1]


def test_the_states_of_a_rollout_on_the_page_are_those_of_the_contract() -> None:
    page = section("rollouts.md", "What a device does")
    found = table(page, "state")

    assert {name.strip("`") for name in found} | {"rejected", "rolled_back"} == set(get_args(State))
    assert all(state in page for state in get_args(State))


def test_every_reason_for_which_a_device_refuses_a_model_is_on_the_page() -> None:
    named = set(re.findall(r"`([a-z_]+)`", section("rollouts.md", "What a device does")))

    assert sorted(set(get_args(Reason)) - named) == ["invalid"]  # which is explained where the reasons are
