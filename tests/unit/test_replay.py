from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from device.cameras import CameraOptions
from device.cameras.replay import open_camera
from device.errors import CameraError, CameraStoppedError, EndOfFrames
from device.types import Pixels

FAST = CameraOptions(fps=5, fast=True)
PROJECT = Path(__file__).parents[2]
CLIPS = PROJECT.parent / "shared" / "data" / "clips"
ORANGE = (230, 130, 20)  # RGB


def picture(colour: tuple[int, int, int] = ORANGE, width: int = 64, height: int = 48) -> Pixels:
    """BGR, as OpenCV writes it."""
    return np.full((height, width, 3), colour[::-1], np.uint8)


@pytest.fixture
def video(tmp_path: Path) -> Callable[..., Path]:
    """Writes a video whose picture number n is grey of level 4 n."""

    def write(name: str = "clip.avi", frames: int = 60, fps: float = 30, code: str = "MJPG") -> Path:
        path = tmp_path / name
        writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*code), fps, (160, 120))
        noise = np.random.default_rng(0).integers(0, 12, (120, 160, 3), dtype=np.uint8)  # so that every frame has its bytes
        for number in range(frames):
            writer.write(np.full((120, 160, 3), 4 * number, np.uint8) + noise)
        writer.release()
        return path

    return write


def play(path: Path, options: CameraOptions = FAST) -> tuple[list[float], list[float], Exception]:
    """Times since the first, mean levels, and how it ended."""
    camera = open_camera(str(path), options)
    times: list[float] = []
    levels: list[float] = []
    try:
        while True:
            with camera.take() as frame:
                times.append(frame.taken_at)
                levels.append(float(frame.pixels.mean()))
    except (EndOfFrames, CameraError) as error:
        return [t - times[0] for t in times], levels, error
    finally:
        camera.close()


@pytest.mark.parametrize(("name", "code"), [("clip.avi", "MJPG"), ("clip.mkv", "MJPG"), ("clip.mp4", "mp4v")])
def test_a_video_is_sampled_at_the_rate_that_was_asked_for_by_its_own_clock(
    video: Callable[..., Path], name: str, code: str
) -> None:
    times, levels, end = play(video(name, code=code))

    assert times == pytest.approx([0.2 * n for n in range(10)], abs=0.02)
    assert levels == pytest.approx([4 * 6 * n + 5.5 for n in range(10)], abs=4)
    assert isinstance(end, EndOfFrames)


def test_a_video_slower_than_the_rate_gives_each_of_its_frames_once(video: Callable[..., Path]) -> None:
    times, _, end = play(video(frames=8, fps=3))

    assert times == pytest.approx([n / 3 for n in range(8)], abs=0.01)
    assert isinstance(end, EndOfFrames)


def test_a_video_keeps_its_own_size(video: Callable[..., Path]) -> None:
    with open_camera(str(video()), CameraOptions(width=1920, height=1080)).take() as frame:
        assert frame.size == (160, 120)


def test_the_end_stays_the_end(video: Callable[..., Path]) -> None:
    camera = open_camera(str(video(frames=1)), FAST)
    camera.take()
    for _ in range(2):
        with pytest.raises(EndOfFrames):
            camera.take()


def test_at_its_own_pace_no_frame_comes_before_its_time(video: Callable[..., Path]) -> None:
    camera = open_camera(str(video(frames=9, fps=30)), CameraOptions(fps=15))
    start = time.monotonic()
    for number in range(4):
        with camera.take() as frame:
            assert time.monotonic() >= frame.taken_at
            assert frame.taken_at - start >= number / 15 - 0.005


def test_fast_frames_do_not_wait_while_their_clock_runs_on(video: Callable[..., Path]) -> None:
    path = video(frames=60, fps=1)
    start = time.monotonic()

    times, _, _ = play(path)

    assert times[-1] == pytest.approx(59, abs=0.1)
    assert time.monotonic() - start < 30


