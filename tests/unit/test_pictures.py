"""Pictures that strangers bring: seen as a viewer shows them, or refused in one line."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Final

import cv2
import numpy as np
import pytest

from device.types import Pixels
from models.data import DataError
from models.pictures import load_picture

TURNS: Final[dict[int, Callable[[Pixels], Pixels]]] = {  # EXIF orientation, and how the picture is stored then
    1: lambda p: p,
    2: lambda p: p[:, ::-1],
    3: lambda p: p[::-1, ::-1],
    4: lambda p: p[::-1],
    5: lambda p: p.transpose(1, 0, 2),
    6: lambda p: p.transpose(1, 0, 2)[::-1],
    7: lambda p: p[::-1, ::-1].transpose(1, 0, 2),
    8: lambda p: p.transpose(1, 0, 2)[:, ::-1],
}


def scene() -> Pixels:
    """``uint8[40, 60, 3]`` BGR; all four corners differ."""
    coarse = np.array([[[0, 0, 250], [0, 250, 0], [250, 0, 0]], [[250, 250, 0], [90, 90, 90], [250, 0, 250]]], np.uint8)
    return np.asarray(cv2.resize(coarse, (60, 40)), np.uint8)


def jpeg(picture: Pixels) -> bytes:
    return bytes(cv2.imencode(".jpg", np.ascontiguousarray(picture), [cv2.IMWRITE_JPEG_QUALITY, 98])[1])


def with_orientation(content: bytes, orientation: int) -> bytes:
    """A JPEG with an EXIF block that says how the camera was held."""
    exif = b"Exif\0\0" + struct.pack(">2sHIHHHIHHI", b"MM", 42, 8, 1, 0x0112, 3, 1, orientation, 0, 0)
    return content[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + content[2:]


def loaded(path: Path) -> Pixels:
    with load_picture(path) as frame:
        return np.asarray(frame.pixels[..., ::-1].copy(), np.uint8)


@pytest.mark.parametrize("orientation", TURNS)
def test_a_photo_is_turned_as_its_exif_says(orientation: int, tmp_path: Path) -> None:
    path = tmp_path / "held.jpg"
    path.write_bytes(with_orientation(jpeg(TURNS[orientation](scene())), orientation))

    seen = loaded(path)

    assert seen.shape == scene().shape
    assert np.abs(seen.astype(int) - scene()).mean() < 4


@pytest.mark.parametrize("form", ["alpha", "sixteen bits", "grey"])
def test_a_png_of_any_form_is_the_same_picture(form: str, tmp_path: Path) -> None:
    picture, path = scene(), tmp_path / "a.png"
    grey = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)
    forms = {"alpha": np.dstack([picture, np.full((40, 60), 9, np.uint8)]), "sixteen bits": picture.astype(np.uint16) * 257}
    cv2.imwrite(str(path), forms.get(form, grey))

    assert (loaded(path) == (np.repeat(grey[..., None], 3, axis=2) if form == "grey" else picture)).all()


def test_a_photo_with_a_hole_in_it_is_refused_and_the_decoder_is_not_heard(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    content = bytearray(jpeg(np.random.default_rng(1).integers(0, 256, (80, 80, 3), np.uint8)))
    content[len(content) // 2 : len(content) // 2 + 40] = b"\xff\xd8" * 20
    (tmp_path / "hole.jpg").write_bytes(content)

    with pytest.raises(DataError, match=r"hole\.jpg: a damaged picture \(Corrupt JPEG data: .*leave it out"):
        load_picture(tmp_path / "hole.jpg")

    assert not capfd.readouterr().err


def test_stray_bytes_that_a_camera_leaves_do_no_harm(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    content = jpeg(scene())
    (tmp_path / "stray.jpg").write_bytes(content[:-2] + b"\0\0\0\0" + content[-2:])

    assert (loaded(tmp_path / "stray.jpg") == cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)).all()
    assert not capfd.readouterr().err


@pytest.mark.parametrize("ending", ["jpg", "png"])
@pytest.mark.parametrize("kept", [0.0, 0.5, 0.99])
def test_a_photo_that_is_cut_off_is_refused(ending: str, kept: float, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    content = bytes(cv2.imencode(f".{ending}", np.random.default_rng(1).integers(0, 256, (80, 80, 3), np.uint8))[1])
    (tmp_path / "cut").write_bytes(content[: int(kept * len(content))])

    with pytest.raises(DataError, match="cut: not a picture that OpenCV can read"):
        load_picture(tmp_path / "cut")

    assert not capfd.readouterr().err


def test_nobody_waits_on_a_pipe(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")

    with pytest.raises(DataError, match="not a regular file"):
        load_picture(tmp_path / "pipe.jpg")


def test_a_picture_that_opencv_cannot_turn_is_refused_only_where_it_is_to_be_turned(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "long.png"), np.zeros((2, 40_000, 3), np.uint8))

    with pytest.raises(DataError, match="40000 x 2 pixels; at most 32766 a side can be rotated"):
        load_picture(tmp_path / "long.png", "rotate")

    assert load_picture(tmp_path / "long.png", "blur").size == (40_000, 2)
