"""The settings: one TOML file, checked key by key before anything starts."""

from __future__ import annotations

import difflib
import errno
import re
import sys
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    ValidationError,
    ValidationInfo,
    model_validator,
)

from device import durable, plug
from device.contract import DeviceName, Noise
from device.epsilon import Number, a_day, a_window, exact
from device.errors import SettingsError, WordsError
from device.noise import Budget, micro
from device.settings_care import CameraSettings, CareSettings
from device.settings_policy import ConsentSettings, NoticeSettings, Part, PolicySettings

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

SYSTEM_FILE: Final = Path("/etc/mien/settings.toml")
EXAMPLE: Final = Path(__file__).with_name("settings.toml")
MAX_BYTES: Final = 1024 * 1024  # of a settings file
DAY: Final = 86_400
PASSING: Final = (errno.EIO, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ESTALE)  # no fault of the file
PORTS: Final = {"mqtt": 1883, "mqtts": 8883}


def _possible(path: Path) -> Path:
    if "\0" in str(path):
        raise ValueError("expected a path, which has no NUL in it")
    return path


def _absolute(path: Path) -> Path:
    if not path.is_absolute():
        raise ValueError("expected an absolute path, the same from wherever mien is started")
    return path


File = Annotated[Path, Field(strict=False), AfterValidator(_possible)]  # TOML has no paths, only strings
Folder = Annotated[File, AfterValidator(_absolute)]


def _publisher(name: str) -> str:
    if name not in (known := plug.names("device.publishers")):
        raise ValueError(f"expected one of {', '.join(known)}")
    return name


def _k(k: int, info: ValidationInfo) -> int:
    if not (2 if info.data.get("demo") else 3) <= k <= 100:
        raise ValueError("expected 3 to 100 (2 too, for demonstrations, with demo = true)")
    return k


def _noise(noise: Noise, info: ValidationInfo) -> Noise:
    known = info.data
    if noise == "off" and not known.get("demo") and "policy" in known and known["policy"].setting != "research":
        raise ValueError('expected "discrete-laplace" (off: in research alone, policy.setting = "research", or with demo = true)')
    return noise


def _broker(url: str) -> str:
    try:
        parts = urlsplit(url)
        good = parts.scheme in PORTS and bool(parts.hostname) and parts.port != 0 and "\0" not in url
    except ValueError:
        good = False
    if not good or parts.path.strip("/") or parts.query or parts.username:
        raise ValueError("expected mqtt://host:port or mqtts://host:port")
    return url


class UnreadableError(SettingsError):
    """The disk, or the system, fails for now: nobody knows whether the settings are wrong."""

    exit_code = 75


class ModelSettings(Part):
    folder: Folder | None = None
    runtime: Literal["auto", "ai-edge-litert", "tflite-runtime"] = "auto"
    detector: Literal["full", "back", "short"] = "full"
    tiles: Literal[1, 2, 4, 6] = 2
    form: Literal["auto", "float16", "int8-weights", "int8"] = "auto"
    root_file: File = Path("/etc/mien/models-root.json")


class SpoolSettings(Part):
    folder: Folder = Path("/var/lib/mien/spool")
    days: float = Field(7.0, gt=0, le=60)
    megabytes: float = Field(64.0, ge=0.1, le=4096)


class BrokerSettings(Part):
    publisher: Annotated[str, AfterValidator(_publisher)] = "mqtt"
    url: Annotated[str, AfterValidator(_broker)] = "mqtt://127.0.0.1:1883"
    username: str | None = None
    password_file: File | None = None
    ca_file: File | None = None
    certificate_file: File | None = None
    key_file: File | None = None
    acknowledge: Literal["broker", "collector"] = "broker"
    commands: bool = False
    twin: bool = False
    rollouts: bool = False
    keepalive_seconds: int = Field(30, ge=5, le=3600)
    longest_wait_seconds: float = Field(60.0, ge=1, le=3600)

    @model_validator(mode="after")
    def _goes_together(self) -> BrokerSettings:
        if (self.certificate_file is None) != (self.key_file is None):
            raise ValueError("certificate_file and key_file go together: set both or neither")
        if (self.ca_file or self.certificate_file) and not self.tls:
            raise ValueError("ca_file and certificate_file need a url that begins with mqtts://")
        if self.password_file and not self.username:
            raise ValueError("password_file needs a username")
        return self

    @property
    def tls(self) -> bool:
        return urlsplit(self.url).scheme == "mqtts"

    @property
    def host(self) -> str:
        return urlsplit(self.url).hostname or ""

    @property
    def port(self) -> int:
        parts = urlsplit(self.url)
        return parts.port or PORTS[parts.scheme]