def test_a_video_with_noise_and_colour_comes_out_as_rgb(tmp_path: Path) -> None:
    writer = cv2.VideoWriter(str(tmp_path / "orange.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 30, (64, 48))
    writer.write(picture())
    writer.release()

    with open_camera(str(tmp_path / "orange.avi"), FAST).take() as frame:
        assert frame.pixels.reshape(-1, 3).mean(0) == pytest.approx(ORANGE, abs=6)


@pytest.mark.parametrize("name", ["clip.avi", "clip.mkv"])
@pytest.mark.parametrize("part", [0.3, 0.5, 0.9])
def test_a_video_that_breaks_off_says_how_far_it_came(video: Callable[..., Path], name: str, part: float) -> None:
    path = video(name)
    os.truncate(path, int(path.stat().st_size * part))

    _, levels, end = play(path)

    assert levels
    assert isinstance(end, CameraStoppedError)
    assert f"{path}: breaks off after " in str(end)
    assert "of 60 pictures" in str(end)


def test_a_video_cut_before_its_first_picture_is_refused(video: Callable[..., Path]) -> None:
    path = video("clip.mp4", code="mp4v")  # its index is at the end
    os.truncate(path, path.stat().st_size // 2)

    with pytest.raises(CameraError, match="not a video, or broken off before its first picture"):
        open_camera(str(path), FAST)


@pytest.mark.parametrize(
    ("name", "content"),
    [("empty.mkv", b""), ("noise.mkv", bytes(range(256)) * 50), ("text.txt", b"hello\n" * 100), ("text.mkv", b"hello\n" * 100)],
)
def test_a_file_that_is_no_video_is_refused_without_a_word_from_opencv(tmp_path: Path, name: str, content: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    script = (  # a process of its own: FFmpeg decides at its first video how much it says
        "import sys; from device.cameras import CameraOptions; from device.cameras.replay import open_camera\n"
        "try: open_camera(sys.argv[1], CameraOptions())\n"
        "except Exception as error: print(type(error).__name__, error)"
    )

    ran = subprocess.run([sys.executable, "-c", script, str(path)], check=False, capture_output=True, text=True, cwd=PROJECT)

    assert ran.stdout.startswith(f"CameraError {path}: not a video")
    assert ran.stderr == ""


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(CameraError, match=r"nothing\.mkv: No such file or directory"):
        open_camera(str(tmp_path / "nothing.mkv"), FAST)
    with pytest.raises(CameraError, match="which recording"):
        open_camera("", FAST)


@pytest.mark.parametrize("name", ["x" * 300, "file/below", "loop", "~nobody at all/clip.mkv"])
def test_a_recording_that_cannot_even_be_looked_for_is_named(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to("loop")
    monkeypatch.chdir(tmp_path)

    with pytest.raises(CameraError, match="give a video, a GIF or a folder of pictures"):
        open_camera(name, FAST)


def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(CameraError, match="neither a file nor a folder"):
        open_camera(str(tmp_path / "pipe"), FAST)


def test_a_folder_is_shown_in_the_order_of_its_numbers_each_for_one_step(tmp_path: Path) -> None:
    for number in (10, 9, 1):
        cv2.imwrite(str(tmp_path / f"{number}.png"), picture((number, number, number)))
    (tmp_path / "notes.txt").write_text("not a picture, and left alone")
    (tmp_path / "sub.png").mkdir()

    times, levels, end = play(tmp_path)

    assert levels == [1, 9, 10]
    assert times == pytest.approx([0, 0.2, 0.4])
    assert isinstance(end, EndOfFrames)


@pytest.mark.parametrize("ending", ["jpg", "png", "bmp", "webp"])
def test_a_picture_comes_out_as_rgb_in_its_own_size(tmp_path: Path, ending: str) -> None:
    cv2.imwrite(str(tmp_path / f"a.{ending}"), picture())

    with open_camera(str(tmp_path), FAST).take() as frame:
        assert frame.size == (64, 48)
        assert frame.pixels.reshape(-1, 3).mean(0) == pytest.approx(ORANGE, abs=6)


@pytest.mark.parametrize("ending", ["jpg", "png", "bmp", "webp"])
@pytest.mark.parametrize("part", [0.0, 0.3, 0.9])
def test_a_damaged_picture_is_named_and_the_next_one_still_shown(tmp_path: Path, ending: str, part: float) -> None:
    noise = np.random.default_rng(1).integers(0, 255, (96, 128, 3), dtype=np.uint8)
    cv2.imwrite(str(tmp_path / f"1.{ending}"), noise)
    os.truncate(tmp_path / f"1.{ending}", int((tmp_path / f"1.{ending}").stat().st_size * part))
    cv2.imwrite(str(tmp_path / "2.png"), picture())
    camera = open_camera(str(tmp_path), FAST)

    with pytest.raises(CameraError, match=f"1.{ending}: not a picture, or a damaged one"):
        camera.take()

    with camera.take() as frame:
        assert frame.size == (64, 48)


def test_a_jpeg_with_a_thumbnail_and_something_after_its_end_is_whole(tmp_path: Path) -> None:
    """Phones write both: a preview with an end mark of its own, and a short film behind the picture."""
    _, encoded = cv2.imencode(".jpg", picture())
    data = encoded.tobytes()
    preview = b"Exif\0\0" + data
    segment = b"\xff\xe1" + (len(preview) + 2).to_bytes(2, "big") + preview
    (tmp_path / "phone.jpg").write_bytes(data[:2] + segment + data[2:] + b"film\xff\xda")

    with open_camera(str(tmp_path), FAST).take() as frame:
        assert frame.size == (64, 48)


def test_a_cut_jpeg_is_not_saved_by_the_end_of_its_thumbnail(tmp_path: Path) -> None:
    _, encoded = cv2.imencode(".jpg", np.random.default_rng(2).integers(0, 255, (48, 64, 3), dtype=np.uint8))
    data = encoded.tobytes()
    preview = b"Exif\0\0" + data
    segment = b"\xff\xe1" + (len(preview) + 2).to_bytes(2, "big") + preview
    (tmp_path / "phone.jpg").write_bytes((data[:2] + segment + data[2:])[:-40])

    with pytest.raises(CameraError, match=r"phone\.jpg: not a picture"):
        open_camera(str(tmp_path), FAST).take()


def test_a_folder_without_pictures_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CameraError, match="no pictures in this folder"):
        open_camera(str(tmp_path), FAST)


@pytest.mark.skipif(not CLIPS.is_dir(), reason="the shared clips are not on this machine")
class TestClips:
    """Recordings by others: their containers round differently, and none of them breaks off."""

    @pytest.mark.parametrize("path", sorted([*CLIPS.glob("*.gif"), *CLIPS.glob("*.mkv")]), ids=lambda p: p.name)
    def test_a_whole_clip_is_shown_to_its_end(self, path: Path) -> None:
        times, _, end = play(path)

        assert isinstance(end, EndOfFrames)
        assert len(times) == pytest.approx(times[-1] * 5 + 1, abs=1)

    @pytest.mark.parametrize("name", ["head-pose-face-detection-male.gif", "no.mkv"])
    @pytest.mark.parametrize("part", [0.5, 0.9])
    def test_a_cut_clip_says_that_it_breaks_off(self, tmp_path: Path, name: str, part: float) -> None:
        data = (CLIPS / name).read_bytes()
        (tmp_path / name).write_bytes(data[: int(len(data) * part)])

        _, levels, end = play(tmp_path / name)

        assert levels
        assert isinstance(end, CameraStoppedError)
