"""Import before picamera2: lets the real one run where there is no DMA heap, no display and no raw sensor.

Only what touches such hardware is replaced: the allocator (memory files instead of DMA buffers), the display's module,
the DNG writer, and the list of raw sensor modes, which the virtual camera does not have. Everything else is picamera2's
and libcamera's own code.
"""

import os
import sys
from types import ModuleType, SimpleNamespace


class Anything:
    def __getattr__(self, name):
        return name


def stand_in(name, **members):
    module = ModuleType(name)
    module.__dict__.update(members)
    sys.modules[name] = module


stand_in("pykms", PixelFormat=Anything(), Card=object)
stand_in("pidng")
stand_in("pidng.camdefs", Picamera2Camera=object)
stand_in("pidng.core", PICAM2DNG=object)

import libcamera  # noqa: E402
from picamera2 import allocators, picamera2  # noqa: E402
from picamera2.allocators import dmaallocator  # noqa: E402
from picamera2.allocators.allocator import Sync  # noqa: E402
from picamera2.dma_heap import UniqueFD  # noqa: E402

PAGE = 4096


class MemoryHeap:
    """Memory files, in place of /dev/dma_heap."""

    def alloc(self, name, size):
        file = os.memfd_create(name, os.MFD_CLOEXEC)
        os.ftruncate(file, -(-size // PAGE) * PAGE)
        return UniqueFD(file)

    def close(self):
        pass


class NoSync(Sync):
    """Memory files need no cache to be synchronised."""

    def __init__(self, allocator, buffer, write):
        self.allocator, self.buffer = allocator, buffer

    def __enter__(self):
        return self.get_buffer()

    def __exit__(self, *_):
        pass

    def get_buffer(self):
        return self.allocator.mapped_buffers[self.buffer]


class FrameBuffers:
    """libcamera's FrameBuffer, with NV12 split into its two planes: the virtual camera writes to them by number."""

    Plane = libcamera.FrameBuffer.Plane

    def __init__(self):
        self.by_size = {}

    def __call__(self, planes):
        first = planes[0]
        stream = self.by_size[first.length]
        if str(stream.pixel_format) in ("NV12", "NV21"):
            second, luma = self.Plane(), stream.stride * stream.size.height
            second.fd, second.offset, second.length = first.fd, luma, first.length - luma
            first.length = luma
            planes = [first, second]
        return libcamera.FrameBuffer(planes)


frame_buffers = FrameBuffers()


class MemoryAllocator(allocators.DmaAllocator):
    def __init__(self):
        super().__init__()
        self.sync = NoSync

    def allocate(self, streams, use_case):
        frame_buffers.by_size = {stream.frame_size: stream for stream in streams}
        super().allocate(streams, use_case)


def raw_modes(self):
    stream = self.camera.generate_configuration([libcamera.StreamRole.VideoRecording]).at(0)
    return [{"format": str(stream.pixel_format), "size": (stream.size.width, stream.size.height)}]


dmaallocator.DmaHeap = MemoryHeap
dmaallocator.libcamera = SimpleNamespace(FrameBuffer=frame_buffers)
picamera2.DmaAllocator = allocators.DmaAllocator = MemoryAllocator
picamera2.Picamera2._get_raw_modes = raw_modes
