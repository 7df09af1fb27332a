"""For many tests: a sending process. For the evaluation: rows, photos and boxes, made of the mean faces that mien ships."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from device.contract import EMOTIONS
from tests.build import put_reports
from tests.sending import Bench
from tests.watching import Watching

COMPOSITES = Path(__file__).parents[2] / "device" / "cameras" / "faces"


@pytest.fixture(autouse=True)
def _registries_are_closed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Whatever registry a test opens is closed after it: Python 3.13 calls a database that nobody closed a mistake."""
    module = sys.modules.get("provisioning.registry")  # absent where the fleet's extra is not installed
    if module is None:
        yield
        return
    opened, really_open = [], module.Registry.open

    def remembered(*words: Any) -> Any:
        opened.append(really_open(*words))
        return opened[-1]

    monkeypatch.setattr(module.Registry, "open", staticmethod(remembered))
    yield
    for registry in opened:
        registry.close()


def composite(name: str, size: int) -> np.ndarray:
    return cv2.resize(cv2.imread(str(COMPOSITES / f"{name}.png"), cv2.IMREAD_GRAYSCALE), (size, size), interpolation=cv2.INTER_AREA)


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


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Callable[..., Bench]]:
    """A function that puts reports into a spool and sets up a sender: ``bench(3)``."""
    made: list[Bench] = []

    def make(count: int = 0, acknowledge: str = "broker", *, commands: bool = False) -> Bench:
        put_reports(tmp_path / "spool", count)
        made.append(Bench(tmp_path, acknowledge, commands))
        return made[-1]

    yield make
    for one in made:
        one.spool.close()


@pytest.fixture
def watching(tmp_path: Path) -> Watching:
    return Watching(tmp_path)
