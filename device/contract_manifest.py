"""What a model comes with: its hash, where it is from, and how its numbers are to be read. Shared by device and fleet."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

PointName = Literal["single", "count"]
FileName = Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]+\.tflite$")]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Point(BaseModel):
    """How logits become a reading: ``softmax(logits / temperature + offsets)``, and unknown where its highest value is too low."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    temperature: Annotated[float, Field(gt=0)] = 1.0
    offsets: Annotated[tuple[Annotated[float, Field(ge=-20, le=20)], ...], Field(min_length=8, max_length=8)] = (0.0,) * 8
    unknown_below: Annotated[float, Field(ge=0, le=1)] = 0.4


class Points(BaseModel):
    """Two ways of reading one network, chosen by ``models.calibrate``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    single: Point  # the best guess about one face
    count: Point  # what the device counts with, so that the shares of many faces come out right


class Shapes(BaseModel):
    """Of a model's tensors, in order."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    inputs: tuple[tuple[int, ...], ...]
    outputs: tuple[tuple[int, ...], ...]


class Numbers(BaseModel):
    """How the numbers of one tensor are held: ``real = scale · (stored - zero_point)``; a scale of 0: as they are."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    dtype: str
    scale: Annotated[float, Field(ge=0)] = 0.0
    zero_point: int = 0


class Quantization(BaseModel):
    """How the numbers of a model's tensors are held, and how most of its weights are."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    inputs: tuple[Numbers, ...]
    outputs: tuple[Numbers, ...]
    weights: str  # for example "int8 per channel"


class Exported(BaseModel):
    """What int8 has cost: accuracy on held-out rows before and after, as ``models.export`` measured it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    rows: Annotated[int, Field(ge=1)]
    accuracy_float: Annotated[float, Field(ge=0, le=1)]
    accuracy_int8: Annotated[float, Field(ge=0, le=1)]


class Form(BaseModel):
    """One file of a model: the same network with its numbers held in one way."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    file: FileName
    sha256: Sha256
    shapes: Shapes | None = None
    quantization: Quantization | None = None


class Entry(BaseModel):
    """One model: its file, its hash, where it comes from, and how sure it may be.

    ``models.release`` reads shapes and quantization from the file. They are for people and other programs: what the device accepts
    stands in ``device.nets``.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    file: FileName
    sha256: Sha256
    source: str
    licence: str
    form: str | None = None  # which of the forms that file is
    forms: dict[str, Form] = {}
    shapes: Shapes | None = None
    quantization: Quantization | None = None
    exported: Exported | None = None
    temperature: Annotated[float, Field(gt=0)] = 1.0
    points: Points | None = None
    confusion: tuple[tuple[Annotated[int, Field(ge=0)], ...], ...] | None = None  # at point count: rows true, last column unknown

    def point(self, name: PointName) -> Point:
        """An operating point; without any, the plain probabilities at this temperature."""
        return Point(temperature=self.temperature) if self.points is None else getattr(self.points, name)


class Models(BaseModel):
    """The whole manifest."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_: Annotated[int, Field(alias="schema", ge=1, le=1)] = 1
    models: dict[str, Entry]
