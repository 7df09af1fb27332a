"""``python -m models.evaluate``: bad input ends with one clear line and exit code 2."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from device.contract import EMOTIONS
from device.manifest import FOLDER
from models import graph, pictures
from models.evaluate import main


def with_a_bias_of_nan(content: bytes) -> bytes:
    """A network whose last layer, a float one, answers with what is not a number."""
    model = schema.ModelT.InitFromPackedBuf(content, 0)
    last = next(step for name, step in graph.parse(content).named if name == "FULLY_CONNECTED")
    bias = bytes(model.buffers[model.subgraphs[0].tensors[last.inputs[2]].buffer].data)
    assert content.count(bias) == 1
    return content.replace(bias, np.full(len(EMOTIONS), np.nan, np.float32).tobytes())


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
        (["faces", "--images", ".", "--boxes", "upside.json"], "upside.json: a.png: a box is empty, upside down or"),
        (["faces", "--images", ".", "--boxes", "none.json"], "none.json: it names no image"),
        (["faces", "--images", "absent", "--boxes", "good.json"], "absent: no such folder"),
        (["faces", "--images", ".", "--boxes", "good.json"], "a.png: not a picture"),
        (["faces", "--images", ".", "--boxes", "nul.json"], "cannot read the picture .*null"),
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
        (["emotion", "--data", "pipe"], "pipe: cannot read it .not a regular file"),
        (["emotion", "--data", "crops.npz", "--model", "pipe"], "pipe: cannot read the model .not a regular file"),
        (["faces", "--images", ".", "--boxes", "good.json", "--model", "pipe"], "pipe: cannot read the model .not a regular file"),
        (["photos", "--images", ".", "--labels", "pipe.csv"], "pipe: cannot read the picture .not a regular file"),
        (["photos", "--images", ".", "--labels", "lines.csv"], "cannot read the picture .No such file"),
        (["photos", "--images", "x" * 300, "--labels", "good.csv"], "cannot look there .File name too long"),
        (["faces", "--images", "x" * 300, "--boxes", "good.json"], "cannot look there .File name too long"),
        (["clips", "--clips", "x" * 300], "cannot look there .File name too long"),
        (["clips", "--clips", "latin"], "its name, or that of a folder above it, is not UTF-8; rename it"),
        (["emotion", "--data", "x" * 300], "cannot read it .File name too long"),
        (["faces", "--images", ".", "--boxes", "far.json"], "far.json: a.png: a box is .* nowhere near"),
        (["faces", "--images", ".", "--boxes", "shares.json"], "shares.json: a.png: a box is less than a pixel"),
        (["faces", "--images", ".", "--boxes", "words.json"], "words.json: a.png.0.0: .*valid number"),
        (["faces", "--images", ".", "--boxes", "twice.json"], "twice.json: a.png is named twice"),
        (["faces", "--images", ".", "--boxes", "outside.json"], "outside.json: grey.png: a box lies outside .* 60 x 40 pixels"),
        (["photos", "--images", ".", "--labels", "twice.csv"], "line 3: a.png is 'anger' here and 'fear' before"),
        (["photos", "--images", ".", "--labels", "columns.csv"], "columns.csv: two columns are named 'emotion'"),
        (["photos", "--images", ".", "--labels", "longer.csv"], "longer.csv: line 2: more cells than columns"),
        (["emotion", "--data", "undecided.npz"], "a single vote counts as noise: give a label that is certain 10"),
        (["emotion", "--data", "float.npz"], r"images is float32.*multiply by 255 if it goes from 0 to 1, round to whole numbers"),
        (["emotion", "--data", "objects.npz"], r"names holds Python objects; .*astype\(str\)"),
        (["emotion", "--data", "crops.npz", "--model", "nothing.tflite"], "nothing.tflite: the model is empty"),
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
    boxes = {
        "three": {"a.png": [[1, 2, 3]]},
        "upside": {"a.png": [[9, 9, 1, 1]]},
        "none": {},
        "nul": {"a\0.png": []},
        "good": {"a.png": [[1, 1, 9, 9]]},
    }
    boxes["far"] = {"a.png": [[0, 0, 1e308, 1e308]]}
    boxes |= {"shares": {"a.png": [[0.1, 0.1, 0.5, 0.6]]}, "outside": {"grey.png": [[70, 10, 90, 30]]}}
    (folder / "words.json").write_text('{"a.png": [["1", "2", "3", "4"]]}')
    (folder / "twice.json").write_text('{"a.png": [[1, 2, 3, 4]], "b.png": [], "a.png": []}')
    cv2.imwrite(str(folder / "grey.png"), np.full((40, 60), 99, np.uint8))
    (folder / "nothing.tflite").touch()
    os.mkfifo(folder / "pipe")
    (folder / "latin").mkdir()
    (folder / "latin" / os.fsdecode(b"caf\xe9.gif")).write_bytes(b"GIF89a")
    for name, content in boxes.items():
        (folder / f"{name}.json").write_text(json.dumps(content))
    tables = {"bored": "path,emotion\na.png,anger\nb.png,bored\n", "empty": "path,emotion\n", "good": "path,emotion\na.png,fear\n"}
    tables |= {"twice": "path,emotion\na.png,fear\na.png,anger\n", "columns": "path,emotion,emotion\na.png,fear,anger\n"}
    tables |= {"longer": "path,emotion\na.png,fear,and,more\n"}
    tables |= {"pipe": "path,emotion\npipe,fear\n", "lines": 'path,emotion\n"a\nb.png",fear\n'}
    for name, text in tables.items():
        (folder / f"{name}.csv").write_text(text)
    shipped = (FOLDER / "emotion.tflite").read_bytes()
    (folder / "half.tflite").write_bytes(shipped[: len(shipped) // 2])
    (folder / "nan.tflite").write_bytes(with_a_bias_of_nan(shipped))
    np.savez(
        folder / "undecided.npz", images=np.zeros((1, 48, 48), np.uint8), votes=np.ones((1, 10), np.uint8), names=np.array(["a"])
    )
    one: dict[str, Any] = {
        "images": np.zeros((1, 48, 48), np.uint8),
        "votes": np.full((1, 10), 10, np.uint8),
        "names": np.array(["a"]),
    }
    np.savez(folder / "float.npz", **one | {"images": np.zeros((1, 48, 48), np.float32)})
    np.savez(folder / "objects.npz", **one | {"names": np.array(["a"], object)})

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


def of_its_own(script: str, crops: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """A shell line, in which ``evaluate`` is the command."""
    line = f'evaluate() {{ "{sys.executable}" -m models.evaluate "$@"; }}; {script}'
    return subprocess.run(
        ["bash", "-c", line, "bash", crops],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[2],
        env={**os.environ, **environment},
    )


def test_a_terminal_without_dashes_gets_the_table_all_the_same(crops: Path) -> None:
    ended = of_its_own('evaluate emotion --data "$1"', crops, PYTHONIOENCODING="ascii")

    assert ended.returncode == 0, ended.stderr
    assert "accuracy" in ended.stdout


def test_with_stderr_closed_the_result_comes_and_with_stdout_closed_a_word(crops: Path) -> None:
    quiet = of_its_own('evaluate emotion --data "$1" --json 2>&-', crops)
    lost = of_its_own('evaluate emotion --data "$1" --json >&-', crops)

    assert quiet.returncode == 0
    assert json.loads(quiet.stdout)["n"] > 0
    assert (lost.returncode, lost.stderr) == (2, "evaluate: the result cannot be written (stdout is closed)\n")


def test_too_little_memory_is_said_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object) -> None:
        raise MemoryError

    cv2.imwrite(str(tmp_path / "a.png"), np.full((40, 60), 99, np.uint8))
    (tmp_path / "boxes.json").write_text('{"a.png": []}')
    monkeypatch.setattr(pictures, "degrade", full)

    code = main(["faces", "--images", str(tmp_path), "--boxes", str(tmp_path / "boxes.json"), "--degrade", "noise"])

    assert code == 2
    assert "a.png: not enough memory for 60 x 40 pixels; scale it down" in capfd.readouterr().err


def test_a_hidden_file_is_no_video(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "._a.mp4").write_bytes(b"left by another system")

    assert main(["clips", "--clips", str(tmp_path)]) == 2
    assert "no video in it" in capfd.readouterr().err
