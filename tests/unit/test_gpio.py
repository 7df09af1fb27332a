"""Buttons and a lamp, on gpiozero's own pins that are not there."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import pytest

gpiozero = pytest.importorskip("gpiozero", reason="gpiozero is not installed: pip install 'mien[gpio]'")
from gpiozero.pins.mock import MockFactory  # noqa: E402 (after the look for it)

from device.errors import RuntimeMissingError, SettingsError  # noqa: E402
from device.gpio import NoControls, open_controls  # noqa: E402
from device.settings import parse  # noqa: E402
from device.settings_policy import ConsentSettings  # noqa: E402

ALL = ConsentSettings(lamp_pin="GPIO17", pause_pin="GPIO27", consent_pin="GPIO22")


@pytest.fixture(autouse=True)
def pins() -> Iterator[Any]:
    before, gpiozero.Device.pin_factory = gpiozero.Device.pin_factory, MockFactory()
    yield gpiozero.Device.pin_factory
    gpiozero.Device.pin_factory.reset()
    gpiozero.Device.pin_factory = before


def press(pins: Any, pin: int) -> None:
    pins.pin(pin).drive_low()
    pins.pin(pin).drive_high()


def test_the_lamp_is_off_until_it_is_switched_on_and_when_it_is_closed(pins: Any) -> None:
    controls = open_controls(ALL)
    seen = [pins.pin(17).state]

    controls.lamp(True)
    seen.append(pins.pin(17).state)
    controls.close()
    controls.close()
    lamp = pins.pin(17)

    assert [bool(state) for state in seen] == [False, True]
    assert not lamp.state


def test_a_short_press_is_remembered_until_it_is_asked_for(pins: Any) -> None:
    controls = open_controls(ALL)

    press(pins, 27)

    assert (controls.pause_pressed(), controls.pause_pressed()) == (True, False)
    assert not controls.consenting()
    controls.close()


def test_consent_is_given_while_its_button_is_pressed_and_once_after_a_short_press(pins: Any) -> None:
    controls = open_controls(ALL)

    pins.pin(22).drive_low()
    held = [controls.consenting(), controls.consenting()]
    pins.pin(22).drive_high()
    controls.consenting()
    press(pins, 22)

    assert held == [True, True]
    assert (controls.consenting(), controls.consenting()) == (True, False)
    controls.close()


def test_a_press_ends_a_wait(pins: Any) -> None:
    controls = open_controls(ALL)
    press(pins, 27)

    controls.wait(30)  # the time limit of the test is the assertion

    controls.close()


@pytest.mark.parametrize("pin", ["GPIO99", "BOARD99", "NOTHING"])
@pytest.mark.parametrize("key", ["lamp_pin", "pause_pin", "consent_pin"])
def test_a_pin_that_does_not_exist_is_named_with_its_key(key: str, pin: str) -> None:
    with pytest.raises(SettingsError, match=rf"^consent\.{key}: {pin} does not exist on this board") as caught:
        open_controls(ConsentSettings.model_validate({key: pin}))

    assert caught.value.exit_code == 78


def test_a_pin_that_is_in_use_is_named(pins: Any) -> None:
    other = gpiozero.LED("GPIO17")

    with pytest.raises(SettingsError, match=r"^consent\.lamp_pin: BOARD11 cannot be used .*in use"):
        open_controls(ConsentSettings(lamp_pin="BOARD11"))
    other.close()


def test_a_pin_that_fails_lets_go_of_those_that_were_opened_before() -> None:
    with pytest.raises(SettingsError):
        open_controls(ConsentSettings(lamp_pin="GPIO17", pause_pin="GPIO99"))

    open_controls(ALL).close()


def test_a_machine_without_gpios_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpiozero.Device, "pin_factory", None)
    monkeypatch.delenv("GPIOZERO_PIN_FACTORY", raising=False)

    with pytest.raises(RuntimeMissingError, match="finds no GPIOs on this machine"):
        open_controls(ALL)
    gpiozero.Device.pin_factory = MockFactory()


def test_gpiozero_is_asked_for_only_where_a_pin_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gpiozero", None)

    assert isinstance(open_controls(ConsentSettings()), NoControls)
    with pytest.raises(RuntimeMissingError, match=r"pip install 'mien\[gpio\]'"):
        open_controls(ALL)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("lamp_pin = 17\npause_pin = 'GPIO17'", "must be different pins"),
        ("lamp_pin = true", "valid string"),
        ("lamp_pin = 'a b'", "expected the number of a GPIO"),
        ("mode = 'opt-in'\ninput = 'button'", "needs consent_pin"),
        ("pause_seconds = 5", "greater than or equal to 10"),
    ],
)
def test_pins_that_make_no_sense_are_refused_by_the_settings(text: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        parse(f"[consent]\n{text}", "f")


def test_a_number_is_the_gpio_of_that_number() -> None:
    assert parse("[consent]\nlamp_pin = 17", "f").consent.pins == {"lamp_pin": "GPIO17"}
