"""One file, every key checked."""

from __future__ import annotations

import re
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from device.commands.explain import explain
from device.errors import SettingsError, WordsError
from device.settings import EXAMPLE, Settings, load, parse, with_camera


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("kk = 3", "f.toml:1: kk: unknown key; did you mean 'k'?"),
        ("\n\nzzzz = 3", "f.toml:3: zzzz: unknown key; known keys: device, window_seconds"),
        ("[camera]\nsorce = 'x'", "f.toml:2: camera.sorce: unknown key; did you mean 'source'?"),
        ("k = 'five'", "f.toml:1: k: expected a valid integer; found 'five'"),
        ("k = '5'", "f.toml:1: k: expected a valid integer; found '5'"),
        ("k = 101", "f.toml:1: k: expected 3 to 100 (2 too, for demonstrations, with demo = true); found 101"),
        ("k = 2", "f.toml:1: k: expected 3 to 100 (2 too, for demonstrations, with demo = true); found 2"),
        ("demo = true\nk = 1", "f.toml:2: k: expected 3 to 100"),
        ("noise = 'gaussian'", "f.toml:1: noise: expected 'discrete-laplace' or 'off'; found 'gaussian'"),
        ("noise = 'off'", 'f.toml:1: noise: expected "discrete-laplace" (off: in research alone, policy.setting = "research", or'),
        ("noise = 'off'\n[policy]\nsetting = 'retail'", 'f.toml:1: noise: expected "discrete-laplace" (off: in research alone'),
        ("epsilon_window = 6.0", "f.toml:1: epsilon_window: expected 0.01 to 5; found 6.0"),
        ("epsilon_window = 0.009", "f.toml:1: epsilon_window: expected 0.01 to 5; found 0.009"),
        ("epsilon_window = nan", "f.toml:1: epsilon_window: expected a decimal number of at most six decimals; found nan"),
        ("epsilon_window = true", "f.toml:1: epsilon_window: expected a decimal number of at most six decimals; found True"),
        (
            "epsilon_window = 0.1234567",
            "f.toml:1: epsilon_window: expected a decimal number of at most six decimals; found 0.12345",
        ),
        ("epsilon_day = 501.0", "f.toml:1: epsilon_day: expected more than 0 and at most 500 (more, for demonstrations, with demo"),
        ("epsilon_day = 0", "f.toml:1: epsilon_day: expected more than 0 and at most 500"),
        ("max_hold = 0", "f.toml:1: max_hold: expected greater than or equal to 1; found 0"),
        (
            "epsilon_day = 48.0",
            "f.toml:1: epsilon_day: expected at least 98: 96 windows of 900 s a day and 2 for restarts cost 1 each, (96 + 2) × 1",
        ),
        ("window_seconds = 60", "f.toml:1: epsilon_day: expected at least 1442: 1440 windows of 60 s a day and 2 for restarts"),
        ("device = 'a/b'", "f.toml:1: device: expected a letter or digit, then letters"),
        ("window_seconds = 1.5", "f.toml:1: window_seconds: expected a valid integer"),
        ("demo = 1", "f.toml:1: demo: expected a valid boolean; found 1"),
        ("[camera]\n\n  fps = 0.1", "f.toml:3: camera.fps: expected greater than or equal to 0.5; found 0.1"),
        ("camera.fps = 99", "f.toml:1: camera.fps: expected less than or equal to 30; found 99"),
        ("camera = 3", "f.toml:1: camera: expected a table, [camera]"),
        ("[camera]\nsource = 'Pi Camera'", "f.toml:2: camera.source: expected a camera's name"),
        (
            "[camera]\nsource = 'foo:bar'",
            "f.toml:2: camera.source: expected a camera that there is: choose one of composite, picamera2",
        ),
        ("[models]\ndetector = 'haar'", "f.toml:2: models.detector: expected 'full', 'back' or 'short'; found 'haar'"),
        ("[models]\ntiles = 3", "f.toml:2: models.tiles: expected 1, 2, 4 or 6; found 3"),
        ("[models]\nform = 'int4'", "f.toml:2: models.form: expected 'auto', 'float16', 'int8-weights' or 'int8'; found 'int4'"),
        ("[broker]\npublisher = 'kafka'", "f.toml:2: broker.publisher: expected one of mqtt, stdout"),
        ("[spool]\nfolder = 'here'", "f.toml:2: spool.folder: expected an absolute path"),
        ("run_folder = ''", "f.toml:1: run_folder: expected an absolute path"),
        ('run_folder = "/a\\u0000b"', "f.toml:1: run_folder: expected a path, which has no NUL in it"),
        ('camera.source = "replay:a\\u0000b"', "f.toml:1: camera.source: expected a camera's name"),
        ('broker.url = "mqtt://a\\u0000b"', "f.toml:1: broker.url: expected mqtt://host:port"),
        ("[broker]\nurl = 'http://x'", "f.toml:2: broker.url: expected mqtt://host:port or mqtts://host:port"),
        ("[broker]\nurl = 'mqtt://x:99999'", "f.toml:2: broker.url: expected mqtt://host:port"),
        ("[broker]\ncertificate_file = 'a'", "f.toml:1: broker: certificate_file and key_file go together"),
        ("[broker]\nca_file = 'a'", "f.toml:1: broker: ca_file and certificate_file need a url that begins with mqtts://"),
        ("k = ", "f.toml: not valid TOML: Invalid value (at"),
    ],
)
def test_a_mistake_is_named_with_its_file_line_key_and_what_was_expected(text: str, message: str) -> None:
    with pytest.raises(SettingsError, match="^" + re.escape(message)) as caught:
        parse(text, "f.toml")

    assert caught.value.exit_code == 78


