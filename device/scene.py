"""The script of the composite scene, which is its truth: who is in view, where, and with which emotion, at any time.

Pure: a scene is a function of its seed and the time, the same on every machine. People walk through along three lanes, one
behind the other, and nobody hides another's face. Every ten seconds a new *act* begins, in which most of them share one mood; all
moods change within half a second around its start. Nobody comes or goes near the start of an act, so that in every window
of ten seconds each person is plainly in view or not at all; and all walk one way, so that nobody comes where another just
left: the device tells people apart by place and motion only.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from math import floor, pi, sin
from typing import Final

import numpy as np

from device.contract import EMOTIONS, Emotion

CAST: Final[tuple[Emotion, ...]] = ("neutral", "happiness", "surprise", "sadness", "anger")  # what reads as itself
ACT_SECONDS: Final = 10.0
BLEND_SECONDS: Final = 1.0  # around the start of an act
STEP_SECONDS: Final = 1.2  # from outside the picture to the end of a lane, and back
IN_VIEW_SECONDS: Final = 1.0  # a person seen for less does not count
CALM_SECONDS: Final = 3.0  # before and after the start of an act, when nobody comes or goes
END_SIDES: Final = 0.55  # the end of a lane is so far from the picture's edge, in sides of the face
SWAY: Final = 0.018  # to and fro while walking, as a fraction of the picture's width
LEAD: Final = 3  # people by which the mood of an act is ahead, at least
_WALKS, _MOODS, _MINDS, _WAYS = 1, 2, 3, 4  # what a throw of the dice is for
_BEFORE: Final = 100  # acts before the first, in which some of those in view at the start entered

Colour = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Lane:
    """A path across the picture.

    Attributes:
        height: Of the faces' middle, as a fraction of the picture's height.
        side: Of a face as it is pasted, pixels in a picture of 640 x 480.
        acts: How long a person takes to cross, in acts.
        every: A person enters every so many acts.
    """

    height: float
    side: float
    acts: int
    every: int


LANES: Final = (Lane(0.15, 96, 6, 2), Lane(0.43, 128, 5, 2), Lane(0.79, 172, 4, 2))  # far, middle, near


@dataclass(frozen=True, slots=True)
class Figure:
    """One person at one moment.

    Attributes:
        number: The same for as long as the person is there; never used again.
        x, y: The face's middle, as fractions of the picture's width and height.
        side: Of the pasted face, pixels.
        mix: Emotions and their shares, summing to 1.
        tint: Red, green and blue gain of the face, about 1.
        hair, cloth: Red, green and blue, 0 to 255.
        mirrored: Whether the face is seen as in a mirror.
    """

    number: int
    x: float
    y: float
    side: float
    mix: tuple[tuple[Emotion, float], ...]
    tint: Colour
    hair: Colour
    cloth: Colour
    mirrored: bool


@dataclass(frozen=True, slots=True)
class Truth:
    """What a perfect observer would count in a stretch of time.

    Attributes:
        people: Different people in view for a second or more.
        emotions: Each of them once, under the emotion that they showed the longest; every emotion of the contract.
        dominant: The emotion of most of them; None when nobody is there, or when two are level.
    """

    people: int
    emotions: Mapping[Emotion, int]
    dominant: Emotion | None


@dataclass(frozen=True, slots=True)
class _Walk:
    """One person's way through: lane, from when to when (fully in view), and looks."""

    number: int
    lane: int
    enters: float
    leaves: float
    looks: tuple[float, ...]  # uniform in 0..1


