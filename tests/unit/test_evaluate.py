"""``python -m models.evaluate``: figures that can be checked by hand, and bad input in one line with exit code 2."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from device.contract import EMOTIONS
from device.manifest import FOLDER, read_manifest
from device.types import Face
from models import eval_faces, eval_shares, framing, graph, measures
from models.data import DataError
from models.degrade import KINDS
from models.evaluate import main

COMPOSITES = Path(__file__).parents[2] / "device" / "cameras" / "faces"
POINTS = ((0.4, 0.4), (0.6, 0.4), (0.5, 0.5), (0.5, 0.6), (0.3, 0.45), (0.7, 0.45))


def composite(name: str, size: int) -> np.ndarray:
    return cv2.resize(cv2.imread(str(COMPOSITES / f"{name}.png"), cv2.IMREAD_GRAYSCALE), (size, size), interpolation=cv2.INTER_AREA)


def with_a_bias_of_nan(content: bytes) -> bytes:
    """A network whose last layer, a float one, answers with what is not a number."""
    model = schema.ModelT.InitFromPackedBuf(content, 0)
    last = next(step for name, step in graph.parse(content).named if name == "FULLY_CONNECTED")
    bias = bytes(model.buffers[model.subgraphs[0].tensors[last.inputs[2]].buffer].data)
    assert content.count(bias) == 1
    return content.replace(bias, np.full(len(EMOTIONS), np.nan, np.float32).tobytes())


@pytest.fixture
def crops(tmp_path: Path) -> Path:
    """Mean faces as FER+ rows: two of each, and one row whose votes do not agree."""
    names = ["neutral", "happiness", "surprise"]
    images = [composite(name, 48) for name in names for _ in range(2)]
    votes = [np.eye(10, dtype=np.uint8)[EMOTIONS.index(name)] * 10 for name in names for _ in range(2)]
    path = tmp_path / "crops.npz"
    np.savez(path, images=[*images, images[0]], votes=[*votes, np.full(10, 1, np.uint8)], names=[f"{n}.png" for n in range(7)])
    return path


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A picture with a face 200 pixels wide, one with a face 100 pixels wide, and one without; boxes.json beside them."""
    heads: dict[str, list[list[float]]] = {}
    for name, size in (("large.png", 200), ("small.png", 100), ("nobody.png", 0)):
        canvas = np.full((480, 640), 128, np.uint8)
        if size:
            canvas[100 : 100 + size, 200 : 200 + size] = composite("neutral", size)
        cv2.imwrite(str(tmp_path / name), canvas)
        heads[name] = [[200 + 0.1 * size, 100, 200 + 0.9 * size, 100 + size]] if size else []
    (tmp_path / "boxes.json").write_text(json.dumps(heads))
    return tmp_path


@pytest.fixture
def every_emotion(tmp_path: Path) -> Path:
    """Two rows of each emotion: mean faces, one of them mirrored."""
    images = [image for name in EMOTIONS for image in (composite(name, 48), composite(name, 48)[:, ::-1])]
    votes = [np.eye(10, dtype=np.uint8)[k] * 10 for k in range(len(EMOTIONS)) for _ in range(2)]
    np.savez(tmp_path / "every.npz", images=images, votes=votes, names=[f"{n}.png" for n in range(len(images))])
    return tmp_path / "every.npz"


# figures


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
    main(["emotion", "--data", str(crops), "--json"])
    main(["emotion", "--data", str(crops), "--degrade", kind, "--json"])

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


