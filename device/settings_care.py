"""The settings' tables about the device itself: what its camera is to do, and when it takes care of itself."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, Field, model_validator

from device import plug
from device.settings_policy import Part


def _camera(source: str) -> str:
    if not re.fullmatch(r"[a-z][a-z0-9_]*(:[^\0]+)?", source):
        raise ValueError("expected a camera's name, or name:address, such as picamera2, v4l2:/dev/video0 or replay:clip.mkv")
    if source.partition(":")[0] not in (known := plug.names("device.cameras")):
        raise ValueError(f"expected a camera that there is: choose one of {', '.join(known)}")
    return source


class CameraSettings(Part):
    source: Annotated[str, AfterValidator(_camera)] = "picamera2"
    width: int = Field(640, ge=64, le=4096)
    height: int = Field(480, ge=64, le=4096)
    fps: float = Field(5.0, ge=0.5, le=30)
    fps_floor: float = Field(2.0, ge=0.5, le=30)
    timeout_seconds: float = Field(5.0, ge=0.5, le=60)
    fast: bool = False
    seed: int = Field(0, ge=0, lt=2**32)


class CareSettings(Part):
    warm_celsius: float = Field(70.0, ge=30, le=110)
    hot_celsius: float = Field(80.0, ge=31, le=120)
    memory_megabytes: int = Field(400, ge=64, le=65_536)

    @model_validator(mode="after")
    def _goes_together(self) -> CareSettings:
        if self.hot_celsius <= self.warm_celsius:
            raise ValueError("hot_celsius must be more than warm_celsius")
        return self
