"""Noise is exact, and the budget's arithmetic too."""

from __future__ import annotations

import ast
import random
import secrets
from collections import Counter
from decimal import Decimal
from fractions import Fraction
from math import exp, factorial, log, tanh
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from device import noise
from device.noise import Budget, discrete_laplace, happens_exp, micro

FALSE_ALARM = 1e-6  # of each statistical test, were the random numbers not the same in every run
EPSILONS = [Fraction(1, 2), Fraction(1), Fraction(2)]


def chance_of_more(chi_square: float, degrees: int) -> float:
    """Upper tail of the chi-square distribution, exactly, for an even number of degrees of freedom."""
    assert degrees % 2 == 0
    half = chi_square / 2
    return exp(-half) * sum(half**i / factorial(i) for i in range(degrees // 2))


def cells(epsilon: Fraction, samples: int) -> list[int]:
    """-m to m, where m is the last one that 30 samples or more are expected to pass."""
    m = int(log(samples * tanh(epsilon / 2) / 60) / float(epsilon))
    return list(range(-m, m + 1))


def histogram(drawn: list[int], inner: list[int]) -> list[int]:
    """How often each value came, and all below and above."""
    counts = Counter(drawn)
    return [
        sum(n for x, n in counts.items() if x < inner[0]),
        *(counts[x] for x in inner),
        sum(n for x, n in counts.items() if x > inner[-1]),
    ]


def expected(epsilon: Fraction, inner: list[int], samples: int) -> list[float]:
    e = float(epsilon)
    tail = exp(-e * (inner[-1] + 1)) / (1 + exp(-e))
    return [samples * p for p in (tail, *(tanh(e / 2) * exp(-e * abs(x)) for x in inner), tail)]


def agrees_with_the_exact_probabilities(epsilon: Fraction, samples: int, seed: int) -> bool:
    dice = random.Random(seed)
    inner = cells(epsilon, samples)
    found = histogram([discrete_laplace(epsilon, dice.randrange) for _ in range(samples)], inner)
    wanted = expected(epsilon, inner, samples)
    chi_square = sum((n - w) ** 2 / w for n, w in zip(found, wanted, strict=True))
    return chance_of_more(chi_square, len(wanted) - 1) > FALSE_ALARM


@pytest.mark.parametrize("epsilon", EPSILONS, ids=str)
def test_noise_has_the_exact_probabilities(epsilon: Fraction) -> None:
    assert agrees_with_the_exact_probabilities(epsilon, 100_000, seed=1)


@pytest.mark.system
@pytest.mark.parametrize("epsilon", EPSILONS, ids=str)
def test_a_million_samples_have_the_exact_probabilities(epsilon: Fraction) -> None:
    assert agrees_with_the_exact_probabilities(epsilon, 1_000_000, seed=2)


def test_the_check_of_the_probabilities_sees_noise_that_is_a_little_wrong() -> None:
    samples, right, dice = 100_000, Fraction(1), random.Random(3)
    inner = cells(right, samples)
    found = histogram([discrete_laplace(Fraction(21, 20), dice.randrange) for _ in range(samples)], inner)

    chi_square = sum((n - w) ** 2 / w for n, w in zip(found, expected(right, inner, samples), strict=True))

    assert chance_of_more(chi_square, len(found) - 1) < FALSE_ALARM


def agrees_with_opendp(epsilon: Fraction, samples: int) -> bool:
    dp = pytest.importorskip("opendp.prelude", reason="OpenDP (265 MB) is not installed: pip install '.[proof]'")
    dp.enable_features("contrib")
    theirs = dp.m.make_laplace(dp.vector_domain(dp.atom_domain(T=int)), dp.l1_distance(T=int), scale=float(1 / epsilon))
    dice, inner = random.Random(4), cells(epsilon, samples)
    ours = histogram([discrete_laplace(epsilon, dice.randrange) for _ in range(samples)], inner)
    other = histogram(theirs([0] * samples), inner)
    chi_square = sum((a - b) ** 2 / (a + b) for a, b in zip(ours, other, strict=True))
    return chance_of_more(chi_square, len(inner) + 1) > FALSE_ALARM


@pytest.mark.parametrize("epsilon", EPSILONS, ids=str)
def test_noise_is_distributed_like_that_of_opendp(epsilon: Fraction) -> None:
    assert agrees_with_opendp(epsilon, 50_000)


@pytest.mark.system
@pytest.mark.parametrize("epsilon", EPSILONS, ids=str)
def test_a_million_samples_are_distributed_like_those_of_opendp(epsilon: Fraction) -> None:
    assert agrees_with_opendp(epsilon, 1_000_000)


def test_the_coin_behind_it_falls_with_the_probability_exp_minus_gamma() -> None:
    """Followed through every outcome of its integers: the sum of the exact probabilities is the series of exp(-gamma)."""
    gamma, rounds = Fraction(2, 3), 12
    happened, left = Fraction(0), Fraction(1)
    for more in range(rounds):  # the coin goes on `more` times, and then stops
        script = iter([True] * more + [False])
        stop = 1 - gamma / (more + 1)

        result = happens_exp(gamma, lambda n, script=script: 0 if next(script) else n - 1)  # type: ignore[misc]

        happened += left * stop * result
        left *= 1 - stop
    assert float(happened) == pytest.approx(exp(-gamma), abs=1e-9)


def test_noise_comes_from_the_source_that_it_is_given() -> None:
    first, again = ([discrete_laplace(Fraction(1), random.Random(seed).randrange) for _ in range(50)] for seed in (7, 7))

    assert first == again
    assert isinstance(discrete_laplace(Fraction(1), secrets.randbelow), int)


@pytest.mark.parametrize("epsilon", [Fraction(0), Fraction(-1)])
def test_noise_needs_an_epsilon_above_zero(epsilon: Fraction) -> None:
    with pytest.raises(ValueError, match="more than 0"):
        discrete_laplace(epsilon, secrets.randbelow)


def test_there_is_no_floating_point_in_the_noise() -> None:
    tree = ast.parse(Path(noise.__file__).read_text())

    floats = [node for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, float)]
    divisions = [node for node in ast.walk(tree) if isinstance(node, ast.Div)]
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    assert (floats, divisions) == ([], [])
    assert not names & {"float", "exp", "log", "sqrt", "random", "round"}


BUDGETS = st.builds(Budget, st.integers(5, 86_400), st.integers(10_000, 5_000_000), st.integers(10_000, 500_000_000))


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(BUDGETS, st.integers(0, 10**9))
def test_no_day_earns_and_holds_more_than_may_be_spent_in_it(budget: Budget, milliseconds: int) -> None:
    if budget.day >= budget.most:
        assert budget.most + budget.earned(86_400_000) <= budget.day
    assert budget.earned(milliseconds) + budget.earned(1000) <= budget.earned(milliseconds + 1000)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(BUDGETS)
def test_a_day_that_has_what_is_needed_earns_a_window_in_every_window(budget: Budget) -> None:
    enough = Budget(budget.window_seconds, budget.window, budget.needed)

    assert enough.earned(budget.window_seconds * 1000) >= budget.window


def test_the_budget_of_the_defaults() -> None:
    budget = Budget(900, micro(Decimal("1.0")), micro(Decimal(100)))

    assert (budget.windows_a_day, budget.needed, budget.most) == (96, 98_000_000, 2_000_000)
    assert budget.earned(900_000) == 1_020_833


def test_an_epsilon_is_counted_exactly_or_refused() -> None:
    assert micro(Decimal("0.1")) == 100_000
    with pytest.raises(ValueError, match="six decimals"):
        micro(Decimal("0.0000001"))
