"""FER+ rows: the scoring protocol, files that are not what they should be, and how faces are found in tight crops."""

from __future__ import annotations

import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest

from device.manifest import read_manifest
from device.nets import emotion
from device.nets.face import FaceNet
from models import data
from models.data import DataError

COMPOSITES = Path(__file__).parents[2] / "device" / "cameras" / "faces"


def votes(**counts: int) -> np.ndarray:
    order = ("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt", "unknown", "nf")
    return np.array([[counts.get(name, 0) for name in order]], np.uint8)


def save(path: Path, **arrays: object) -> Path:
    whole = {"images": np.zeros((3, 48, 48), np.uint8), "votes": np.zeros((3, 10), np.uint8), "names": np.array(["a", "b", "c"])}
    np.savez(path, **{**whole, **arrays})  # type: ignore[arg-type]
    return path


@pytest.mark.parametrize(
    ("row", "label"),
    [
        (votes(neutral=10), 0),
        (votes(happiness=6, neutral=4), 1),
        (votes(sadness=5, neutral=5), -1),  # half is not more than half
        (votes(sadness=4, neutral=3, anger=3), -1),
        (votes(sadness=5, neutral=4, anger=1), 3),  # the single vote does not count, so 5 of 9
        (votes(anger=4, neutral=1, fear=1, surprise=1, unknown=3), 4),  # 4 of 7 once the single votes are gone
        (votes(unknown=8, neutral=2), -1),
        (votes(nf=10), -1),
        (np.ones((1, 10), np.uint8), -1),  # nothing but single votes
    ],
)
def test_a_row_has_a_label_only_if_more_than_half_of_its_repeated_votes_agree_on_an_emotion(row: np.ndarray, label: int) -> None:
    assert data.majority(row).tolist() == [label]


def test_soft_labels_are_the_shares_of_the_repeated_votes_for_emotions() -> None:
    rows = np.concatenate([votes(happiness=6, surprise=2, fear=1, unknown=1), votes(neutral=5, unknown=5)])

    shares = data.soft_labels(rows)

    assert shares[0].tolist() == [0, 0.75, 0.25, 0, 0, 0, 0, 0]
    assert shares[1].tolist() == [1, 0, 0, 0, 0, 0, 0, 0]


def test_the_held_out_tenth_depends_on_nothing_but_the_names() -> None:
    names = np.array([f"fer{n:07d}.png" for n in range(5000)])

    aside = data.held_out(names)

    assert 0.08 < aside.mean() < 0.12
    assert (data.held_out(names[::-1]) == aside[::-1]).all()


def test_a_good_file_is_read_as_it_is(tmp_path: Path) -> None:
    path = save(tmp_path / "good.npz", votes=np.repeat(votes(fear=7), 3, axis=0))

    rows = data.load(path)

    assert len(rows) == 3
    assert rows[np.array([1])].names.tolist() == ["b"]
    assert data.majority(rows.votes).tolist() == [6, 6, 6]


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"absent\.npz: no such file"):
        data.load(tmp_path / "absent.npz")


def test_a_folder_is_not_a_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="folder"):
        data.load(tmp_path)


@pytest.mark.parametrize("content", [b"", b"not a zip", b"PK\x03\x04 half of one"])
def test_a_file_of_another_kind_is_refused_in_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "other.npz"
    path.write_bytes(content)

    with pytest.raises(DataError, match="not a FER") as error:
        data.load(path)

    assert "\n" not in str(error.value)


def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "whole.npz")
    path.write_bytes(path.read_bytes()[:-40])

    with pytest.raises(DataError, match="not a FER"):
        data.load(path)


