"""The layouts in which camera drivers hand over a picture, and the way from there to RGB."""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np

from device.types import Pixels, wiped

# libcamera's names. YUV is BT.601 with the narrow range, as picamera2 asks for below 1280x720. libcamera names the
# bytes of a packed format from the last to the first: its RGB888 is blue, green, red in memory.
_HALF_HEIGHT_CHROMA: Final = {
    "NV12": cv2.COLOR_YUV2RGB_NV12,
    "NV21": cv2.COLOR_YUV2RGB_NV21,
    "YUV420": cv2.COLOR_YUV2RGB_I420,
    "YVU420": cv2.COLOR_YUV2RGB_YV12,
}
_PACKED: Final = {"RGB888": (3, (2, 1, 0)), "BGR888": (3, (0, 1, 2)), "XRGB8888": (4, (2, 1, 0)), "XBGR8888": (4, (0, 1, 2))}
LAYOUTS: Final = (*_HALF_HEIGHT_CHROMA, *_PACKED)


def to_rgb(buffer: Pixels, layout: str, width: int, height: int, stride: int) -> Pixels:
    """Turn a driver's buffer into RGB of its own, and blank the buffer, also when that fails.

    Args:
        buffer: ``uint8[n]``: rows of ``stride`` bytes, of which the first are pixels; may be longer than the picture.
            Planar layouts hold ``height`` rows of luma, then chroma at half the width and height (interleaved in rows of
            ``stride`` bytes in NV12 and NV21, two planes with rows of ``stride / 2`` in YUV420 and YVU420).
        layout: One of ``LAYOUTS``, by libcamera's name.
        width, height: Of the picture, in pixels; even for YUV.
        stride: Bytes from one row to the next.

    Returns:
        ``uint8[height, width, 3]``, RGB.

    Raises:
        ValueError: The layout is not known, or the buffer is too short for this size and stride.
    """
    with wiped(buffer):
        if layout in _PACKED:
            depth, order = _PACKED[layout]
            pixels = _rows(buffer, height, width * depth, stride).reshape(height, width, depth)
            rgb = np.empty((height, width, 3), np.uint8)
            for channel, place in enumerate(order):
                rgb[:, :, channel] = pixels[:, :, place]
            return rgb
        if layout not in _HALF_HEIGHT_CHROMA:
            raise ValueError(f"pixel layout {layout} is not known; expected one of {', '.join(LAYOUTS)}")
        if width % 2 or height % 2:
            raise ValueError(f"a {layout} picture has an even width and height, not {width}x{height}")
        with wiped(np.empty((height * 3 // 2, width), np.uint8)) as joined:
            joined[:height] = _rows(buffer, height, width, stride)
            chroma = buffer[height * stride :]
            if layout.startswith("NV"):
                joined[height:] = _rows(chroma, height // 2, width, stride)
            else:
                joined[height:].reshape(height, width // 2)[:] = _rows(chroma, height, width // 2, stride // 2)
            return np.asarray(cv2.cvtColor(joined, _HALF_HEIGHT_CHROMA[layout]), np.uint8)


def _rows(buffer: Pixels, rows: int, used: int, stride: int) -> Pixels:
    """The used bytes of each row, as ``uint8[rows, used]``; copies nothing, and so allows a last row without its padding."""
    if stride < used or buffer.size < (rows - 1) * stride + used:
        raise ValueError(f"a buffer of {buffer.size} bytes is too short for {rows} rows of {used} bytes, {stride} apart")
    return np.lib.stride_tricks.as_strided(buffer, (rows, used), (stride, 1))
