"""What the fleet has signed, by The Update Framework (TUF 1.0, python-tuf): the only module that decides whom to trust with models.

The sending process uses it to download, the watching process to verify again what was downloaded, each with its own memory of what
it has seen, which no older metadata gets past. Root, timestamp, snapshot and targets are checked by python-tuf's own client, in the
order and with the rules of the specification, section 5.
"""

from __future__ import annotations

import hashlib
import os
import re
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NoReturn
from urllib.parse import urlsplit

from pydantic import ValidationError
from tuf.api import exceptions
from tuf.api.exceptions import DownloadHTTPError, RepositoryError
from tuf.api.metadata import Metadata, TargetFile, Timestamp

from device import durable
from device.contract_model import MAX_MODEL_BYTES, MAX_VECTORS_BYTES, ModelJob, Reason, Release
from device.rollout import RolloutError


@contextmanager
def _no_probe() -> Iterator[None]:
    """urllib3, which python-tuf brings along and nobody here uses, would open an internet socket as it is imported."""
    had, socket.has_ipv6 = socket.has_ipv6, False
    try:
        yield
    finally:
        socket.has_ipv6 = had


with _no_probe():
    from tuf.ngclient import FetcherInterface, Updater, UpdaterConfig

MAX_METADATA_BYTES: Final = 512 * 1024
METADATA: Final = re.compile(r"(?:(?P<version>[0-9]{1,9})\.)?(?P<role>root|timestamp|snapshot|targets)\.json")
REASONS: Final[tuple[tuple[type[RepositoryError], Reason], ...]] = (
    (exceptions.ExpiredMetadataError, "expired"),
    (exceptions.BadVersionNumberError, "older"),
    (exceptions.UnsignedMetadataError, "signature"),
    (exceptions.LengthOrHashMismatchError, "hash"),
    (RepositoryError, "invalid"),
)

Fetch = Callable[[str, int], bytes | None]
"""Gets a metadata file, by name such as ``3.snapshot.json``, of so many bytes at most; ``None`` when there is none."""


@dataclass(frozen=True, slots=True)
class Signed:
    """A file as it was signed; ``path`` is where it lies below ``targets/``, and its own name in a folder."""

    path: str
    length: int
    sha256: str

    def check(self, content: bytes) -> bytes:
        """The same bytes. Raises RolloutError (``hash``) when they are others."""
        if len(content) != self.length or hashlib.sha256(content).hexdigest() != self.sha256:
            raise RolloutError("hash", f"{self.path}: {len(content)} bytes that are not those that were signed")
        return content


@dataclass(frozen=True, slots=True)
class Found:
    """A release, and the files that belong to it."""

    release: Release
    model: Signed
    vectors: Signed


def find(job: ModelJob, root: bytes, cache: Path, fetch: Fetch) -> Found:
    """Bring the metadata up to date, and look up what the job names.

    Args:
        job: Names the target, and the oldest timestamp that is good enough.
        root: The root metadata that this device trusts; what was remembered under another one, of which this is no heir, counts
            no more.
        cache: Where what was verified is remembered; it lies there as ``timestamp.json`` and so on.
        fetch: Where metadata comes from. What it raises goes through.

    Raises:
        RolloutError: With the reason, as for the fleet.
        OSError: The cache cannot be written.
    """
    durable.make_folder(cache)
    _forget_another(cache, root)
    config = UpdaterConfig(
        root_max_length=MAX_METADATA_BYTES, snapshot_max_length=MAX_METADATA_BYTES, targets_max_length=MAX_METADATA_BYTES
    )
    try:
        updater = Updater(str(cache), "https://repository/metadata/", fetcher=_Fetcher(fetch), config=config, bootstrap=root)
    except RepositoryError as error:
        raise RolloutError(
            "no_root", f"no root of trust for models ({error}); install the fleet's models-root.json as models.root_file"
        ) from None
    try:
        updater.refresh()
        _make_durable(cache)
        seen = Metadata[Timestamp].from_bytes((cache / "timestamp.json").read_bytes()).signed.version
        if seen < job.timestamp:
            raise RolloutError("older", f"timestamp.json has version {seen} and the job wants {job.timestamp}: a stale mirror?")
        return _found(updater, job)
    except RepositoryError as error:
        _refuse(error)
    except DownloadHTTPError as error:
        raise RolloutError("not_found", f"a metadata file is missing ({error})") from None


