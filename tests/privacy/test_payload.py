"""What a report gives away to somebody who knows the rules, collects every report, and thinks."""

from __future__ import annotations

import itertools
import random
from collections import defaultdict
from collections.abc import Callable, Sequence
from fractions import Fraction
from math import sqrt, tanh

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from device.contract import CELLS, Cell, Report, dump
from device.noise import discrete_laplace
from device.privacy import RULES, Circumstances, Gate, Terms, apply, enough_people
from tests.build import HASHES, NOON, report, window

FALSE_ALARM_DEVIATIONS = 4.89  # two-sided, 1e-6
Vector = tuple[int, ...]
Seen = tuple[int | None, tuple[int | None, ...]]  # what a report without noise says: people, and the cells


def published(vector: Sequence[int], k: int) -> Seen:
    """What the device says about these people, read from the bytes that it sends."""
    made = Report.model_validate_json(dump(report(counts=dict(zip(CELLS, vector, strict=False)), k=k)))
    cells = [getattr(made.groups.emotion, cell) if made.groups and made.groups.emotion else None for cell in CELLS]
    return made.people, tuple(cells)


def what_the_rules_say(vector: Sequence[int], k: int) -> Seen:
    """The same, as the attacker has understood it from docs/adr/0002; written without a look at the device's code."""
    nothing: tuple[int | None, ...] = (None,) * len(vector)
    if sum(vector) < k:
        return None, nothing
    if all(n == 0 or n >= k for n in vector):
        return sum(vector), tuple(vector)
    least = min((n for n in vector if n >= k), default=None)
    return sum(vector), tuple(n if least is not None and n > least else None for n in vector)


@pytest.mark.parametrize("k", [2, 3, 4])
def test_an_attacker_who_tries_every_table_of_four_cells_pins_down_no_cell_below_k(k: int) -> None:
    four = CELLS[:4]
    causes: dict[Seen, list[Vector]] = defaultdict(list)
    for vector in itertools.product(range(2 * k + 2), repeat=len(four)):
        draft = apply(dict(zip(four, vector, strict=True)), Terms(k), rules=RULES[RULES.index(enough_people) :])
        seen = (None, (None,) * 4) if draft.withheld else (draft.people, tuple(draft.cells.values()))
        assert seen == what_the_rules_say(vector, k)
        causes[seen].append(vector)

    for (people, cells), vectors in causes.items():
        assert people is not None or max(map(sum, vectors)) == k - 1
        for place, n in enumerate(cells):
            if n is not None:
                assert n == 0 or n >= k, (people, cells)
            elif people is not None:
                possible = {vector[place] for vector in vectors}
                assert len(possible) > 1, (people, cells)
                assert max(possible) >= k or set(cells) == {None}, (people, cells)


ADVERSARIAL = st.integers(2, 6).flatmap(
    lambda k: st.tuples(
        st.just(k),
        st.lists(
            st.sampled_from([0, 0, 0, 1, 1, 2, k - 1, k - 1, k, k, k + 1, 2 * k, 40]), min_size=len(CELLS), max_size=len(CELLS)
        ),
    )
)


def leaks(vector: Vector, k: int) -> list[str]:
    """What an attacker learns that must not be learned; each hidden small cell needs a witness: another vector that is
    published as the same bytes, and in which this cell is something else."""
    seen = published(vector, k)
    people, cells = seen
    if seen != what_the_rules_say(vector, k):
        return [f"the device does not follow its rules: {seen}"]
    if people is None:
        return [] if sum(vector) < k else [f"withheld without a reason: {vector}"]
    found = [f"cell {place} shows {n}" for place, n in enumerate(cells) if n is not None and 0 < n < k]
    hidden = [place for place, n in enumerate(cells) if n is None]
    missing = people - sum(n for n in cells if n is not None)
    if hidden and 0 < missing < k:
        found.append(f"the sum tells {missing} people in the hidden cells")
    return found + [
        f"cell {place} can only be {vector[place]}"
        for place in hidden
        if 0 < vector[place] < k and not any(published(other, k) == seen for other in changed(vector, place, hidden))
    ]


def changed(vector: Vector, place: int, hidden: Sequence[int]) -> list[Vector]:
    """Vectors with the same sum in which this cell is another: an exchange with a hidden cell, or one person moved."""
    other = []
    for partner in hidden:
        if partner != place:
            for n in {vector[partner], vector[place] + 1, vector[place] - 1} - {vector[place]}:
                moved = list(vector)
                moved[partner] += moved[place] - n
                moved[place] = n
                if moved[partner] >= 0:
                    other.append(tuple(moved))
    return other


def test_ten_thousand_adversarial_windows_without_noise_leak_nothing_below_k() -> None:
    dice, found = random.Random(0), []
    for _ in range(10_000):
        k = dice.randint(2, 6)
        near = [0, 0, 0, 1, 1, 2, k - 1, k - 1, k, k, k + 1, 2 * k, 40]
        vector = tuple(dice.choice(near) for _ in CELLS)
        found += leaks(vector, k)

    assert found == []


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(ADVERSARIAL)
def test_windows_that_are_searched_for_leaks_have_none(case: tuple[int, list[int]]) -> None:
    k, vector = case

    assert leaks(tuple(vector), k) == []


