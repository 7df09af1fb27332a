"""``mien settings explain``: what the settings mean for the figures that are published."""

from __future__ import annotations

from device.settings import Settings


def explain(settings: Settings) -> str:
    """A few plain sentences, with the arithmetic."""
    per_day = 86_400 / settings.window_seconds
    lines = [
        f"Every {_duration(settings.window_seconds)} one report is made, {per_day:.0f} a day.",
        "Each person in view is counted once in it, with the one emotion that they showed most.",
        "",
        f"k = {settings.k}: with fewer than {settings.k} people the report says only that it is withheld.",
        f"noise = {settings.noise}: the figures are true counts, with an expected error of ± 0 from privacy.",
        f"  When any emotion is shown by 1 to {settings.k - 1} people, all emotions below {settings.k} are left out, and the next smallest "
        "one too,",
        "  so that the sum gives none of them back. No budget is spent: true counts have no ε, and each report says so.",
        "",
        f"A person is watched {settings.camera.fps:g} times a second and counts after three sightings, "
        f"so somebody in view for less than {3 / settings.camera.fps:.1f} s is not counted.",
        f"While there is no network {settings.spool_files} reports ({settings.spool.days:g} days) or {settings.spool.megabytes:g} MB wait; "
        "beyond, the oldest are dropped and counted.",
        f"A report is done with when {_ACKNOWLEDGED[settings.broker.acknowledge]}.",
    ]
    if settings.demo:
        lines += ["", "demo = true: not for use where real people are."]
    return "\n".join(lines)


_ACKNOWLEDGED = {
    "broker": "the broker has taken it (PUBACK)",
    "collector": "a collector has stored it (down/ack); until then it is sent again",
}


def _duration(seconds: int) -> str:
    return f"{seconds // 60} minutes" if seconds >= 120 and seconds % 60 == 0 else f"{seconds} seconds"
