"""A disk that loses its power: from what processes really wrote (``strace``), every state in which they could find it again.

What a crash may do, as in ALICE (Pillai et al., OSDI 2014): content counts once its file is fsynced, a name once its folder is.
Of everything later any part may be there, in any order: a write as a whole, half, as zeros of its length, or not at all; a name
made, moved or removed, or not. A rename is done or not, never half: so it is on every file system with a journal.
"""

from __future__ import annotations

import os
import random
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Any, Final

from tests.faults.strace import Log, Step, Write

ALL: Final = 5  # so many pending steps are combined in every way, more in those ways that have broken programs before
DICE: Final = 12  # of more than that, so many subsets by chance

Tree = dict[str, Any]  # name → bytes, the Tree of a folder, or where a link leads to (a string)
Contents = dict[tuple[tuple[int, str], ...], bytes]  # what became of which writes → the file


def states(log: Log) -> Iterator[tuple[int, Tree]]:
    """Every disk that a power cut at any moment may leave, with that moment; each once as long as nothing new was said."""
    seen: set[object] = set()
    known: Contents = {}
    dice = random.Random(7)
    for moment in range(log.moment + 1):
        done = [(index, step) for index, (at, step) in enumerate(log.steps) if at <= moment]
        pending = [index for index, _ in done if log.durable.get(index, moment + 1) > moment]
        said = len(log.said(moment))
        for fate in _fates(log, pending, dice):
            tree = _tree(log, [(index, step, fate.get(index, "whole")) for index, step in done], known)
            if (key := (said, _summary(tree))) not in seen:
                seen.add(key)
                yield moment, tree


def _summary(tree: Tree) -> object:
    return tuple((name, _summary(what) if isinstance(what, dict) else hash(what)) for name, what in tree.items())


def _fates(log: Log, pending: list[int], dice: random.Random) -> Iterator[dict[int, str]]:
    """What may become of steps that are not durable yet."""
    ways = {
        index: ("whole", "gone", "half", "zeros") if isinstance(log.steps[index][1], Write) else ("whole", "gone")
        for index in pending
    }
    if len(pending) <= ALL:
        for chosen in product(*ways.values()):
            yield dict(zip(ways, chosen, strict=True))
        return
    gone = dict.fromkeys(pending, "gone")
    for count in range(len(pending) + 1):
        yield dict.fromkeys(pending[count:], "gone")  # as a journal does it
    for index, fates in ways.items():
        for fate in fates[1:]:
            yield {index: fate}  # all but one
        yield {**gone, index: "whole"}  # one alone
    for _ in range(DICE):
        yield {index: dice.choice(fates) for index, fates in ways.items()}


def _tree(log: Log, steps: Sequence[tuple[int, Step, str]], known: Contents) -> Tree:
    names: dict[tuple[int, str], int] = {}
    writes: dict[int, tuple[tuple[int, str], ...]] = {}
    for index, step, fate in steps:
        if fate == "gone":
            continue
        if isinstance(step, Write):
            writes[step.inode] = (*writes.get(step.inode, ()), (index, fate))
            continue
        if step.source is not None and names.get(step.source) == step.inode:
            del names[step.source]
        if step.inode is None:
            names.pop((step.folder, step.name), None)
        else:
            names[step.folder, step.name] = step.inode
    content = {inode: known.get(made) or known.setdefault(made, _content(log, made)) for inode, made in writes.items()}

    def folder(inode: int) -> Tree:
        return {
            name: folder(child) if child in log.folders else log.links.get(child) or content.get(child, b"")
            for (parent, name), child in sorted(names.items())
            if parent == inode
        }

    return folder(0)


def _content(log: Log, writes: Sequence[tuple[int, str]]) -> bytes:
    content = b""
    for index, fate in writes:
        step = log.steps[index][1]
        assert isinstance(step, Write)
        data = {"half": step.data[: len(step.data) // 2], "zeros": bytes(len(step.data))}.get(fate, step.data)
        old = b"" if step.cut else content.ljust(step.at, b"\0")
        content = old[: step.at] + data + old[step.at + len(data) :]
    return content


def build(tree: Tree, folder: Path) -> None:
    """Make a folder that looks like this."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, what in tree.items():
        if isinstance(what, bytes):
            (folder / name).write_bytes(what)
        elif isinstance(what, str):
            (folder / name).symlink_to(what)
        else:
            build(what, folder / name)


def after_every_power_cut(log: Log, check: Callable[[Path, list[str]], None], *, every: int = 1) -> int:
    """Build each state and let ``check`` start the product on it, with what the world had been told.

    Args:
        log: What was written.
        check: Given a folder, in memory where the machine has such a place: what is looked at has survived its power cut already.
        every: Look at one of so many states.

    Returns:
        How many states were looked at.
    """
    memory = Path("/dev/shm")
    looked = 0
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as folder:
        for count, (moment, tree) in enumerate(states(log)):
            if count % every:
                continue
            looked += 1
            place = Path(folder, str(count))
            build(tree, place)
            try:
                check(place, log.said(moment))
            except Exception as error:
                raise AssertionError(f"power cut {count}, at moment {moment} of {log.moment}, left\n{_shown(tree)}") from error
            shutil.rmtree(place)
    print(f"{looked} disks looked at")
    return looked


def _shown(tree: Tree, indent: str = "  ") -> str:
    lines = []
    for name, what in tree.items():
        lines.append(
            f"{indent}{name}/\n{_shown(what, indent + '  ')}" if isinstance(what, dict) else f"{indent}{name} {what[:200]!r}"
        )
    return "\n".join(lines)
