"""Decisions about twins on the fleet's side: what is wanted, what a report means, when to say it again. Pure."""

from __future__ import annotations

import difflib
import fnmatch
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from pydantic import ValidationError

from device.contract import dump
from device.contract_twin import SETTABLE, DesiredTwin, ReportedTwin, flatten, order, unflatten
from device.settings import Settings, expectation
from provisioning.errors import WordsError

FIRST_WAIT: Final = 10  # seconds until a wish is said again; twice as long each time: a device answers at a window's end
LONGEST_WAIT: Final = 6 * 3600
DEPEND: Final = ("epsilon_day", "policy.emotions")  # on keys that only a device's own file may have
State = Literal["unset", "pending", "applied", "rejected", "ahead"]


@dataclass(frozen=True, slots=True)
class Twin:
    """What is wanted of a device, and what it has reported.

    Attributes:
        desired: Dotted keys → values.
        version: 0: nothing was ever wanted.
        reported: None: it has never said anything.
    """

    device: str
    epoch: int = 0
    version: int = 0
    desired: Mapping[str, Any] = field(default_factory=dict)
    reported: ReportedTwin | None = None
    set_at: int = 0
    reported_at: int | None = None

    @property
    def state(self) -> State:
        """How far the newest wish has come; ``ahead``: the device knows a newer one than this registry."""
        said = self.reported
        known = order(said.epoch, said.desired_version) if said else order(0, 0)
        if known > order(self.epoch, self.version):
            return "ahead"
        if self.version == 0:
            return "unset"
        return said.state if said is not None and known == order(self.epoch, self.version) else "pending"


def assignments(words: Iterable[str]) -> dict[str, Any]:
    """``KEY=VALUE`` as given on the command line → dotted key → value; ``KEY=`` is ``None``: no longer wanted.

    A value is JSON where it can be read as that, else text: ``1800``, ``0.5``, ``false``, ``opt-in``, ``"12"``.

    Raises:
        WordsError: One is not of that form, or its key is none that may be set from afar.
    """
    found: dict[str, Any] = {}
    for word in words:
        key, equals, text = word.partition("=")
        if not equals or not key:
            raise WordsError(f"{word!r}: expected KEY=VALUE, such as window_seconds=1800 or camera.fps=3; KEY= takes it back")
        if key not in SETTABLE:
            near = difflib.get_close_matches(key, SETTABLE, n=1)
            hint = f"did you mean {near[0]}?" if near else f"expected one of {', '.join(SETTABLE)}"
            raise WordsError(f"{key}: not among the settings that a fleet may set; {hint}")
        found[key] = _value(text) if text else None
    return found


def changed(desired: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
    """What is wanted from now on: what was, with some keys set and some (``None``) taken back."""
    return {key: value for key, value in {**desired, **wanted}.items() if value is not None}


def check(desired: Mapping[str, Any]) -> None:
    """Refuse what no device could accept: a wrong type, a value out of its range. Each device judges the rest by its own file.

    Raises:
        WordsError: One line per problem, with its key.
    """
    try:
        Settings.model_validate(unflatten(desired))
    except ValidationError as error:
        lines = []
        for one in error.errors():
            key = ".".join(map(str, one["loc"]))
            if key in desired and not (key in DEPEND and one["type"] == "value_error"):
                lines.append(f"{key}: {expectation(one)}")
        if lines:
            raise WordsError("\n".join(lines)) from None


def payload(epoch: int, version: int, desired: Mapping[str, Any]) -> bytes:
    """The message on ``down/twin``.

    Raises:
        WordsError: It is too long.
    """
    try:
        return dump(DesiredTwin(epoch=epoch, version=version, desired=unflatten(desired)))
    except ValueError as error:
        raise WordsError(f"{error}; set shorter texts") from None


def wait(tries: int) -> int:
    """Seconds until a wish is said again that was said so often."""
    return int(min(LONGEST_WAIT, FIRST_WAIT * 2 ** min(tries, 20)))


def selects(patterns: Iterable[str], labels: Mapping[str, str]) -> bool:
    """Whether a device with these labels belongs to the group: each pattern is ``NAME=VALUE``, with ``*`` and ``?`` in the value.

    Raises:
        WordsError: A pattern is none.
    """
    for pattern in patterns:
        name, equals, value = pattern.partition("=")
        if not equals or not name or not value:
            raise WordsError(f"--group {pattern!r}: expected LABEL=VALUE, such as store=berlin*")
        if name not in labels or not fnmatch.fnmatchcase(labels[name], value):
            return False
    return True


def said(reported: ReportedTwin) -> str:
    """A report in a few words, for the audit log."""
    about = f"version {reported.desired_version} of epoch {reported.epoch} {reported.state}"
    return "; ".join((about, *(f"{one.path or 'all'}: {one.reason}" for one in reported.errors)))


def in_force(reported: ReportedTwin) -> dict[str, Any]:
    """What a device reports as in force, as dotted keys."""
    return flatten(reported.reported.model_dump(mode="json"))


def _value(text: str) -> Any:
    try:
        value = json.loads(text, parse_constant=lambda name: name)
    except (ValueError, RecursionError):
        return text
    return value if isinstance(value, (bool, int, float, str)) else text
