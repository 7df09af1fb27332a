"""Who is measured: pauses, consent, and the no-thanks card. Pure: time and what was seen are arguments.

A face within ``REACH`` face sizes of a no-thanks card is left out before anything is read from it. A card that is blurred for a
moment still holds, for ``REMEMBER`` seconds: at the place where it was, and with the faces that it was for.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import hypot
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:  # the sending process reads REACH from here, and starts without NumPy
    from device.types import Face

REACH: Final = 3.0  # how far a card reaches: from its centre to the face's centre, in sizes of that face
REMEMBER: Final = 3.0  # seconds for which a card that is not read any more still holds
FOLLOW: Final = 1.2  # how far a face moves between two frames at most, in its sizes


@dataclass(frozen=True, slots=True)
class Place:
    """Where an objection holds, in units of the frame's height, and until when; ``size`` is a face's, 0 for a card."""

    x: float
    y: float
    size: float
    until: float


class Objections:
    """Which faces have said no."""

    def __init__(self) -> None:
        self._places: list[Place] = []

    def sort(
        self, now: float, aspect: float, faces: Sequence[Face], cards: Iterable[tuple[float, float]]
    ) -> tuple[tuple[Face, ...], tuple[Face, ...]]:
        """Tell the faces that may be read from those that may not.

        Args:
            now: When the frame was taken, seconds.
            aspect: The frame's width divided by its height.
            faces: Everybody in it.
            cards: Centres of the no-thanks cards in it, as fractions of its width and height.

        Returns:
            The faces that may be read, and those that may not.
        """
        shown = [Place(x * aspect, y, 0.0, now + REMEMBER) for x, y in cards]
        remembered = [place for place in self._places if now <= place.until]
        welcome, declined, followed = [], [], []
        for face in faces:
            x0, y0, x1, y1 = face.box
            x, y, size = (x0 + x1) / 2 * aspect, (y0 + y1) / 2, ((x1 - x0) * aspect + (y1 - y0)) / 2
            until = max((place.until for place in (*shown, *remembered) if _reaches(place, x, y, size)), default=None)
            if until is None:
                welcome.append(face)
            else:
                declined.append(face)
                followed.append(Place(x, y, size, until))
        cards_before = [place for place in remembered if place.size == 0 and not any(_near(place, new) for new in shown)]
        unseen = [place for place in remembered if place.size > 0 and not any(_reaches(place, f.x, f.y, f.size) for f in followed)]
        self._places = [*shown, *cards_before, *followed, *unseen]
        return tuple(welcome), tuple(declined)


def _reaches(place: Place, x: float, y: float, size: float) -> bool:
    """Whether an objection holds for a face here."""
    reach = REACH * size if place.size == 0 else FOLLOW * max(size, place.size)
    return hypot(x - place.x, y - place.y) <= reach


def _near(old: Place, new: Place) -> bool:
    """Whether a card has only moved a little since: the newer place then stands for both."""
    return hypot(old.x - new.x, old.y - new.y) <= 0.02


class Consent:
    """Whether anything may be measured now.

    Args:
        opt_in: Only while somebody consents; otherwise always.
        lasts: Seconds for which a consent holds after it was last given.
    """

    def __init__(self, *, opt_in: bool = False, lasts: float = 0.0) -> None:
        self._opt_in = opt_in
        self._lasts = lasts
        self._given_until = float("-inf")
        self._paused_until = float("-inf")

    def give(self, now: float) -> None:
        """Somebody consents: a button is pressed, a consent card is in view."""
        self._given_until = now + self._lasts

    def given(self, now: float) -> bool:
        """Whether people may be measured, as far as consent goes."""
        return not self._opt_in or now <= self._given_until

    def pause(self, now: float, seconds: float) -> None:
        """Pause for so long from now on; a longer pause that has begun stays. A consent that was given is over."""
        self._paused_until = max(self._paused_until, now + seconds)
        self._given_until = float("-inf")

    def resume(self) -> None:
        """End a pause early."""
        self._paused_until = float("-inf")

    def paused(self, now: float) -> bool:
        """Whether nothing may be looked at."""
        return now < self._paused_until

    def renewed(self, *, opt_in: bool, lasts: float) -> Consent:
        """With other settings: a pause that has begun goes on, a consent that was given is over."""
        new = Consent(opt_in=opt_in, lasts=lasts)
        new._paused_until = self._paused_until
        return new
