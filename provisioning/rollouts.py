"""Rollouts in the registry, and their part in ``mien-fleet serve``. Each function is one transaction.

What is decided is stored first, and sent after that: whoever dies in between leaves a job that nobody has answered, which is sent
again. Every process hears every device, also what it said while nobody was there, and may decide; the registry makes it one.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, cast

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from device.contract import ROOT, Status, dump, topic
from device.contract_model import FINAL, ModelJob, ModelState, Trial
from device.contract_read import read
from provisioning.errors import WordsError
from provisioning.manage import MANAGER
from provisioning.registry import Entry, Registry
from provisioning.rollout import Action, Member, MemberState, Plan, Rollout, RolloutState, abort, assign, decide, examined, heard
from provisioning.routes import Answer, Context, Properties, Route, Subject, Tick
from provisioning.tables_rollout import RolloutDeviceRow, RolloutRow

EVERY: Final = 2.0  # seconds between two decisions
COLUMNS: Final = ("state", "reason", "milliseconds", "sent_at", "changed_at", "unwell_at", "due_at", "tries")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to roll out.

    Attributes:
        target: Of the model in the repository.
        url: Of the repository, for devices.
        timestamp: Version of its timestamp that devices must see.
        slowest_ms: For one pass.
        chosen: To whom, in words.
    """

    target: str
    url: str
    timestamp: int
    slowest_ms: int = 500
    chosen: str = "all"


@dataclass(frozen=True, slots=True)
class View:
    """A rollout with what it is about."""

    wanted: Wanted
    rollout: Rollout
    created_at: int


def start(registry: Registry, wanted: Wanted, plan: Plan, devices: Iterable[str]) -> str:
    """Begin a rollout to these devices, which exist; returns its id.

    Raises:
        WordsError: Another one is not over; the job would not be one.
    """
    names, number = list(devices), secrets.token_hex(8)
    job(wanted, plan, number)

    def work(session: Session) -> str:
        other = session.scalars(select(RolloutRow).where(RolloutRow.slot == 1)).first()
        if other is not None:
            raise WordsError(f"rollout {other.id} of {other.target} is {other.state}; abort it first, or wait until it is done")
        before = session.scalar(select(func.max(RolloutRow.created_at))) or 0
        now = max(registry.now(), before + 1)  # the newest is the one that counts
        row = RolloutRow(id=number, slot=1, state="running", stage=0, back=False, reason="", created_at=now, changed_at=now)
        row.target, row.url, row.timestamp, row.slowest_ms = wanted.target, wanted.url, wanted.timestamp, wanted.slowest_ms
        row.chosen, row.stages, row.abort_above = wanted.chosen, ",".join(f"{one:g}" for one in plan.stages), plan.abort_above
        row.soak_seconds, row.spread_seconds = plan.soak_seconds, plan.spread_seconds
        row.timeout_seconds, row.trial_seconds = plan.timeout_seconds, plan.trial_seconds
        session.execute(update(RolloutDeviceRow).values(due_at=None))  # a device hears of the newest rollout alone
        session.add(row)
        session.flush()
        for member in assign(number, names, plan.stages):
            session.add(RolloutDeviceRow(rollout=number, device=member.device, stage=member.stage, **_columns(member)))
        how = f"stages {row.stages}, {plan.abort_above:g}% may fail"
        about = f"{number}: {wanted.target} to {len(names)} devices ({wanted.chosen}), {how}"
        registry.audit(session, Entry("rollout", MANAGER, "started", about))
        return number

    return registry.transact(work)


def change(registry: Registry, state: RolloutState, *, back: bool = False) -> View:
    """Pause, resume (``running``) or abort the newest rollout, as a person wants it.

    Raises:
        WordsError: There is none, or it is not in a state for that.
    """

    def work(session: Session) -> View:
        row = _newest(session)
        over = row.state in ("aborted", "done")
        if over and not (state == "aborted" and back):
            raise WordsError(f"rollout {row.id} is {row.state}; only abort --back can change that, or another rollout start")
        found = _load(session, row)
        if state == "aborted":
            after = abort(found, "a person has aborted it" + (", with all that was done" if back else ""), back=back)
        else:
            after = Rollout(found.id, found.plan, found.members, state, found.stage, found.back, found.reason)
        _store(session, row, found, after, registry.now())
        said = {"running": "resumed", "paused": "paused", "aborted": "aborted"}[state]
        registry.audit(session, Entry("rollout", MANAGER, said, f"{row.id}{', back' if back else ''}"))
        return _view(row, after)

    return registry.transact(work)


def view(registry: Registry, number: str | None = None) -> View:
    """A rollout; the newest, if none is named. Raises WordsError when there is none."""

    def work(session: Session) -> View:
        row = _newest(session) if number is None else session.get(RolloutRow, number)
        if row is None:
            raise WordsError(f"there is no rollout {number!r}; without a name, status shows the newest")
        return _view(row, _load(session, row))

    return registry.transact(work)


