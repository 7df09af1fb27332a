"""The twin's decisions on the device: which wish counts, what it makes of the settings, what is remembered and told. Pure.

What is in force is the settings file with one wish of the fleet on top, checked by the same model as the file. A wish is whole: a
key that it leaves out is as in the file. Against the file it may only narrow what may be inferred or published, whatever was in
force before; so the file's owner has the last word, and a wish that was taken back leaves nothing behind.

::

    received ─► stale                      older than, or the same as, what was answered: ignored
             ├► rejected                   the file's model, or the rule of a key, refuses it
             └► staged ──► trying ──► applied     at a window's end, once the run with it works
                             └─────► rejected     it fails and the settings before do not, or three processes end in it
"""

from __future__ import annotations

import difflib
import json
from decimal import Decimal
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from device import contract_read
from device.contract import Down
from device.contract_twin import (
    MAX_ERRORS,
    MAX_MESSAGE_BYTES,
    MAX_NUMBER,
    SETTABLE,
    ReportedTwin,
    TwinError,
    Values,
    fitting,
    flatten,
    unflatten,
)
from device.epsilon import Number
from device.errors import CameraError, MienError, ModelError
from device.settings import Settings, expectation

ATTEMPTS: Final = 3  # processes that may end while they try a wish
Kind = Literal["stale", "same", "new"]


class _Told(Down):
    """``DesiredTwin``, with anything in ``desired``: so that a wish that is none can be answered by its version."""

    epoch: int = Field(ge=1, le=MAX_NUMBER)
    version: int = Field(ge=1, le=MAX_NUMBER)
    desired: JsonValue


class Wish(BaseModel):
    """What the fleet wants, as the device keeps it: ``desired`` is JSON that nobody has looked at yet."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    epoch: int = Field(ge=0, le=MAX_NUMBER)
    version: int = Field(ge=0, le=MAX_NUMBER)
    desired: str = Field("{}", max_length=2 * MAX_MESSAGE_BYTES)

    @property
    def order(self) -> tuple[int, int]:
        """What wishes are compared by."""
        return self.epoch, self.version


class Page(BaseModel):
    """What the watching process remembers, also without power.

    Attributes:
        applied: The wish that is in force.
        trying: One that is about to be, and how many processes have begun to try it.
        epoch, version: Of the newest wish that was decided about.
        errors: Why that was rejected; empty when it was applied.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    applied: Wish | None = None
    trying: Wish | None = None
    attempts: int = 0
    epoch: int = Field(0, ge=0, le=MAX_NUMBER)
    version: int = Field(0, ge=0, le=MAX_NUMBER)
    errors: tuple[TwinError, ...] = ()

    @property
    def newest(self) -> tuple[int, int]:
        """The newest wish that was decided about, or is being tried."""
        return max((self.epoch, self.version), self.trying.order if self.trying else (0, 0))

    def judge(self, wish: Wish) -> Kind:
        """Whether a wish counts."""
        return "new" if wish.order > self.newest else "same" if wish.order == self.newest else "stale"

    def begin(self, wish: Wish) -> Page:
        """A run with this wish is about to begin."""
        again = self.trying is not None and self.trying.order == wish.order
        return self.model_copy(update={"trying": wish, "attempts": self.attempts + 1 if again else 1})

    def apply(self) -> Page:
        """The run with the wish that is being tried works."""
        wish = self.trying or Wish(epoch=self.epoch, version=self.version)
        return Page(applied=wish, epoch=wish.epoch, version=wish.version)

    def reject(self, wish: Wish, errors: tuple[TwinError, ...]) -> Page:
        """Nothing comes of this wish; what was in force before it stays."""
        return Page(applied=self.applied, epoch=wish.epoch, version=wish.version, errors=errors[:MAX_ERRORS])

    def without_wish(self, errors: tuple[TwinError, ...]) -> Page:
        """What was in force does not go with the settings file any more."""
        return self.model_copy(update={"applied": None, "errors": self.errors or errors[:MAX_ERRORS]})


def read(payload: bytes) -> Wish | str:
    """A message on ``down/twin`` as a wish, or in a few words why it is none. Its settings are not looked at yet."""
    told = contract_read.read(_Told, payload)
    if isinstance(told, str):
        return told
    text = json.dumps(told.desired, ensure_ascii=False, separators=(",", ":"))
    return Wish(epoch=told.epoch, version=told.version, desired=text)