class Settings(Part):
    """Everything that can be set. ``device/settings.toml`` documents each key."""

    device: DeviceName = "mien"
    window_seconds: int = Field(900, ge=5, le=DAY)
    demo: bool = False  # before k, whose range depends on it
    k: Annotated[int, AfterValidator(_k)] = 5
    policy: PolicySettings = PolicySettings()  # before noise, which is off in research alone
    noise: Annotated[Noise, AfterValidator(_noise)] = "discrete-laplace"
    epsilon_window: Annotated[Decimal, AfterValidator(a_window), BeforeValidator(exact)] = Decimal(1)
    epsilon_day: Annotated[Decimal, AfterValidator(a_day), BeforeValidator(exact)] = Field(Decimal(100), validate_default=True)
    max_hold: int = Field(4, ge=1, le=96)
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    run_folder: Folder = Path("/run/mien")
    state_folder: Folder = Path("/var/lib/mien/state")
    inbox_folder: Folder = Path("/var/lib/mien/inbox")
    send_folder: Folder = Path("/var/lib/mien/send")
    metrics_socket: Folder | None = None
    camera: CameraSettings = CameraSettings()
    care: CareSettings = CareSettings()
    models: ModelSettings = ModelSettings()
    spool: SpoolSettings = SpoolSettings()
    broker: BrokerSettings = BrokerSettings()
    consent: ConsentSettings = ConsentSettings()
    notice: NoticeSettings = NoticeSettings()

    @property
    def budget(self) -> Budget:
        """What a window costs, and a day may cost."""
        return Budget(self.window_seconds, micro(self.epsilon_window), micro(self.epsilon_day))

    @property
    def spool_files(self) -> int:
        """How many reports fill the spool's days."""
        return max(1, round(self.spool.days * DAY / self.window_seconds))


def load(path: Path | None = None) -> Settings:
    """Read and check a settings file.

    Args:
        path: The file; when ``None``, ``/etc/mien/settings.toml``.

    Raises:
        UnreadableError: The disk fails.
        SettingsError: It cannot be read, is not TOML, or a key is unknown or has a wrong value. The message has one line per
            problem, with file, line, key and what was expected.
    """
    file = path or SYSTEM_FILE
    try:
        text = durable.read_given(file, MAX_BYTES).decode("utf-8-sig")  # editors on Windows put a mark before the text
    except OSError as error:
        if error.errno in PASSING:
            raise UnreadableError(f"{file}: cannot read the settings ({error.strerror}); check the disk, then try again") from error
        hint = "give one with --settings FILE" if path else "make one: mien settings example > FILE, then --settings FILE"
        raise SettingsError(f"{file}: cannot read the settings ({error.strerror}); {hint}") from error
    except UnicodeDecodeError as error:
        raise SettingsError(f"{file}: the settings are not UTF-8 text (byte {error.start}); save the file as UTF-8") from error
    return parse(text, str(file))


def parse(text: str, name: str) -> Settings:
    """Check the text of a settings file; ``name`` is how messages call it. Raises as ``load`` does."""
    try:
        values = tomllib.loads(text, parse_float=Number)
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{name}: not valid TOML: {error}") from error
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        lines = [_explain(problem, text, name) for problem in error.errors()]
        raise SettingsError("\n".join(lines)) from error


def with_camera(settings: Settings, source: str) -> Settings:
    """The same settings with another camera.

    Raises:
        WordsError: It is not ``name`` or ``name:address``, or there is no such camera.
    """
    try:
        camera = CameraSettings.model_validate({**settings.camera.model_dump(), "source": source})
    except ValidationError as error:
        raise WordsError(f"--camera: {error.errors()[0]['msg'].removeprefix('Value error, ')}; found {source!r}") from error
    return settings.model_copy(update={"camera": camera})


def with_models(settings: Settings, **values: Any) -> Settings:
    """The same settings with other values under ``[models]``, which are not checked."""
    return settings.model_copy(update={"models": settings.models.model_copy(update=values)})


def _explain(problem: Any, text: str, name: str) -> str:
    path = tuple(str(part) for part in problem["loc"])
    where = f"{name}:{_line(text, path)}: {'.'.join(path)}" if path else name
    if problem["type"] == "extra_forbidden":
        table: Any = Settings
        for part in path[:-1]:
            table = table.model_fields[part].annotation
        near = difflib.get_close_matches(path[-1], table.model_fields, n=1)
        known = f"did you mean {near[0]!r}?" if near else f"known keys: {', '.join(table.model_fields)}"
        return f"{where}: unknown key; {known}"
    if problem["type"] in ("model_type", "model_attributes_type"):
        return f"{where}: expected a table, [{'.'.join(path)}]"
    return f"{where}: {expectation(problem)}"


def expectation(problem: Any) -> str:
    """What was expected and what was found, of one of a ``ValidationError``'s errors."""
    message: str = problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "string_pattern_mismatch":  # the device's name is the only one
        message = "expected a letter or digit, then letters, digits, dots, dashes and underscores, 64 at most"
    expected = message.replace("Input should be", "expected").replace("Value should have", "expected")
    return expected + ("" if isinstance(problem["input"], dict) else f"; found {_without_password(problem['input'])}")


def _without_password(value: Any) -> str:
    return re.sub(r"//[^@/]*@", "//…@", str(value) if isinstance(value, Decimal) else repr(value))


def _line(text: str, path: tuple[str, ...]) -> int:
    """The line that sets a key: the deepest part of the path that can be found, else the first line."""
    table: tuple[str, ...] = ()
    found, depth = 1, 0
    for number, line in enumerate(text.splitlines(), start=1):
        if header := re.match(r"\s*\[+\s*([^\]]+?)\s*\]+", line):
            table = _keys(header[1])
            here = table
        elif assignment := re.match(r"""\s*((?:[\w-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[\w-]+|"[^"]*"|'[^']*'))*)\s*=""", line):
            here = table + _keys(assignment[1])
        else:
            continue
        if path[: len(here)] == here and len(here) > depth:
            found, depth = number, len(here)
    return found


def _keys(dotted: str) -> tuple[str, ...]:
    return tuple(part.strip().strip("\"'") for part in dotted.split("."))
