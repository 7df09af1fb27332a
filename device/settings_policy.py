"""The tables of the settings about people: what may be inferred, how they consent or object, what they are told."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo, model_validator

from device.policy import Policy, PolicyError, Purpose, Setting, Stated, decide, insist

Language = Literal["en", "de", "ru"]


class Part(BaseModel):
    """A table of the file: closed."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


def _code(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z][A-Za-z -]{1,31}", text):
        raise ValueError("expected a country's two letters as in ISO 3166-1, such as DE, or EU")
    return text.upper()


def _permitted(emotions: bool | None, info: ValidationInfo) -> bool | None:
    try:
        insist(Stated(**{**info.data, "emotions": emotions}))
    except PolicyError as error:
        raise ValueError(error.reason) from None
    return emotions


def _pin(pin: Any) -> Any:
    if isinstance(pin, int) and not isinstance(pin, bool):
        return f"GPIO{pin}"
    return pin


def _named(pin: str | None) -> str | None:
    if pin is not None and not re.fullmatch(r"[A-Za-z0-9:_]{1,16}", pin):
        raise ValueError("expected the number of a GPIO, such as 17, or a name that gpiozero knows, such as GPIO17 or BOARD11")
    return pin


def _line(text: str | None) -> str | None:
    if text is not None and (not text.isprintable() or not text.strip()):
        raise ValueError("expected one line of text")
    return text


def _url(url: str | None) -> str | None:
    if url is not None and not re.fullmatch(r"https?://[^\s/]+\S*", url):
        raise ValueError("expected an address that begins with https://")
    return url


Pin = Annotated[str | None, BeforeValidator(_pin), AfterValidator(_named)]
Line = Annotated[str | None, AfterValidator(_line)]


class PolicySettings(Part):
    setting: Setting | None = None
    jurisdiction: Annotated[str, AfterValidator(_code)] | None = None
    purpose: Purpose | None = None
    staff_out_of_view: Line = Field(None, min_length=10, max_length=160)
    emotions: Annotated[bool | None, AfterValidator(_permitted)] = None  # the last one, since it depends on those above

    @property
    def stated(self) -> Stated:
        """What is stated, as the policy takes it."""
        return Stated(**self.model_dump())

    @property
    def decided(self) -> Policy:
        """What may be inferred."""
        return decide(self.stated)


class ConsentSettings(Part):
    mode: Literal["notice", "opt-in"] = "notice"
    input: Literal["card", "button"] = "card"
    lasts_seconds: int = Field(30, ge=1, le=3600)
    pause_seconds: int = Field(900, ge=10, le=86_400)
    lamp_pin: Pin = None
    pause_pin: Pin = None
    consent_pin: Pin = None

    @model_validator(mode="after")
    def _goes_together(self) -> ConsentSettings:
        if self.mode == "opt-in" and self.input == "button" and self.consent_pin is None:
            raise ValueError('mode = "opt-in" with input = "button" needs consent_pin, the GPIO that the button is at')
        used = list(self.pins.values())
        if len(set(used)) < len(used):
            raise ValueError("lamp_pin, pause_pin and consent_pin must be different pins")
        return self

    @property
    def pins(self) -> dict[str, str]:
        """The pins that are used, by the name of their key."""
        named = {"lamp_pin": self.lamp_pin, "pause_pin": self.pause_pin, "consent_pin": self.consent_pin}
        return {name: pin for name, pin in named.items() if pin is not None}


class NoticeSettings(Part):
    language: Language = "en"
    responsible: Line = Field(None, max_length=120)
    contact: Line = Field(None, max_length=120)
    place: Line = Field(None, max_length=80)
    url: Annotated[str | None, AfterValidator(_url)] = Field(None, max_length=200)