class Scene:
    """An endless scene.

    Args:
        seed: Which script, 0 or more.
        width, height: Of the picture, pixels.

    Raises:
        ValueError: The seed is negative or the picture has no pixels.
    """

    def __init__(self, seed: int, width: int = 640, height: int = 480) -> None:
        if seed < 0 or width < 1 or height < 1:
            raise ValueError(f"a scene needs a seed of 0 or more and a picture, not seed {seed} and {width} x {height}")
        self.seed, self.width, self.height = seed, width, height
        self._scale = min(width / 640, height / 480)
        self._backwards = _dice(seed, _WAYS)[0] < 0.5
        self._walk = lru_cache(maxsize=64)(self._new_walk)
        self._emotions = lru_cache(maxsize=8)(self._new_emotions)

    def people_at(self, t: float) -> tuple[Figure, ...]:
        """Everybody in view, whole or in part, those behind first.

        Args:
            t: Seconds since the scene began, 0 or more.
        """
        return tuple(self._figure(walk, t) for walk in self._walks(t - STEP_SECONDS, t + STEP_SECONDS))

    def mood(self, act: int) -> Emotion:
        """The emotion that most people share in an act; never the same in two acts in a row."""
        if act % 2 == 0:
            return CAST[floor(_dice(self.seed, _MOODS, act + _BEFORE)[0] * len(CAST))]
        taken = self.mood(act - 1), self.mood(act + 1)
        free = [emotion for emotion in CAST if emotion not in taken]
        return free[floor(_dice(self.seed, _MOODS, act + _BEFORE)[0] * len(free))]

    def truth(self, start: float, seconds: float = ACT_SECONDS) -> Truth:
        """What a perfect observer would count from ``start`` on, for ``seconds``."""
        end = start + seconds
        counts: Counter[Emotion] = Counter()
        for walk in self._walks(start, end):
            shown = self._shown(walk, max(start, walk.enters), min(end, walk.leaves))
            if sum(shown.values()) >= IN_VIEW_SECONDS:
                counts[shown.most_common(1)[0][0]] += 1
        ranked = counts.most_common(2)
        clear = len(ranked) == 1 or (len(ranked) == 2 and ranked[0][1] > ranked[1][1])
        return Truth(counts.total(), {emotion: counts[emotion] for emotion in EMOTIONS}, ranked[0][0] if clear else None)

    # Who ----------------------------------------------------------------------------------------------------------------

    def _walks(self, start: float, end: float) -> list[_Walk]:
        """Everybody who is in view at some moment of a stretch of time, by lane and then by the time of entering."""
        found = []
        for lane, path in enumerate(LANES):
            first, last = floor(start / ACT_SECONDS) - path.acts, floor(end / ACT_SECONDS)
            walks = (self._walk(lane, act) for act in range(first, last + 1))
            found += [walk for walk in walks if walk is not None and walk.enters < end and walk.leaves > start]
        return found

    def _new_walk(self, lane: int, act: int) -> _Walk | None:
        """The person who enters a lane in an act, if one does."""
        path = LANES[lane]
        if (act + lane + self.seed) % path.every:
            return None
        stays_away, offset, *looks = _dice(self.seed, _WALKS, lane, act + _BEFORE, count=14)
        if (act // path.every) % 3 == 0 and stays_away < 0.5:  # of three in a row, one may be missing
            return None
        enters = act * ACT_SECONDS + CALM_SECONDS + (ACT_SECONDS - 2 * CALM_SECONDS) * offset
        return _Walk((act + _BEFORE) * len(LANES) + lane, lane, enters, enters + path.acts * ACT_SECONDS, tuple(looks))

    # What they show -----------------------------------------------------------------------------------------------------

    def _new_emotions(self, act: int) -> Mapping[int, Emotion]:
        """The emotion of each person, by number, in an act: the mood, or for two or three of them another one."""
        walks = self._walks(act * ACT_SECONDS, (act + 1) * ACT_SECONDS)
        share, other, *order = _dice(self.seed, _MINDS, act + _BEFORE, count=2 + len(walks))
        mood = self.mood(act)
        rest = [emotion for emotion in CAST if emotion != mood]
        most = min(3, (len(walks) - LEAD) // 2)  # each that leaves the mood narrows its lead by two
        several = 0 if most < 2 else (0, 2, most)[floor(share * 3)]
        apart = sorted(range(len(walks)), key=order.__getitem__)[:several]
        shown = {walk.number: mood for walk in walks}
        shown.update((walks[i].number, rest[floor(other * len(rest))]) for i in apart)
        return shown

    def _shown(self, walk: _Walk, start: float, end: float) -> Counter[Emotion]:
        """For how many seconds a person shows which emotion."""
        shown: Counter[Emotion] = Counter()
        while start < end:
            act = floor(start / ACT_SECONDS)
            until = min(end, (act + 1) * ACT_SECONDS)
            shown[self._emotions(act)[walk.number]] += until - start  # type: ignore[assignment]
            start = until
        return shown

    def _mix(self, walk: _Walk, t: float) -> tuple[tuple[Emotion, float], ...]:
        """What a person shows at one moment: around the start of an act, two emotions on top of each other."""
        act = floor(t / ACT_SECONDS)
        into, half = t - act * ACT_SECONDS, BLEND_SECONDS / 2
        now = then = self._emotions(act)[walk.number]
        share = 0.0
        if into < half:  # nobody enters or leaves here, so everybody has an emotion in both acts
            then, share = self._emotions(act - 1)[walk.number], _ease(0.5 - into / BLEND_SECONDS)
        elif into > ACT_SECONDS - half:
            then, share = self._emotions(act + 1)[walk.number], _ease(0.5 - (ACT_SECONDS - into) / BLEND_SECONDS)
        return ((now, 1.0),) if now == then else ((now, 1.0 - share), (then, share))

    # Where they are -----------------------------------------------------------------------------------------------------

    def _figure(self, walk: _Walk, t: float) -> Figure:
        lane = LANES[walk.lane]
        size, low, turns, phase, red, blue, light, mirror, dark, *cloth = walk.looks
        way = min(max((t - walk.enters) / (walk.leaves - walk.enters), 0.0), 1.0)
        side = lane.side * (0.94 + 0.12 * size) * (1 + 0.04 * sin(2 * pi * (3 * way + phase))) * self._scale
        end = END_SIDES * side / self.width  # of the lane
        x = end + (1 - 2 * end) * way + SWAY * sin(2 * pi * floor(3 + 4 * turns) * way)
        if t < walk.enters:
            x -= 2 * end * _ease((walk.enters - t) / STEP_SECONDS)
        elif t > walk.leaves:
            x += 2 * end * _ease((t - walk.leaves) / STEP_SECONDS)
        y = lane.height + 0.03 * (low - 0.5) + 0.008 * sin(2 * pi * (t / 1.7 + phase))
        gain, grey = 0.9 + 0.15 * light, 35 + 30 * dark
        return Figure(
            number=walk.number,
            x=1 - x if self._backwards else x,
            y=y,
            side=side,
            mix=self._mix(walk, t),
            tint=(gain + 0.06 * red, gain, gain - 0.12 + 0.06 * blue),
            hair=(1.1 * grey, grey, 0.9 * grey),
            cloth=(45 + 65 * cloth[0], 45 + 65 * cloth[1], 45 + 65 * cloth[2]),
            mirrored=mirror < 0.5,
        )


def _ease(share: float) -> float:
    """0 to 1, starting and ending gently."""
    return share * share * (3 - 2 * share)


def _dice(*key: int, count: int = 1) -> tuple[float, ...]:
    """Numbers from 0 up to 1 that depend on the key alone; NumPy promises these raw bits on every machine and version."""
    return tuple((int(raw) >> 11) / 2**53 for raw in np.random.PCG64(key).random_raw(count))
