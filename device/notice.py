"""What people are told: made from the settings in force, so that it cannot disagree with them. Text here, print in ``notice_html``.

The words of each language are in ``device/notices``; the numbers come from the settings, and from the modules that keep to them.
"""

from __future__ import annotations

import sys
from math import exp, sqrt
from pathlib import Path
from typing import Final

from device.consent import REACH
from device.contract import Notice, contributions
from device.errors import SettingsError
from device.noise import MICRO
from device.settings import Settings
from device.settings_policy import Language

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

FOLDER: Final = Path(__file__).with_name("notices")
FACE_CM: Final = 16.0  # how wide the box of a face is, about
MARKER_CM: Final = 14.0  # the black square of a printed card
LEAST_CM: Final = 11.5  # the smallest that is read wherever a face is (docs/consent.md)


def words(language: Language) -> dict[str, str]:
    """Every phrase of a language, by its key."""
    found: dict[str, str] = tomllib.loads((FOLDER / f"{language}.toml").read_text(encoding="utf-8"))
    return found


def paragraphs(settings: Settings, language: Language) -> list[str]:
    """The notice, sentence by sentence, its title first; only what applies.

    Raises:
        SettingsError: The settings do not say who is responsible, or how to reach them.
    """
    notice, consent, policy = settings.notice, settings.consent, settings.policy
    for key, value in (("responsible", notice.responsible), ("contact", notice.contact)):
        if value is None:
            raise SettingsError(
                f"notice.{key}: not set, and a notice must say it (Regulation (EU) 2016/679 Art. 13(1)(a)); set it under [notice]"
            )
    noised = "on" if settings.noise != "off" else "off"
    keys: list[tuple[str, object]] = [
        ("title", True),
        ("place", notice.place),
        ("measured_emotion" if "emotion" in policy.decided.may else "measured_people", True),
        (f"opt_in_{consent.input}", consent.mode == "opt-in"),
        ("never", True),
        (f"noise_{noised}", True),
        (f"all_day_{noised}", True),
        ("card", True),
        ("pause", consent.pause_pin),
        ("lamp", consent.lamp_pin),
        ("staff", policy.staff_out_of_view),
        ("kept", True),
        ("responsible", True),
        ("object", True),
        ("more", notice.url),
        ("policy", True),
    ]
    phrases, figures = words(language), values(settings, language)
    return [phrases[key].format(**figures) for key, applies in keys if applies]


def values(settings: Settings, language: Language) -> dict[str, str]:
    """What fills the {names} in a language's phrases."""
    phrases = words(language)
    budget, declared = settings.budget, contributions()["emotion"]
    epsilon = float(settings.epsilon_window) * float(declared.share) / declared.per_track
    spread = sqrt(2 * exp(-epsilon)) / (1 - exp(-epsilon))  # standard deviation of discrete Laplace noise

    def number(value: float) -> str:
        return f"{value:.3g}".replace(".", phrases["decimal"])

    def duration(seconds: int) -> str:
        for size, unit in ((3600, "hours"), (60, "minutes")):
            if seconds % size == 0:
                return f"{seconds // size} {phrases[unit]}"
        return f"{seconds} {phrases['seconds']}"

    notice, consent = settings.notice, settings.consent
    return {
        "place": _plain(notice.place),
        "emotions": phrases["emotions"],
        "fps": number(settings.camera.fps),
        "window": duration(settings.window_seconds),
        "spread": f"{spread:.1f}".replace(".", phrases["decimal"]),
        "epsilon": number(float(settings.epsilon_window)),
        "epsilon_day": number(budget.windows_a_day * budget.window / MICRO),
        "k": str(settings.k),
        "reach": number(REACH),
        "lasts": duration(consent.lasts_seconds),
        "pause": duration(consent.pause_seconds),
        "measure": _plain(settings.policy.staff_out_of_view),
        "responsible": _plain(notice.responsible),
        "contact": _plain(notice.contact),
        "days": number(settings.spool.days),
        "url": notice.url or "",
        "policy": settings.policy.decided.id,
        "size": number(MARKER_CM),
        "least": number(LEAST_CM),
    }


def text(settings: Settings, language: Language) -> str:
    """The notice as plain text, a line for each paragraph. Raises as ``paragraphs`` does."""
    title, *rest = paragraphs(settings, language)
    return "\n".join((title, "", *rest)) + "\n"


def message(settings: Settings) -> Notice | None:
    """What is retained at ``up/notice``; ``None`` while the settings do not say who is responsible."""
    if settings.notice.responsible is None or settings.notice.contact is None:
        return None
    language = settings.notice.language
    return Notice(schema=1, language=language, policy=settings.policy.decided.id, text=text(settings, language))


def _plain(line: str | None) -> str:
    """As the operator wrote it, without the full stop that the sentence has anyway."""
    return (line or "").strip().rstrip(".")
