"""What may leave: every rule, in order, on one page. Only this module makes a ``Report``. Pure.

A rule takes a draft and returns a draft; one that withholds ends the matter. Their order is part of the guarantee. The rules
for policy and pauses go first, noise and its ledger before anything is compared with k, and the rules on true counts last:
they apply while noise is off, and each report says so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final, Literal

from device.contract import (
    CELLS,
    Cell,
    EmotionCounts,
    Groups,
    ModelHashes,
    PrivacyTerms,
    Quality,
    Report,
    Span,
    Withheld,
    utc,
)
from device.errors import MienError
from device.window import Window


class PrivacyError(MienError):
    """A rule failed. Nothing is published, and the message names the rule and no figure."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What the settings say about privacy."""

    k: int
    noise: Literal["off"] = "off"


@dataclass(frozen=True, slots=True)
class Draft:
    """A window on its way through the rules.

    Attributes:
        cells: People per cell; ``None`` where the cell is suppressed.
        people: The sum of the true cells.
        withheld: Why nothing may be said, once a rule has decided so.
    """

    cells: Mapping[Cell, int | None]
    people: int
    withheld: Withheld | None = None


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What a report says about itself, beside its figures."""

    seq: int
    start: datetime
    boot: str
    synced: bool
    models: ModelHashes
    throttled: bool = False


def enough_people(draft: Draft, terms: Terms) -> Draft:
    """Say nothing about fewer than k people, not even how many."""
    return replace(draft, withheld="k") if draft.people < terms.k else draft


def suppress_small_cells(draft: Draft, terms: Terms) -> Draft:
    """Where any cell holds one to k - 1 people, leave out every cell below k, the empty ones too."""
    if not any(0 < n < terms.k for n in draft.cells.values() if n is not None):
        return draft
    return replace(draft, cells={cell: n if n is not None and n >= terms.k else None for cell, n in draft.cells.items()})


def suppress_a_complement(draft: Draft, _: Terms) -> Draft:
    """Where cells are left out, leave out the smallest other one too, with all that equal it.

    The published sum minus the published cells is then a figure about more than k people, and gives back no cell: any
    exchange of values among the cells left out would have been published as the same report, and among them are both a
    small and a large one. (Of two equal ones, leaving out the first by name would break that exchange, and tell.)
    """
    large = {cell: n for cell, n in draft.cells.items() if n is not None}
    if len(large) == len(draft.cells) or not large:
        return draft
    smallest = min(large.values())
    return replace(draft, cells={cell: None if n == smallest else n for cell, n in draft.cells.items()})


Rule = Callable[[Draft, Terms], Draft]
RULES: Final[tuple[Rule, ...]] = (enough_people, suppress_small_cells, suppress_a_complement)


def apply(counts: Mapping[Cell, int], terms: Terms, rules: tuple[Rule, ...] = RULES) -> Draft:
    """Send counts through the rules.

    Raises:
        PrivacyError: A rule failed; the message says which, and nothing of what it saw.
    """
    draft = Draft(dict(counts), sum(counts.values()))
    for rule in rules:
        if draft.withheld is None:
            try:
                draft = rule(draft, terms)
            except Exception:  # fail closed, whatever it was; `from None` keeps the counts out of the traceback
                raise PrivacyError(
                    f"the privacy rule {rule.__name__} failed: this window is not published; report this bug"
                ) from None
    return draft


def release(window: Window, terms: Terms, circumstances: Circumstances) -> Report:
    """Make the report of one window, and erase the window's counts, published or not.

    Raises:
        PrivacyError: A rule failed; the counts are erased all the same.
    """
    try:
        draft = apply(window.counts, terms)
    finally:
        window.erase()
    figures = draft.withheld is None
    return Report(
        schema=1,
        seq=circumstances.seq,
        span=Span(
            start=utc(circumstances.start),
            seconds=window.seconds,
            windows=1,
            boot=circumstances.boot,
            clock="synced" if circumstances.synced else "unsynced",
        ),
        people=draft.people if figures else None,
        groups=Groups(emotion=EmotionCounts(**{cell: draft.cells[cell] for cell in CELLS})) if figures else None,
        withheld=draft.withheld,
        privacy=PrivacyTerms(k=terms.k, noise=terms.noise, epsilon=None, windows=1, policy=None),
        quality=Quality(coverage=round(window.coverage, 2), fps=round(window.fps, 1), throttled=circumstances.throttled),
        models=circumstances.models,
        pauses=window.pauses,
    )
