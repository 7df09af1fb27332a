"""Figures of a classifier, on rows small enough to check by hand."""

from __future__ import annotations

import numpy as np
import pytest

from models import measures

SURE = np.array([[0.9, 0.1, 0.0], [0.8, 0.2, 0.0], [0.3, 0.7, 0.0], [0.6, 0.4, 0.0]])
LABELS = np.array([0, 1, 1, 0])


def test_confusion_has_labels_in_rows_and_answers_in_columns() -> None:
    matrix = measures.confusion(SURE, LABELS)

    assert matrix.tolist() == [[2, 0, 0], [1, 1, 0], [0, 0, 0]]
    assert measures.accuracy(SURE, LABELS) == 0.75


def test_a_class_without_rows_has_no_recall() -> None:
    assert measures.recalls(measures.confusion(SURE, LABELS)) == [1.0, 0.5, None]


def test_calibration_error_is_the_mean_gap_between_confidence_and_accuracy() -> None:
    """Each row lies in its own bin: gaps 0.1, 0.8, 0.3 and 0.4."""
    assert measures.calibration_error(SURE, LABELS) == pytest.approx((0.1 + 0.8 + 0.3 + 0.4) / 4)


def test_a_model_as_sure_as_it_is_right_has_no_calibration_error() -> None:
    probabilities = np.tile([0.75, 0.25], (4, 1))

    assert measures.calibration_error(probabilities, np.array([0, 0, 0, 1])) == pytest.approx(0)


def test_full_confidence_falls_into_the_last_bin() -> None:
    assert measures.calibration_error(np.array([[1.0, 0.0]]), np.array([1])) == pytest.approx(1)


def test_a_higher_temperature_flattens_and_keeps_the_order() -> None:
    flat = measures.tempered(SURE, 3.0)

    np.testing.assert_allclose(flat.sum(axis=1), 1)
    assert (flat.argmax(axis=1) == SURE.argmax(axis=1)).all()
    assert (flat.max(axis=1) < SURE.max(axis=1)).all()


@pytest.mark.parametrize("true_temperature", [0.5, 1.0, 2.0])
def test_the_temperature_that_made_the_labels_is_found_again(true_temperature: float) -> None:
    rng = np.random.default_rng(1)
    logits = rng.normal(0, 2, (20_000, 8))
    probabilities = measures.tempered(np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True), 1.0)
    cumulative = measures.tempered(probabilities, true_temperature).cumsum(axis=1)
    labels = (rng.random((len(logits), 1)) > cumulative).sum(axis=1).clip(max=7)

    assert measures.fit_temperature(probabilities, labels) == pytest.approx(true_temperature, rel=0.05)


def test_the_surest_rows_are_those_with_the_highest_probability() -> None:
    probabilities = np.array([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8], [0.45, 0.55]])
    labels = np.array([0, 1, 1, 0])

    assert measures.accuracy_of_surest(probabilities, labels, 0.5) == 1
    assert measures.accuracy_of_surest(probabilities, labels, 1) == 0.5


def test_a_row_that_is_not_sure_enough_is_counted_in_the_last_cell() -> None:
    probabilities = np.array([[0.9, 0.1], [0.45, 0.55], [0.2, 0.8]])

    cells = measures.counted(probabilities, 0.6)

    assert cells.tolist() == [0, 2, 1]
    assert measures.counted_matrix(cells, np.array([0, 0, 1]), 2).tolist() == [[1, 0, 1], [0, 1, 0]]


def test_offsets_are_added_to_the_logits_after_the_temperature() -> None:
    even = np.array([[0.5, 0.5]])

    assert measures.tempered(even, 2.0, np.log([3.0, 1.0])).tolist() == [pytest.approx([0.75, 0.25])]


def test_the_interval_of_a_share_is_that_of_wilson() -> None:
    """Values from Newcombe 1998 (Statistics in Medicine 17, 857), method 3: 81 of 263, 15 of 148, 0 of 20, 1 of 29."""
    found = [measures.wilson(hits, rows) for hits, rows in ((81, 263), (15, 148), (0, 20), (1, 29))]

    expected = [(0.2553, 0.3662), (0.0624, 0.1605), (0.0, 0.1611), (0.0061, 0.1718)]
    assert found == [pytest.approx(ends, abs=5e-5) for ends in expected]


def test_the_interval_of_a_share_of_nothing_is_everything() -> None:
    assert measures.wilson(0, 0) == (0.0, 1.0)
    assert measures.wilson(5, 5)[1] == 1.0


def test_each_bin_of_confidence_has_its_rows_and_their_accuracy() -> None:
    found = measures.reliability(SURE, LABELS, bins=2)

    assert found.rows.tolist() == [0, 4]
    assert np.isnan(found.accuracy[0])
    assert found.accuracy[1] == 0.75
    assert found.confidence[1] == pytest.approx((0.9 + 0.8 + 0.7 + 0.6) / 4)


def test_macro_recall_is_the_mean_over_the_classes_that_have_rows() -> None:
    matrix = np.array([[3, 1, 0], [2, 2, 0], [0, 0, 0]])

    assert measures.macro_recall(matrix) == pytest.approx((0.75 + 0.5) / 2)
    assert measures.macro_recall(matrix, leave_out=0) == 0.5


def test_the_interval_of_macro_recall_holds_it_and_narrows_with_more_rows() -> None:
    few = np.array([[6, 4], [3, 7]])

    wide, narrow = measures.macro_interval(few), measures.macro_interval(100 * few)

    assert wide[0] < narrow[0] < 0.65 < narrow[1] < wide[1]


def test_a_class_that_is_never_recognised_still_widens_the_interval_of_macro_recall() -> None:
    low, high = measures.macro_interval(np.array([[5, 0], [3, 0]]))

    assert high - low > 0.1