def test_every_mistake_is_named_at_once() -> None:
    with pytest.raises(SettingsError) as caught:
        parse("k = 0\nkk = 1\n[spool]\ndays = -1", "f.toml")

    assert len(str(caught.value).splitlines()) == 3


def test_the_documented_example_holds_the_defaults() -> None:
    assert load(EXAMPLE) == Settings()


def keys(model: type[BaseModel], prefix: str = "") -> list[str]:
    found = []
    for name, field in model.model_fields.items():
        kind: Any = field.annotation
        inner = isinstance(kind, type) and issubclass(kind, BaseModel)
        found += keys(kind, f"{name}.") if inner else [f"{prefix}{name}"]
    return found


def test_every_key_is_in_the_documented_example() -> None:
    table, documented = "", set()
    for line in EXAMPLE.read_text().splitlines():
        if header := re.match(r"\[(\w+)\]", line):
            table = f"{header[1]}."
        elif key := re.match(r"#? ?([a-z_]+) = ", line):
            documented.add(table + key[1])

    assert documented == set(keys(Settings))


@pytest.mark.parametrize(("content", "message"), [(None, "cannot read the settings"), (b"\xff\xfe", "not UTF-8")])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, content: bytes | None, message: str) -> None:
    file = tmp_path / "settings.toml"
    if content is not None:
        file.write_bytes(content)

    with pytest.raises(SettingsError, match=message):
        load(file)


def test_the_spool_holds_the_days_that_the_settings_ask_for() -> None:
    assert parse("demo = true\nwindow_seconds = 60\nnoise = 'off'\n[spool]\ndays = 7", "f").spool_files == 10_080


def test_the_camera_can_be_replaced_on_the_command_line() -> None:
    assert with_camera(Settings(), "replay:clip.mkv").camera.source == "replay:clip.mkv"
    for wrong in ("Replay", "nonsense:1"):
        with pytest.raises(WordsError, match="--camera"):
            with_camera(Settings(), wrong)


def test_a_mark_that_windows_editors_put_before_the_text_is_no_mistake(tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    file.write_bytes(b"\xef\xbb\xbfk = 7\n")

    assert load(file).k == 7


def test_an_epsilon_is_read_as_it_is_written_and_never_through_a_float() -> None:
    settings = parse("epsilon_window = 0.1\nepsilon_day = 30.000001", "f")

    assert (Fraction(settings.epsilon_window), Fraction(settings.epsilon_day)) == (Fraction(1, 10), Fraction(30_000_001, 1_000_000))
    assert (settings.budget.window, settings.budget.day) == (100_000, 30_000_001)


def test_a_budget_that_just_fits_is_taken() -> None:
    assert parse("epsilon_day = 98", "f").budget.needed == 98_000_000
    assert parse("window_seconds = 60\ndemo = true\nepsilon_day = 1442.0", "f").demo
    assert parse("demo = true\nwindow_seconds = 5\nnoise = 'off'", "f").window_seconds == 5


def test_the_settings_explain_the_noise_and_the_arithmetic_of_the_budget() -> None:
    text = explain(parse("[policy]\nsetting = 'research'\njurisdiction = 'EU'", "f"))

    assert "each emotion ± 1.4, people ± 4.1" in text
    assert "In a report of 4 windows: each emotion ± 2.7, people ± 8.1" in text
    assert "(96 + 2) × 1 = 98" in text
    assert "at most 2.72 times as likely" in text
    assert "takes an empty place for 5 or more people in 12.7% of single windows, and within 4 windows in 40.4%" in text


def test_the_settings_explain_themselves() -> None:
    text = explain(parse("demo = true\nwindow_seconds = 1800\nk = 7\nnoise = 'off'", "f"))

    assert "Every 30 minutes one report is made, 48 a day." in text
    assert "fewer than 7 people" in text
    assert "± 0" in text


def test_the_settings_explain_from_how_far_a_card_is_read() -> None:
    near, far = (explain(parse(f"[camera]\nwidth = {width}", "f")) for width in (640, 1280))

    assert "A no-thanks card as printed (14 cm) is read up to about 3.7 m away" in near
    assert "is read up to about 7.5 m away" in far
