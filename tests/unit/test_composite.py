"""The composite camera: its clock, its pictures, its errors, and what the device's own networks make of it."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from device.cameras import CameraOptions
from device.cameras.composite import FACES, CompositeCamera, Painter, open_camera, read_faces
from device.contract import EMOTIONS
from device.errors import CameraError, FrameClosedError
from device.manifest import read_manifest
from device.nets.emotion import EmotionNet
from device.nets.face import FaceNet
from device.scene import ACT_SECONDS, CAST, Scene
from device.types import Frame
from models.composite import EYES, LEAST, MeanFace, distinct, eye_matrix, lay_over, mean_face, mean_of
from models.data import DataError, Rows

FAST = CameraOptions(fast=True)


class Clock:
    """Time that passes only when somebody sleeps, or when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


def times(camera: CompositeCamera, count: int) -> list[float]:
    found = []
    for _ in range(count):
        with camera.take() as frame:
            found.append(frame.taken_at)
    return found


def test_frames_come_at_the_pace_that_was_asked() -> None:
    clock = Clock()
    camera = CompositeCamera(Scene(0), 5.0, clock=clock, sleep=clock.sleep)
    assert times(camera, 4) == pytest.approx([1000.0, 1000.2, 1000.4, 1000.6])
    assert clock.slept == pytest.approx([0.2, 0.2, 0.2])


def test_a_process_that_comes_late_misses_frames_and_the_scene_goes_on() -> None:
    clock = Clock()
    camera = CompositeCamera(Scene(0), 5.0, clock=clock, sleep=clock.sleep)
    times(camera, 2)
    clock.now += 12.05
    (late,) = times(camera, 1)
    assert late == pytest.approx(1012.4)
    with camera.take() as frame:
        expected = Painter(640, 480, 0).paint(camera.scene.people_at(63 / 5), 63)
        assert np.array_equal(frame.pixels, expected)


def test_the_fast_camera_never_waits_and_keeps_the_pace_of_the_scene() -> None:
    clock = Clock()
    camera = CompositeCamera(Scene(0), 4.0, fast=True, clock=clock, sleep=clock.sleep)
    assert times(camera, 3) == [0.0, 0.25, 0.5]
    assert clock.slept == []


def test_a_frame_is_destroyed_without_harm_to_the_next() -> None:
    camera = open_camera("3", FAST)
    with camera.take() as first:
        kept = first.pixels
    with camera.take() as second:
        assert second.pixels.mean() > 50
    assert not kept.any()
    with pytest.raises(FrameClosedError):
        _ = first.pixels


@pytest.mark.parametrize(("width", "height"), [(640, 480), (320, 240), (1280, 720), (480, 640)])
def test_a_frame_has_the_size_that_was_asked(width: int, height: int) -> None:
    camera = open_camera("", CameraOptions(width=width, height=height, fast=True))
    with camera.take() as frame:
        assert frame.size == (width, height)


def test_the_address_is_the_seed_and_without_one_the_options_say_it() -> None:
    def first_picture(address: str, seed: int = 0) -> bytes:
        with open_camera(address, CameraOptions(fast=True, seed=seed)).take() as frame:
            return frame.pixels.tobytes()

    assert first_picture("7") == first_picture("", seed=7) != first_picture("8")


@pytest.mark.parametrize("address", ["seven", "-1", "1.5", "/dev/video0", "4294967296", "٣"])
def test_an_address_that_is_no_seed_is_refused_in_one_line(address: str) -> None:
    with pytest.raises(CameraError, match=r"the address is the seed .* not .*composite:7") as caught:
        open_camera(address, FAST)
    assert "\n" not in str(caught.value)


def test_a_closed_camera_says_so() -> None:
    camera = open_camera("", FAST)
    camera.close()
    camera.close()
    with pytest.raises(CameraError, match="closed"):
        camera.take()


def test_a_missing_or_damaged_face_is_named(tmp_path: Path) -> None:
    with pytest.raises(CameraError, match=r"neutral\.png: cannot read the face"):
        read_faces(tmp_path)
    (tmp_path / "neutral.png").write_bytes(b"")
    with pytest.raises(CameraError, match=r"neutral\.png: not a square picture"):
        read_faces(tmp_path)


# What the networks see ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def find_faces() -> FaceNet:
    return FaceNet(read_manifest().file("face"))


@pytest.fixture(scope="module")
def read() -> EmotionNet:
    manifest = read_manifest()
    return EmotionNet(manifest.file("emotion"), temperature=manifest["emotion"].temperature)


