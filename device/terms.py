"""What the privacy rules are given: the terms, a window's draft, the means, the circumstances; and how coarse the rest is. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction
from typing import Final

from device.contract import CELLS, Cell, ModelHashes, Noise, Quality, Withheld

FPS: Final = (0.5, 1.0, 2.0, 3.0, 5.0, 7.5, 10.0, 15.0, 20.0, 25.0, 30.0)  # the steps in which frame rates are told


@dataclass(frozen=True, slots=True)
class Terms:
    """What the settings say about privacy.

    Attributes:
        k: Fewer people are not reported: of noised people with noise, of true ones without.
        epsilon: Of one window; None while noise is off.
        max_hold: How many noised windows may wait for k people and become one report, 1 or more.
        policy: Id and version of the policy in force; None: nothing has been looked up, as in tests.
        emotion: Whether the policy permits emotions; otherwise there is one cell, ``unknown``, and it is everybody.
    """

    k: int
    noise: Noise = "off"
    epsilon: Fraction | None = None
    max_hold: int = 1
    policy: str | None = None
    emotion: bool = True

    @property
    def cells(self) -> tuple[Cell, ...]:
        """The cells that a window must have."""
        return CELLS if self.emotion else ("unknown",)


@dataclass(frozen=True, slots=True)
class Draft:
    """A window on its way through the rules, alone or together with those that waited.

    Attributes:
        cells: People per cell, true until noise was added; ``None`` where the cell is suppressed.
        people: The sum of the cells, before any was suppressed.
        opted_out: People who said no, true until noise was added; in no cell, and not in ``people``.
        paused: Whether nothing was looked at, because watching was paused.
        unwatched: Whether nothing could be seen, because no camera worked or it was dark.
        windows: How many windows this is.
        withheld: Why nothing may be said, once a rule has decided so.
        held: Whether this waits for the next window.
    """

    cells: Mapping[Cell, int | None]
    people: int
    opted_out: int | None = 0
    paused: bool = False
    unwatched: bool = False
    windows: int = 1
    withheld: Withheld | None = None
    held: bool = False


def no_budget() -> bool:
    return False


def no_noise(_: Fraction) -> int:
    """Where no source of noise is given: noise that is asked for all the same fails closed. Raises ValueError."""
    raise ValueError("noise is wanted, and no source of it was given")


@dataclass(frozen=True, slots=True)
class Means:
    """What the rules need beside the draft. Left out, nothing noised is published.

    Attributes:
        charge: Pays for one window, durably; whether there was enough.
        noise: Draws from the discrete Laplace distribution of this ε: ``noise.discrete_laplace``.
        waiting: Noised windows that were held.
        last: Watching ends: nothing can be held any longer.
    """

    charge: Callable[[], bool] = no_budget
    noise: Callable[[Fraction], int] = no_noise
    waiting: Draft | None = None
    last: bool = False


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What a report says about itself, beside its figures; ``last`` when watching ends with this window."""

    seq: int
    start: datetime
    boot: str
    synced: bool
    models: ModelHashes
    throttled: bool = False
    last: bool = False


def coarse(coverage: float, fps: float, *, throttled: bool) -> Quality:
    """What a report says about the camera, in steps: a slow device reads fewer frames while many faces are in view.

    Args:
        coverage: 0 to 1; published in twentieths.
        fps: Published as the largest of ``FPS`` that it reaches, but for a tenth.
    """
    reached = [step for step in FPS if step <= 1.1 * fps]
    return Quality(coverage=round(20 * coverage) / 20, fps=max(reached, default=0.0), throttled=throttled)