def test_a_single_array_is_not_such_a_file(tmp_path: Path) -> None:
    with (tmp_path / "array.npz").open("wb") as file:
        np.save(file, np.zeros(3))

    with pytest.raises(DataError, match="not a FER"):
        data.load(tmp_path / "array.npz")


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"images": np.zeros((3, 48, 48), np.float32)}, r"images is float32\[3, 48, 48\], expected uint8\[3, 48, 48\]"),
        ({"images": np.zeros((3, 64, 64), np.uint8)}, r"images is uint8\[3, 64, 64\], .*; scale each picture to 48 x 48, grey"),
        (
            {"images": np.zeros((3, 48, 48, 3), np.uint8)},
            r"images is uint8\[3, 48, 48, 3\], .*; scale each picture to 48 x 48, grey",
        ),
        ({"images": np.uint8(0)}, "images is uint8"),
        ({"votes": np.zeros((2, 10), np.uint8)}, r"votes is uint8\[2, 10\], expected uint8\[3, 10\]"),
        ({"votes": np.zeros((3, 8), np.uint8)}, r"votes is uint8\[3, 8\]"),
        ({"names": np.array(["a"])}, r"names is .*\[1\], expected text, one for each of the 3 images"),
        ({"names": np.zeros(3)}, "names is float64"),
        ({"names": np.array([None, None, None])}, "names holds Python objects"),
    ],
)
def test_an_array_of_the_wrong_form_is_named_with_what_was_expected(
    tmp_path: Path, arrays: dict[str, object], message: str
) -> None:
    path = save(tmp_path / "wrong.npz", **arrays)

    with pytest.raises(DataError, match=message):
        data.load(path)


def test_a_file_without_rows_is_refused(tmp_path: Path) -> None:
    path = save(
        tmp_path / "none.npz", images=np.zeros((0, 48, 48), np.uint8), votes=np.zeros((0, 10), np.uint8), names=np.zeros(0, "U1")
    )

    with pytest.raises(DataError, match="it holds no rows"):
        data.load(path)


@pytest.mark.parametrize(
    "header",
    [
        b"{'descr': '|u1', 'fortran_order': False, 'shape': (1000000000000, 48, 48), }",  # two petabytes
        b"{'descr': '|u1', 'fortran_order': False, 'shape': ((((((",
        b"not a dictionary at all",
        b"",
    ],
)
def test_an_array_whose_header_is_damaged_or_boasts_is_refused_in_one_line(tmp_path: Path, header: bytes) -> None:
    path = tmp_path / "odd.npz"
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("images", "votes", "names"):
            array = b"\x93NUMPY\x01\x00" + (len(header) + 1).to_bytes(2, "little") + header + b"\n" + bytes(100)
            archive.writestr(f"{name}.npy", array if header else b"no array")

    with pytest.raises(DataError, match="not a FER") as error:
        data.load(path)

    assert "\n" not in str(error.value)


def test_cuts_that_were_not_written_to_the_end_are_made_anew(tmp_path: Path) -> None:
    path, cache = save(tmp_path / "rows.npz", votes=np.repeat(votes(fear=7), 3, axis=0)), tmp_path / "matrices.npy"
    _, made = data.to_train(path, cache)
    whole = cache.read_bytes()
    cache.write_bytes(whole[:-40])

    _, again = data.to_train(path, cache)

    assert (made == again).all()
    assert cache.read_bytes() == whole


def test_cuts_of_other_rows_are_made_anew(tmp_path: Path) -> None:
    cache = tmp_path / "matrices.npy"
    np.save(cache, np.zeros(3))

    rows, made = data.to_train(save(tmp_path / "rows.npz", votes=np.repeat(votes(fear=7), 3, axis=0)), cache)

    assert made.shape == (len(rows), 2, 3)


def test_an_image_without_a_face_is_taken_whole() -> None:
    matrix = emotion.crop_matrix(data.whole_image(), data.SIDE, data.SIDE)

    np.testing.assert_allclose(matrix, [[1, 0, 0], [0, 1, 0]], atol=1e-9)


def test_faces_are_found_in_the_images_own_coordinates_whatever_the_border() -> None:
    composite = cv2.imread(str(COMPOSITES / "happiness.png"), cv2.IMREAD_GRAYSCALE)
    images = np.stack([cv2.resize(composite, (48, 48), interpolation=cv2.INTER_AREA), np.full((48, 48), 90, np.uint8)])
    detector = FaceNet(read_manifest().file("face"))

    near, far = data.find_faces(images, detector, 36), data.find_faces(images, detector, 40)

    assert near[0] is not None
    assert far[0] is not None
    assert near[1] is None
    np.testing.assert_allclose(near[0].box, far[0].box, atol=0.08)
    assert 0 < near[0].keypoints[0][0] < near[0].keypoints[1][0] < 1
