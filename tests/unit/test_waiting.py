"""The queue of the fleet's service: in order, and without what has been answered already."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioning.waiting import Waiting


def test_messages_are_taken_in_the_order_in_which_they_came() -> None:
    waiting: Waiting[int] = Waiting()
    for number in range(5):
        waiting.put("ab"[number % 2], number)

    assert [waiting.take() for _ in range(len(waiting))] == [0, 1, 2, 3, 4]
    with pytest.raises(KeyError):
        waiting.take()


def test_what_is_about_the_same_leaves_together_and_the_others_keep_their_turn() -> None:
    waiting: Waiting[int] = Waiting()
    for number, about in enumerate("abacab"):
        waiting.put(about, number)

    assert waiting.take() == 0
    assert waiting.take_all("a") == [2, 4]
    assert waiting.take_all("a") == waiting.take_all("never") == []
    assert [waiting.take() for _ in range(len(waiting))] == [1, 3, 5]
    assert waiting.came == 6


@given(st.lists(st.one_of(st.sampled_from("abc"), st.sampled_from((0, 1, 2, 3)))))
def test_whatever_is_done_nothing_is_lost_and_nothing_is_taken_twice(steps: list[str | int]) -> None:
    """Against a plain list: letters come, numbers take one (0) or all that are about a letter."""
    waiting: Waiting[int] = Waiting()
    plain: list[tuple[str, int]] = []
    for number, step in enumerate(steps):
        if isinstance(step, str):
            waiting.put(step, number)
            plain.append((step, number))
        elif step == 0 and plain:
            assert waiting.take() == plain.pop(0)[1]
        elif step:
            about = "abc"[step - 1]
            assert waiting.take_all(about) == [one for letter, one in plain if letter == about]
            plain = [one for one in plain if one[0] != about]
        assert len(waiting) == len(plain)

    waiting.clear()
    assert len(waiting) == 0
    assert waiting.take_all("a") == []
