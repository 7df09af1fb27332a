"""Corrected shares: what the classifier mistakes is taken back, and the interval says how sure that is."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from device.contract import EMOTIONS
from device.manifest import read_manifest
from provisioning.shares import correct

PERFECT = [[1000, 0, 0, 0], [0, 1000, 0, 0], [0, 0, 1000, 0]]
SAD_AS_NEUTRAL = [[900, 100, 0, 0], [300, 700, 0, 0], [0, 0, 1000, 0]]  # 30 % of the second emotion are counted as the first


def counted(true: list[int], matrix: list[list[int]], rng: np.random.Generator) -> list[int]:
    """People of each emotion, counted by a classifier with this confusion matrix."""
    rows = np.array(matrix, float)
    drawn = rng.multinomial(true, rows / rows.sum(axis=1, keepdims=True))
    return [int(n) for n in drawn.sum(axis=0)]


def shipped() -> list[list[int]]:
    confusion = read_manifest()["emotion"].confusion
    assert confusion is not None
    return [list(row) for row in confusion]


def discrete_laplace(epsilon: float, windows: int, cells: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    up, down = rng.geometric(1 - np.exp(-epsilon), (2, windows, cells))
    return np.asarray((up - down).sum(axis=0), np.int64)


# estimate


def test_a_perfect_classifier_is_left_as_it_is() -> None:
    shares = correct([50, 30, 20, 0], PERFECT)

    assert list(shares.counted) == [0.5, 0.3, 0.2]
    assert shares.corrected == pytest.approx(shares.counted, abs=0.005)


def test_what_is_mistaken_for_another_emotion_is_given_back() -> None:
    people = [600, 400, 0]  # counted as 0.9 · 600 + 0.3 · 400 = 660 and 0.1 · 600 + 0.7 · 400 = 340

    shares = correct([660, 340, 0, 0], SAD_AS_NEUTRAL)

    assert list(shares.counted[:2]) == [0.66, 0.34]
    assert shares.corrected[:2] == pytest.approx([n / 1000 for n in people[:2]], abs=0.02)


def test_correcting_the_shipped_classifier_brings_the_shares_nearer_to_the_truth() -> None:
    rng, matrix = np.random.default_rng(3), shipped()
    plain, better = [], []
    for _ in range(40):
        people = [*rng.multinomial(200, rng.dirichlet(np.ones(7))).tolist(), 0]
        shares = correct(counted(people, matrix, rng), matrix)
        plain.append(np.abs(np.array(shares.counted) - np.array(people) / 200).mean())
        better.append(np.abs(np.array(shares.corrected) - np.array(people) / 200).mean())

    assert np.mean(better) < 0.75 * np.mean(plain)


def test_many_unknown_people_do_not_change_the_shares_but_blur_them() -> None:
    named, hidden = correct([60, 40, 0, 0], PERFECT), correct([60, 40, 0, 300], PERFECT)

    assert hidden.corrected == pytest.approx(named.corrected, abs=0.03)
    assert hidden.high[0] - hidden.low[0] > named.high[0] - named.low[0]


def test_an_emotion_that_is_unknown_more_often_than_others_is_given_more() -> None:
    half_unknown = [[500, 0, 0, 500], [0, 1000, 0, 0], [0, 0, 1000, 0]]

    shares = correct([100, 200, 0, 100], half_unknown)

    assert shares.counted[:2] == pytest.approx((1 / 3, 2 / 3))
    assert shares.corrected[:2] == pytest.approx((0.5, 0.5), abs=0.03)


def test_an_emotion_that_is_never_recognised_takes_nothing_from_its_look_alikes() -> None:
    never = [[1000, 0, 0, 0], [0, 1000, 0, 0], [18, 0, 0, 0]]

    assert correct([100, 100, 0, 0], never).corrected[2] < 0.02


def test_an_emotion_without_reference_faces_gets_no_share() -> None:
    shares = correct([100, 100, 3, 0], [[1000, 0, 0, 0], [0, 1000, 0, 0], [0, 0, 0, 0]])

    assert [shares.corrected[2], shares.high[2]] == [0, 0]


# interval


def test_nine_of_ten_true_shares_lie_inside_their_interval() -> None:
    rng, matrix = np.random.default_rng(5), np.array(shipped())
    rows = np.maximum(matrix, 0.1)
    inside = []
    for _ in range(60):
        other = [rng.multinomial(max(int(row.sum()), 1), row / row.sum()).tolist() for row in rows]  # another reference set
        people = [*rng.multinomial(200, rng.dirichlet(np.ones(7))).tolist(), 0]
        shares = correct(counted(people, rows.tolist(), rng), other)
        true = np.array(people) / 200
        inside.append(((np.array(shares.low) <= true) & (true <= np.array(shares.high)))[:7].mean())

    assert 0.84 <= np.mean(inside) <= 0.98


@pytest.mark.parametrize("factor", [4, 25])
def test_more_people_make_a_narrower_interval(factor: int) -> None:
    few, many = (correct([n * 12, n * 6, n * 2, 0], SAD_AS_NEUTRAL) for n in (1, factor))

    assert many.high[0] - many.low[0] < few.high[0] - few.low[0]


def test_fewer_reference_faces_make_a_wider_interval() -> None:
    poor = [[n // 50 for n in row] for row in SAD_AS_NEUTRAL]

    sure, unsure = correct([660, 340, 0, 0], SAD_AS_NEUTRAL), correct([660, 340, 0, 0], poor)

    assert unsure.high[1] - unsure.low[1] > 1.5 * (sure.high[1] - sure.low[1])


def test_a_wider_level_makes_a_wider_interval() -> None:
    half, most = (correct([30, 15, 5, 0], SAD_AS_NEUTRAL, level=level) for level in (0.5, 0.95))

    assert most.low[0] < half.low[0] < half.corrected[0] < half.high[0] < most.high[0]


# noise


def test_negative_counts_are_taken_as_nobody() -> None:
    shares = correct([30, 10, -3, -1], PERFECT)

    assert list(shares.counted) == [0.75, 0.25, 0]
    assert min(shares.low) >= 0


def test_noise_that_is_told_widens_the_interval_until_it_covers_what_noise_does() -> None:
    rng, people, inside = np.random.default_rng(7), np.array([40, 20, 10, 0]), []
    for _ in range(60):
        noised = people + discrete_laplace(0.5, 4, 4, rng)
        shares = correct(noised.tolist(), PERFECT, epsilon=0.5, windows=4)
        true = people[:3] / people[:3].sum()
        inside.append(((np.array(shares.low) <= true) & (true <= np.array(shares.high))).mean())

    assert np.mean(inside) >= 0.85


def test_when_nobody_was_counted_nothing_is_known() -> None:
    shares = correct([0, 0, 0, 0], PERFECT)

    assert list(shares.counted) == [0, 0, 0]
    assert sum(shares.corrected) == pytest.approx(1)
    assert all(high - low > 0.5 for low, high in zip(shares.low, shares.high, strict=True))


# always


@settings(max_examples=25, deadline=None)
@given(
    counts=st.lists(st.integers(-20, 5000), min_size=9, max_size=9),
    noise=st.sampled_from([None, 0.1, 1.0]),
    windows=st.integers(1, 50),
)
def test_shares_are_shares_whatever_is_published(counts: list[int], noise: float | None, windows: int) -> None:
    shares = correct(counts, shipped(), epsilon=noise, windows=windows)

    assert len(shares.corrected) == len(EMOTIONS)
    assert sum(shares.corrected) == pytest.approx(1)
    assert all(0 <= low <= high <= 1 for low, high in zip(shares.low, shares.high, strict=True))


def test_the_same_seed_gives_the_same_shares_and_another_one_hardly_others() -> None:
    first, again, other = (correct([30, 15, 5, 4], SAD_AS_NEUTRAL, seed=seed) for seed in (1, 1, 2))

    assert first == again
    assert first != other
    assert first.corrected == pytest.approx(other.corrected, abs=0.03)


@pytest.mark.parametrize(
    ("counts", "matrix", "more", "said"),
    [
        ([1, 2, 3], PERFECT, {}, "3 counts for 4 columns"),
        ([1, 2, 3, 4], [[1, 0], [0, 1]], {}, r"\[2, 2\]; expected .* one column more than rows"),
        ([1, 2, 3, 4], [[-1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0]], {}, "expected counts of faces"),
        ([1, 2, 3, 4], [[0] * 4] * 3, {}, "expected counts of faces"),
        ([1, 2, 3, 4], PERFECT, {"epsilon": 0.0}, "epsilon 0.0"),
        ([1, 2, 3, 4], PERFECT, {"windows": 0}, "windows 0"),
        ([1, 2, 3, 4], PERFECT, {"level": 1.0}, "level 1.0"),
    ],
)
def test_numbers_that_do_not_fit_are_refused(counts: list[int], matrix: list[list[int]], more: dict[str, float], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        correct(counts, matrix, **more)  # type: ignore[arg-type]