# bad input


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["emotion", "--data", "absent.npz"], "absent.npz: no such file"),
        (["emotion", "--data", "other.txt"], "other.txt: not a FER"),
        (["emotion", "--data", "crops.npz", "--model", "absent.tflite"], "absent.tflite: cannot read the model"),
        (["emotion", "--data", "crops.npz", "--model", "other.txt"], "other.txt: .*cannot run this model"),
        (["emotion", "--data", "undecided.npz"], "undecided.npz: no row has a majority label"),
        (["clips", "--clips", "absent"], "absent: no such folder"),
        (["faces", "--images", ".", "--boxes", "good.json", "--model", "absent.tflite"], "absent.tflite: cannot read the model"),
        (["faces", "--images", ".", "--boxes", "good.json", "--model", "other.txt"], "other.txt: .*cannot run this model"),
        (["clips", "--clips", "empty"], "empty: no video in it"),
        (["clips", "--clips", "broken"], "broken.gif"),
        (["faces", "--images", ".", "--boxes", "absent.json"], "absent.json: cannot read the boxes"),
        (["faces", "--images", ".", "--boxes", "other.txt"], "other.txt: the file: "),
        (["faces", "--images", ".", "--boxes", "three.json"], r"three.json: a.png.0: .*expected \{\"file name\""),
        (["faces", "--images", ".", "--boxes", "upside.json"], "upside.json: a.png: a box is empty or upside down"),
        (["faces", "--images", ".", "--boxes", "none.json"], "none.json: it names no image"),
        (["faces", "--images", "absent", "--boxes", "good.json"], "absent: no such folder"),
        (["faces", "--images", ".", "--boxes", "good.json"], "a.png: not a picture"),
        (["photos", "--images", ".", "--labels", "absent.csv"], "absent.csv: cannot read the labels"),
        (["photos", "--images", ".", "--labels", "other.txt"], "other.txt: no column 'path'"),
        (["photos", "--images", ".", "--labels", "a.png"], "a.png: not a CSV file in UTF-8"),
        (
            ["photos", "--images", ".", "--labels", "bored.csv"],
            "bored.csv: line 3: 'b.png', 'bored'; expected .* neutral, happiness",
        ),
        (["photos", "--images", ".", "--labels", "empty.csv"], "empty.csv: it names no picture"),
        (["photos", "--images", "absent", "--labels", "good.csv"], "absent: no such folder"),
        (["photos", "--images", ".", "--labels", "good.csv"], "a.png: not a picture"),
        (["shares", "--data", "absent.npz"], "absent.npz: no such file"),
        (["shares", "--data", "crops.npz"], "crops.npz: no row is labelled sadness"),
        (["shares", "--data", "crops.npz", "--size", "0"], "--size 0: expected at least 1"),
        (["shares", "--data", "crops.npz", "--samples", "99999999999"], "--samples 99999999999: expected at most 1000000"),
        (["emotion", "--data", "crops.npz", "--model", "nan.tflite"], "nan.tflite: it answers with values that are not numbers"),
        (["emotion", "--data", "crops.npz", "--model", "half.tflite"], "half.tflite: .*cannot run this model"),
        (["shares", "--data", "crops.npz", "--seed", "-1"], "--seed -1: expected at least 0"),
    ],
)
def test_bad_input_ends_with_one_clear_line_and_exit_code_2(
    words: list[str], message: str, crops: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = crops.parent
    monkeypatch.chdir(folder)
    (folder / "other.txt").write_text("hello")
    (folder / "a.png").write_bytes(b"\x89PNG and then nothing")
    (folder / "empty").mkdir()
    (folder / "broken").mkdir()
    (folder / "broken" / "broken.gif").write_bytes(b"GIF89a and then nothing")
    boxes = {"three": {"a.png": [[1, 2, 3]]}, "upside": {"a.png": [[9, 9, 1, 1]]}, "none": {}, "good": {"a.png": [[1, 1, 9, 9]]}}
    for name, content in boxes.items():
        (folder / f"{name}.json").write_text(json.dumps(content))
    tables = {"bored": "path,emotion\na.png,anger\nb.png,bored\n", "empty": "path,emotion\n", "good": "path,emotion\na.png,fear\n"}
    for name, text in tables.items():
        (folder / f"{name}.csv").write_text(text)
    shipped = (FOLDER / "emotion.tflite").read_bytes()
    (folder / "half.tflite").write_bytes(shipped[: len(shipped) // 2])
    (folder / "nan.tflite").write_bytes(with_a_bias_of_nan(shipped))
    np.savez(
        folder / "undecided.npz", images=np.zeros((1, 48, 48), np.uint8), votes=np.ones((1, 10), np.uint8), names=np.array(["a"])
    )

    code = main(words)

    said = capfd.readouterr()
    assert code == 2
    assert not said.out
    (line,) = [line for line in said.err.splitlines() if line.startswith("evaluate: ")]
    assert re.search(message, line)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["emotion", "--data", "a.npz", "--degrade", "fog"], "argument --degrade: invalid choice: 'fog'.*infrared"),
        (["emotion", "--data", "a.npz", "--point", "both"], "argument --point: invalid choice: 'both'"),
        (["shares", "--data", "a.npz", "--size", "many"], "argument --size: invalid int value: 'many'"),
        (["photos", "--images", "."], "required: --labels"),
        ([], "required: WHAT"),
    ],
)
def test_wrong_words_end_with_one_clear_line_too(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(words)

    (line,) = capsys.readouterr().err.splitlines()
    assert ended.value.code == 2
    assert re.search(message, line)


# the arithmetic of faces


def test_overlap_of_a_box_with_itself_is_one_and_with_a_distant_one_zero() -> None:
    box = np.array([0.0, 0, 10, 10])

    overlaps = eval_faces.overlap(box, np.array([[0.0, 0, 10, 10], [5, 0, 15, 10], [20, 20, 30, 30]]))

    assert overlaps.tolist() == pytest.approx([1, 1 / 3, 0])


def test_each_head_is_hit_once_by_the_surest_detection() -> None:
    head = np.array([[0.0, 0, 10, 10]])

    assert eval_faces.match([np.array([0.0, 0, 10, 9]), np.array([0.0, 0, 10, 10])], head) == [0, None]


def test_a_picture_without_heads_makes_every_detection_false() -> None:
    assert eval_faces.match([np.array([0.0, 0, 10, 9])], np.empty((0, 4))) == [None]


@pytest.mark.parametrize(
    ("scores", "hits", "truths", "expected"),
    [
        ([0.9, 0.8], [True, True], 2, 1.0),
        ([0.9, 0.8], [True, True], 4, 0.5),
        ([0.9, 0.8, 0.7], [True, False, True], 2, 0.5 + 0.5 * 2 / 3),
        ([0.7, 0.9, 0.8], [True, True, False], 2, 0.5 + 0.5 * 2 / 3),  # the order is that of the scores
        ([0.9], [False], 2, 0.0),
        ([], [], 2, 0.0),
    ],
)
def test_average_precision_is_the_area_under_precision_over_recall(
    scores: list[float], hits: list[bool], truths: int, expected: float
) -> None:
    assert eval_faces.average_precision(scores, hits, truths) == pytest.approx(expected)


def test_a_head_box_is_taller_than_its_face_and_reaches_higher() -> None:
    left, top, right, bottom = eval_faces.head_box(Face((0.25, 0.25, 0.75, 0.75), POINTS, 0.9), 400, 200)

    assert (left + right) / 2 == pytest.approx(200)
    assert right - left == pytest.approx(eval_faces.HEAD_WIDTH * 200)
    assert bottom - top == pytest.approx(eval_faces.HEAD_HEIGHT * 100)
    assert top < 50


# framing


def test_framing_is_the_images_side_and_height_in_widths_of_the_face() -> None:
    upright = Face((0.1, 0.2, 0.9, 1.0), POINTS, 0.9)

    measured = framing.measure([upright] * 3)

    assert measured.side == pytest.approx(1 / 0.8)
    assert measured.up == pytest.approx(0.1 / 0.8)
    assert measured.spread == pytest.approx((0, 0))


def test_framing_without_a_face_says_so() -> None:
    with pytest.raises(DataError, match="no face"):
        framing.measure([])