def test_the_attacker_finds_the_leak_of_rules_that_suppress_the_small_cells_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def small_only(vector: Sequence[int], k: int) -> Seen:
        return sum(vector), tuple(None if 0 < n < k else n for n in vector)

    monkeypatch.setattr("tests.privacy.test_payload.published", small_only)
    monkeypatch.setattr("tests.privacy.test_payload.what_the_rules_say", small_only)

    assert leaks((9, 1, 0, 0, 0, 0, 0, 0, 0), 3)
    assert leaks((9, 2, 2, 2, 0, 0, 0, 0, 0), 3)  # three that sum to 6 and are below 3


# noise on

WIDTH = len(CELLS) + 1  # and those who said no
COUNTS = st.lists(st.integers(0, 30), min_size=WIDTH, max_size=WIDTH)
FIGURES = st.lists(st.integers(-6, 12), min_size=WIDTH, max_size=WIDTH)


def bytes_sent(raw: Sequence[Sequence[int]], figures: Sequence[Sequence[int]], k: int) -> list[bytes]:
    """What is published about these windows when the noise turns them into these figures."""
    noise = iter([figure - n for window_raw, window_figures in zip(raw, figures, strict=True)
                  for n, figure in zip(window_raw, window_figures, strict=True)])  # fmt: skip
    gate = Gate(Terms(k, "discrete-laplace", Fraction(1), max_hold=3), charge=lambda: True, noise=lambda _: next(noise))
    sent: list[bytes] = []
    for counts in raw:
        full = window(dict(zip(CELLS, counts, strict=False)))
        full.opted_out = counts[-1]
        sent += [dump(made) for made in gate.release(full, at(len(sent) + 1))]
    return sent


def at(seq: int) -> Circumstances:
    return Circumstances(seq, NOON, "5f0c1a2b", synced=True, models=HASHES)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(COUNTS, COUNTS, FIGURES), min_size=1, max_size=6), st.integers(3, 9))
def test_equal_noised_cells_give_equal_bytes_whatever_the_true_counts_were(
    windows: list[tuple[list[int], list[int], list[int]]], k: int
) -> None:
    ones, others, figures = zip(*windows, strict=True)

    assert bytes_sent(ones, figures, k) == bytes_sent(others, figures, k)


def chance_to_publish(epsilon: float, people: int, k: int, max_hold: int) -> float:
    """The exact probability that a place with so many people in each window publishes within max_hold windows.

    By convolution: the sum of a window is the people plus nine discrete Laplace numbers; what has reached k is out.
    """
    reach = 120
    one = [tanh(epsilon / 2) * 2.718281828459045 ** (-epsilon * abs(x)) for x in range(-reach, reach + 1)]

    def convolved(a: Sequence[float], b: Sequence[float]) -> list[float]:
        """Of two distributions around the middle of their lists; the tails beyond the reach, below 1e-20, are cut."""
        out = [0.0] * len(a)
        for i, p in enumerate(a):
            if p > 1e-22:
                for j, q in enumerate(b):
                    if 0 <= (place := i + j - reach) < len(out):
                        out[place] += p * q
        return out

    noise = one
    for _ in range(len(CELLS) - 1):
        noise = convolved(noise, one)
    waiting, done = [float(x == 0) for x in range(-reach, reach + 1)], 0.0
    for _ in range(max_hold):
        here = convolved(waiting, noise)
        here = [here[place - people] if place >= people else 0.0 for place in range(len(here))]
        done += sum(p for place, p in enumerate(here) if place - reach >= k)
        waiting = [p if place - reach < k else 0.0 for place, p in enumerate(here)]
    return done


@pytest.mark.parametrize(("people", "max_hold"), [(0, 1), (4, 1), (2, 1), (0, 4), (1, 2)])
def test_fewer_than_k_people_are_published_as_often_as_the_noise_says_and_not_more(people: int, max_hold: int) -> None:
    epsilon, k, places = Fraction(1), 5, 2500
    expected = chance_to_publish(float(epsilon), people, k, max_hold)
    dice = random.Random(17 * people + max_hold)

    def noise(share: Fraction) -> int:
        return discrete_laplace(share, dice.randrange)

    out = 0
    for _ in range(places):
        gate = Gate(Terms(k, "discrete-laplace", epsilon, max_hold), charge=lambda: True, noise=noise)
        made: tuple[Report, ...] = ()
        while not made:
            made = gate.release(window({"happiness": people}), at(1))
        out += made[0].people is not None

    deviation = sqrt(places * expected * (1 - expected))
    assert abs(out - places * expected) < FALSE_ALARM_DEVIATIONS * deviation, (out / places, expected)


def test_noise_is_the_same_whatever_the_cells_hold() -> None:
    """The same randomness gives the same noise to an empty window and to a full one: nothing about it follows the people."""

    def added(people: dict[Cell, int]) -> list[int]:
        dice = random.Random(5)
        gate: Callable[..., tuple[Report, ...]] = Gate(
            Terms(3, "discrete-laplace", Fraction(1)),
            charge=lambda: True,
            noise=lambda e: discrete_laplace(e, dice.randrange) + 100,
        ).release
        (made,) = gate(window(people), at(1))
        assert made.groups is not None
        assert made.groups.emotion is not None
        return [getattr(made.groups.emotion, cell) - people.get(cell, 0) for cell in CELLS]

    assert added({}) == added({"neutral": 1000, "fear": 1})