def _found(updater: Updater, job: ModelJob) -> Found:
    model = _target(updater, job.target, MAX_MODEL_BYTES)
    try:
        release = Release.model_validate_json((model.custom or {}).get("mien", ""))
    except (ValidationError, AttributeError, TypeError):
        raise RolloutError(
            "invalid", f"{job.target}: what is signed with it is no release that this version of mien knows"
        ) from None
    if release.entry.sha256 != model.hashes.get("sha256"):
        raise RolloutError("invalid", f"{job.target}: its release is about another file")
    return Found(release, _signed(model), _signed(_target(updater, release.vectors, MAX_VECTORS_BYTES)))


def _target(updater: Updater, name: str, limit: int) -> TargetFile:
    target = updater.get_targetinfo(name)
    if target is None:
        raise RolloutError("not_found", f"{name}: nothing of that name is signed")
    if target.length > limit:
        raise RolloutError("too_large", f"{name}: {target.length} bytes; {limit} at most")
    return target


def _signed(target: TargetFile) -> Signed:
    if not re.fullmatch("[0-9a-f]{64}", sha256 := target.hashes.get("sha256", "")):
        raise RolloutError("invalid", f"{target.path}: signed without its SHA-256")
    return Signed(f"{sha256}.{target.path}", target.length, sha256)


def _forget_another(cache: Path, root: bytes) -> None:
    """Remove what was seen under a root that this device does not trust any more: its heirs, and what they have signed."""
    history = sorted(cache.glob("root_history/*.json"))
    if not history or any(path.read_bytes() == root for path in history):
        return
    for name in ("timestamp.json", "snapshot.json", "targets.json"):
        (cache / name).unlink(missing_ok=True)
    for path in history:  # last, so that whoever is interrupted begins again
        path.unlink()


def staged_metadata(folder: Path) -> Fetch:
    """Metadata that another process's ``find`` has left in its cache, which is not trusted: regular files, and no large ones."""

    def fetch(name: str, limit: int) -> bytes | None:
        found = METADATA.fullmatch(name)
        if found is None:
            return None
        rotated = found["role"] == "root"
        try:
            return durable.read_regular(
                folder / ("root_history" if rotated else "") / (name if rotated else f"{found['role']}.json"), limit
            )
        except OSError as error:
            raise RolloutError("invalid", f"{folder}: {name} cannot be read ({error.strerror})") from None

    return fetch


class _Fetcher(FetcherInterface):
    """The port of python-tuf, without its temporary files."""

    def __init__(self, fetch: Fetch) -> None:
        self._get = fetch

    def download_bytes(self, url: str, max_length: int) -> bytes:
        name = urlsplit(url).path.rpartition("/")[2]
        content = self._get(name, max_length)
        if content is None:
            raise DownloadHTTPError(f"no {name}", 404)
        if len(content) > max_length:
            raise RolloutError("too_large", f"{name}: more than the {max_length} bytes that are allowed")
        return content

    def _fetch(self, url: str) -> Iterator[bytes]:
        yield self.download_bytes(url, MAX_METADATA_BYTES)


def _refuse(error: RepositoryError) -> NoReturn:
    reason = next(reason for kind, reason in REASONS if isinstance(error, kind))
    raise RolloutError(reason, f"the metadata of the models is not to be trusted: {error}") from None


def _make_durable(cache: Path) -> None:
    """python-tuf renames whole files into place and leaves it to the kernel when they reach the disk."""
    for path in (*cache.glob("*.json"), *cache.glob("root_history/*.json")):
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
    for stale in cache.glob("tmp*"):  # left by a process that was killed
        stale.unlink()
    for folder in (cache / "root_history", cache):
        durable.sync_folder(folder)
