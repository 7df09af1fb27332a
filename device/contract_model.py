"""Model rollout: a job comes down, its state goes up. Shared by device and fleet.

    mien/v1/{device}/down/model   fleet → device, retained   which model to install, and where it is
    mien/v1/{device}/up/model     device → fleet, retained   how far that is

The model itself comes from any web server, as a target of The Update Framework (TUF): its signed metadata says how long it is, what
it hashes to, and, under ``custom``, what a ``Release`` says (as a string of JSON: signed metadata has no fractions). Beside it lie
its test vectors, another target. The states, and what leads from one to the next, are a table in ``device/rollout.py``.
"""

from __future__ import annotations

import base64
import binascii
import math
import zlib
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Final, Literal, get_args

from pydantic import BaseModel, Field, model_validator

from device.contract import Down, Up, Utc
from device.contract_manifest import Entry

if TYPE_CHECKING:  # for arrays alone: what only passes jobs on starts without it
    import numpy as np
    import numpy.typing as npt

MAX_MODEL_BYTES: Final = 64 * 2**20
MAX_VECTORS_BYTES: Final = 4 * 2**20  # of the file, and of each array in it
ENDORSED: Final = "models-root.json"  # beside the metadata of the repository
MAX_ENDORSED_BYTES: Final = 64 * 1024

JobId = Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]
ModelName = Literal["emotion", "face", "face-back", "face-short"]
MODEL_NAMES: Final[tuple[ModelName, ...]] = get_args(ModelName)
TargetName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")]
Url = Annotated[str, Field(pattern=r"^https?://[!-~]{1,300}$")]

State = Literal["queued", "downloading", "verifying", "trial", "committed", "rolled_back", "rejected"]
FINAL: Final[frozenset[State]] = frozenset({"committed", "rolled_back", "rejected"})

Reason = Literal[
    "invalid",  # what came is not a job, not a release or not test vectors of this contract
    "no_root",  # this device has no root of trust for models
    "policy",  # the policy in force does not permit this model
    "unreachable",  # no answer from the web server in the job's time
    "not_found",  # the web server has no such file, or the signed metadata no such target
    "too_large",  # longer than what was signed, or than any model may be
    "disk_full",
    "expired",  # metadata: signed too long ago, by this device's clock, which is set
    "older",  # metadata: older than what this device has seen (a rollback), or than what the job asks for (a freeze)
    "signature",  # metadata: not signed by enough of the keys that are trusted
    "hash",  # a file is not the one that was signed
    "runtime",  # the runtime cannot run the model: damaged, or an operator or a version of one that it lacks
    "shape",  # other inputs or outputs than this version of mien works with
    "vectors",  # other results than the model had where it was made
    "slow",  # takes longer than the job allows
    "error",  # failed during the trial
    "crashed",  # the watching process did not survive it
    "timeout",
    "damaged",  # was committed, and its file is not whole any more: the packaged model is back
    "withdrawn",  # by the fleet
]


class Trial(Down):
    """What a model must get through before it is committed."""

    seconds: int = Field(600, ge=0, le=86_400, description="Of watching without an error; at least one whole window.")
    slowest_ms: int = Field(500, ge=1, le=60_000, description="For one pass through the model: the mean, with preparation.")


class ModelJob(Down):
    """Retained at ``down/model``: install this model. Sent again it changes nothing."""

    job: JobId
    action: Literal["install", "withdraw"] = Field(
        "install", description="withdraw: be as before this job, however far it is. Nothing, where another job came after it."
    )
    target: TargetName = Field(description="Of the model in the repository, such as emotion-0123abcd.tflite.")
    url: Url = Field(description="Of the repository; metadata/ and targets/ are below it.")
    timestamp: int = Field(1, ge=1, le=2**53, description="Version of the repository's timestamp; an older one is refused.")
    spread_seconds: int = Field(0, ge=0, le=86_400, description="Downloads begin at a random moment in so many seconds.")
    timeout_seconds: int = Field(3600, ge=10, le=7 * 86_400, description="For the download, and again for all that follows.")
    trial: Trial = Trial()


class ModelState(Up):
    """Retained at ``up/model``: how far the newest job is."""

    schema_: Literal[1] = Field(1, alias="schema")
    job: JobId
    state: State
    reason: Reason | None = Field(None, description="Why rejected or rolled back; or why it does not go on, for now.")
    milliseconds: float | None = Field(
        None, ge=0, description="For one pass, median over the test vectors: pictures of nobody, so it says nothing about a scene."
    )

    @model_validator(mode="after")
    def _says_why(self) -> ModelState:
        if self.state in ("rolled_back", "rejected") and self.reason is None:
            raise ValueError(f"{self.state} needs a reason")
        return self


