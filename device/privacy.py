"""What may leave: every rule, in order, on one page. Only this module makes a ``Report``. Pure.

A rule takes a draft and returns a draft; one that withholds it, or holds it back, ends the matter. Their order is part of the
guarantee: policy and pauses come first, the ledger is charged before there is noise, noise comes before anything is merged or
compared with k, and the rules on true counts come last: they apply while noise is off, and each report says so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from fractions import Fraction
from typing import Final

from device.contract import (
    CELLS,
    Cell,
    EmotionCounts,
    Groups,
    PrivacyTerms,
    Report,
    Span,
    contributions,
    utc,
)
from device.errors import MienError
from device.terms import Circumstances, Draft, Means, Terms, coarse, no_budget, no_noise
from device.window import Window

__all__ = ["RULES", "Circumstances", "Draft", "Gate", "Means", "PrivacyError", "Terms", "apply"]


class PrivacyError(MienError):
    """A rule failed. Nothing is published, and the message names the rule and no figure."""


def obey_the_policy(draft: Draft, terms: Terms, _: Means) -> Draft:
    """What the policy does not permit is not published, should it ever get this far."""
    return draft if set(draft.cells) == set(terms.cells) else replace(draft, withheld="policy")


def say_that_it_was_paused(draft: Draft, _: Terms, __: Means) -> Draft:
    """Nothing was looked at, so there is nothing to say, and nothing to pay for."""
    return replace(draft, withheld="paused") if draft.paused else draft


def say_that_nothing_was_seen(draft: Draft, _: Terms, __: Means) -> Draft:
    """A zero would look like an empty place; and there is nothing to pay for."""
    return replace(draft, withheld="unwatched") if draft.unwatched else draft


def charge_the_ledger(draft: Draft, terms: Terms, means: Means) -> Draft:
    """Without budget, say nothing; what is paid for is paid whatever the later rules decide."""
    if terms.noise == "off" or means.charge():
        return draft
    return replace(draft, withheld="budget")


def add_noise(draft: Draft, terms: Terms, means: Means) -> Draft:
    """Every cell gets noise of its own, once, the empty ones too; people is their sum."""
    if terms.noise == "off":
        return draft
    if terms.epsilon is None:
        raise ValueError("noise without an epsilon")
    groups = contributions()
    epsilon = {name: terms.epsilon * declared.share / declared.per_track for name, declared in groups.items()}
    cells = {cell: _figure(draft, cell) + means.noise(epsilon["emotion"]) for cell in terms.cells}
    opted_out = _opted_out(draft) + means.noise(epsilon["opted_out"])
    return replace(draft, cells=cells, people=sum(cells.values()), opted_out=opted_out)


def merge_with_those_that_wait(draft: Draft, terms: Terms, means: Means) -> Draft:
    """Add the noised windows that were held: what they say is noised, so nothing more is spent."""
    waiting = means.waiting
    if waiting is None:
        return draft
    cells = {cell: _figure(draft, cell) + _figure(waiting, cell) for cell in terms.cells}
    opted_out, windows = _opted_out(draft) + _opted_out(waiting), draft.windows + waiting.windows
    return replace(draft, cells=cells, people=sum(cells.values()), opted_out=opted_out, windows=windows)


def hold(draft: Draft, terms: Terms, means: Means) -> Draft:
    """In a quiet place, wait for more windows."""
    waits = terms.noise != "off" and draft.people < terms.k and draft.windows < terms.max_hold and not means.last
    return replace(draft, held=True) if waits else draft


def enough_people(draft: Draft, terms: Terms, _: Means) -> Draft:
    """Say nothing about fewer than k people, not even how many."""
    return replace(draft, withheld="k") if draft.people < terms.k else draft


def suppress_small_cells(draft: Draft, terms: Terms, _: Means) -> Draft:
    """Where any true cell holds one to k - 1 people, leave out every cell below k, the empty ones too."""
    if terms.noise != "off" or not any(0 < n < terms.k for n in draft.cells.values() if n is not None):
        return draft
    return replace(draft, cells={cell: n if n is not None and n >= terms.k else None for cell, n in draft.cells.items()})


def suppress_few_objections(draft: Draft, terms: Terms, _: Means) -> Draft:
    """Where the figure is true, fewer than k people who said no are left out, none too."""
    few = terms.noise == "off" and _opted_out(draft) < terms.k
    return replace(draft, opted_out=None) if few else draft


def suppress_a_complement(draft: Draft, terms: Terms, _: Means) -> Draft:
    """Where true cells are left out, leave out the smallest other one too, with all that equal it.

    The published sum minus the published cells is then a figure about more than k people, and gives back no cell: any
    exchange of values among the cells left out would have been published as the same report, and among them are both a
    small and a large one. (Of two equal ones, leaving out the first by name would break that exchange, and tell.)
    """
    large = {cell: n for cell, n in draft.cells.items() if n is not None}
    if terms.noise != "off" or len(large) == len(draft.cells) or not large:
        return draft
    smallest = min(large.values())
    return replace(draft, cells={cell: None if n == smallest else n for cell, n in draft.cells.items()})


Rule = Callable[[Draft, Terms, Means], Draft]
RULES: Final[tuple[Rule, ...]] = (
    obey_the_policy,
    say_that_it_was_paused,
    say_that_nothing_was_seen,
    charge_the_ledger,
    add_noise,
    merge_with_those_that_wait,
    hold,
    enough_people,
    suppress_small_cells,
    suppress_a_complement,
    suppress_few_objections,
)


def apply(
    counts: Mapping[Cell, int],
    terms: Terms,
    means: Means | None = None,
    rules: tuple[Rule, ...] = RULES,
    *,
    opted_out: int = 0,
    paused: bool = False,
    unwatched: bool = False,
) -> Draft:
    """Send counts through the rules.

    Raises:
        PrivacyError: A rule failed; the message says which, and nothing of what it saw.
    """
    draft = Draft(dict(counts), sum(counts.values()), opted_out, paused, unwatched)
    for rule in rules:
        if draft.withheld is None and not draft.held:
            try:
                draft = rule(draft, terms, means or Means())
            except Exception:  # fail closed, whatever it was; `from None` keeps the counts out of the traceback
                raise PrivacyError(
                    f"the privacy rule {rule.__name__} failed: this window is not published; report this bug"
                ) from None
    return draft


def _figure(draft: Draft, cell: Cell) -> int:
    """A cell that no rule has suppressed yet."""
    n = draft.cells[cell]
    if n is None:
        raise ValueError(cell)
    return n


def _opted_out(draft: Draft) -> int:
    """The same for those who said no."""
    if draft.opted_out is None:
        raise ValueError("opted_out")
    return draft.opted_out


class Gate:
    """The only way out. Between two windows it remembers noised figures, and never true ones.

    Args:
        terms: What the settings say.
        charge: See ``Means``; without it, nothing noised is published.
        noise: See ``Means``.
    """

    def __init__(
        self, terms: Terms, *, charge: Callable[[], bool] = no_budget, noise: Callable[[Fraction], int] = no_noise
    ) -> None:
        self._terms = terms
        self._means = Means(charge, noise)
        self._waiting: tuple[Draft, Window, Circumstances] | None = None

    def release(self, window: Window, circumstances: Circumstances) -> tuple[Report, ...]:
        """Make what may be said at the end of a window, and erase the window's counts, published or not.

        Returns:
            One report; none while windows are held; two where the windows that were held end with one that is withheld on its own.

        Raises:
            PrivacyError: A rule failed; the counts are erased all the same.
        """
        waiting, self._waiting = self._waiting, None
        try:
            means = replace(self._means, waiting=waiting[0] if waiting else None, last=circumstances.last)
            draft = apply(
                window.counts,
                self._terms,
                means,
                opted_out=window.opted_out,
                paused=window.paused,
                unwatched=window.unwatched,
            )
        finally:
            window.erase()
        reports: list[Report] = []
        if waiting is not None:
            _, stretch, first = waiting
            if draft.withheld in ("budget", "policy", "paused", "unwatched"):
                self._waiting = waiting
                reports += self.end(circumstances.seq)
                circumstances = replace(circumstances, seq=circumstances.seq + 1)
            else:
                window = stretch.joined(window)
                throttled = first.throttled or circumstances.throttled
                circumstances = replace(circumstances, start=first.start, synced=first.synced, throttled=throttled)
        if draft.held:
            self._waiting = draft, window, circumstances
        else:
            reports.append(self._report(draft, window, circumstances))
        return tuple(reports)

    def end(self, seq: int) -> tuple[Report, ...]:
        """Nothing comes any more with which the windows that are held could be merged: say that they were, and no figure."""
        waiting, self._waiting = self._waiting, None
        if waiting is None:
            return ()
        held, stretch, first = waiting
        return (self._report(replace(held, withheld="k"), stretch, replace(first, seq=seq)),)

    def _report(self, draft: Draft, window: Window, circumstances: Circumstances) -> Report:
        figures, terms = draft.withheld is None, self._terms
        return Report(
            schema=1,
            seq=circumstances.seq,
            span=Span(
                start=utc(circumstances.start),
                seconds=window.seconds,
                windows=draft.windows,
                boot=circumstances.boot,
                clock="synced" if circumstances.synced else "unsynced",
            ),
            people=draft.people if figures else None,
            groups=self._groups(draft) if figures else None,
            withheld=draft.withheld,
            privacy=PrivacyTerms(
                k=terms.k,
                noise=terms.noise,
                epsilon=None if terms.epsilon is None else float(terms.epsilon),
                windows=draft.windows,
                policy=terms.policy,
            ),
            quality=coarse(window.coverage, window.fps, throttled=circumstances.throttled),
            models=circumstances.models,
            pauses=window.pauses,
        )

    def _groups(self, draft: Draft) -> Groups:
        emotion = EmotionCounts(**{cell: draft.cells[cell] for cell in CELLS}) if self._terms.emotion else None
        return Groups(emotion=emotion, opted_out=draft.opted_out)
