"""Rollouts as decisions. Pure: what is known and what time it is in, what to do out; ``provisioning/rollouts.py`` stores and sends.

A rollout gives a model to some devices first (the canary), then to more, then to all: each stage once all devices of those before
have ended well, and have stayed well for a while. It stops itself when too many have not. What counts is what devices publish:
their states, their health, and how long a pass takes on test vectors. No report, and nothing about people, has a part in it.

==========  ================================================================================================
running     stages follow each other; every device that has not answered is told again
paused      no new stage begins; devices that have their job go on with it
aborted     devices that are not done are told to be as before (with ``back``, those that are done, too)
done        the last stage has ended
==========  ================================================================================================
"""

from __future__ import annotations

import hashlib
import math
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

from device.contract import Status
from device.contract_model import FINAL, ModelState, Reason, State
from provisioning.errors import WordsError

MemberState = Literal["pending", "sent", "late", State]
RolloutState = Literal["running", "paused", "aborted", "done"]
Action = Literal["install", "withdraw"]

FIRST_WAIT: Final = (
    30  # seconds before a job is sent again; doubles each time. The broker keeps it: this is for what never got there
)
LONGEST_WAIT: Final = 3600
AT_ONCE: Final = 200  # jobs sent in one go
UNWELL: Final = frozenset({"memory", "model", "stopped"})  # troubles in a status for which a new model may be the reason
ORDER: Final[dict[MemberState, int]] = {
    "pending": 0,
    "sent": 1,
    "queued": 2,
    "downloading": 3,
    "verifying": 4,
    "trial": 5,
    "late": 6,
    "committed": 7,
    "rejected": 8,
    "rolled_back": 8,
}


@dataclass(frozen=True, slots=True)
class Plan:
    """How careful a rollout is.

    Attributes:
        stages: Percents of the devices, growing, the last one 100.
        abort_above: Percent of the devices that may fail, of those that have a job and are there.
        soak_seconds: For so long a device must have stayed well with the new model.
        spread_seconds, timeout_seconds, trial_seconds: As in the job.
    """

    stages: tuple[float, ...] = (100.0,)
    abort_above: float = 2.0
    soak_seconds: int = 900
    spread_seconds: int = 0
    timeout_seconds: int = 3600
    trial_seconds: int = 600

    @property
    def patience(self) -> int:
        """Seconds after which a device that has not ended has had all the time that its job gives it, and some more."""
        return self.spread_seconds + 3 * self.timeout_seconds + 2 * self.trial_seconds


@dataclass(frozen=True, slots=True)
class Member:
    """A device of a rollout; times are seconds since 1970.

    Attributes:
        stage: In which it gets its job, from 0.
        sent_at: When it was told first; once it has answered, when it did so first.
        unwell_at: Since when its status says that it is not well with the new model.
        due_at: When its job is to be sent again; ``None`` when there is no need.
    """

    device: str
    stage: int
    state: MemberState = "pending"
    reason: Reason | None = None
    milliseconds: float | None = None
    sent_at: int | None = None
    changed_at: int = 0
    unwell_at: int | None = None
    due_at: int | None = None
    tries: int = 0

    @property
    def failed(self) -> bool:
        return self.state in ("rejected", "rolled_back", "late") or (self.state == "committed" and self.unwell_at is not None)


@dataclass(frozen=True, slots=True)
class Rollout:
    """A rollout as it is stored; ``reason`` says to a person why it is as it is."""

    id: str
    plan: Plan
    members: tuple[Member, ...]
    state: RolloutState = "running"
    stage: int = 0
    back: bool = False
    reason: str = ""

    def given(self) -> list[Member]:
        """Those of the stages that have begun."""
        return [one for one in self.members if one.stage <= self.stage]

    def silent(self, member: Member, now: int) -> bool:
        """Whether it has been told and is not there."""
        return member.state == "sent" and member.sent_at is not None and now - member.sent_at > self.plan.patience


@dataclass(frozen=True, slots=True)
class Send:
    """A job to publish."""

    device: str
    action: Action


def percents(canary: float | None, then: Sequence[float]) -> tuple[float, ...]:
    """The stages that a person has asked for. Raises WordsError when they do not grow."""
    wanted = [*([] if canary is None else [canary]), *then]
    if any(not 0 < one <= 100 for one in wanted) or sorted(set(wanted)) != wanted:
        said = ", ".join(f"{one:g}%" for one in wanted)
        raise WordsError(f"stages of {said}: expected percents that grow, above 0 and up to 100, such as --canary 5% --then 50%")
    return (*wanted, 100.0) if not wanted or wanted[-1] < 100 else tuple(wanted)


def assign(rollout: str, devices: Iterable[str], stages: Sequence[float]) -> tuple[Member, ...]:
    """Who comes in which stage: by a hash, as if drawn, and the same whoever asks. Each stage has a device, while there are any."""
    drawn = sorted(set(devices), key=lambda name: hashlib.sha256(f"{rollout} {name}".encode()).digest())
    ends = [max(number + 1, math.ceil(len(drawn) * percent / 100)) for number, percent in enumerate(stages)]
    return tuple(Member(name, bisect_right(ends, place)) for place, name in enumerate(drawn))


