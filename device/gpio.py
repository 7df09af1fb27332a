"""Buttons and a lamp on GPIOs, through gpiozero: the only module that imports it, and only where the settings name a pin.

A button connects its pin to ground; the lamp is on while its pin is high. gpiozero chooses how pins are driven; its own variable
``GPIOZERO_PIN_FACTORY=mock`` gives pins that are not there, for tests.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from threading import Event
from typing import Any, Final, Protocol

from device.errors import RuntimeMissingError, SettingsError
from device.settings_policy import ConsentSettings

BOUNCE: Final = 0.02  # seconds for which a button's contact may jump


class Controls(Protocol):
    """What people can press, and what tells them that frames are read."""

    def pause_pressed(self) -> bool:
        """Whether the pause button has been pressed since this was last asked."""
        ...

    def consenting(self) -> bool:
        """Whether the consent button is pressed, or has been since this was last asked."""
        ...

    def lamp(self, on: bool) -> None:
        """Switch the lamp."""
        ...

    def wait(self, seconds: float) -> None:
        """Wait, but no longer than until a button is pressed."""
        ...

    def close(self) -> None:
        """Switch the lamp off and let go of the pins."""
        ...


class NoControls:
    """No pins: nothing is ever pressed, and there is no lamp."""

    def __init__(self) -> None:
        self._event = Event()

    def pause_pressed(self) -> bool:
        return False

    def consenting(self) -> bool:
        return False

    def lamp(self, on: bool) -> None:
        del on

    def wait(self, seconds: float) -> None:
        self._event.wait(seconds)

    def close(self) -> None:
        pass


class Pins:
    """Pins that the settings name.

    Raises:
        SettingsError: A pin does not exist, or is used by something else; the message names its key.
        RuntimeMissingError: gpiozero is missing, or finds no GPIOs here.
    """

    def __init__(self, settings: ConsentSettings) -> None:
        self._pressed, self._pause, self._consent = Event(), Event(), Event()
        with ExitStack() as stack:
            lamp = _open(stack, "LED", "lamp_pin", settings.lamp_pin)
            self._lamp: Any = lamp
            pause = _open(stack, "Button", "pause_pin", settings.pause_pin)
            self._consent_button: Any = _open(stack, "Button", "consent_pin", settings.consent_pin)
            if pause is not None:
                pause.when_pressed = self._on_press(self._pause)
            if self._consent_button is not None:
                self._consent_button.when_pressed = self._on_press(self._consent)
            self._stack = stack.pop_all()

    def _on_press(self, event: Event) -> Callable[[], None]:
        def pressed() -> None:
            event.set()
            self._pressed.set()

        return pressed

    def pause_pressed(self) -> bool:
        return _taken(self._pause)

    def consenting(self) -> bool:
        return _taken(self._consent) or (self._consent_button is not None and bool(self._consent_button.is_pressed))

    def lamp(self, on: bool) -> None:
        if self._lamp is not None:
            self._lamp.value = int(on)

    def wait(self, seconds: float) -> None:
        self._pressed.wait(seconds)
        self._pressed.clear()

    def close(self) -> None:
        if self._lamp is not None and not self._lamp.closed:
            self._lamp.off()
        self._stack.close()


def open_controls(settings: ConsentSettings) -> Controls:
    """Open the pins that the settings name. Raises as ``Pins`` does."""
    return Pins(settings) if settings.pins else NoControls()


def _taken(event: Event) -> bool:
    if event.is_set():
        event.clear()
        return True
    return False


def _open(stack: ExitStack, kind: str, key: str, pin: str | None) -> Any:
    if pin is None:
        return None
    with _in_our_words(key, pin):
        import gpiozero

        options: dict[str, Any] = {"initial_value": False} if kind == "LED" else {"pull_up": True, "bounce_time": BOUNCE}
        opened = getattr(gpiozero, kind)(pin, **options)
    stack.callback(opened.close)
    return opened


@contextmanager
def _in_our_words(key: str, pin: str) -> Iterator[None]:
    """Translate what gpiozero and its drivers raise."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # which driver it falls back to
            yield
    except ImportError as error:
        if error.name == "gpiozero":
            raise RuntimeMissingError(
                f"consent.{key}: pins need gpiozero, which is not installed; pip install 'mien[gpio]', or leave the key out"
            ) from error
        raise RuntimeMissingError(
            f"consent.{key}: gpiozero finds no GPIOs on this machine; on a Raspberry Pi: sudo apt install python3-lgpio; elsewhere "
            "leave the key out"
        ) from error
    except ValueError as error:  # of gpiozero: PinInvalidPin and its like
        raise SettingsError(
            f"consent.{key}: {pin} does not exist on this board ({error}); choose one that `pinout` shows"
        ) from error
    except _driver_errors() as error:
        raise SettingsError(
            f"consent.{key}: {pin} cannot be used ({error}); is it free, and is this user in group gpio?"
        ) from error


def _driver_errors() -> tuple[type[BaseException], ...]:
    """What may also be raised when a pin is opened; lgpio has an error of its own."""
    from gpiozero.exc import GPIOZeroError

    own = getattr(sys.modules.get("lgpio"), "error", None)
    return (GPIOZeroError, OSError, *((own,) if own else ()))
