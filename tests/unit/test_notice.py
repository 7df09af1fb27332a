"""What people are told: whole in every language, and never other than the settings."""

from __future__ import annotations

import re
from pathlib import Path
from string import Formatter
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from device import notice
from device.commands.notice import run
from device.contract import MAX_MESSAGE_BYTES, dump
from device.errors import OutputError, SettingsError
from device.notice_html import html, marker_svg
from device.settings import Settings, parse

LANGUAGES: tuple[Any, ...] = ("en", "de", "ru")
WHO = '[notice]\nresponsible = "Corner Shop <Ltd>"\ncontact = "privacy@corner.example"\n'
RESEARCH = '[policy]\nsetting = "research"\njurisdiction = "EU"\n'
LONGEST = f"""[policy]
setting = "retail"
jurisdiction = "DE"
staff_out_of_view = "{"ж" * 160}"
[consent]
mode = "opt-in"
lamp_pin = 1
pause_pin = 2
[notice]
responsible = "{"ж" * 120}"
contact = "{"ж" * 120}"
place = "{"ж" * 80}"
url = "https://{"x" * 192}"
"""


def settings(top: str = "", tables: str = RESEARCH + WHO) -> Settings:
    return parse(top + "\n" + tables, "f")


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_language_has_every_phrase_and_the_same_figures_in_it(language: Any) -> None:
    english, other = notice.words("en"), notice.words(language)

    assert set(other) == set(english)
    for key, phrase in other.items():
        assert phrase.strip()
        assert {name for _, name, _, _ in Formatter().parse(phrase)} == {
            name for _, name, _, _ in Formatter().parse(english[key])
        }, key


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_language_is_left_in_another(language: Any) -> None:
    english = {phrase for phrase in notice.words("en").values() if len(phrase) > 12}

    assert language == "en" or not english & set(notice.words(language).values())


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize(
    ("one", "another", "figure"),
    [
        ("k = 7", "k = 13", "13"),
        ("window_seconds = 1800", "window_seconds = 3600", "1 "),
        ("epsilon_window = 0.5", "epsilon_window = 0.25", "0[.,]25"),
        ("epsilon_window = 0.5", "epsilon_window = 0.25", "± ?5|5[.,]6"),
        ("demo = true\nnoise = 'off'", "", "ε = 1"),
    ],
)
def test_the_figures_come_from_the_settings(language: Any, one: str, another: str, figure: str) -> None:
    before, after = (notice.text(settings(top), language) for top in (one, another))

    assert before != after
    assert re.search(figure, after)


@pytest.mark.parametrize("language", LANGUAGES)
def test_what_the_policy_forbids_is_not_told_as_measured(language: Any) -> None:
    phrases = notice.words(language)
    permitted = notice.text(settings(), language)
    forbidden = notice.text(settings(tables='[policy]\nsetting = "classroom"\njurisdiction = "FR"\n' + WHO), language)

    assert phrases["emotions"] in permitted
    assert phrases["emotions"] not in forbidden
    assert "classroom/FR@" in forbidden


@pytest.mark.parametrize("language", LANGUAGES)
def test_lamp_button_measure_and_consent_are_told_where_they_are(language: Any) -> None:
    phrases, plain, full = notice.words(language), notice.text(settings(), language), notice.text(parse(LONGEST, "f"), language)

    assert phrases["lamp"] not in plain
    assert phrases["lamp"] in full
    for key in ("opt_in_card", "pause", "staff", "place", "more"):
        start = phrases[key].partition("{")[0]
        assert start not in plain
        assert start in full


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_longest_notice_is_a_message(language: Any) -> None:
    tables = LONGEST.replace("[notice]\n", f'[notice]\nlanguage = "{language}"\n')

    made = notice.message(parse(tables, "f"))

    assert made is not None
    assert len(dump(made)) <= MAX_MESSAGE_BYTES
    assert made.language == language


@pytest.mark.parametrize("missing", ["responsible", "contact"])
def test_a_notice_without_somebody_responsible_is_refused(missing: str) -> None:
    known = parse("[notice]\n" + "\n".join(line for line in WHO.splitlines()[1:] if not line.startswith(missing)), "f")

    with pytest.raises(SettingsError, match=rf"^notice\.{missing}: not set.*Art\. 13") as caught:
        notice.text(known, "en")

    assert caught.value.exit_code == 78
    assert notice.message(known) is None


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_page_to_print_loads_nothing_and_escapes_what_the_operator_wrote(language: Any) -> None:
    page = html(settings(), language)

    root = ET.fromstring(page.replace("<!DOCTYPE html>\n", "").replace('<meta charset="utf-8">', "").replace(
        '<meta name="viewport" content="width=device-width">', ""
    ))  # fmt: skip
    assert root.attrib["lang"] == language
    assert "Corner Shop &lt;Ltd&gt;" in page
    assert not re.search(r"(src|href)=|@import|url\(", page)
    for line in notice.paragraphs(settings(), language):
        assert line in "".join(root.itertext())


def test_the_page_holds_a_qr_code_and_the_cards_that_apply() -> None:
    assert html(settings(), "en").count("<svg") == 2
    assert html(settings(tables=RESEARCH + WHO + '[consent]\nmode = "opt-in"\n'), "en").count("<svg") == 3


def test_a_printed_marker_is_as_wide_as_the_page_says() -> None:
    root = ET.fromstring(marker_svg(27))

    whole, cells = float(root.attrib["width"].removesuffix("mm")), float(root.attrib["viewBox"].split()[2])
    assert whole / cells * 6 == pytest.approx(notice.MARKER_CM * 10)


def test_the_page_is_written_as_a_whole_or_not_at_all(tmp_path: Path) -> None:
    out = tmp_path / "notice.html"

    assert run(settings(), "html", None, out) == ""
    assert out.read_text().endswith("</html>\n")
    with pytest.raises(OutputError, match="nowhere"):
        run(settings(), "html", None, tmp_path / "nowhere" / "notice.html")
    assert [path.name for path in tmp_path.iterdir()] == ["notice.html"]
