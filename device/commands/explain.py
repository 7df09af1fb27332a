"""``mien settings explain``: what the settings mean for the figures that are published."""

from __future__ import annotations

from math import exp, radians, sqrt, tan

import numpy as np
import numpy.typing as npt

from device.consent import REACH
from device.contract import CELLS, contributions
from device.nets.cards import LEAST_PIXELS
from device.noise import MICRO, RESERVE
from device.notice import LEAST_CM, MARKER_CM
from device.settings import DAY, Settings

LENS = 62  # degrees, horizontally, as that of the Raspberry Pi Camera Module 2

ACKNOWLEDGED = {
    "broker": "the broker has taken it (PUBACK)",
    "collector": "a collector has stored it (down/ack); until then it is sent again",
}


COUNTED = {
    True: "Each person in view is counted once in it, with the one emotion that they showed most.",
    False: "Each person in view is counted once in it. The policy permits no more: no emotion is read (mien doctor says why).",
}


def explain(settings: Settings) -> str:
    """A few plain sentences, with the arithmetic."""
    fps, spool = settings.camera.fps, settings.spool
    lines = f"""\
Every {_duration(settings.window_seconds)} one report is made, {DAY / settings.window_seconds:.0f} a day.
{COUNTED[_emotion(settings)]}

{_without_noise(settings) if settings.noise == "off" else _with_noise(settings)}

A person is watched {fps:g} times a second and counts after three sightings, so somebody in view for less than
  {3 / fps:.1f} s is not counted.
While there is no network {settings.spool_files} reports ({spool.days:g} days) or {spool.megabytes:g} MB wait; beyond, the
  oldest are dropped and counted.
A report is done with when {ACKNOWLEDGED[settings.broker.acknowledge]}.

{_people(settings)}"""
    return lines + ("\n\ndemo = true: not for use where real people are." if settings.demo else "")


def _without_noise(settings: Settings) -> str:
    k = settings.k
    return f"""\
k = {k}: with fewer than {k} people the report says only that it is withheld.
noise = off: the figures are true counts, with an expected error of ± 0 from privacy.
  When any emotion is shown by 1 to {k - 1} people, all emotions below {k} are left out, and the next smallest too,
  so that the sum gives none of them back. No budget is spent: true counts have no ε, and each report says so."""


def _with_noise(settings: Settings) -> str:
    k, hold, budget = settings.k, settings.max_hold, settings.budget
    declared = contributions()["emotion"]
    epsilon = float(settings.epsilon_window) * float(declared.share) / declared.per_track
    figure = sqrt(2 * exp(-epsilon)) / (1 - exp(-epsilon))
    cells = len(CELLS) if _emotion(settings) else 1
    people = figure * sqrt(cells)
    alone, held = _chance(epsilon, cells, k, 1), _chance(epsilon, cells, k, hold)
    each, together = (f"each emotion ± {figure * sqrt(n):.1f}, " if cells > 1 else "" for n in (1, hold))
    cost, count, hourly = budget.window / MICRO, budget.windows_a_day, budget.earned(3_600_000)
    return f"""\
noise = discrete-laplace, epsilon_window = {cost:g}: each figure gets random noise once; no figure is left out.
  Expected error (standard deviation) from privacy in one window: {each}people ± {people:.1f}.
  In a report of {hold} windows: {together}people ± {people * sqrt(hold):.1f}.
  Any report is at most {exp(cost):.3g} times as likely with a person in a window as without, whoever asks and whatever they know.
  Figures may be negative, so that sums over time are right on average; who shows them shows 0 instead.
k = {k}: with fewer than {k} noised people a window waits for the next, {hold} windows at most; then the report is withheld.
  Noise takes an empty place for {k} or more people in {alone:.1%} of single windows, and within {hold} windows in {held:.1%};
  a larger k makes that rarer. k is precision, ε is the guarantee.
Budget: {count} windows a day and {RESERVE} for restarts, ({count} + {RESERVE}) × {cost:g} = {budget.needed / MICRO:g},
  of epsilon_day = {budget.day / MICRO:g}. Running time earns {hourly / MICRO:.3g} an hour; the calendar does not count.
  Somebody in view in m windows costs m × {cost:g}; all day long {count} × {cost:g} = {count * cost:g}, which protects weakly."""


def _people(settings: Settings) -> str:
    """The policy, consent, and how far away a card is read: where the marker is as many pixels wide as it must be."""
    consent, width = settings.consent, settings.camera.width
    focal = width / 2 / tan(radians(LENS / 2))  # pixels
    near, far = (size / 100 * focal / LEAST_PIXELS for size in (LEAST_CM, MARKER_CM))
    who = "while a consent card is in view" if consent.input == "card" else "while the consent button is pressed"
    when = {
        "notice": "Everybody in view is counted, except whoever shows a no-thanks card.",
        "opt-in": f"People are counted {who} and for {consent.lasts_seconds} s after that, except whoever shows a no-thanks card.",
    }
    return f"""\
policy {settings.policy.decided.id}: {when[consent.mode]}
A no-thanks card as printed ({MARKER_CM:g} cm) is read up to about {far:.1f} m away (a lens of {LENS} degrees, {width} pixels),
  one of {LEAST_CM:g} cm up to {near:.1f} m. It holds for faces within {REACH:g} times their width.
A press of the pause button, and `mien pause`, pause for {consent.pause_seconds} s."""


def _emotion(settings: Settings) -> bool:
    return "emotion" in settings.policy.decided.may


def _chance(epsilon: float, cells: int, k: int, windows: int) -> float:
    """The probability that an empty place is taken for k or more people within so many windows, by convolution."""
    reach = int(30 / epsilon)
    one = np.tanh(epsilon / 2) * np.exp(-epsilon * np.abs(np.arange(-reach, reach + 1)))
    noise = one
    for _ in range(cells - 1):
        noise = _sum(noise, one)
    middle = len(noise) // 2
    below = k + middle  # sums from -middle to k - 1 are still waiting
    waiting = np.zeros(below)
    waiting[middle] = 1.0
    taken = 0.0
    for _ in range(windows):
        total = _sum(waiting, noise)[middle:]
        taken += float(total[below:].sum())
        waiting = total[:below]
    return taken


def _sum(a: npt.NDArray[np.float64], b: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The distribution of the sum of two numbers that have these."""
    size = len(a) + len(b) - 1
    return np.fft.irfft(np.fft.rfft(a, size) * np.fft.rfft(b, size), size)


def _duration(seconds: int) -> str:
    return f"{seconds // 60} minutes" if seconds >= 120 and seconds % 60 == 0 else f"{seconds} seconds"
