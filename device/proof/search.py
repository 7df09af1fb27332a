"""Looks for the canary in bytes, and in the whole memory of a process."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from device.errors import MienError
from device.proof.canary import KEY, Needle

GAP: Final = {"uint8": 40, "int8": 40, "float32": 0.1}  # by which every light sample is above every dark one, at least
MOST: Final = 1000.0  # no layer has a larger gap
LOWEST, HIGHEST = 0x5000, 0x7FFF  # upper halves of the addresses that programs have; as float32, 1e-41: no layer holds that
NAN: Final = 0x7FC00000
PIECE: Final = 16 * 1024 * 1024  # bytes searched at once
OVERLAP: Final = 64 * 1024  # bytes that two pieces share, more than any needle is long
PAGE: Final = 4096
PAIRS: Final = 6  # comparisons of everything with everything, before the few candidates are looked at one by one
SKIPPED: Final = ("[vvar]", "[vvar_vclock]", "[vsyscall]")  # the kernel's own, which nobody can read or write

_MARKS: Final = np.random.default_rng(KEY).integers(0, 2**63, PAGE // 8, np.uint64) * np.uint64(2) + np.uint64(1)
Values = npt.NDArray[Any]


class UnreadableError(MienError):
    """Another process's memory may not be read."""


@dataclass(frozen=True, slots=True)
class Region:
    """A stretch of a process's address space, as ``/proc/PID/smaps`` names it."""

    start: int
    end: int
    name: str


def find(content: bytes | bytearray | memoryview, needles: Iterable[Needle]) -> Counter[str]:
    """How often each needle is in these bytes, by name."""
    raw = np.frombuffer(content, np.uint8)
    values = {"uint8": raw, "int8": raw.view(np.int8), "float32": _floats(raw)}
    found: Counter[str] = Counter()
    for needle in needles:
        if (hits := _count(values[needle.number], needle)) >= needle.least:
            found[needle.name] += hits
    return found


def find_in_process(pid: int, needles: Iterable[Needle], before: Mapping[int, int] | None = None) -> Counter[str]:
    """How often each needle is in a process's memory, by its name and that of the region.

    Everything that the process can have written is searched: all but pages that are what a file on disk says, that repeat eight
    bytes, or that are what they were before.

    Args:
        before: What ``fingerprints`` said before the process had seen a picture.

    Raises:
        UnreadableError: This user may not read that memory.
    """
    needles = tuple(needles)
    found: Counter[str] = Counter()
    for name, start, piece in _pieces(pid):
        addresses, marks, rows = _pages(start, piece)
        known = np.array([(before or {}).get(address, 0) for address in addresses.tolist()], np.uint64)
        for form, hits in find(rows[marks != known].tobytes(), needles).items():
            found[f"{form} in {name or 'anonymous memory'}"] += hits
    return found


def fingerprints(pid: int) -> dict[int, int]:
    """A number for the content of each page, by its address; raises as ``find_in_process``."""
    found: dict[int, int] = {}
    for _, start, piece in _pieces(pid):
        addresses, marks, _ = _pages(start, piece)
        found.update(zip(addresses.tolist(), marks.tolist(), strict=True))
    return found


def regions(pid: int) -> list[Region]:
    """What there is to search in a process."""
    found, skip = [], False
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        if match := re.match(r"([0-9a-f]+)-([0-9a-f]+) (\S+) \S+ \S+ (\d+)\s*(.*)", line):
            start, end, rights, inode, name = match.groups()
            readable = rights.startswith("r") and name not in SKIPPED
            untouched = inode != "0" and "w" not in rights  # until a page of its own says otherwise
            if readable:
                found.append(Region(int(start, 16), int(end, 16), name))
            skip = readable and untouched
        elif skip and line.startswith("Anonymous:"):
            if line.split()[1] == "0":
                found.pop()
            skip = False
    return found


