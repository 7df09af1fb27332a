"""What processes wrote below a folder, as the kernel was asked for it: ``strace``, read into steps."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

CALLS: Final = (
    "openat,write,pwrite64,writev,rename,renameat,renameat2,unlink,unlinkat,link,linkat,symlink,symlinkat,"
    "mkdir,mkdirat,rmdir,ftruncate,truncate,fsync,fdatasync,sync_file_range,mmap"
)
LINE: Final = re.compile(r"(?P<name>\w+)\((?P<words>.*)\)\s+= (?P<result>-?\w+)(?:<(?P<opened>[^>]*)>)?.*$")
STRING: Final = re.compile(r'"([^"]*)"')
HANDLE: Final = re.compile(r"^(\d+)<([^>]*)>")


@dataclass(frozen=True)
class Name:
    """A name in a folder begins to stand for a file, or (``inode`` is None) ends; ``source`` is the name that it had before."""

    folder: int
    name: str
    inode: int | None
    source: tuple[int, str] | None = None


@dataclass(frozen=True)
class Write:
    """Content at a place in a file; ``cut``: the file is this long from now on."""

    inode: int
    at: int
    data: bytes
    cut: bool = False


Step = Name | Write


@dataclass
class Log:
    """What happened below a folder.

    Attributes:
        steps: In order, each with the number of the moment from which on it is durable.
        marks: What was said to the world (on standard output): at which moment, and what.
    """

    steps: list[tuple[int, Step]] = field(default_factory=list)
    durable: dict[int, int] = field(default_factory=dict)  # index into steps → moment
    marks: list[tuple[int, str]] = field(default_factory=list)
    folders: set[int] = field(default_factory=lambda: {0})
    moment: int = 0
    names: dict[tuple[int, str], int] = field(default_factory=dict)
    sizes: dict[int, int] = field(default_factory=dict)
    links: dict[int, str] = field(default_factory=dict)
    without: frozenset[str] = frozenset()
    begun: set[tuple[str, ...]] = field(
        default_factory=set
    )  # folders whose mkdir was told in two parts: others may use them between

    def add(self, step: Step) -> None:
        self.moment += 1
        self.steps.append((self.moment, step))
        if isinstance(step, Write):
            end = step.at + len(step.data)
            self.sizes[step.inode] = end if step.cut else max(self.sizes.get(step.inode, 0), end)
            return
        if step.source is not None:
            self.names.pop(step.source, None)
        if step.inode is None:
            self.names.pop((step.folder, step.name), None)
        else:
            self.names[step.folder, step.name] = step.inode

    def sync(self, inode: int) -> None:
        self.moment += 1
        for index, (_, step) in enumerate(self.steps):
            where = step.inode if isinstance(step, Write) else step.folder
            if where == inode:
                self.durable.setdefault(index, self.moment)

    def make(self, folder: int, name: str, *, is_folder: bool = False) -> int:
        inode = 1 + max([0, *self.folders, *self.sizes])
        if is_folder:
            self.folders.add(inode)
        else:
            self.sizes[inode] = 0
        self.add(Name(folder, name, inode))
        return inode

    def find(self, words: Sequence[str]) -> int | None:
        inode: int | None = 0
        for word in words:
            inode = None if inode is None else self.names.get((inode, word))
        return inode

    def said(self, moment: int) -> list[str]:
        """What the world knew at a moment."""
        return [text for at, text in self.marks if at <= moment]


def record(command: Sequence[str | Path], root: Path, out: Path, cwd: Path, without: Sequence[str] = ()) -> Log:
    """Run a program and everything that it starts, and read what it did below ``root``, which has to be empty.

    What is in a folder or file of a name in ``without`` directly below it is somebody else's.
    """
    words = ("strace", "-f", "-qq", "-y", "-xx", "-s", "9000000", "-e", f"trace={CALLS}", "-e", "signal=none", "-o", out)
    done = subprocess.run([*words, *command], cwd=cwd, capture_output=True, text=True, check=False, timeout=240)
    assert done.returncode == 0, done.stderr
    return parse(out.read_text().splitlines(), root, without)


def parse(lines: Sequence[str], root: Path, without: Sequence[str] = ()) -> Log:
    """Read the output of ``strace -f -y -xx``."""
    log, begun = Log(without=frozenset(without)), {}
    for line in lines:
        pid, _, text = line.partition(" ")
        text = text.strip()
        if text.endswith("<unfinished ...>"):
            begun[pid] = text.removesuffix("<unfinished ...>")
            if text.startswith("mkdir"):
                log.begun |= {path for name in STRING.findall(text) if (path := _inside(log, _text(name), root))}
            continue
        if text.startswith("<..."):
            text = begun.pop(pid) + text.partition("resumed>")[2]
        if (found := LINE.match(text)) and not found["result"].startswith("-"):
            _happened(log, root, found["name"], found["words"], found["opened"], int(found["result"], 0))
    return log


def _folder(log: Log, path: Sequence[str]) -> int:
    """A folder in which something was made: known, or one whose own call is still under way in another process."""
    known = log.find(path)
    if known is not None:
        return known
    assert tuple(path) in log.begun, path
    return log.make(_folder(log, path[:-1]), path[-1], is_folder=True)


def _happened(log: Log, root: Path, call: str, words: str, opened: str | None, result: int) -> None:
    """One call of the kernel. What this module does not understand, and what nobody should do to these files, is refused."""
    paths = [] if "write" in call else [_inside(log, _text(text), root) for text in STRING.findall(words)]
    handle = HANDLE.match(words)
    here = _inside(log, _text(handle[2]), root) if handle else None
    if call == "write" and handle and handle[1] == "1":
        log.marks.append((log.moment, b"".join(_bytes(text) for text in STRING.findall(words)).decode()[:result]))
    elif call == "openat" and "O_CREAT" in words and opened is not None and (path := _inside(log, _text(opened), root)):
        inode = log.find(path)
        if inode is None:
            log.make(_folder(log, path[:-1]), path[-1])
        elif "O_TRUNC" in words and log.sizes[inode]:
            log.add(Write(inode, 0, b"", cut=True))
    elif call == "write" and here:
        inode = log.find(here)
        if inode is not None:  # a file that has no name any more is nobody's
            log.add(Write(inode, log.sizes[inode], _bytes(STRING.findall(words)[0])[:result]))
    elif call in ("fsync", "fdatasync") and here is not None:
        if (inode := log.find(here)) is not None:
            log.sync(inode)
    elif call == "mmap":
        assert not ("MAP_SHARED" in words and "PROT_WRITE" in words and f"<{root}" in words), words
    elif any(paths) and call.startswith("mkdir"):
        if log.find(paths[-1]) is None or paths[-1] not in log.begun:  # type: ignore[arg-type]
            log.make(_folder(log, paths[-1][:-1]), paths[-1][-1], is_folder=True)  # type: ignore[index]
    elif any(paths) and call.startswith("rename"):
        source, target = paths
        assert source is not None, words
        assert target is not None, words
        inode, old, new = log.find(source), log.find(source[:-1]), log.find(target[:-1])
        assert None not in (inode, old, new), words
        log.add(Name(new, target[-1], inode, (old, source[-1])))  # type: ignore[arg-type]
    elif any(paths) and call in ("unlink", "unlinkat", "rmdir"):
        folder = log.find(paths[-1][:-1])  # type: ignore[index]
        assert folder is not None, words
        log.add(Name(folder, paths[-1][-1], None))  # type: ignore[index]
    elif any(paths) and call == "symlink":
        folder = log.find(paths[-1][:-1])  # type: ignore[index]
        assert folder is not None, words
        log.links[log.make(folder, paths[-1][-1])] = _text(STRING.findall(words)[0])  # type: ignore[index]
    elif call != "openat" and (any(paths) or here):
        raise AssertionError(f"{call}({words}): not known to the replay")


def _inside(log: Log, path: str, root: Path) -> tuple[str, ...] | None:
    """The names from the root to a path, ``None`` where it is outside."""
    at = Path(path.removesuffix(" (deleted)"))
    parts = at.relative_to(root).parts if at.is_relative_to(root) else None
    return None if parts and parts[0] in log.without else parts


def _bytes(text: str) -> bytes:
    return bytes.fromhex(text.replace("\\x", ""))


def _text(text: str) -> str:
    return _bytes(text).decode() if text.startswith("\\x") else text