@pytest.mark.parametrize("seed", [1, 16])
def test_every_figure_is_found_and_reads_as_the_script_says_and_nothing_else_is_a_face(
    seed: int, find_faces: FaceNet, read: EmotionNet
) -> None:
    scene, painter = Scene(seed), Painter(640, 480, seed)
    found = right = figures = strangers = 0
    for act in range(6):
        for after in (1.0, 1.7, 8.5):  # moods are pure and nobody is half outside the picture
            people = scene.people_at(act * ACT_SECONDS + after)
            with Frame(painter.paint(people, act), 0.0) as frame:
                faces = list(find_faces(frame))
                for figure in people:
                    mine = [
                        face
                        for face in faces
                        if abs((face.box[0] + face.box[2]) / 2 - figure.x) * 640 < 0.3 * figure.side
                        and abs((face.box[1] + face.box[3]) / 2 - figure.y) * 480 < 0.3 * figure.side
                    ]
                    figures += 1
                    found += bool(mine)
                    right += bool(mine) and EMOTIONS[int(np.argmax(read(frame, mine[0]).emotion))] == figure.mix[0][0]
                    faces = [face for face in faces if face not in mine[:1]]
                strangers += len(faces)
    assert figures > 80
    assert found >= 0.99 * figures
    assert right >= 0.95 * figures
    assert strangers == 0


# How the faces are made --------------------------------------------------------------------------------------------------


def test_each_face_of_the_cast_is_small_square_and_grey() -> None:
    assert {path.stem for path in FACES.glob("*.png")} >= set(CAST)
    for path in FACES.glob("*.png"):
        image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        assert image is not None
        assert image.shape == (96, 96)
        assert image.dtype == np.uint8
        assert path.stat().st_size < 10_000


def test_repeats_of_a_photo_are_left_out_and_different_ones_stay() -> None:
    photos = np.random.default_rng(0).integers(0, 256, (5, 48, 48), dtype=np.uint8)
    brighter = (photos[1] // 2 + 60).astype(np.uint8)
    assert distinct(np.stack([*photos, brighter, photos[3]])).tolist() == [0, 1, 2, 3, 4]


def test_a_mean_comes_to_lie_with_its_eyes_where_they_belong(find_faces: FaceNet) -> None:
    small = np.stack(
        [np.asarray(cv2.resize(cv2.imread(str(FACES / f"{n}.png"), 0), (48, 48)), np.uint8) for n in ("neutral", "happiness")]
    )
    laid, reached = lay_over(small, find_faces, "")
    assert len(laid) == 2
    mean = mean_of(laid, reached)
    on_grey = np.pad(mean, 48, constant_values=128)
    with Frame(np.repeat(on_grey[..., None], 3, axis=2), 0.0) as frame:
        (face,) = find_faces(frame)
    eyes = [(x * 192 - 48, y * 192 - 48) for x, y in face.keypoints[:2]]
    assert np.abs(np.array(eyes) - np.array(EYES)).max() < 4
    matrix = eye_matrix(face, 192, 192)
    assert matrix is not None
    assert np.hypot(matrix[0, 0], matrix[0, 1]) == pytest.approx(1.0, abs=0.12)


def test_a_mean_of_too_few_faces_is_never_made(find_faces: FaceNet) -> None:
    images = np.random.default_rng(0).integers(0, 256, (LEAST - 1, 48, 48), dtype=np.uint8)
    votes = np.zeros((LEAST - 1, 10), np.uint8)
    votes[:, 0] = 10
    with pytest.raises(DataError, match=f"at least {LEAST} are needed"):
        mean_face(Rows(images, votes, np.array(["x"] * (LEAST - 1))), 0, find_faces)


def test_the_means_of_the_real_data_have_enough_faces(find_faces: FaceNet) -> None:
    path = Path(__file__).parents[3] / "shared" / "data" / "ferplus-train.npz"
    if not path.exists():
        pytest.skip("FER+ is not on this machine")
    from models.data import load

    rows = load(path)
    made: MeanFace = mean_face(rows, EMOTIONS.index("disgust"), find_faces)  # the rarest
    assert made.faces >= LEAST
    shipped = cv2.imread(str(FACES / "disgust.png"), cv2.IMREAD_GRAYSCALE)
    assert np.abs(made.image.astype(int) - np.asarray(shipped, int)).mean() < 2.0


def test_a_picture_shows_who_is_in_the_script() -> None:
    painter, scene = Painter(640, 480, 0), Scene(0)
    empty, full = painter.paint(()), painter.paint(scene.people_at(5.0))
    changed = np.asarray((empty != full).any(axis=2))
    assert all(changed[int(figure.y * 480), int(figure.x * 640)] for figure in scene.people_at(5.0))
    assert changed.mean() < 0.75