def heard(member: Member, said: ModelState, now: int) -> Member:
    """What a device says about its job; what is older than what is known, or the same, changes nothing."""
    if ORDER[said.state] < ORDER[member.state] or (said.state, said.reason) == (member.state, member.reason):
        return member
    if ORDER[said.state] == ORDER[member.state] and said.state in FINAL:
        return member
    time = now if said.state != member.state else member.changed_at
    milliseconds = member.milliseconds if said.milliseconds is None else said.milliseconds
    due_at = None if said.state in FINAL else member.due_at
    began = now if member.state in ("pending", "sent") else member.sent_at  # it may have been away: its time begins now
    changes = replace(member, state=said.state, reason=said.reason, milliseconds=milliseconds, changed_at=time)
    return replace(changes, due_at=due_at, sent_at=began)


def examined(member: Member, status: Status, now: int) -> Member:
    """What a device's status says about its health with the new model."""
    if member.state != "committed" or status.state != "online" or status.health == "unknown":
        return member
    unwell = status.health == "degraded" and status.trouble in UNWELL
    return replace(member, unwell_at=(member.unwell_at or now) if unwell else None)


def decide(rollout: Rollout, now: int) -> tuple[Rollout, tuple[Send, ...]]:
    """What to do now: the rollout as it is after this, and what to send."""
    if rollout.state in ("running", "paused"):
        rollout = replace(rollout, members=tuple(_late(rollout, one, now) for one in rollout.members))
        rollout = _judge(rollout, now)
    if rollout.state == "running" and _over(rollout, now):
        last = rollout.stage + 1 == len(rollout.plan.stages)
        rollout = replace(rollout, state="done", reason="") if last else replace(rollout, stage=rollout.stage + 1)
    members: list[Member] = []
    sends: list[Send] = []
    for one in rollout.members:
        action = _action(rollout, one)
        if action is not None and (one.due_at or 0) <= now and len(sends) < AT_ONCE:
            sends.append(Send(one.device, action))
            one = _sent(one, now)  # noqa: PLW2901 (it is this one, sent)
        members.append(one)
    return replace(rollout, members=tuple(members)), tuple(sends)


def abort(rollout: Rollout, reason: str, *, back: bool = False) -> Rollout:
    """End it: whoever is not done is told at once."""
    members = tuple(replace(one, due_at=None, tries=0) for one in rollout.members)
    return replace(rollout, state="aborted", reason=reason, back=rollout.back or back, members=members)


def _late(rollout: Rollout, member: Member, now: int) -> Member:
    underway = member.state not in FINAL and member.state not in ("pending", "sent", "late")
    if underway and member.sent_at is not None and now - member.sent_at > rollout.plan.patience:
        return replace(member, state="late", reason=member.reason or "timeout", changed_at=now)
    return member


def _judge(rollout: Rollout, now: int) -> Rollout:
    """Abort when too many have failed."""
    there = [one for one in rollout.given() if not rollout.silent(one, now)]
    failed = [one for one in there if one.failed]
    share = 100 * len(failed) / max(1, len(there))
    if share <= rollout.plan.abort_above:
        return rollout
    why = ", ".join(sorted({one.reason or "unwell" for one in failed}))
    limit = f"{rollout.plan.abort_above:g} % are allowed"
    return abort(rollout, f"{len(failed)} of {len(there)} devices have failed ({why}): {share:.1f} %, where {limit}")


def _over(rollout: Rollout, now: int) -> bool:
    """Whether the stage has ended: everybody has, nobody waits for its time to be over, and somebody really has the model."""
    given = rollout.given()

    def settled(one: Member) -> bool:
        if one.state == "committed":
            return now - one.changed_at >= rollout.plan.soak_seconds
        return one.failed or rollout.silent(one, now)

    own = [one for one in given if one.stage == rollout.stage]
    return all(map(settled, given)) and (not own or any(one.state == "committed" for one in own))


def _action(rollout: Rollout, member: Member) -> Action | None:
    """What a device is still to be told."""
    if rollout.state == "running" and member.stage <= rollout.stage and member.state in ("pending", "sent"):
        return "install"
    if rollout.state == "aborted" and member.state not in ("pending", "rejected", "rolled_back"):
        return "withdraw" if rollout.back or member.state != "committed" else None
    return None


def _sent(member: Member, now: int) -> Member:
    wait = min(LONGEST_WAIT, FIRST_WAIT * 2 ** min(member.tries, 10))
    state: MemberState = "sent" if member.state == "pending" else member.state
    since = member.sent_at if member.sent_at is not None else now
    changed = now if state != member.state else member.changed_at
    return replace(member, state=state, sent_at=since, due_at=now + wait, tries=member.tries + 1, changed_at=changed)
