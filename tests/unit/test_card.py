"""The card of the emotion model: written by one command, with the figures that ``models.evaluate`` prints."""

from __future__ import annotations

import json
import re
from pathlib import Path
from xml.etree import ElementTree as ET

import cv2
import numpy as np
import pytest

from device.contract import EMOTIONS
from device.manifest import FOLDER, read_manifest
from device.nets import emotion
from models import card, card_text, data, evaluate, measures
from models.plot import reliability_plot

COMPOSITES = Path(__file__).parents[2] / "device" / "cameras" / "faces"
SVG = "{http://www.w3.org/2000/svg}"


def rows(path: Path, each: int) -> Path:
    """So many rows of each emotion: mean faces, each a little darker than the one before."""
    faces = [cv2.imread(str(COMPOSITES / f"{name}.png"), cv2.IMREAD_GRAYSCALE) for name in EMOTIONS]
    small = [cv2.resize(face, (48, 48), interpolation=cv2.INTER_AREA) for face in faces for _ in range(each)]
    images = [np.clip(image * (1 - 0.05 * (n % each)), 0, 255).astype(np.uint8) for n, image in enumerate(small)]
    votes = np.repeat(np.eye(10, dtype=np.uint8)[: len(EMOTIONS)] * 10, each, axis=0)
    np.savez(path, images=images, votes=votes, names=[f"{n}.png" for n in range(len(images))])
    return path


@pytest.fixture
def blank(tmp_path: Path) -> Path:
    (tmp_path / "card.md").write_text(f"before\n\n{card_text.BEGIN}\nold figures\n{card_text.END}\n\nafter\n")
    return tmp_path / "card.md"


def test_one_command_writes_the_card_and_its_plot(tmp_path: Path, blank: Path, capsys: pytest.CaptureFixture[str]) -> None:
    valid, train = rows(tmp_path / "valid.npz", 2), rows(tmp_path / "train.npz", 5)
    plot = tmp_path / "plot.svg"
    words = ["--data", valid, "--held", train, "--card", blank, "--plot", plot, "--jobs", "1", "--samples", "3"]
    held = int(data.held_out(data.load(train).names).sum())

    code = card.main([str(word) for word in words])

    text = blank.read_text()
    capsys.readouterr()
    evaluate.main(["emotion", "--data", str(valid), "--degrade", "blur", "--json"])
    evaluate.main(["emotion", "--data", str(valid), "--json"])
    blurred, clean = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert code == 0
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "old figures" not in text
    assert read_manifest()[emotion.NAME].sha256 in text
    assert f"| `single` | {100 * clean['accuracy']:.2f} % (" in text
    assert f"{clean['macro_recall_7']:.3f} (" in text
    assert f"held-out tenth has {held} " in text
    assert f"| blur | {100 * blurred['accuracy']:.1f} % (" in text
    for heading in ("neutral", "| 85 % |", "| infrared |", "brightness", "contrast", "![How often it is right"):
        assert heading in text
    assert "](plot.svg)" in text
    assert ET.parse(plot).getroot().tag == f"{SVG}svg"


def test_a_card_that_is_written_again_is_the_same_but_for_the_time(tmp_path: Path, blank: Path) -> None:
    valid, train = rows(tmp_path / "valid.npz", 1), rows(tmp_path / "train.npz", 5)
    found = card.measure(valid, train, None, jobs=1, samples=2)

    card.write(found, blank, tmp_path / "plot.svg")
    once = blank.read_text()
    card.write(found, blank, tmp_path / "plot.svg")

    assert blank.read_text() == once


def test_whole_photos_get_a_table_when_they_are_given(tmp_path: Path) -> None:
    recall = {name: None if name == "fear" else 0.5 for name in EMOTIONS}

    told = card_text.figures_of_photos({"n": 40, "accuracy": 0.5, "missed": 2, "recall": recall})

    assert "40 photos at point `single`, no face found in 2; right: 50.0 % (35.2–64.8)" in told
    assert "| fear | – |" in told


def test_processes_bring_their_results_back_in_order() -> None:
    works = [(measures.wilson, (hits, 10)) for hits in range(4)]

    assert card.run_all(2, works, "counting") == card.run_all(1, works, "counting")


def test_the_card_in_the_tree_is_that_of_the_model_that_ships() -> None:
    text = (FOLDER / "emotion.md").read_text()

    assert f"SHA-256 `{read_manifest()[emotion.NAME].sha256}`" in text
    assert card.PLOT.is_file()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"--data": "absent.npz"}, r"absent\.npz: no such file"),
        ({"--held": "absent.npz"}, r"absent\.npz: no such file"),
        ({"--data": "few.npz"}, r"few\.npz: no row is labelled happiness"),
        ({"--card": "absent.md"}, r"absent\.md: cannot read the card"),
        ({"--card": "bare.md"}, r"bare\.md: it lacks the marks '<!-- measured"),
        ({"--samples": "0"}, "--samples 0: expected at least 1"),
        ({"--jobs": "-2"}, "--jobs -2: expected at least 1"),
    ],
)
def test_bad_input_ends_with_one_clear_line_and_exit_code_2(
    change: dict[str, str], message: str, blank: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(blank.parent)
    rows(Path("valid.npz"), 1)
    rows(Path("train.npz"), 5)
    one = data.load(Path("valid.npz"))
    np.savez("few.npz", images=one.images[:1], votes=one.votes[:1], names=one.names[:1])
    Path("bare.md").write_text("a card without marks\n")
    words = {"--data": "valid.npz", "--held": "train.npz", "--card": "card.md", "--plot": "p.svg", "--jobs": "1", **change}

    code = card.main([word for pair in words.items() for word in pair])

    (line,) = capsys.readouterr().err.splitlines()
    assert code == 2
    assert re.match(f"card: .*{message}", line)
    assert "old figures" in blank.read_text()


# the plot


def test_the_plot_is_xml_with_a_dot_for_each_bin_that_has_rows_and_a_bar_for_every_bin() -> None:
    probabilities = np.array([[0.9, 0.1], [0.62, 0.38], [0.64, 0.36], [0.99, 0.01]])
    found = measures.reliability(probabilities, np.array([0, 0, 1, 0]))

    picture = ET.fromstring(reliability_plot({"one & <only>": found}))

    assert len(picture.findall(f"{SVG}circle")) == int((found.rows > 0).sum()) == 3
    bars = [rect for rect in picture.iter(f"{SVG}rect") if rect.get("class") == "bar"]
    assert len(bars) == measures.BINS
    assert "one & <only>" in "".join(picture.itertext())


def test_the_plot_is_legible_on_light_and_on_dark_pages() -> None:
    found = measures.reliability(np.array([[0.9, 0.1]]), np.array([0]))

    drawn = reliability_plot({"one": found})

    assert '<rect class="back"' in drawn  # a background of its own
    assert "prefers-color-scheme: dark" in drawn
