"""Where to look in a frame: all of it, and parts of it in which small faces are larger."""

from __future__ import annotations

from typing import Final

View = tuple[int, int, int, int]  # left, top, right, bottom in pixels
TILES: Final = {1: (1, 1), 2: (2, 1), 4: (2, 2), 6: (3, 2)}  # parts along the longer and the shorter side
OVERLAP: Final = 0.25  # of a part with the next, in its own side: a face that fits in there is whole in one of them


def views(width: int, height: int, tiles: int) -> tuple[View, ...]:
    """The whole frame, and its overlapping parts if there are several.

    Args:
        width, height: Of the frame, pixels.
        tiles: How many parts; 1 is the whole frame alone.
    """
    whole = (0, 0, width, height)
    if tiles == 1:
        return (whole,)
    along, across = TILES[tiles]
    columns, rows = (along, across) if width >= height else (across, along)
    return whole, *((x0, y0, x1, y1) for y0, y1 in _cut(height, rows) for x0, x1 in _cut(width, columns))


def _cut(length: int, parts: int) -> list[tuple[int, int]]:
    """Even parts of a side that overlap, the first at its start and the last at its end."""
    size = min(length, -(-length // (1 + (parts - 1) * (1 - OVERLAP)) // 1)) if parts > 1 else length
    size = int(max(1, size))
    return [(start, start + size) for start in (round(number * (length - size) / max(1, parts - 1)) for number in range(parts))]
