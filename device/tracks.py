"""Sightings over time → people.

Nothing about a face is remembered but where it was and what it expressed: people are told apart by place and motion, never
by their features. A track's number never leaves this module, and a track is forgotten soon after its person is gone.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import hypot
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from device.contract import CELLS, EMOTIONS, Cell
from device.types import Face, Observation, Sighting

HITS: Final = 3  # sightings before a track is a person: single false alarms are common, three in one place are not
GONE_AFTER: Final = 2.5  # seconds without a sighting after which a person is gone
DOUBTFUL_AFTER: Final = 0.9  # the same for a track that is not a person yet
REACH: Final = 0.9  # how far a face may be from where it was expected, in face sizes
REACH_GROWTH: Final = 0.4  # by how many face sizes a second that grows while the face is not seen
SIZE_RATIO: Final = 1.8  # a face cannot be this many times larger or smaller than when last seen
TREND: Final = 0.5  # weight of the newest motion in the expected one
UNKNOWN_BELOW: Final = 0.4  # where the manifest says nothing: below it, a person's likeliest emotion is counted as unknown


@dataclass(slots=True)
class Track:
    """One person while in view. Positions and sizes are in units of the frame's height, times in seconds."""

    x: float
    y: float
    size: float
    seen: float
    vx: float = 0.0
    vy: float = 0.0
    hits: int = 1
    hits_in_window: int = 0
    declined: bool = False  # has said no in this window: counts as that and as nothing else, also with the card down again
    emotion: npt.NDArray[np.float64] = field(default_factory=lambda: np.zeros(len(EMOTIONS)))

    def misfit(self, x: float, y: float, size: float, now: float) -> float:
        """How badly a face fits, 0 (just where it was expected) to 1 (the limit); infinity beyond."""
        gap = now - self.seen
        trusted = min(gap, 0.6)  # motion is not extrapolated for longer
        distance = hypot(x - self.x - self.vx * trusted, y - self.y - self.vy * trusted)
        reach = (REACH + REACH_GROWTH * gap) * max(size, self.size)
        ratio = max(size, self.size) / max(min(size, self.size), 1e-9)
        return distance / reach if distance <= reach and ratio <= SIZE_RATIO else float("inf")

    def follow(self, x: float, y: float, size: float, now: float) -> None:
        """Move to where the person is now."""
        gap = max(now - self.seen, 1e-3)
        if gap <= 1.0:
            self.vx += TREND * ((x - self.x) / gap - self.vx)
            self.vy += TREND * ((y - self.y) / gap - self.vy)
        else:
            self.vx = self.vy = 0.0
        self.x, self.y, self.seen = x, y, now
        self.size += 0.5 * (size - self.size)
        self.hits += 1

    def learn(self, sighting: Sighting | None) -> None:
        """Add what the person expresses now, by how much that reading is worth; nothing of whoever says no (``None``)."""
        self.hits_in_window += 1
        if sighting is None:
            self.declined = True
            self.emotion.fill(0)
        elif not self.declined:
            self.emotion += np.asarray(sighting.reading.emotion) * sighting.reading.quality

    def cell(self, unknown_below: float) -> Cell:
        """The one cell that this person counts in: the likeliest emotion over all sightings in this window, if likely enough."""
        total = float(self.emotion.sum())
        if total <= 0:
            return "unknown"
        best = int(self.emotion.argmax())
        return EMOTIONS[best] if self.emotion[best] / total >= unknown_below else "unknown"


class Counts(NamedTuple):
    """Who was there in one window: each track in one cell, or among those who said no."""

    cells: dict[Cell, int]
    opted_out: int


class Tracks:
    """Everybody in view; a person whose likeliest emotion is less likely than ``unknown_below`` is counted as unknown."""

    def __init__(self, unknown_below: float = UNKNOWN_BELOW) -> None:
        self._unknown_below = unknown_below
        self._tracks: list[Track] = []
        self._gone: list[Cell | None] = []  # where those count who have gone in this window; None: they said no
        self.people = 0  # different people so far, without those who said no

    def see(self, seen: Observation) -> None:
        """Take in what one frame showed; its time must not go back. Of whoever says no, what was read before is forgotten."""
        now = seen.taken_at
        self._forget(now)
        shown = [(sighting.face, sighting) for sighting in seen.sightings] + [(face, None) for face in seen.declined]
        places = [_place(face, seen.aspect) for face, _ in shown]
        pairs = sorted(
            (misfit, t, s)
            for t, track in enumerate(self._tracks)
            for s, place in enumerate(places)
            if (misfit := track.misfit(*place, now)) <= 1
        )
        free_tracks, free_places = set(range(len(self._tracks))), set(range(len(places)))
        for _, t, s in pairs:
            if t in free_tracks and s in free_places:
                free_tracks.discard(t)
                free_places.discard(s)
                self._tracks[t].follow(*places[s], now)
                self._tracks[t].learn(shown[s][1])
                self.people += self._tracks[t].hits == HITS and not self._tracks[t].declined
        for s in sorted(free_places):
            self._tracks.append(Track(*places[s], now))
            self._tracks[-1].learn(shown[s][1])

    def _forget(self, now: float) -> None:
        """Drop the tracks of those who are gone; of a person who counts in this window only the cell remains."""
        staying = []
        for track in self._tracks:
            if now - track.seen <= (GONE_AFTER if track.hits >= HITS else DOUBTFUL_AFTER):
                staying.append(track)
            elif track.hits_in_window >= HITS:
                self._gone.append(self._place_of(track))
        self._tracks = staying

    def close_window(self) -> Counts:
        """Count everybody seen at least three times in the window that ends now, once each, and start the next from zero."""
        everybody = [*self._gone, *(self._place_of(track) for track in self._tracks if track.hits_in_window >= HITS)]
        self._gone = []
        for track in self._tracks:
            track.hits_in_window, track.declined = 0, False
            track.emotion.fill(0)
        return Counts({cell: everybody.count(cell) for cell in CELLS}, everybody.count(None))

    def _place_of(self, track: Track) -> Cell | None:
        """The one figure in which a track counts."""
        return None if track.declined else track.cell(self._unknown_below)


def _place(face: Face, aspect: float) -> tuple[float, float, float]:
    """Centre and size of a face in units of the frame's height, so that distances are the same in both directions."""
    x0, y0, x1, y1 = face.box
    return (x0 + x1) / 2 * aspect, (y0 + y1) / 2, ((x1 - x0) * aspect + (y1 - y0)) / 2
