"""The search and the tracer's reader, on bytes that are known."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from device.nets.emotion import crop_matrix, cut, normalise
from device.proof import canary
from device.proof.search import find
from device.proof.tracer import NotTriedError, read

TENSORS = [canary.Tensor("face", 192, 192, 3, "float32"), canary.Tensor("emotion", 48, 48, 1, "int8")]
NEEDLES = canary.needles(TENSORS)


def names(content: bytes) -> set[str]:
    return set(find(content, NEEDLES))


def test_a_picture_is_found_whatever_lies_around_it() -> None:
    noise = np.random.default_rng(0).integers(0, 256, 100_000, dtype=np.uint8).tobytes()

    assert names(noise + canary.picture().tobytes() + noise) == {"RGB or BGR, 12 px stripes", "RGB or BGR, 6 px stripes"}


def test_a_picture_is_found_when_it_is_grey_or_was_halved() -> None:
    grey = cv2.cvtColor(canary.picture(), cv2.COLOR_RGB2GRAY)
    halved = cv2.resize(grey, (320, 240), interpolation=cv2.INTER_AREA)

    assert names(grey.tobytes()) >= {"grey or NV12, 12 px stripes", "grey or NV12, 6 px stripes"}
    assert "grey or NV12, 6 px stripes" in names(halved.tobytes())


@pytest.mark.parametrize("number", [0, 1])
def test_a_crop_is_found_before_and_after_it_is_normalised_and_as_the_models_input(number: int) -> None:
    crop = cut(canary.picture(), crop_matrix(canary.FACES[number], canary.WIDTH, canary.HEIGHT))
    name = f"crop of the {('large', 'small')[number]} face"

    before = names(crop.tobytes())
    normalise(crop)

    assert before == names(crop.tobytes()) == {f"{name}, uint8"}
    assert names(((crop.astype(np.int16) - 128) // 2).astype(np.int8).tobytes()) == {f"{name}, int8"}
    assert names(((crop.astype(np.float32) - 128) / 128).tobytes()) == {f"{name}, float32"}


def test_noise_zeros_and_text_are_no_picture() -> None:
    rng = np.random.default_rng(1)
    text = b"".join(b'{"n": %d, "x": %d}\n' % (n, n * n) for n in range(20_000))

    for content in (bytes(1_000_000), rng.integers(0, 256, 3_000_000, dtype=np.uint8).tobytes(), text, rng.bytes(999_999)):
        assert not names(content)
    assert not names(rng.normal(0, 1, 500_000).astype(np.float32).tobytes())


def test_content_shorter_than_a_needle_is_no_picture() -> None:
    assert not names(b"")
    assert not names(b"\x01\x02\x03")


def written(folder: Path, line: str) -> Path:
    path = folder / "trace"
    path.write_text(line)
    return path


def test_a_write_is_read_with_its_bytes_and_its_file(tmp_path: Path) -> None:
    seen = read(written(tmp_path, r'12 write(3</\x74\x6d\x70/x>, "\x68\x69", 2) = 2' + "\n"))

    assert seen.written == [("write to /tmp/x", b"hi")]


def test_a_call_that_is_interrupted_by_another_thread_is_read_whole(tmp_path: Path) -> None:
    lines = [r'12 write(3</x>, "\x68\x69", 2 <unfinished ...>', r'13 write(4</y>, "\x41", 1) = 1', "12 <... write resumed>) = 2"]

    seen = read(written(tmp_path, "\n".join(lines)))

    assert seen.written == [("write to /y", b"A"), ("write to /x", b"hi")]


def test_a_tracer_that_sees_addresses_instead_of_bytes_says_so(tmp_path: Path) -> None:
    with pytest.raises(NotTriedError, match="run as root"):
        read(written(tmp_path, "12 write(3</x>, 0x7f0012345678, 2) = 2\n"))


def test_files_opened_for_writing_are_listed_and_others_are_not(tmp_path: Path) -> None:
    lines = [
        r'12 openat(AT_FDCWD</w>, "\x61", O_WRONLY|O_CREAT, 0666) = 3</w/a>',
        r'12 openat(AT_FDCWD</w>, "\x62", O_RDONLY|O_CLOEXEC) = 3</w/b>',
        r'12 openat(AT_FDCWD</w>, "\x63", O_RDWR) = -1 EACCES (Permission denied)',
    ]

    assert read(written(tmp_path, "\n".join(lines))).opened == {"/w/a"}


def test_calls_that_show_no_bytes_are_listed(tmp_path: Path) -> None:
    lines = [
        "12 mmap(NULL, 4096, PROT_READ|PROT_WRITE, MAP_SHARED, 3</w/a>, 0) = 0x7f00",
        "12 mmap(NULL, 4096, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0) = 0x7f00",
        "12 sendfile(4</x>, 3</y>, NULL, 100) = 100",
    ]

    assert [call.split()[0] for call in read(written(tmp_path, "\n".join(lines))).blind] == ["mmap", "sendfile"]
