"""How good a classifier is: figures from probabilities and labels. Pure functions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

Probabilities = npt.NDArray[np.float64]  # [N, classes], rows sum to 1
Labels = npt.NDArray[np.int64]  # [N]
BINS: Final = 15
LEAST: Final = 1e-12  # a probability is never taken as 0
TEMPERATURES: Final = (0.2, 5.0)
NORMAL_95: Final = 1.959964  # standard deviations on either side that hold 95 % of a normal distribution
REDRAWN: Final = 10_000  # how often a matrix is drawn anew for an interval


@dataclass(frozen=True, slots=True)
class Reliability:
    """Confidence against accuracy in equal bins of confidence; NaN in bins without rows."""

    rows: npt.NDArray[np.int64]  # [bins]
    confidence: npt.NDArray[np.float64]  # [bins], mean of the highest probabilities
    accuracy: npt.NDArray[np.float64]  # [bins]


def accuracy(probabilities: Probabilities, labels: Labels) -> float:
    """Share of the rows whose likeliest class is the label."""
    return float((probabilities.argmax(axis=1) == labels).mean())


def confusion(probabilities: Probabilities, labels: Labels) -> npt.NDArray[np.int64]:
    """``int64[classes, classes]``: rows are labels, columns are what the model said."""
    classes = probabilities.shape[1]
    return np.bincount(labels * classes + probabilities.argmax(axis=1), minlength=classes**2).reshape(classes, classes)


def recalls(matrix: npt.NDArray[np.int64]) -> list[float | None]:
    """Per class, the share of its rows that were recognised; ``None`` for a class without rows."""
    return [float(row[k] / row.sum()) if row.sum() else None for k, row in enumerate(matrix)]


def calibration_error(probabilities: Probabilities, labels: Labels, bins: int = BINS) -> float:
    """Expected calibration error (Guo et al. 2017, arXiv 1706.04599): how far confidence is from accuracy, over equal bins."""
    found = reliability(probabilities, labels, bins)
    return float(np.nansum(found.rows * np.abs(found.accuracy - found.confidence)) / len(labels))


def reliability(probabilities: Probabilities, labels: Labels, bins: int = BINS) -> Reliability:
    """How often the model is right, by how sure it is; a bin holds its upper edge."""
    sure = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == labels
    which = np.clip(np.ceil(sure * bins).astype(int) - 1, 0, bins - 1)
    rows = np.bincount(which, minlength=bins)
    sums = [np.bincount(which, weights=values, minlength=bins) for values in (sure, right)]
    confidence, accurate = (np.where(rows, total / np.maximum(rows, 1), np.nan) for total in sums)
    return Reliability(rows, confidence, accurate)


def wilson(hits: int, rows: int) -> tuple[float, float]:
    """The 95 % interval of a share (Wilson 1927): honest also for few rows and at 0 and 1. Without rows it says nothing: 0 to 1."""
    if not rows:
        return 0.0, 1.0
    share, square = hits / rows, NORMAL_95**2 / rows
    middle = (share + square / 2) / (1 + square)
    half = NORMAL_95 * float(np.sqrt(share * (1 - share) / rows + square / (4 * rows))) / (1 + square)
    return max(0.0, middle - half), min(1.0, middle + half)


def macro_recall(matrix: npt.NDArray[np.int64], leave_out: int | None = None) -> float:
    """Mean of the recalls of the classes that have rows, but one; NaN when there is none."""
    shares = [share for k, share in enumerate(recalls(matrix)) if share is not None and k != leave_out]
    return float(np.mean(shares)) if shares else float("nan")


def macro_interval(matrix: npt.NDArray[np.int64], leave_out: int | None = None, seed: int = 1) -> tuple[float, float]:
    """The 95 % interval of ``macro_recall``: recalls drawn from their Beta posteriors under Jeffreys' prior.

    A bootstrap of the rows would say that a class that is never recognised cannot be.
    """
    rng = np.random.default_rng(seed)
    rows, hits = matrix.sum(axis=1), matrix.diagonal()
    used = [k for k in range(len(matrix)) if rows[k] and k != leave_out]
    if not used:
        return 0.0, 1.0
    drawn = [rng.beta(hits[k] + 0.5, rows[k] - hits[k] + 0.5, REDRAWN) for k in used]
    low, high = np.percentile(np.mean(drawn, axis=0), [2.5, 97.5])
    return float(low), float(high)


def accuracy_of_surest(probabilities: Probabilities, labels: Labels, share: float = 0.85) -> float:
    """Accuracy on the ``share`` of the rows with the highest probabilities; of equal ones, those that come first."""
    order = np.argsort(-probabilities.max(axis=1), kind="stable")[: max(1, round(share * len(labels)))]
    return accuracy(probabilities[order], labels[order])


def counted(probabilities: Probabilities, unknown_below: float) -> Labels:
    """The cell in which each row is counted: its likeliest class, or one more (unknown) where that is not likely enough."""
    sure = probabilities.max(axis=1) >= unknown_below
    return np.asarray(np.where(sure, probabilities.argmax(axis=1), probabilities.shape[1]), np.int64)


def counted_matrix(cells: Labels, labels: Labels, classes: int) -> npt.NDArray[np.int64]:
    """``int64[classes, classes + 1]``: rows are labels, columns the cells in which they were counted, unknown last."""
    return np.bincount(labels * (classes + 1) + cells, minlength=classes * (classes + 1)).reshape(classes, classes + 1)


def tempered(probabilities: Probabilities, temperature: float, offsets: npt.ArrayLike = 0.0) -> Probabilities:
    """The probabilities that the same logits give when divided by ``temperature``, with ``offsets`` added after that."""
    logits = np.log(np.maximum(probabilities, LEAST)) / temperature + np.asarray(offsets)
    exponents = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(exponents / exponents.sum(axis=1, keepdims=True))


def negative_log_likelihood(probabilities: Probabilities, labels: Labels) -> float:
    """Mean over the rows, in nats."""
    return float(-np.log(np.maximum(probabilities[np.arange(len(labels)), labels], LEAST)).mean())


def fit_temperature(probabilities: Probabilities, labels: Labels) -> float:
    """The temperature with the least negative log-likelihood, to three digits, by golden-section search.

    Args:
        probabilities: At temperature 1.
        labels: From rows that were not trained on.
    """
    low, high = np.log(TEMPERATURES)
    golden = (np.sqrt(5) - 1) / 2
    while high - low > 1e-4:
        left, right = high - golden * (high - low), low + golden * (high - low)
        losses = [negative_log_likelihood(tempered(probabilities, float(np.exp(t))), labels) for t in (left, right)]
        low, high = (low, right) if losses[0] <= losses[1] else (left, high)
    return round(float(np.exp((low + high) / 2)), 3)
