"""``python -m models.evaluate``: figures that can be checked by hand."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from device.contract import EMOTIONS
from device.manifest import FOLDER, read_manifest
from models import eval_shares, measures
from models.degrade import KINDS
from models.evaluate import main
from tests.unit.conftest import composite


def test_emotion_reports_every_figure_over_the_rows_that_have_a_label(crops: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["emotion", "--data", str(crops), "--json"])

    result = json.loads(capsys.readouterr().out)
    assert code == 0
    assert result["n"] == 6
    assert result["accuracy"] == result["macro_recall"] == 1.0
    assert result["recall"] == {name: 1.0 if name in {"neutral", "happiness", "surprise"} else None for name in EMOTIONS}
    assert np.trace(np.array(result["confusion"])) == 6
    assert 0 <= result["ece"] <= 1
    assert result["model"] == "emotion.tflite"
    assert len(result["sha256"]) == 64
    assert result["point"] == "single"
    assert result["accuracy_85"] == 1.0
    assert result["accuracy_kept"] == 1.0
    assert 0 <= result["abstained"] < 0.5


def test_emotion_reads_with_the_point_that_it_is_told(every_emotion: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for point in ("single", "count"):
        main(["emotion", "--data", str(every_emotion), "--point", point, "--json"])

    single, count = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert (single["point"], count["point"]) == ("single", "count")
    assert single["ece"] != count["ece"]
    assert count["macro_recall"] >= single["macro_recall"]


@pytest.mark.parametrize("kind", KINDS)
def test_emotion_sees_the_pictures_that_were_made_worse(kind: str, crops: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["emotion", "--data", str(crops), "--point", "count", "--json"]
    main(words)
    main([*words, "--degrade", kind])

    clean, worse = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert (clean["degrade"], worse["degrade"]) == (None, kind)
    assert clean["n"] == worse["n"]
    assert clean["ece"] != worse["ece"]


def test_photos_reads_the_largest_face_and_counts_a_photo_without_one_as_wrong(
    photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    canvas = cv2.imread(str(photos / "nobody.png"), cv2.IMREAD_GRAYSCALE)
    assert canvas is not None
    canvas[20:220, 20:220], canvas[300:380, 400:480] = composite("happiness", 200), composite("neutral", 80)
    cv2.imwrite(str(photos / "two.png"), canvas)
    (photos / "labels.csv").write_text(
        "path,emotion,who\nlarge.png,neutral,a\ntwo.png,Happiness,b\nnobody.png,anger,c\nsmall.png,sadness,d\n"
    )

    code = main(["photos", "--images", str(photos), "--labels", str(photos / "labels.csv"), "--json"])

    result = json.loads(capsys.readouterr().out)
    assert code == 0
    assert {key: result[key] for key in ("n", "accuracy", "missed")} == {"n": 4, "accuracy": 0.5, "missed": 1}
    expected = {"neutral": 1.0, "happiness": 1.0, "sadness": 0.0, "anger": 0.0}
    assert result["recall"] == {name: expected.get(name) for name in EMOTIONS}


def test_shares_are_counted_corrected_and_covered(every_emotion: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["shares", "--data", str(every_emotion), "--size", "20", "--samples", "8", "--json"]

    codes = [main([*words, "--seed", seed]) for seed in ("3", "3", "4")]

    first, again, other = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert codes == [0, 0, 0]
    assert first == again
    assert first != other
    assert 0 <= first["mae_corrected"] < 0.1
    assert 0 <= first["mae_counted"] < 0.1
    assert 0.5 < first["coverage_90"] <= 1


def test_in_shares_what_the_classifier_always_mistakes_is_put_right() -> None:
    labels = np.repeat(np.arange(8), 50)
    cells = np.where((labels == 3) & (np.arange(400) % 2 == 0), 0, labels)  # half of the sad are counted as neutral
    confusion = measures.counted_matrix(cells, labels, 8)

    figures = eval_shares.measure(cells, labels, confusion, 200, samples=10, seed=1)

    assert figures["mae_corrected"] < 0.6 * figures["mae_counted"]
    assert figures["coverage_90"] > 0.8


def test_a_turned_photo_is_compared_with_turned_heads(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["faces", "--images", str(photos), "--boxes", str(photos / "boxes.json"), "--degrade", "rotate", "--json"])

    assert json.loads(capsys.readouterr().out)["recall"] == 1.0


def test_emotion_measures_the_model_that_it_is_given(crops: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copy(FOLDER / "emotion.tflite", tmp_path / "mine.tflite")
    main(["emotion", "--data", str(crops), "--json"])
    main(["emotion", "--data", str(crops), "--model", str(tmp_path / "mine.tflite"), "--json"])

    shipped, mine = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert mine == {**shipped, "model": "mine.tflite"}


def test_faces_counts_hits_misses_and_large_heads(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["faces", "--images", str(photos), "--boxes", str(photos / "boxes.json"), "--json"])

    result = json.loads(capsys.readouterr().out)
    assert code == 0
    assert {key: result[key] for key in ("images", "faces", "faces_60px", "false_positives")} == {
        "images": 3,
        "faces": 2,
        "faces_60px": 2,
        "false_positives": 0,
    }
    assert result["recall"] == result["recall_60px"] == 1.0
    assert result["average_precision"] == 1.0


def test_clips_counts_the_people_of_each_video(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    writer = cv2.VideoWriter(str(tmp_path / "one.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 10, (320, 240))
    for step in range(30):
        canvas = np.full((240, 320), 128, np.uint8)
        canvas[60:180, 60 + step : 180 + step] = composite("neutral", 120)
        writer.write(cv2.cvtColor(canvas, cv2.COLOR_GRAY2BGR))
    writer.release()
    (tmp_path / "LICENSE").write_text("not a video, and not named like one")

    codes = [main(["clips", "--clips", str(tmp_path), "--json", *more]) for more in ([], ["--degrade", "rotate"])]

    assert codes == [0, 0]
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == [{"people": {"one": 1}}] * 2


@pytest.mark.parametrize(
    "words", [["--detector", "full"], ["--tiles", "2"], ["--form", "int8"], ["--detector", "short", "--tiles", "4"]]
)
def test_faces_can_be_looked_for_by_another_detector(words: list[str], photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["faces", "--images", str(photos), "--boxes", str(photos / "boxes.json"), "--json", *words])

    result = json.loads(capsys.readouterr().out)
    assert code == 0
    assert result["recall"] == 1.0
    assert {result["detector"], str(result["tiles"])} >= {word for word in words[1::2] if word != "int8"}


def test_a_model_file_of_ones_own_is_measured_under_its_own_hash(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    form = read_manifest()["face-short"].forms["float16"]
    words = ["--detector", "short", "--model", str(FOLDER / form.file)]

    main(["faces", "--images", str(photos), "--boxes", str(photos / "boxes.json"), "--json", *words])

    assert json.loads(capsys.readouterr().out)["sha256"] == form.sha256


@pytest.mark.parametrize("what", ["emotion", "faces", "photos", "shares"])
def test_without_json_a_person_reads_a_table(
    what: str, crops: Path, photos: Path, every_emotion: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (photos / "labels.csv").write_text("path,emotion\nlarge.png,neutral\n")
    words = {
        "photos": ["--images", str(photos), "--labels", str(photos / "labels.csv")],
        "shares": ["--data", str(every_emotion), "--samples", "2"],
        "emotion": ["--data", str(crops)],
        "faces": ["--images", str(photos), "--boxes", str(photos / "boxes.json")],
    }

    main([what, *words[what]])

    said = capsys.readouterr()
    expected = {
        "emotion": "accuracy      100.00%",
        "faces": "recall, all              100.0%",
        "photos": "accuracy                 100.00%",
        "shares": "2 samples of 50 faces out of 16",
    }
    assert expected[what] in said.out
    assert "\r" not in said.err  # no progress bar where nobody looks