def merged(base: Settings, desired: str) -> Settings | tuple[TwinError, ...]:
    """The settings file's settings with a wish on top, or every reason why not.

    Args:
        base: What the file says.
        desired: Tables and keys in JSON.
    """
    try:
        tree = _numbers(desired)
    except ValueError as error:
        return (TwinError(path="", reason=_short(f"not JSON: {error}")),)
    if not isinstance(tree, dict):
        return (TwinError(path="", reason="expected tables and keys as in the settings file"),)
    flat = flatten(tree)
    if refused := tuple(TwinError(path=_short(key, 80), reason=reason) for key in flat if (reason := _refusal(key, flat[key]))):
        return refused[:MAX_ERRORS]
    values = flatten_set(base) | flat
    try:
        wanted = Settings.model_validate(unflatten(values))
    except ValidationError as error:
        return tuple(_explain(problem) for problem in error.errors()[:MAX_ERRORS])
    return tuple(TwinError(path=key, reason=_short(reason)) for key in flat if (reason := _wider(key, base, wanted))) or wanted


def flatten_set(base: Settings) -> dict[str, Any]:
    """What a file sets, as dotted keys."""
    flat: dict[str, Any] = {}

    def walk(part: BaseModel, above: str) -> None:
        for name in part.model_fields_set:
            value = getattr(part, name)
            if isinstance(value, BaseModel):
                walk(value, f"{above}{name}.")
            else:
                flat[f"{above}{name}"] = value

    walk(base, "")
    return flat


def values(settings: Settings) -> Values:
    """What is in force, of all that a twin may set."""
    found = {key: value_of(settings, key) for key in SETTABLE}
    return Values.model_validate(unflatten({key: float(v) if isinstance(v, Decimal) else v for key, v in found.items()}))


def value_of(settings: Settings, key: str) -> Any:
    """The value of a dotted key."""
    value: Any = settings
    for name in key.split("."):
        value = getattr(value, name)
    return value


def message(page: Page, settings: Settings) -> ReportedTwin:
    """What is told on ``up/twin`` while these settings are in force."""
    return fitting(
        ReportedTwin(
            schema=1,
            epoch=page.epoch,
            desired_version=page.version,
            state="rejected" if page.errors else "applied",
            reported=values(settings),
            errors=page.errors,
            from_twin=tuple(sorted(flatten(json.loads(page.applied.desired)))) if page.applied else (),
        )
    )


def why(error: MienError) -> tuple[TwinError, ...]:
    """Settings were good in themselves, and what they need is not there."""
    path = "camera" if isinstance(error, CameraError) else "models" if isinstance(error, ModelError) else ""
    return (TwinError(path=path, reason=_short(f"valid, but does not run here: {error}")),)


def _refusal(key: str, value: Any) -> str | None:
    """Why a key may not be set from afar at all."""
    if key in SETTABLE:
        if value is None:
            return "expected a value; leave the key out to have what the settings file says"
        return None
    if any(known.startswith(f"{key}.") for known in SETTABLE):
        return "expected a table"
    if _exists(key):
        return "only the device's own settings file may set this"
    near = difflib.get_close_matches(key, SETTABLE, n=1)
    return f"unknown key; did you mean {near[0]}?" if near else "unknown key; docs/twin.md lists those that may be set"


def _exists(key: str) -> bool:
    table: Any = Settings
    for name in key.split("."):
        fields = getattr(table, "model_fields", {})
        if name not in fields:
            return False
        table = fields[name].annotation
    return True


def _wider(key: str, base: Settings, wanted: Settings) -> str | None:
    """Why a value is more than what the file permits."""
    was, now, direction = value_of(base, key), value_of(wanted, key), SETTABLE[key]
    says = f"this device's settings file says {was}, and what comes down may not widen it"
    if direction == "up" and now < was:
        return f"expected {was} or more; found {now}: {says}"
    if direction == "down" and now > was:
        return f"expected {was} or less; found {now}: {says}"
    if key == "noise" and now == "off" != was:
        return f"expected noise; found 'off': {says}"
    if key == "consent.mode" and now not in (was, "opt-in"):
        return f"expected 'opt-in'; found {now!r}: {says}"
    if key == "window_seconds" and now < was and wanted.noise == "off":
        return f"expected {was} or more while noise is off; found {now}: {says}"
    if key.startswith("policy.") and (more := wanted.policy.decided.may - base.policy.decided.may):
        return f"found {now!r}, which would also permit {', '.join(sorted(more))}: what comes down may only narrow the policy"
    return None


def _explain(problem: Any) -> TwinError:
    path = ".".join(map(str, problem["loc"]))
    return TwinError(path=_short(path, 80), reason=_short(expectation(problem)))


def _short(text: str, most: int = 240) -> str:
    """Printable and not too long: some of it came from outside."""
    clean = "".join(letter if letter.isprintable() else "?" for letter in text)
    return clean if len(clean) <= most else clean[: most - 1] + "…"


def _numbers(text: str) -> Any:
    """JSON, in which a number remembers how it was written: an ε is taken from the text, never from a float."""
    return json.loads(text, parse_float=Number, parse_constant=_no_number)


def _no_number(name: str) -> Any:
    raise ValueError(f"{name} is no number in JSON")
