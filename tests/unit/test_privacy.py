"""What may leave."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fractions import Fraction

import pytest

from device.contract import CELLS, Cell, EmotionCounts, Report, dump
from device.privacy import RULES, Circumstances, Draft, Gate, Means, PrivacyError, Terms, apply
from tests.build import HASHES, NOON, report, window

ONE = Fraction(1)


def counts(*figures: int) -> dict[Cell, int]:
    return dict(zip(CELLS, figures, strict=False))


def at(seq: int = 1, *, last: bool = False) -> Circumstances:
    return Circumstances(seq, NOON, "5f0c1a2b", synced=True, models=HASHES, last=last)


def noised(people: Mapping[Cell, int]) -> Iterator[int]:
    """The noise that turns an empty window into these figures, and nobody into one who said no."""
    return iter([people.get(cell, 0) for cell in CELLS] + [1])


def emotion(made: Report) -> EmotionCounts:
    """The cells of a report that has some."""
    assert made.groups is not None
    assert made.groups.emotion is not None
    return made.groups.emotion


class Place:
    """A gate with noise that the test chooses, and a budget that it fills."""

    def __init__(self, k: int = 5, max_hold: int = 3, budget: int = 100) -> None:
        self.charged = 0
        self.budget = budget
        self._noise: Iterator[int] = iter(())
        self._seq = 0
        self._gate = Gate(Terms(k, "discrete-laplace", ONE, max_hold), charge=self._charge, noise=lambda _: next(self._noise))

    def _charge(self) -> bool:
        self.charged += self.charged < self.budget
        self.budget -= 1
        return self.budget >= 0

    def ends(self, figures: Mapping[Cell, int], *, last: bool = False, seconds: int = 10) -> tuple[Report, ...]:
        """A window ends in which the noised figures are these."""
        self._noise = noised(figures)
        made = self._gate.release(window({}, seconds), at(self._seq + 1, last=last))
        self._seq += len(made)
        return made


# noise off


def test_fewer_than_k_people_are_withheld_and_not_even_counted() -> None:
    made = report(counts={"neutral": 3, "happiness": 1}, k=5)

    assert (made.withheld, made.people, made.groups) == ("k", None, None)


def test_k_people_in_one_cell_are_published() -> None:
    made = report(counts={"happiness": 5}, k=5)

    assert made.people == 5
    assert emotion(made).happiness == 5
    assert emotion(made).neutral == 0


def test_a_small_cell_is_left_out_with_the_smallest_other_one() -> None:
    made = report(counts={"neutral": 11, "happiness": 6, "anger": 1}, k=5)

    assert made.people == 18
    cells = emotion(made)
    assert (cells.neutral, cells.happiness, cells.anger, cells.fear) == (11, None, None, None)


def test_a_report_says_that_noise_is_off() -> None:
    terms = report().privacy

    assert (terms.noise, terms.epsilon, terms.k, terms.unit) == ("off", None, 5, "track-window")


def test_the_people_of_a_report_are_the_sum_of_its_cells() -> None:
    made = report(counts=counts(7, 6, 5, 5, 5, 5, 5, 5, 5), k=5)

    assert made.people == sum(emotion(made).model_dump().values())


# noise on


def test_every_cell_is_noised_once_and_people_is_their_sum() -> None:
    drawn: list[Fraction] = []

    def noise(epsilon: Fraction) -> int:
        drawn.append(epsilon)
        return len(drawn)

    gate = Gate(Terms(5, "discrete-laplace", Fraction(1, 2)), charge=lambda: True, noise=noise)
    (made,) = gate.release(window({"neutral": 10, "unknown": 2}), at())

    assert drawn == [Fraction(1, 2)] * (len(CELLS) + 1)  # the last one is for those who said no
    assert [getattr(emotion(made), cell) for cell in CELLS] == [11, 2, 3, 4, 5, 6, 7, 8, 11]
    assert made.people == 57
    assert made.groups is not None
    assert made.groups.opted_out == 10


def test_a_noised_report_says_what_it_passed() -> None:
    (made,) = Place().ends({"happiness": 9})

    terms = made.privacy
    assert (terms.noise, terms.epsilon, terms.k, terms.windows, terms.unit) == ("discrete-laplace", 1.0, 5, 1, "track-window")


def test_noised_figures_are_published_as_they_are_also_small_and_negative_ones() -> None:
    (made,) = Place().ends({"neutral": 7, "anger": -2, "fear": 1})

    assert (made.people, emotion(made).anger, emotion(made).fear) == (6, -2, 1)
    assert b'"anger":-2' in dump(made)


def test_a_quiet_place_waits_until_its_noised_windows_reach_k() -> None:
    place = Place(k=5, max_hold=4)

    assert place.ends({"neutral": 2, "anger": -1}) == ()
    assert place.ends({"neutral": 1}) == ()
    (made,) = place.ends({"happiness": 3, "anger": -1, "unknown": 1})

    assert (made.people, emotion(made).neutral, emotion(made).anger) == (5, 3, -2)
    assert made.groups is not None
    assert made.groups.opted_out == 3
    assert (made.seq, made.span.windows, made.privacy.windows, made.span.seconds) == (1, 3, 3, 30)
    assert (made.quality.coverage, made.quality.fps) == (1.0, 5.0)


def test_a_place_that_stays_quiet_is_withheld_after_max_hold_windows_and_waits_anew() -> None:
    place = Place(k=5, max_hold=3)

    made = [place.ends({"neutral": 1}) for _ in range(6)]

    assert [len(reports) for reports in made] == [0, 0, 1, 0, 0, 1]
    assert (made[2][0].withheld, made[2][0].people, made[2][0].span.windows) == ("k", None, 3)
    assert [made[2][0].seq, made[5][0].seq] == [1, 2]


def test_what_waits_is_told_when_watching_ends() -> None:
    for figures, withheld in (({"neutral": 1}, "k"), ({"neutral": 4}, None)):
        place = Place(k=5, max_hold=4)
        place.ends({"neutral": 1})

        (made,) = place.ends(figures, last=True)  # type: ignore[arg-type]

        assert (made.withheld, made.span.windows) == (withheld, 2)


def test_a_held_window_has_cost_as_much_as_a_published_one() -> None:
    place = Place(k=5, max_hold=4)

    place.ends({"neutral": 1})
    place.ends({"neutral": 9})
    place.ends({"neutral": 9})

    assert place.charged == 3


def test_without_budget_there_is_no_noise_and_no_figure() -> None:
    (made,) = Place(budget=0).ends({"neutral": 50})

    assert (made.withheld, made.people, made.groups) == ("budget", None, None)


def test_windows_that_waited_are_told_before_one_without_budget() -> None:
    place = Place(k=5, max_hold=4, budget=2)
    place.ends({"neutral": 1})
    place.ends({"neutral": 1})

    first, second = place.ends({"neutral": 50})

    assert (first.seq, first.withheld, first.span.windows) == (1, "k", 2)
    assert (second.seq, second.withheld, second.span.windows) == (2, "budget", 1)
    assert place.ends({"neutral": 50})[0].seq == 3


def test_a_gate_without_a_ledger_publishes_nothing_noised() -> None:
    gate = Gate(Terms(3, "discrete-laplace", ONE))

    (made,) = gate.release(window({"neutral": 50}), at())

    assert made.withheld == "budget"


def test_noise_without_an_epsilon_publishes_nothing() -> None:
    with pytest.raises(PrivacyError, match="add_noise"):
        apply(counts(50, *[0] * 8), Terms(3, "discrete-laplace"), Means(charge=lambda: True, noise=lambda _: 0))


# both


@pytest.mark.parametrize(
    ("frames", "watched", "told"),
    [
        (4500, 900.0, (1.0, 5.0)),
        (4300, 880.0, (1.0, 5.0)),
        (3000, 899.0, (1.0, 3.0)),
        (360, 96.0, (0.1, 3.0)),
        (0, 0.0, (0.0, 0.0)),
    ],
)
def test_frame_rate_and_coverage_are_told_in_steps_so_that_they_follow_no_single_face(
    frames: int, watched: float, told: tuple[float, float]
) -> None:
    full = window({"neutral": 9}, 900)
    full.frames, full.watched = frames, watched

    (made,) = Gate(Terms(5)).release(full, at())

    assert (made.quality.coverage, made.quality.fps) == told


@pytest.mark.parametrize("terms", [Terms(5), Terms(5, "discrete-laplace", ONE, 3)], ids=["off", "on"])
@pytest.mark.parametrize("budget", [True, False])
def test_the_counts_are_erased_whether_published_held_or_withheld(terms: Terms, budget: bool) -> None:
    for people in ({"neutral": 9}, {"neutral": 1}):
        full = window(people)  # type: ignore[arg-type]

        Gate(terms, charge=lambda: budget, noise=lambda _: 0).release(full, at())

        assert not any(full.counts.values())


def test_the_counts_are_erased_when_a_rule_fails_and_nothing_waits_any_longer() -> None:
    noise = iter([0] * (len(CELLS) + 1))
    gate = Gate(Terms(5, "discrete-laplace", ONE, 3), charge=lambda: True, noise=lambda _: next(noise))
    gate.release(window({"neutral": 1}), at())
    full = window({"neutral": 9})

    with pytest.raises(PrivacyError):
        gate.release(full, at())

    assert not any(full.counts.values())
    assert gate._waiting is None


def test_a_rule_that_fails_publishes_nothing_and_tells_no_figure() -> None:
    def broken(draft: Draft, _: Terms, __: Means) -> Draft:
        raise ValueError(f"secret {draft.people}")

    with pytest.raises(PrivacyError) as caught:
        apply({"neutral": 4711}, Terms(5), rules=(broken, *RULES))

    assert "broken" in str(caught.value)
    assert "4711" not in str(caught.value)
    assert caught.value.__suppress_context__


def test_the_ledger_comes_before_noise_and_noise_before_everything_that_looks_at_figures() -> None:
    names = [rule.__name__ for rule in RULES]
    ledger = names.index("charge_the_ledger")

    assert names[ledger : ledger + 3] == ["charge_the_ledger", "add_noise", "merge_with_those_that_wait"]
    assert names[:ledger] == ["obey_the_policy", "say_that_it_was_paused", "say_that_nothing_was_seen"]  # none looks at a figure