def go_on(registry: Registry) -> list[Answer]:
    """Decide what is to be done now, store it, and return the jobs to send."""

    def work(session: Session) -> list[Answer]:
        row = session.scalars(select(RolloutRow).order_by(RolloutRow.created_at.desc(), RolloutRow.id).limit(1)).first()
        if row is None or row.state == "done":
            return []
        before = _load(session, row)
        after, sends = decide(before, registry.now())
        _store(session, row, before, after, registry.now())
        if (after.state, after.stage) != (before.state, before.stage):
            code = after.state if after.state != before.state else "stage"
            registry.audit(session, Entry("rollout", row.id, code, after.reason or f"stage {after.stage + 1} of {row.stages}"))
        wanted = _wanted(row)
        answers = []
        for send in sends:
            content = dump(job(wanted, after.plan, row.id, send.action))
            log = {"event": "rollout", "action": send.action, "device": send.device, "rollout": row.id}
            answers.append(Answer(topic(send.device, "down/model"), content, retain=True, log=log))
        return answers

    return registry.transact(work)


def hear(registry: Registry, device: str, payload: bytes) -> None:
    """Store what a device says about its job; what is about no job of this registry, or cannot be read, is nothing."""
    said = read(ModelState, payload)
    if isinstance(said, str):
        return

    def work(session: Session) -> None:
        row = session.get(RolloutDeviceRow, (said.job, device))
        if row is None:
            return
        before = _member(row)
        after = heard(before, said, registry.now())
        _put(row, before, after)
        if after.state != before.state and after.state in FINAL:
            about = f"{said.job}: {after.reason or ''}".rstrip(": ")
            registry.audit(session, Entry("rollout", device, after.state, about, device=device))

    registry.transact(work)


def examine(registry: Registry, device: str, payload: bytes) -> None:
    """Store whether a device that has the new model is well with it."""
    status = read(Status, payload)
    if isinstance(status, str):
        return

    def work(session: Session) -> None:
        rows = select(RolloutDeviceRow).join(RolloutRow).where(RolloutRow.slot == 1, RolloutDeviceRow.device == device)
        row = session.scalars(rows).first()
        if row is not None:
            before = _member(row)
            _put(row, before, examined(before, status, registry.now()))

    registry.transact(work)


def subject(context: Context) -> Subject:
    """The part in the service: jobs out; states and health in."""
    registry = context.registry

    def states(name: str, payload: bytes, _: Properties) -> list[Answer]:
        if payload:  # an empty one only clears what was retained
            hear(registry, name.split("/")[-3], payload)
        return []

    def health(name: str, payload: bytes, _: Properties) -> list[Answer]:
        examine(registry, name.split("/")[-3], payload)
        return []

    routes = Route(f"{ROOT}/+/up/model", states, shared=False), Route(f"{ROOT}/+/up/status", health)
    return Subject(routes, (Tick(lambda _: go_on(registry), EVERY),))


def job(wanted: Wanted, plan: Plan, number: str, action: Action = "install") -> ModelJob:
    """What a device is told. Raises WordsError when that is no job of the contract."""
    try:
        return ModelJob(
            job=number,
            action=action,
            target=wanted.target,
            url=wanted.url,
            timestamp=wanted.timestamp,
            spread_seconds=plan.spread_seconds,
            timeout_seconds=plan.timeout_seconds,
            trial=Trial(seconds=plan.trial_seconds, slowest_ms=wanted.slowest_ms),
        )
    except ValueError as error:
        said = str(error).splitlines()
        raise WordsError(f"devices would refuse this rollout: {said[1]}: {said[2].strip()}") from None


# Rows


def _newest(session: Session) -> RolloutRow:
    row = session.scalars(select(RolloutRow).order_by(RolloutRow.created_at.desc(), RolloutRow.id).limit(1)).first()
    if row is None:
        raise WordsError("there is no rollout; begin one with mien-fleet rollout start")
    return row


def _load(session: Session, row: RolloutRow) -> Rollout:
    rows = select(RolloutDeviceRow).where(RolloutDeviceRow.rollout == row.id).order_by(RolloutDeviceRow.device)
    stages = tuple(float(one) for one in row.stages.split(","))
    careful = (row.abort_above, row.soak_seconds, row.spread_seconds, row.timeout_seconds, row.trial_seconds)
    members = tuple(_member(one) for one in session.scalars(rows))
    return Rollout(row.id, Plan(stages, *careful), members, cast("RolloutState", row.state), row.stage, row.back, row.reason)


def _store(session: Session, row: RolloutRow, before: Rollout, after: Rollout, now: int) -> None:
    """Write what has changed."""
    if (after.state, after.stage, after.back, after.reason) != (before.state, before.stage, before.back, before.reason):
        row.state, row.stage, row.back, row.reason, row.changed_at = after.state, after.stage, after.back, after.reason, now
        row.slot = 1 if after.state in ("running", "paused") else None
    for one, other in zip(before.members, after.members, strict=True):
        if one != other:
            found = session.get(RolloutDeviceRow, (row.id, one.device))
            assert found is not None
            _put(found, one, other)


def _member(row: RolloutDeviceRow) -> Member:
    return Member(row.device, row.stage, cast("MemberState", row.state), **{name: getattr(row, name) for name in COLUMNS[1:]})


def _columns(member: Member) -> dict[str, object]:
    return {name: getattr(member, name) for name in COLUMNS}


def _put(row: RolloutDeviceRow, before: Member, after: Member) -> None:
    for name, value in _columns(after).items():
        if value != getattr(before, name):
            setattr(row, name, value)


def _wanted(row: RolloutRow) -> Wanted:
    return Wanted(row.target, row.url, row.timestamp, row.slowest_ms, row.chosen)


def _view(row: RolloutRow, rollout: Rollout) -> View:
    return View(_wanted(row), rollout, row.created_at)
