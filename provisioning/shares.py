"""From published counts to shares that are right on average: the counting classifier's mistakes taken back.

A device counts what its classifier says, and the classifier mistakes some sad faces for neutral ones. How often is in its
confusion matrix, measured on faces whose labels are known (``models/manifest.json``). ``correct`` turns that around. Pure.

The model is that of Bayesian quantification (Ziegler & Czyż 2024, "Bayesian quantification with black-box estimators", TMLR,
arXiv 2302.09159), which is the inversion of the matrix on the simplex (Saerens et al. 2002; Forman 2008) with its uncertainty:

    π ~ Dirichlet(a)                     true shares; a is 1 for an emotion that is always recognised, 0 for one that never is
    P[y] ~ Dirichlet(M[y] + 0.1)         what the classifier says about an emotion y; M[y] is a row of the matrix, in counts
    z[c] ~ Multinomial(counts[c], ∝ π P[:, c])     who is behind the people counted in cell c

``P`` is drawn from the matrix alone, once per chain, so that a shop that is unlike the matrix cannot bend it; then ``z`` and ``π``
in turn (Gibbs). The estimate is the mean of ``z`` summed over the cells, that is, of the shares among the people who were counted.

How many are unknown depends on distance and light far more than on what a face expresses: that number therefore says nothing
about the shares here. As many as the matrix expects are spread over the emotions as it says, all beyond that like everybody.

Compared on the held-out tenth of the training rows with least squares and maximum likelihood: see ``models/RUNS.md``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp
from typing import Final

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]

CHAINS: Final = 200  # independent ones: each has its own confusion matrix and its own noise
BURN, KEEP = 20, 5  # steps that are thrown away, and steps that are used
DOUBT: Final = 0.1  # added to each cell of the matrix: what was never seen may happen


@dataclass(frozen=True, slots=True)
class Shares:
    """Shares of the emotions among the people counted, in the order of the counts; each tuple but the bounds sums to 1.

    Attributes:
        counted: As published, negative cells taken as 0; all 0 when nobody was counted.
        corrected: The estimate.
        low, high: Bounds of the interval that holds the true share with the wanted probability.
    """

    counted: tuple[float, ...]
    corrected: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]


def correct(
    counts: Sequence[int],
    confusion: Sequence[Sequence[int]],
    *,
    epsilon: float | None = None,
    windows: int = 1,
    level: float = 0.9,
    seed: int = 0,
) -> Shares:
    """Correct published counts for what the classifier is known to mistake.

    Args:
        counts: People per emotion, then unknown; also the sum of many reports. Noised ones may be negative.
        confusion: ``[emotions][emotions + 1]``: rows are true, columns what was counted (unknown last), in faces. An emotion whose
            row is empty gets no share.
        epsilon: Of the discrete Laplace noise in each cell of one window; ``None`` for counts without noise.
        windows: How many noised windows the counts are the sum of.
        level: Probability of the interval, 0 to 1.
        seed: The same arguments give the same shares.

    Raises:
        ValueError: The numbers do not fit each other.
    """
    matrix, observed = np.array(confusion, np.int64), np.array(counts, np.int64)
    _check(matrix, observed, epsilon, windows, level)
    rng = np.random.default_rng(seed)
    cells = _without_noise(observed, epsilon, windows, rng)
    says = _dirichlet(np.broadcast_to(matrix + DOUBT, (CHAINS, *matrix.shape)), rng) + 1e-12
    known = says[:, :, :-1].sum(axis=2)  # of each emotion, how many get a name
    drawn = _draw(cells, says[:, :, :-1] / known[:, :, None], known, _weights(matrix), rng)
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2], axis=0)
    named = np.maximum(observed[:-1], 0)
    return Shares(
        tuple((named / max(int(named.sum()), 1)).tolist()),
        tuple(drawn.mean(axis=0).tolist()),
        tuple(low.tolist()),
        tuple(high.tolist()),
    )


def _check(matrix: Counts, observed: Counts, epsilon: float | None, windows: int, level: float) -> None:
    if matrix.ndim != 2 or matrix.shape[1] != matrix.shape[0] + 1 or (matrix < 0).any() or not matrix.any():
        raise ValueError(f"the confusion matrix is {list(matrix.shape)}; expected counts of faces, one column more than rows")
    if observed.shape != (matrix.shape[1],):
        raise ValueError(f"{observed.size} counts for {matrix.shape[1]} columns of the confusion matrix; expected one for each")
    if windows < 1 or not 0 < level < 1 or (epsilon is not None and epsilon <= 0):
        raise ValueError(f"epsilon {epsilon}, windows {windows}, level {level}: expected epsilon > 0, windows >= 1, 0 < level < 1")


def _weights(matrix: Counts) -> Array:
    """How strongly an emotion is expected before anything was counted: by its recall.

    Nothing can be inferred about an emotion that is never recognised; weighing it like the others would take from its look-alikes.
    """
    rows = matrix.sum(axis=1)
    return np.where(rows > 0, (matrix.diagonal() + 0.5) / (rows + 1), 0.0)


def _without_noise(observed: Counts, epsilon: float | None, windows: int, rng: np.random.Generator) -> Counts:
    """``int64[CHAINS, cells]``: what the true counts may have been, at least 0.

    Discrete Laplace noise is the difference of two geometric numbers, a sum of it that of two negative binomial ones.
    """
    shape = (CHAINS, len(observed))
    if epsilon is None:
        return np.array(np.broadcast_to(np.maximum(observed, 0), shape))
    up, down = (rng.negative_binomial(windows, 1 - exp(-epsilon), shape) for _ in range(2))
    return np.asarray(np.maximum(observed - up + down, 0), np.int64)


def _dirichlet(weights: Array, rng: np.random.Generator) -> Array:
    """Shares along the last axis."""
    drawn = np.asarray(rng.standard_gamma(weights))
    return np.asarray(drawn / np.maximum(drawn.sum(axis=-1, keepdims=True), 1e-300))


def _draw(cells: Counts, says: Array, known: Array, weights: Array, rng: np.random.Generator) -> Array:
    """``float64[CHAINS * KEEP, emotions]``: shares that may have led to these counts.

    Args:
        cells: ``[CHAINS, emotions + 1]``, people per cell.
        says: ``[CHAINS, emotions, emotions]``, what is said about the faces that get a name; rows sum to 1.
        known: ``[CHAINS, emotions]``, how many of an emotion's faces get a name.
        weights: ``[emotions]``, of the prior.
    """
    shares = _dirichlet(np.broadcast_to(weights + 1e-9 * (weights > 0), known.shape), rng)
    kept = []
    for step in range(BURN + KEEP):
        behind = (shares[:, :, None] * says).transpose(0, 2, 1) + 1e-300
        people = rng.multinomial(cells[:, :-1], behind / behind.sum(axis=2, keepdims=True)).sum(axis=1)
        shares = _dirichlet(weights + people, rng)
        if step >= BURN:
            people = people + rng.multinomial(cells[:, -1], _hidden(people, cells[:, -1:], known, shares))
            total = people.sum(axis=1, keepdims=True)
            kept.append(np.where(total > 0, people / np.maximum(total, 1), shares))
    return np.concatenate(kept)


def _hidden(people: Counts, unknown: Counts, known: Array, shares: Array) -> Array:
    """``float64[CHAINS, emotions]``: how the emotions of those who got no name are spread."""
    by_emotion = people * np.maximum(1 - known, 0) / known + 1e-12
    expected = by_emotion.sum(axis=1, keepdims=True)
    part = np.minimum(1, expected / np.maximum(unknown, 1))
    spread = part * by_emotion / expected + (1 - part) * shares + 1e-300
    return np.asarray(spread / spread.sum(axis=1, keepdims=True))
