"""Two machines that run with one identity, as it shows in their statuses. Pure.

Whoever copies a card copies its key and certificate too, and the broker takes both for one device. Each run of ``mien send`` names
itself in its status (``session``), so two that run at one time give themselves away, in one of two ways:

- *taken over*: they connect with the same name, so that each ends the other's connection, which the broker tells it;
- *back*: a run speaks after a younger one has begun. A run that has ended never does, but one message of it may be handled late
  (several processes serve).

So one such sign means nothing, and ``ENOUGH`` of them within an hour mean two machines. Of the machine itself a status tells eight
digits of a hash (``box``), which are others on a copy, and which the registry knows of the machine that enrolled.
"""

from __future__ import annotations

from typing import Final

from pydantic import BaseModel, ConfigDict

from device.contract import Status

ENOUGH: Final = 2  # signs
QUIET: Final = 3600  # seconds without a sign, after which it is over
RUNS: Final = 6  # newest runs that are remembered of a device
MAX_SOFTWARE: Final = 40  # letters of a version, which a device words as it likes


class Run(BaseModel):
    """One run of a sending process, as it names itself; ``taken_over``: how often a copy has ended its connection."""

    model_config = ConfigDict(frozen=True)

    session: str
    box: str | None
    software: str | None
    taken_over: int

    @classmethod
    def of(cls, status: Status, told: int) -> Run:
        """What a status says; its words fit for a terminal. ``told``: how often it said before that it was taken over."""
        software = "".join(letter for letter in status.software or "" if letter.isprintable())[:MAX_SOFTWARE]
        return cls(session=status.session, box=status.box, software=software or None, taken_over=max(told, status.taken_over))


class Seen(BaseModel):
    """What is known of a device's runs.

    Attributes:
        runs: The newest ones, in the order in which they were first heard of.
        speaker: The session that was heard last.
        signs: How many signs there were, up to ``ENOUGH``, with less than ``QUIET`` seconds between them.
        sign_at: When the last one was, seconds since 1970.
        since: Since when there are enough; ``None`` where there are not.
        both: The sessions that gave themselves away.
    """

    model_config = ConfigDict(frozen=True)

    runs: tuple[Run, ...] = ()
    speaker: str | None = None
    signs: int = 0
    sign_at: int = 0
    since: int | None = None
    both: tuple[str, ...] = ()


def heard(before: Seen, status: Status, now: int) -> Seen:
    """What is known after a status; the same as before where one run goes on speaking, as it usually does."""
    if status.state != "online":
        return before  # a last will is published by the broker, at any time
    names = [one.session for one in before.runs]
    known = next((one for one in before.runs if one.session == status.session), None)
    told = known.taken_over if known else 0
    run = Run.of(status, told)
    runs = tuple(run if one is known else one for one in before.runs) if known else (*before.runs, run)[-RUNS:]
    after = before.model_copy(update={"runs": runs, "speaker": run.session})
    back = known is not None and before.speaker in names and names.index(run.session) < names.index(before.speaker)
    if run.taken_over == told and not back:
        return after
    over = abs(now - before.sign_at) > QUIET  # also where this clock was set back
    signs, since, both = (0, None, ()) if over else (before.signs, before.since, before.both)
    signs = min(ENOUGH, signs + 1)
    involved = dict.fromkeys((*both, *filter(None, (before.speaker,)), run.session))
    since = since if since is not None or signs < ENOUGH else now
    return after.model_copy(update={"signs": signs, "sign_at": now, "since": since, "both": tuple(involved)[-RUNS:]})


def said(seen: Seen, enrolled: str | None) -> str:
    """Both, by what tells them apart.

    Args:
        seen: With ``since``.
        enrolled: What a status of the machine that enrolled has as ``box``; ``None`` where that is not known.
    """
    machines: dict[str, list[Run]] = {}
    for one in (run for run in seen.runs if run.session in seen.both):
        machines.setdefault(one.box or f"session {one.session}", []).append(one)
    told = [_machine(runs, enrolled) for runs in machines.values()]
    if len(told) > 1:
        return f"two machines run with this one identity: {' and '.join(told)}"
    if len(seen.both) > 1:
        return f"two processes run with this one identity, on one machine or on two that call themselves the same: {told[0]}"
    return f"two machines run with this one identity: {' '.join(told)} and one that says nothing of itself"


def _machine(runs: list[Run], enrolled: str | None) -> str:
    box, newest = runs[-1].box, runs[-1]
    sessions = f"session{'s' if len(runs) > 1 else ''} {', '.join(one.session for one in runs)}"
    role = "" if box is None or enrolled is None else "the one that enrolled, " if box == enrolled else "a copy, "
    return f"hardware {box or 'unknown'} ({role}mien {newest.software or 'unknown'}, {sessions})"
