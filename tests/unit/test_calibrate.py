"""Operating points: chosen from held-out rows, kept in the manifest, read by the device."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from device.contract import EMOTIONS
from device.manifest import FOLDER, Entry, Point, read_manifest
from device.nets import emotion
from device.settings import parse
from device.watch import load_nets
from models import calibrate, data, measures
from models.calibrate import choose, log_prior, threshold
from models.data import DataError, Rows
from tests.build import PERMISSIVE

PRIOR = np.array([0.4, 0.3, 0.1, 0.08, 0.06, 0.02, 0.03, 0.01])
Array = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]


def world(rows: int, seed: int = 1) -> tuple[Array, Labels]:
    """Faces that come as the prior says, and a network that knows the prior and is honestly unsure (Bayes' rule)."""
    rng = np.random.default_rng(seed)
    labels = rng.choice(len(EMOTIONS), rows, p=PRIOR)
    seen = rng.normal(size=(rows, len(EMOTIONS))) + 2.2 * np.eye(len(EMOTIONS))[labels]
    logits = 2.2 * seen + np.log(PRIOR)
    exponents = np.exp(logits - logits.max(axis=1, keepdims=True))
    return exponents / exponents.sum(axis=1, keepdims=True), labels


# choice


def test_counting_takes_the_prior_back_and_a_single_guess_keeps_it() -> None:
    probabilities, labels = world(6000)

    chosen = choose(probabilities, labels, np.log(PRIOR))

    assert chosen.strengths["single"] == 0
    assert chosen.strengths["count"] >= 0.5
    assert chosen.points["single"].temperature == pytest.approx(1, abs=0.1)
    single, count = (
        measures.tempered(probabilities, point.temperature, point.offsets)
        for point in (chosen.points["single"], chosen.points["count"])
    )
    assert calibrate.count_error(count, labels) < 0.85 * calibrate.count_error(single, labels)
    assert measures.accuracy(single, labels) > measures.accuracy(count, labels)


def test_the_matrix_counts_every_held_out_row_once() -> None:
    probabilities, labels = world(2000)

    chosen = choose(probabilities, labels, np.log(PRIOR))

    assert chosen.confusion.shape == (8, 9)
    assert chosen.confusion.sum(axis=1).tolist() == np.bincount(labels, minlength=8).tolist()


def test_what_is_chosen_fits_the_manifest() -> None:
    probabilities, labels = world(500)

    chosen = choose(probabilities, labels, np.log(PRIOR))

    entry = Entry.model_validate(
        {"file": "a.tflite", "sha256": "0" * 64, "source": "", "licence": "", **chosen.entry()}, strict=False
    )
    assert entry.point("count") == chosen.points["count"]


def test_a_face_is_unknown_where_answers_are_wrong_more_often_than_right() -> None:
    sure = np.repeat([0.9, 0.6, 0.45, 0.3], 100)
    probabilities = np.column_stack([sure, 1 - sure - 0.2, np.full(400, 0.2)])
    probabilities[300:] = (0.4, 0.3, 0.3)  # sure to 0.4 and mostly wrong
    labels = np.zeros(400, np.int64)
    labels[320:] = 1

    assert 0.4 < threshold(probabilities, labels, np.ones(3)) <= 0.45


def test_an_emotion_that_never_occurs_has_a_prior_all_the_same() -> None:
    assert np.isfinite(log_prior(np.array([0, 1, 1, 2], np.int64))).all()


# manifest and device


def test_the_shipped_manifest_has_both_points_and_the_matrix_of_the_counting_one() -> None:
    entry = read_manifest()[emotion.NAME]

    assert entry.points is not None
    assert entry.confusion is not None
    assert [len(row) for row in entry.confusion] == [len(EMOTIONS) + 1] * len(EMOTIONS)
    assert entry.points.single.temperature == entry.temperature


def test_an_entry_without_points_reads_plain_probabilities_at_its_temperature() -> None:
    entry = Entry(file="a.tflite", sha256="0" * 64, source="", licence="", temperature=0.7)

    assert entry.point("count") == entry.point("single") == Point(temperature=0.7, offsets=(0.0,) * 8)


@pytest.mark.parametrize("offsets", [(0.0,) * 7, (0.0,) * 9, (99.0,) * 8])
def test_offsets_that_are_not_eight_small_numbers_are_refused(offsets: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="offsets"):
        Point(offsets=offsets)


def test_the_device_counts_with_the_counting_point() -> None:
    point = read_manifest()[emotion.NAME].point("count")

    nets = load_nets(parse(f"[policy]\n{PERMISSIVE}", "f"))

    assert nets.unknown_below == point.unknown_below
    assert nets.emotion._offsets == point.offsets


def test_offsets_are_added_after_the_temperature() -> None:
    logits = np.array([[2.0, 1.0, 0, 0, 0, 0, 0, 0]], np.float32)
    offsets = (0.0, 3.0, 0, 0, 0, 0, 0, 0)

    read = emotion.decode(logits, 0.0, 0, 2.0, offsets)

    expected = np.exp([1.0, 3.5, 0, 0, 0, 0, 0, 0])
    assert read == pytest.approx(expected / expected.sum())
    assert measures.tempered(np.array([read]), 1.0)[0] == pytest.approx(read)


# the command


def test_the_command_writes_the_points_into_the_manifest_of_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in FOLDER.glob("*.tflite"):
        shutil.copy(path, tmp_path)
    manifest = json.loads((FOLDER / "manifest.json").read_text())
    for field in ("points", "confusion"):
        manifest["models"]["emotion"].pop(field)
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    votes = np.eye(10, dtype=np.uint8)[np.arange(60) % 3] * 10
    images = np.random.default_rng(1).integers(0, 256, (60, 48, 48), np.uint8)
    np.savez(tmp_path / "rows.npz", images=images, votes=votes, names=[f"{n}.png" for n in range(60)])
    monkeypatch.setattr("sys.argv", ["calibrate", "--data", str(tmp_path / "rows.npz"), "--out", str(tmp_path)])

    code = calibrate.main()

    entry = read_manifest(tmp_path)["emotion"]
    assert code == 0
    assert "held-out rows" in capsys.readouterr().out
    assert entry.points is not None
    assert entry.sha256 == manifest["models"]["emotion"]["sha256"]


def test_held_out_rows_of_contempt_alone_are_refused() -> None:
    names = np.array([f"{n}.png" for n in range(60)])
    votes = np.eye(10, dtype=np.uint8)[np.where(data.held_out(names), EMOTIONS.index("contempt"), 0)] * 10

    with pytest.raises(DataError, match="every held-out row is labelled contempt"):
        calibrate.split(Rows(np.zeros((60, 48, 48), np.uint8), votes, names))


def test_data_without_held_out_rows_ends_with_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    np.savez(tmp_path / "one.npz", images=np.zeros((1, 48, 48), np.uint8), votes=np.eye(10, dtype=np.uint8)[:1] * 10, names=["a"])
    monkeypatch.setattr("sys.argv", ["calibrate", "--data", str(tmp_path / "one.npz"), "--out", str(tmp_path)])

    code = calibrate.main()

    assert code == 2
    assert capsys.readouterr().err.splitlines() == [
        "calibrate: no row is held out, or no other is left; give the training rows of FER+ or a file with many names"
    ]