class Release(Down):
    """What is signed with a model: under ``mien`` in the target's ``custom``."""

    model: ModelName
    entry: Entry = Field(
        description="As in manifest.json: hash, operating points, confusion matrix. Closed: it decides on readings."
    )
    vectors: TargetName
    card: TargetName


MODEL_MESSAGES: Final[dict[str, type[BaseModel]]] = {"down/model": ModelJob, "up/model": ModelState}


class EndorsedRoot(Down):
    """``metadata/models-root.json``: for a device on which nobody has installed a root of trust for models."""

    schema_: Literal[1] = Field(1, alias="schema")
    generation: int = Field(ge=0, le=2**53, description="Greater than that of every root which this one has not been signed by.")
    version: int = Field(ge=1, le=2**31, description="Of the root.")
    expires: Utc = Field(description="After this nobody begins to trust it; who does already goes on.")
    root: str = Field(description="Root metadata, as it is in the repository.")
    signer: str = Field(description="The certificate, PEM, of the issuing authority, which the fleet's root has signed.")
    signature: str = Field(pattern=r"^[0-9a-f]{16,160}$", description="Its ECDSA with SHA-256 over ``endorsed_bytes``, DER, hex.")

    @property
    def order(self) -> tuple[int, int, datetime]:
        """Which of two is newer."""
        return self.generation, self.version, self.expires


def endorsed_bytes(root: bytes, order: tuple[int, int, datetime]) -> bytes:
    """What the authority signs: nothing else that it signs begins like this."""
    generation, version, expires = order
    return f"mien models root\n{generation} {version} {int(expires.timestamp())}\n".encode() + root


class Array(Down):
    """An array: its shape, and its numbers (little-endian), compressed by zlib, in base64."""

    shape: tuple[Annotated[int, Field(ge=1, le=2**20)], ...] = Field(min_length=1, max_length=4)
    dtype: Literal["uint8", "float32"]
    data: str

    def numbers(self) -> npt.NDArray[np.uint8] | npt.NDArray[np.float32]:
        """The array.

        Raises:
            ValueError: It is larger than ``MAX_VECTORS_BYTES``, or the data does not fit the shape.
        """
        import numpy as np

        dtype = np.dtype(self.dtype).newbyteorder("<")
        size = math.prod(self.shape) * dtype.itemsize
        if size > MAX_VECTORS_BYTES:
            raise ValueError(f"an array of {size} bytes; expected {MAX_VECTORS_BYTES} at most")
        try:
            plain = zlib.decompressobj().decompress(base64.b64decode(self.data, validate=True), size + 1)
        except (binascii.Error, zlib.error) as error:
            raise ValueError(f"the data of an array: {error}") from None
        if len(plain) != size:
            raise ValueError(f"the data of an array is not the {size} bytes of its shape")
        return np.frombuffer(plain, dtype).reshape(self.shape)

    @classmethod
    def of(cls, numbers: npt.NDArray[np.uint8] | npt.NDArray[np.float32]) -> Array:
        import numpy as np

        dtype: Literal["uint8", "float32"] = "uint8" if numbers.dtype == np.uint8 else "float32"
        plain = np.ascontiguousarray(numbers, np.dtype(dtype).newbyteorder("<")).tobytes()
        return cls(shape=numbers.shape, dtype=dtype, data=base64.b64encode(zlib.compress(plain, 9)).decode())


class Vectors(Down):
    """Test vectors: pictures, and what the model makes of them where it was made."""

    schema_: Literal[1] = Field(1, alias="schema")
    pictures: Array = Field(description="uint8[N, height, width, channels], as large as the model's input.")
    outputs: tuple[Array, ...] = Field(min_length=1, max_length=4, description="float32[N, …], dequantized, for each output.")
    tolerance: tuple[Annotated[float, Field(gt=0, le=1e6)], ...] = Field(description="Largest difference, for each output.")

    @model_validator(mode="after")
    def _fits(self) -> Vectors:
        count = self.pictures.shape[0]
        if self.pictures.dtype != "uint8" or len(self.pictures.shape) != 4 or not 1 <= count <= 64:
            raise ValueError("pictures: expected uint8[N, height, width, channels], 64 at most")
        if len(self.tolerance) != len(self.outputs) or any(one.dtype != "float32" or one.shape[0] != count for one in self.outputs):
            raise ValueError("outputs: expected float32[N, …] with a tolerance for each")
        return self
