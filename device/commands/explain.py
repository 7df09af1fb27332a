"""``mien settings explain``: what the settings mean for the figures that are published."""

from __future__ import annotations

from device.settings import DAY, Settings

ACKNOWLEDGED = {
    "broker": "the broker has taken it (PUBACK)",
    "collector": "a collector has stored it (down/ack); until then it is sent again",
}


def explain(settings: Settings) -> str:
    """A few plain sentences, with the arithmetic."""
    k, fps, spool = settings.k, settings.camera.fps, settings.spool
    lines = f"""\
Every {_duration(settings.window_seconds)} one report is made, {DAY / settings.window_seconds:.0f} a day.
Each person in view is counted once in it, with the one emotion that they showed most.

k = {k}: with fewer than {k} people the report says only that it is withheld.
noise = {settings.noise}: the figures are true counts, with an expected error of ± 0 from privacy.
  When any emotion is shown by 1 to {k - 1} people, all emotions below {k} are left out, and the next smallest too,
  so that the sum gives none of them back. No budget is spent: true counts have no ε, and each report says so.

A person is watched {fps:g} times a second and counts after three sightings, so somebody in view for less than
  {3 / fps:.1f} s is not counted.
While there is no network {settings.spool_files} reports ({spool.days:g} days) or {spool.megabytes:g} MB wait; beyond, the
  oldest are dropped and counted.
A report is done with when {ACKNOWLEDGED[settings.broker.acknowledge]}."""
    return lines + ("\n\ndemo = true: not for use where real people are." if settings.demo else "")


def _duration(seconds: int) -> str:
    return f"{seconds // 60} minutes" if seconds >= 120 and seconds % 60 == 0 else f"{seconds} seconds"
