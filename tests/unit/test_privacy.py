"""What may leave."""

from __future__ import annotations

import itertools
from collections import defaultdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from device.contract import CELLS, Cell
from device.privacy import RULES, Circumstances, Draft, PrivacyError, Terms, apply, release
from tests.build import HASHES, NOON, report, window

COUNTS = st.fixed_dictionaries({cell: st.integers(0, 12) | st.sampled_from([0, 0, 0, 1]) for cell in CELLS})


def counts(*figures: int) -> dict[Cell, int]:
    return dict(zip(CELLS, figures, strict=False))


def test_fewer_than_k_people_are_withheld_and_not_even_counted() -> None:
    made = report(counts={"neutral": 3, "happiness": 1}, k=5)

    assert (made.withheld, made.people, made.groups) == ("k", None, None)


def test_k_people_in_one_cell_are_published() -> None:
    made = report(counts={"happiness": 5}, k=5)

    assert made.people == 5
    assert made.groups is not None
    assert made.groups.emotion.happiness == 5
    assert made.groups.emotion.neutral == 0


def test_a_small_cell_is_left_out_with_the_smallest_other_one() -> None:
    made = report(counts={"neutral": 11, "happiness": 6, "anger": 1}, k=5)

    assert made.people == 18
    assert made.groups is not None
    emotion = made.groups.emotion
    assert (emotion.neutral, emotion.happiness, emotion.anger, emotion.fear) == (11, None, None, None)


def test_a_report_says_that_noise_is_off() -> None:
    terms = report().privacy

    assert (terms.noise, terms.epsilon, terms.k, terms.unit) == ("off", None, 5, "track-window")


@settings(max_examples=500, deadline=None)
@given(COUNTS, st.integers(2, 6))
def test_no_published_figure_is_about_one_to_k_minus_one_people(people: dict[Cell, int], k: int) -> None:
    draft = apply(people, Terms(k))

    if draft.withheld:
        assert draft.people < k
        return
    shown = [n for n in draft.cells.values() if n is not None]
    assert all(n == 0 or n >= k for n in shown)
    assert draft.people - sum(shown) == 0 or draft.people - sum(shown) >= k
    assert sum(1 for n in draft.cells.values() if n is None) != 1


def test_no_suppressed_cell_can_be_worked_out_even_by_who_knows_the_rules() -> None:
    k, cells = 3, CELLS[:4]
    published: dict[tuple[int, tuple[int | None, ...]], list[tuple[int, ...]]] = defaultdict(list)
    for figures in itertools.product(range(7), repeat=len(cells)):
        draft = apply(dict(zip(cells, figures, strict=True)), Terms(k))
        if draft.withheld is None:
            published[draft.people, tuple(draft.cells.values())].append(figures)

    for (people, output), causes in published.items():
        for place, shown in enumerate(output):
            if shown is None:
                possible = {cause[place] for cause in causes}
                assert len(possible) > 1, (people, output, causes)
                assert max(possible) >= k or set(output) == {None}, (people, output, causes)


def test_the_counts_are_erased_whether_published_or_not() -> None:
    for people in ({"neutral": 9}, {"neutral": 1}):
        full = window(people)  # type: ignore[arg-type]

        release(full, Terms(5), Circumstances(1, NOON, "5f0c1a2b", synced=True, models=HASHES))

        assert not any(full.counts.values())


def test_a_rule_that_fails_publishes_nothing_and_tells_no_figure() -> None:
    def broken(draft: Draft, _: Terms) -> Draft:
        raise ValueError(f"secret {draft.people}")

    with pytest.raises(PrivacyError) as caught:
        apply({"neutral": 4711}, Terms(5), (broken, *RULES))

    assert "broken" in str(caught.value)
    assert "4711" not in str(caught.value)
    assert caught.value.__suppress_context__


def test_the_people_of_a_report_are_the_sum_of_its_cells() -> None:
    made = report(counts=counts(7, 6, 5, 5, 5, 5, 5, 5, 5), k=5)

    assert made.groups is not None
    assert made.people == sum(made.groups.emotion.model_dump().values())
