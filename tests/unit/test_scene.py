"""The script of the composite scene: the same everywhere, with a clear truth in every window."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest

from device.contract import EMOTIONS
from device.scene import ACT_SECONDS, CALM_SECONDS, CAST, LANES, LEAD, STEP_SECONDS, Figure, Scene, Truth

SEEDS = range(200)
WINDOWS = range(30)
MOODS_OF_7 = ["anger", "sadness", "happiness", "neutral", "sadness", "surprise"]
PEOPLE_OF_7 = [8, 8, 6, 8, 6, 8]
FIGURES_OF_7 = [
    (285, 0.115181, 0.140934, 103.1938),
    (291, 0.384001, 0.128919, 98.88),
    (297, 0.672465, 0.154906, 95.401),
    (289, 0.181138, 0.438124, 119.8364),
    (295, 0.49105, 0.419251, 138.3738),
    (301, 0.766672, 0.441787, 132.5151),
    (293, 0.215812, 0.809918, 172.2994),
    (299, 0.513529, 0.784866, 175.9583),
]


@pytest.fixture(scope="module")
def truths() -> dict[tuple[int, int], Truth]:
    """What is seen in every window of every seed."""
    scenes = ((seed, Scene(seed)) for seed in SEEDS)
    return {(seed, window): scene.truth(window * ACT_SECONDS) for seed, scene in scenes for window in WINDOWS}


def hidden_share(front: Figure, behind: Figure) -> float:
    """How much of the face behind lies under the one in front, as fractions of its area; faces are 0.86 sides wide."""
    across = 0.43 * (front.side + behind.side) - abs(front.x - behind.x) * 640
    down = 0.5 * (front.side + behind.side) - abs(front.y - behind.y) * 480
    return max(across, 0.0) * max(down, 0.0) / (0.86 * behind.side**2)


def test_every_window_of_every_seed_has_an_emotion_that_leads_by_three(truths: dict[tuple[int, int], Truth]) -> None:
    for (seed, window), truth in truths.items():
        first, second, *_ = sorted(truth.emotions.values(), reverse=True)
        assert first - second >= LEAD, (seed, window, truth)
        assert truth.dominant is not None
        assert truth.emotions[truth.dominant] == first
        assert truth.dominant == Scene(seed).mood(window)


def test_every_window_holds_five_to_ten_people_and_no_emotion_of_a_single_one(truths: dict[tuple[int, int], Truth]) -> None:
    for (seed, window), truth in truths.items():
        assert 5 <= truth.people <= 10, (seed, window, truth)
        assert truth.people == sum(truth.emotions.values())
        assert 1 not in truth.emotions.values(), (seed, window, truth)


def test_only_emotions_that_read_as_themselves_are_shown(truths: dict[tuple[int, int], Truth]) -> None:
    shown = {emotion for truth in truths.values() for emotion, n in truth.emotions.items() if n}
    assert shown == set(CAST)
    assert shown < set(EMOTIONS)


def test_the_truth_is_what_is_seen() -> None:
    """Counting the figures frame by frame gives the same people and the same emotions as the script says."""
    for seed in range(8):
        scene = Scene(seed)
        for window in range(4):
            seen: dict[int, dict[str, float]] = {}
            for frame in range(100):
                for figure in scene.people_at(window * ACT_SECONDS + frame / 10):
                    for emotion, share in figure.mix:
                        mine = seen.setdefault(figure.number, {})
                        mine[emotion] = mine.get(emotion, 0.0) + share
            counted = [max(mine, key=mine.__getitem__) for mine in seen.values()]
            truth = scene.truth(window * ACT_SECONDS)
            assert {emotion: counted.count(emotion) for emotion in EMOTIONS} == dict(truth.emotions)
            assert len(counted) == truth.people


def test_a_scene_is_the_same_whatever_was_asked_before() -> None:
    times = [0.0, 3.3, 9.9, 10.2, 61.0, 3600.5, 86_400.25]
    forwards, backwards = Scene(5), Scene(5)
    asked = {t: (forwards.people_at(t), forwards.truth(t)) for t in times}
    assert asked == {t: (backwards.people_at(t), backwards.truth(t)) for t in reversed(times)}


def test_a_seed_gives_this_very_scene_on_every_machine() -> None:
    scene = Scene(7)
    assert [scene.mood(act) for act in range(6)] == MOODS_OF_7
    assert [scene.truth(act * ACT_SECONDS).people for act in range(6)] == PEOPLE_OF_7
    assert [(f.number, round(f.x, 6), round(f.y, 6), round(f.side, 4)) for f in scene.people_at(12.5)] == FIGURES_OF_7


def test_different_seeds_give_different_scenes() -> None:
    assert len({Scene(seed).people_at(12.5) for seed in range(50)}) == 50


def test_the_mood_changes_with_every_act() -> None:
    for seed in SEEDS:
        moods = [Scene(seed).mood(act) for act in WINDOWS]
        assert all(now != then for now, then in pairwise(moods)), seed


def test_nobody_comes_or_goes_near_the_start_of_an_act() -> None:
    """So whoever is in a window at all is in view for seconds, and its count depends on no frame more or less."""
    quiet = CALM_SECONDS - STEP_SECONDS - 0.01
    for seed in range(50):
        scene = Scene(seed)
        for act in WINDOWS[1:]:
            around = [scene.people_at(act * ACT_SECONDS + after) for after in (-quiet, 0.0, quiet)]
            assert len({tuple(figure.number for figure in people) for people in around}) == 1, (seed, act)


def test_people_come_and_go_a_few_times_a_minute() -> None:
    for seed in range(50):
        scene = Scene(seed)
        first = {figure.number for figure in scene.people_at(0.0)}
        numbers = {figure.number for t in range(120) for figure in scene.people_at(float(t))}
        assert 8 <= len(numbers - first) <= 24, seed


def test_nobody_comes_where_another_has_just_left() -> None:
    """All walk one way: the device tells people apart by place and motion only."""
    for seed in range(50):
        scene = Scene(seed)
        ways = set()
        for t in range(60):
            later = {figure.number: figure.x for figure in scene.people_at(t + 15.0)}
            ways |= {later[f.number] > f.x for f in scene.people_at(float(t)) if f.number in later}
        assert len(ways) == 1, seed


def test_no_face_is_hidden_by_another() -> None:
    for seed in range(40):
        scene = Scene(seed)
        for tick in range(150):
            people = scene.people_at(tick * 0.9)
            pairs = [(front, behind) for n, front in enumerate(people) for behind in people[:n]]
            assert max((hidden_share(*pair) for pair in pairs), default=0.0) < 0.08, (seed, tick)


def test_faces_have_several_sizes_and_grow_with_the_picture() -> None:
    small, large = Scene(3, 640, 480).people_at(20.0), Scene(3, 1280, 960).people_at(20.0)
    assert [2 * figure.side for figure in small] == pytest.approx([figure.side for figure in large])
    sides = [figure.side for t in range(60) for figure in Scene(3).people_at(float(t))]
    assert min(sides) < 105
    assert max(sides) > 150
    assert len({figure.number % len(LANES) for figure in small}) == len(LANES)


def test_emotions_blend_into_each_other_around_the_start_of_an_act() -> None:
    scene = Scene(3)
    number = next(figure.number for figure in scene.people_at(10.7) if figure.mix == ((scene.mood(1), 1.0),))
    shares = []
    for tick in range(-7, 8):
        (figure,) = (figure for figure in scene.people_at(10 + tick / 10) if figure.number == number)
        assert math.isclose(sum(share for _, share in figure.mix), 1.0)
        shares.append(dict(figure.mix).get(scene.mood(1), 0.0))
    assert shares[0] == 0.0
    assert shares[-1] == 1.0
    assert shares == sorted(shares)
    assert 0.4 < shares[7] < 0.6


def test_nobody_jumps() -> None:
    """Between two frames a face moves by less than a third of its side, so that a track can follow it."""
    for seed in range(20):
        scene = Scene(seed)
        for tick in range(300):
            before = {figure.number: figure for figure in scene.people_at(tick / 5)}
            for now in scene.people_at((tick + 1) / 5):
                if now.number in before:
                    moved = math.hypot((now.x - before[now.number].x) * 640, (now.y - before[now.number].y) * 480)
                    assert moved < now.side / 3, (seed, tick)


def test_a_stretch_too_short_to_see_anybody_holds_nobody() -> None:
    truth = Scene(0).truth(4.0, 0.5)
    assert (truth.people, truth.dominant, set(truth.emotions.values())) == (0, None, {0})


@pytest.mark.parametrize(("seed", "width"), [(-1, 640), (0, 0)])
def test_a_scene_without_a_seed_or_a_picture_is_refused(seed: int, width: int) -> None:
    with pytest.raises(ValueError, match="seed of 0 or more"):
        Scene(seed, width)
