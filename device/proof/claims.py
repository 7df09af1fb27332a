"""What is claimed, and the trial of each claim on this machine, with a control that must be found by the same means."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from device import privacy
from device.contract import CELLS
from device.errors import MienError
from device.proof import canary, memory, sandbox, sources
from device.proof.scene import Place
from device.proof.search import UnreadableError
from device.proof.tracer import NotTriedError, Trace, trace
from device.terms import Terms

STEPS: Final = 26  # of the progress bar
NEEDLES: Final = canary.needles([canary.Tensor("face", 192, 192, 3, "float32"), canary.Tensor("emotion", 48, 48, 1, "int8")])
WINDOWS: Final = 10_000
REACH: Final = """
import socket, sys
try:
    socket.create_connection(("127.0.0.1", int(sys.argv[1])), 5).close()
except OSError as error:
    print(error.strerror)
else:
    print("reached")
"""
LIST_DEVICES: Final = (
    "import os; print(*(n for n in os.listdir('/dev') if n.startswith(('video', 'media', 'v4l', 'vchiq', 'dma_heap'))))"
)
DUMPABLE: Final = """
import ctypes, resource, sys
from device.process import protect
if sys.argv[1] == "protected":
    protect(pixels=True)
print(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0), *resource.getrlimit(resource.RLIMIT_CORE))
"""


@dataclass(frozen=True, slots=True)
class Claim:
    """One line of the proof.

    Attributes:
        claim: What is claimed.
        ok: Whether it was tried and holds, and its control was found.
        evidence: What was done and seen; for what could not be tried, why, and how it can be.
        hits: What was found that must not be there; None where it could not be tried.
        control: What the same means found where it had been put.
    """

    claim: str
    ok: int
    evidence: str
    hits: int | None = None
    control: int | None = None


Step = Callable[[], None]
Trial = Callable[[Place, int, Step], Claim]


def memory_holds_no_picture(_: Place, frames: int, step: Step) -> Claim:
    """Pictures through the whole pipeline, each stage failing in turn; then the process's memory is searched."""
    shown = read = failed = hits = control = 0
    where: list[str] = []
    with memory.subject() as subject:
        for stage in canary.STAGES:
            answer = subject.run(stage, count := -(-frames // len(canary.STAGES)))
            shown, read, failed = shown + count, read + answer.read, failed + answer.failed
            hits += answer.found.total()
            where += [f"{place} ({stage})" for place in answer.found]
            step()
        planted = [subject.plant(form).total() for form in memory.FORMS]
        control = sum(planted)
        step()
        hits += subject.forgotten().total()
        step()
    said = f"{shown} pictures, {read} faces read, {failed} failures in {len(canary.STAGES) - 2} stages, then all memory searched"
    said += f"; {min(planted)} or more hits for each of {len(planted)} forms of a planted picture"
    return Claim(
        "no picture, crop or tensor stays in memory, whatever fails",
        int(not hits and read > 0 and failed > 0 and min(planted) > 0),
        said + (f"; FOUND {', '.join(where[:3])}" if where else ""), hits, control,
    )  # fmt: skip


def there_is_no_core_dump(place: Place, _: int, step: Step) -> Claim:
    """The limit, and whether the process is dumpable; without protection it is."""
    protected, bare = (place.python("-c", DUMPABLE, word).split() for word in ("protected", "bare"))
    step()
    ok = protected == ["0", "0", "0"] and bare[0] == "1"
    return Claim(
        "no core dump can hold a picture, and no other process of the same user can read it", int(ok),
        f"dumpable {protected[0]} and core size at most {protected[2]} bytes; without protection dumpable {bare[0]}",
        int(protected != ["0", "0", "0"]), int(bare[0] == "1"),
    )  # fmt: skip


def watching_writes_only_reports(place: Place, _: int, step: Step) -> Claim:
    """The real process under strace, three people in front of the canary."""
    control = _leaks(place, ("write", "map"))
    step()
    people = place.people()
    seen = _traced(place, "mien watch", "-m", "device.cli", "watch", "--settings", place.settings(), "--camera", f"replay:{people}")
    step()
    counted = [json.loads(path.read_bytes())["report"]["people"] for path in place.waiting()]
    allowed = re.compile(rf"{re.escape(str(place.folder))}/(run|spool|state|inbox)/.*|/dev/(null|tty).*")
    elsewhere = sorted(path for path in seen.opened if not allowed.fullmatch(path))
    inet = sorted(family for family in seen.sockets if "INET" in family)
    bad = [*seen.find(NEEDLES), *seen.blind, *elsewhere, *inet]
    said = f"strace -f: {len(seen.written)} writes, {len(seen.opened)} files opened for writing, {len(inet)} internet sockets; "
    said += f"reports of {counted} people prove that faces were read; a picture that was let out was found"
    return Claim(
        "mien watch hands the kernel nothing but reports, its health and its log", int(not bad and 3 in counted and control > 0),
        said + (f"; FOUND {', '.join(bad[:3])}" if bad else ""), len(bad), control,
    )  # fmt: skip


def sending_sends_only_reports(place: Place, _: int, step: Step) -> Claim:
    """The real process under strace, towards a broker without TLS."""
    control = _leaks(place, ("send",))
    step()
    url = place.broker()
    waiting = place.reports()
    seen = _traced(place, "mien send", "-m", "device.cli", "send", "--once", "--settings", place.settings(url))
    step()
    sent = sum(len(content) for where, content in seen.written if where.startswith("send"))
    bad = [*seen.find(NEEDLES), *seen.blind]
    return Claim(
        "mien send sends nothing but the reports in the spool", int(not bad and sent > 0 and waiting > 0 and control > 0),
        f"strace -f, a broker without TLS: {waiting} reports, {sent} bytes sent; a picture that was sent was found"
        + (f"; FOUND {', '.join(bad[:3])}" if bad else ""), len(bad), control,
    )  # fmt: skip


def watching_needs_no_network(place: Place, _: int, step: Step) -> Claim:
    """The real process in a network namespace without an interface."""
    before = len(place.waiting())
    words = place.command("-m", "device.cli", "watch", "--settings", place.settings(), "--camera", f"replay:{place.people()}")
    place.run(sandbox.without_network(words))
    made = len(place.waiting()) - before
    port = str(place.port())
    inside = place.run(sandbox.without_network(place.command("-c", REACH, port))).strip()
    outside = place.python("-c", REACH, port).strip()
    step()
    return Claim(
        "mien watch works without any network", int(made > 0 and inside != "reached" and outside == "reached"),
        f"{made} reports made where there is no interface; a socket there: {inside}; outside: {outside}",
        int(inside == "reached"), int(outside == "reached"),
    )  # fmt: skip


def sending_needs_no_camera(place: Place, _: int, step: Step) -> Claim:
    """The real process with a /dev that has no camera."""
    devices = place.folder / "dev"
    devices.mkdir(exist_ok=True)
    waiting = place.reports()
    hidden = place.run(sandbox.without_devices(place.command("-c", LIST_DEVICES), devices)).split()
    sent = place.run(
        sandbox.without_devices(place.command("-m", "device.cli", "send", "--once", "--settings", place.settings("")), devices)
    )
    (devices / "video0").touch()
    let_in = place.run(sandbox.without_devices(place.command("-c", LIST_DEVICES), devices)).split()
    step()
    reports = waiting - len(place.waiting()) if sent else 0
    return Claim(
        "mien send works without any device", int(not hidden and reports > 0 and "video0" in let_in),
        f"{reports} reports published where /dev has {len(sandbox.KEPT)} nodes and no camera; one that was let in was seen",
        len(hidden), len(let_in),
    )  # fmt: skip


def only_the_rules_make_reports(_: Place, __: int, step: Step) -> Claim:
    """The installed source: one maker of reports, and frames only where they live."""
    strangers = sources.strangers()
    control = sum(bool(sources.report_makers(code)) for code in sources.SECOND_MAKERS)
    control += sum(sources.sees_frames(code) for code in sources.SECOND_SEERS)
    step()
    wanted = len(sources.SECOND_MAKERS) + len(sources.SECOND_SEERS)
    return Claim(
        "only the privacy rules make reports, and frames are seen only where they live", int(not strangers and control == wanted),
        "; ".join(strangers) or f"every module of device/ was read; {control} of {wanted} forbidden examples were caught",
        len(strangers), control,
    )  # fmt: skip


def few_people_are_never_published(_: Place, __: int, step: Step) -> Claim:
    """Windows of chance through the rules without noise, where true counts are compared with k."""
    dice, leaks, control = random.Random(canary.KEY), 0, 0  # noqa: S311 (windows of chance, nothing secret)
    for _number in range(WINDOWS):
        k = dice.randint(3, 10)
        counts = {cell: dice.choice((0, 0, 1, 2, k - 1, k, k + 1, dice.randint(0, 30))) for cell in CELLS}
        few = sum(counts.values()) < k or any(0 < n < k for n in counts.values())
        draft = privacy.apply(counts, Terms(k))
        leaks += draft.withheld is None and any(n is not None and 0 < n < k for n in draft.cells.values())
        leaks += sum(counts.values()) < k and draft.withheld is None
        control += few
    step()
    return Claim(
        "fewer than k people are never published, in no cell", int(not leaks and control > 0),
        f"{WINDOWS} windows of chance, {control} of them with a cell or a sum below k", leaks, control,
    )  # fmt: skip


TRIALS: Final[tuple[tuple[str, Trial], ...]] = (
    ("no picture stays in memory", memory_holds_no_picture),
    ("no core dump", there_is_no_core_dump),
    ("mien watch writes only reports", watching_writes_only_reports),
    ("mien watch needs no network", watching_needs_no_network),
    ("mien send sends only reports", sending_sends_only_reports),
    ("mien send needs no camera", sending_needs_no_camera),
    ("only the rules make reports", only_the_rules_make_reports),
    ("fewer than k people are never published", few_people_are_never_published),
)


def try_all(folder: Path, frames: int, step: Step) -> list[Claim]:
    """Try every claim; what cannot be tried here says why and is not ok."""
    made = []
    with ExitStack() as stack:
        place = Place(folder, stack)
        for name, trial in TRIALS:
            try:
                made.append(trial(place, frames, step))
            except (NotTriedError, UnreadableError) as error:
                made.append(Claim(name, 0, f"not tried: {error}"))
            except MienError as error:
                made.append(Claim(name, 0, f"failed: {error}"))
    return made


def _traced(place: Place, name: str, *words: str | Path) -> Trace:
    return trace(
        place.command(*words), place.folder / f"{name.replace(' ', '-')}.trace", env=place.env, cwd=place.folder, timeout=60
    )


def _leaks(place: Place, ways: tuple[str, ...]) -> int:
    """How many leaks of each kind the tracer finds; 0 when it misses one."""
    picture = place.folder / "picture"
    picture.write_bytes(canary.picture().tobytes())
    found = []
    for way in ways:
        seen = _traced(place, f"leak {way}", "-m", "device.proof.leak", way, picture)
        found.append(seen.find(NEEDLES).total() or len(seen.blind))
    return sum(found) if all(found) else 0