def _pieces(pid: int) -> Iterator[tuple[str, int, bytes]]:
    """The name of a region, an address, and what is there; neighbours overlap, so that no needle is cut."""
    try:
        with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
            for region in regions(pid):
                at = region.start
                while at < region.end and (piece := _read(memory, at, min(PIECE + OVERLAP, region.end - at))):
                    yield region.name, at, piece
                    at += PIECE
    except PermissionError as error:
        raise UnreadableError(f"the memory of process {pid} may not be read ({error.strerror}); run as root") from error


def _read(memory: Any, at: int, length: int) -> bytes:
    """What is there; nothing when it is a device's memory, or gone meanwhile."""
    try:
        memory.seek(at)
        return bytes(memory.read(length))
    except PermissionError:
        raise
    except OSError:
        return b""


def _pages(start: int, piece: bytes) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64], npt.NDArray[np.uint64]]:
    """Address, fingerprint and content of each page, without those that repeat eight bytes, most of which were never used."""
    words = np.frombuffer(piece, np.uint64).reshape(-1, PAGE // 8)
    varied = np.flatnonzero((words != words[:, :1]).any(axis=1))
    rows = words[varied]
    return (varied * PAGE + start).astype(np.uint64), (rows * _MARKS).sum(axis=1, dtype=np.uint64), rows


def _floats(raw: npt.NDArray[np.uint8]) -> Values:
    """As float32, but for addresses: half of one is a number like any other, and a program's memory is full of them."""
    words = raw[: len(raw) // 8 * 8].view(np.uint32).reshape(-1, 2)
    values = words.copy()
    values[(words[:, 1] >= LOWEST) & (words[:, 1] <= HIGHEST)] = NAN
    return np.append(values.reshape(-1), raw[len(raw) // 8 * 8 : len(raw) // 4 * 4].view(np.uint32)).view(np.float32)


def _count(values: Values, needle: Needle) -> int:
    """At how many places the light samples are above the dark ones, and much like each other, as the dark ones are.

    Of a layer, in the channel that has most.
    """
    light, dark = needle.samples()
    room = len(values) - int(max(light.max(), dark.max()))
    if room <= 0:
        return 0
    one_channel = needle.least > 1  # of a layer: only some of its channels hold the picture, so each of them is looked at
    stride = 1 if one_channel else needle.step * max(1, int(needle.stripe / 4))  # a wide stripe is found from more than one place
    with np.errstate(invalid="ignore", over="ignore"):
        maybe = values[light[0] : light[0] + room : stride] > values[dark[0] : dark[0] + room : stride]
        for pair in range(1, PAIRS):
            above, below = light[pair * len(light) // PAIRS], dark[-1 - pair * len(dark) // PAIRS]
            np.logical_and(maybe, values[above : above + room : stride] > values[below : below + room : stride], out=maybe)
        at = np.flatnonzero(maybe) * stride
        ranges = np.empty((4, len(at)), np.float32)  # lowest and highest light, lowest and highest dark
        ranges[::2], ranges[1::2] = np.inf, -np.inf
        for above, below in zip(_padded(light, dark), _padded(dark, light), strict=True):
            for row, place in ((0, above), (2, below)):
                ranges[row] = np.minimum(ranges[row], values[at + place])
                ranges[row + 1] = np.maximum(ranges[row + 1], values[at + place])
            gap = ranges[0] - ranges[3]
            stay = (gap >= GAP[needle.number]) & (gap <= MOST)
            stay &= np.maximum(ranges[1] - ranges[0], ranges[3] - ranges[2]) <= needle.spread * gap
            at, ranges = at[stay], ranges[:, stay]
            if not len(at):
                return 0
    return int(np.bincount(at % needle.step).max()) if one_channel else len(at)


def _padded(one: npt.NDArray[np.intp], other: npt.NDArray[np.intp]) -> npt.NDArray[np.intp]:
    """As many as the longer of the two, the last one repeated."""
    return np.concatenate([one, np.full(max(0, len(other) - len(one)), one[-1], np.intp)])
