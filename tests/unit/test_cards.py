"""Printed cards, as a camera sees them."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from device.cameras import CameraOptions
from device.cameras.composite import open_camera
from device.consent import REACH, Consent
from device.nets.cards import CONSENT, FACE_PIXELS, LEAST_PIXELS, MODULES, NO_THANKS, Cards, Door, pattern
from device.notice import FACE_CM, LEAST_CM, MARKER_CM
from device.types import Face, Frame, Pixels
from tests.build import face
from tests.cards import blurred, grey_picture, show


def in_pixels(x: float, y: float, size: float, width: int = 640, height: int = 480) -> Face:
    """A face of so many pixels."""
    box = ((x - size / 2) / width, (y - size / 2) / height, (x + size / 2) / width, (y + size / 2) / height)
    return Face(box, face().keypoints, 0.9)


def test_a_card_is_found_at_its_place_and_told_from_the_other() -> None:
    picture = show(show(grey_picture(), NO_THANKS, 200, 150, 60), CONSENT, 450, 300, 60)

    found = {card.marker: (card.x * 640, card.y * 480) for card in Cards().anywhere(blurred(picture))}

    assert set(found) == {NO_THANKS, CONSENT}
    assert found[NO_THANKS] == pytest.approx((200, 150), abs=2)
    assert found[CONSENT] == pytest.approx((450, 300), abs=2)


@pytest.mark.parametrize("turn", [0, 30, 90, 170, 250])
@pytest.mark.parametrize("yaw", [-45, 0, 45])
@pytest.mark.parametrize("size", [30, 50, 80, 140])
def test_a_card_as_printed_is_read_beside_a_face_of_any_size_however_it_is_held(turn: int, yaw: int, size: int) -> None:
    side = size * MARKER_CM / FACE_CM
    picture = show(grey_picture(), NO_THANKS, 320 + size, 240, side, turn=turn, yaw=yaw)

    found = Cards().around(blurred(picture), [in_pixels(320, 240, size)], REACH)

    assert [card.marker for card in found] == [NO_THANKS]


def test_a_card_printed_too_small_is_not_read_and_leaves_the_face_to_be_read() -> None:
    size = 40
    for side in (1, 2, 4, 6):
        picture = show(grey_picture(), NO_THANKS, 320 + size, 240, side)
        assert not Cards().around(blurred(picture), [in_pixels(320, 240, size)], REACH)


def test_the_least_size_that_the_notice_names_is_the_least_that_is_read_beside_the_smallest_picture_of_a_face() -> None:
    assert FACE_PIXELS * LEAST_CM / FACE_CM >= LEAST_PIXELS
    assert MARKER_CM >= LEAST_CM


@pytest.mark.parametrize("seed", range(3))
def test_no_card_is_seen_in_scenes_without_one(seed: int) -> None:
    camera, reader = open_camera("", CameraOptions(fps=0.5, fast=True, seed=seed)), Cards()
    for _ in range(15):
        with camera.take() as frame:
            assert reader.anywhere(frame) == ()
    noise = np.random.default_rng(seed).integers(0, 256, (480, 640, 3), np.uint8)
    assert reader.anywhere(Frame(noise, 0.0)) == ()


def test_without_a_face_no_card_is_looked_for() -> None:
    assert Cards().around(blurred(show(grey_picture(), NO_THANKS, 320, 240, 80)), [], REACH) == ()


@pytest.mark.parametrize("size", [(1280, 720), (333, 517), (64, 64), (1920, 1080)])
def test_a_picture_may_have_any_size(size: tuple[int, int]) -> None:
    width, height = size
    side = min(size) / 3
    frame = blurred(show(grey_picture(width, height), CONSENT, width / 2, height / 2, side))

    (card,) = Cards().anywhere(frame)

    assert (card.x, card.y) == pytest.approx((0.5, 0.5), abs=0.02)


def test_a_face_that_reaches_beyond_the_picture_is_no_trouble() -> None:
    frame = blurred(show(grey_picture(), NO_THANKS, 120, 240, 60))

    assert [card.marker for card in Cards().around(frame, [in_pixels(-10, 240, 90)], REACH)] == [NO_THANKS]


def test_the_grey_copies_of_a_picture_are_wiped(monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[Pixels] = []
    empty = np.empty

    def keep(*args: object, **kwargs: object) -> Pixels:
        kept.append(empty(*args, **kwargs))  # type: ignore[call-overload]
        return kept[-1]

    frame = blurred(show(grey_picture(), NO_THANKS, 320, 240, 80))
    monkeypatch.setattr(np, "empty", keep)
    Cards().around(frame, [in_pixels(230, 240, 90)], REACH)

    assert len(kept) == 2
    assert not any(copy.any() for copy in kept)


def test_a_face_beside_a_no_thanks_card_is_dropped_from_the_first_picture_on_that_shows_it() -> None:
    near, far = in_pixels(300, 240, 60), in_pixels(100, 100, 40)
    door = Door(lambda _: (near, far), Consent())
    frame = blurred(show(grey_picture(), NO_THANKS, 370, 300, 45))

    assert door.choose(frame, door.faces(frame)) == ((far,), (near,))


@pytest.mark.parametrize("size", [28, 45, 60, 100])
def test_a_card_that_is_raised_at_last_drops_the_face_in_that_very_picture(size: int) -> None:
    """Cards are looked for in every picture with a face, whoever has been in view before, and for how long."""
    holder = in_pixels(320, 200, size)
    door = Door(lambda _: (holder,), Consent())
    for n in range(20):
        frame = Frame(blurred(grey_picture(), seed=n).pixels, n / 5)
        assert door.choose(frame, door.faces(frame)) == ((holder,), ())
    shown = show(grey_picture(), NO_THANKS, 320, 200 + 1.6 * size, size * MARKER_CM / FACE_CM)

    frame = Frame(blurred(shown).pixels, 4.0)

    assert door.choose(frame, door.faces(frame)) == ((), (holder,))


def test_somebody_who_comes_in_beside_a_card_is_dropped_in_the_first_picture_that_shows_the_face() -> None:
    there, comes = in_pixels(100, 100, 60), in_pixels(420, 300, 60)
    faces = [there]
    door = Door(lambda _: tuple(faces), Consent())
    picture = show(grey_picture(), NO_THANKS, 450, 400, 50)
    assert door.choose(blurred(picture), door.faces(blurred(picture))) == ((there,), ())

    faces.append(comes)

    assert door.choose(blurred(picture), door.faces(blurred(picture))) == ((there,), (comes,))


@pytest.mark.parametrize("turn", [0, 45])
def test_a_card_beside_the_smallest_face_is_read_however_far_away_the_others_are(turn: int) -> None:
    small, far = in_pixels(60, 60, 30), in_pixels(560, 420, 60)
    picture = show(grey_picture(), NO_THANKS, 75, 110, 30 * MARKER_CM / FACE_CM, turn=turn)

    found = Cards().around(blurred(picture), [small, far], REACH)

    assert [card.marker for card in found] == [NO_THANKS]
    assert (found[0].x * 640, found[0].y * 480) == pytest.approx((75, 110), abs=2)


def test_with_opt_in_nobody_is_looked_for_until_a_consent_card_is_in_view() -> None:
    asked: list[Frame] = []

    def find(frame: Frame) -> tuple[Face, ...]:
        asked.append(frame)
        return (in_pixels(500, 100, 60),)

    door = Door(find, Consent(opt_in=True, lasts=10), by_card=True)
    for other in (grey_picture(), show(grey_picture(), NO_THANKS, 300, 240, 60)):
        assert door.faces(blurred(other)) == ()
    assert not asked

    assert door.faces(blurred(show(grey_picture(), CONSENT, 300, 240, 60))) != ()
    assert door.faces(Frame(grey_picture(), 9.9)) != ()
    assert door.faces(Frame(grey_picture(), 10.1)) == ()


def test_a_pattern_is_what_opencv_draws() -> None:
    drawn = cv2.aruco.generateImageMarker(cv2.aruco.getPredefinedDictionary(cv2.aruco.DICT_4X4_50), NO_THANKS, MODULES)

    assert [[bool(cell) for cell in row] for row in pattern(NO_THANKS)] == [[not cell for cell in row] for row in drawn.tolist()]
    assert all(pattern(NO_THANKS)[0])
