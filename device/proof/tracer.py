"""Runs a program under strace and looks at every byte that it hands to the kernel.

strace sees what a system call is given, not a store into memory that is shared with a file: so such mappings are refused, and so
are the calls that move bytes without showing them.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from device.errors import MienError
from device.proof.canary import Needle
from device.proof.search import find

WRITES: Final = ("write", "pwrite64", "writev", "pwritev", "pwritev2", "sendto", "sendmsg", "sendmmsg")
BLIND: Final = (
    "sendfile", "splice", "tee", "vmsplice", "copy_file_range", "process_vm_writev", "io_uring_setup", "memfd_create", "shmat",
)  # fmt: skip
OPENS: Final = ("open", "openat", "openat2", "creat")
CALL: Final = re.compile(r"^(?:\d+ +)?([a-z_0-9]+)\((.*)$")
STRING: Final = re.compile(r'"((?:\\x[0-9a-f]{2})*)"(\.\.\.)?')
POINTER: Final = re.compile(r"(?:, |iov_base=)0x[0-9a-f]+")
TO_WRITE: Final = re.compile(r"O_WRONLY|O_RDWR|O_CREAT|O_TRUNC|O_APPEND")
BLINDED: Final = "strace cannot see what is written, because the process is not dumpable; run as root"
LONGEST: Final = 4_000_000  # bytes of one argument that are written down


class NotTriedError(MienError):
    """This machine does not allow the proof; the message says what would."""


@dataclass
class Trace:
    """What a program has handed to the kernel.

    Attributes:
        written: Each buffer, with the call and the file that it went to.
        opened: Files that were opened for writing.
        blind: Calls that could carry bytes which nobody sees.
        sockets: Families of the sockets that were made, as AF_INET.
    """

    written: list[tuple[str, bytes]] = field(default_factory=list)
    opened: set[str] = field(default_factory=set)
    blind: list[str] = field(default_factory=list)
    sockets: set[str] = field(default_factory=set)

    def find(self, needles: Iterable[Needle]) -> Counter[str]:
        """Canaries in anything that was written: in each buffer, and in all that went to one file, joined."""
        needles = tuple(needles)
        streams: dict[str, bytearray] = {}
        for where, content in self.written:
            streams.setdefault(where, bytearray()).extend(content)
        found: Counter[str] = Counter()
        for where, stream in streams.items():
            for name, hits in find(stream, needles).items():
                found[f"{name} in {where}"] += hits
        return found


def trace(words: list[str], log: Path, *, env: Mapping[str, str], cwd: Path, timeout: float) -> Trace:
    """Run a program to its end under strace, with its children and threads.

    Args:
        words: The program.
        log: Where strace writes; the program's own output goes beside it.
        timeout: Seconds that it may take.

    Raises:
        NotTriedError: There is no strace, or it may not look into the program.
        MienError: The program did not end well.
    """
    strace = shutil.which("strace")
    if strace is None:
        raise NotTriedError("strace is not installed; install it: sudo apt install strace")
    calls = ",".join(f"?{call}" for call in (*WRITES, *BLIND, *OPENS, "mmap", "socket"))
    flags = ["-f", "-qq", "-yy", "-xx", "-s", str(LONGEST), "-e", f"trace={calls}", "-e", "signal=none", "-o", str(log)]
    with log.with_suffix(".err").open("wb") as said:
        process = subprocess.Popen(
            [strace, *flags, "--", *words],
            stdin=subprocess.DEVNULL, stdout=said, stderr=said, cwd=cwd, env=dict(env), start_new_session=True,
        )  # fmt: skip
    try:
        process.wait(timeout)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        raise MienError(f"{' '.join(words[:4])} did not end within {timeout:g} s under strace") from None
    if process.returncode != 0:
        lines = log.with_suffix(".err").read_text(errors="replace").strip().splitlines() or [""]
        if "ptrace" in lines[0].lower():
            raise NotTriedError(f"strace may not trace here ({lines[0]}); run as root, outside of a container that forbids it")
        raise MienError(f"{' '.join(words[:4])} ended with {process.returncode} under strace: {' / '.join(lines[-3:])}")
    return read(log)


def read(log: Path) -> Trace:
    """What strace has written down.

    Raises:
        NotTriedError: strace could not see what was written.
    """
    made = Trace()
    unfinished: dict[str, str] = {}
    with log.open(encoding="ascii", errors="replace") as lines:
        for raw in lines:
            number, _, line = raw.rstrip("\n").partition(" ")
            line = line.lstrip()
            if line.endswith("<unfinished ...>"):
                unfinished[number] = line.removesuffix("<unfinished ...>")
                continue
            if resumed := re.match(r"<\.\.\. \w+ resumed>(.*)", line):
                line = unfinished.pop(number, "") + resumed[1]
            if call := CALL.match(line):
                _take(made, call[1], call[2])
    return made


def _take(made: Trace, call: str, rest: str) -> None:
    failed = re.search(r"\) += -1 ", rest) is not None
    if call in WRITES:
        strings = STRING.findall(rest)
        arguments = _without_names(rest)
        if POINTER.search(STRING.sub("", arguments)) and not failed:
            raise NotTriedError(BLINDED)
        if any(cut for _, cut in strings):
            raise MienError(f"more than {LONGEST} bytes were written at once, which is more than the trace holds")
        target = re.match(r"\d+<((?:[^<>]|<[^>]*>|->)*)>", rest)
        made.written += [(f"{call} to {_path(target[1]) if target else '?'}", _bytes(text)) for text, _ in _buffers(call, strings)]
    elif call in BLIND:
        made.blind += [] if failed else [call]
    elif call == "mmap":
        if "MAP_SHARED" in rest and "PROT_WRITE" in rest and "MAP_ANONYMOUS" not in rest and not failed:
            made.blind.append(f"mmap {rest[:200]}")
    elif call == "socket":
        made.sockets.add(rest.partition(",")[0])
    elif call in OPENS and not failed and (call == "creat" or TO_WRITE.search(rest)):
        if not STRING.search(rest):
            raise NotTriedError(BLINDED)
        opened = re.search(r"\) += \d+<(.*)>$", rest)
        made.opened.add(_path(opened[1]) if opened else _bytes(STRING.findall(rest)[0][0]).decode(errors="replace"))


def _buffers(call: str, strings: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Without the address of sendto, which is no buffer."""
    return strings[:1] if call == "sendto" else strings


def _without_names(rest: str) -> str:
    return re.sub(r"<[^<>]*>", "", rest)


def _path(shown: str) -> str:
    """A path as -yy shows it, where each byte may be written as a number."""
    return re.sub(r"\\x([0-9a-f]{2})", lambda byte: chr(int(byte[1], 16)), shown).removesuffix(" (deleted)")


def _bytes(text: str) -> bytes:
    return bytes.fromhex(text.replace("\\x", ""))
