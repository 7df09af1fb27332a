"""Get a model and what is signed about it from a web server: bounded, resumable, and checked before it is handed on.

Plain HTTP/1.1, no redirects, no proxies: what comes is trusted for its signatures alone (``device/trust.py``), so ``http://`` is as
good as ``https://``, but for who may watch. A download that was cut goes on where it stopped, also in another process.
"""

from __future__ import annotations

import hashlib
import os
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from device import durable, trust
from device.contract_model import ModelJob
from device.rollout import RolloutError, Stopped
from device.trust import Fetch, Signed
from device.version import VERSION

IO_SECONDS: Final = 10.0  # for the connection, and for each piece of an answer
CHUNK: Final = 64 * 1024
MISSING: Final = (HTTPStatus.NOT_FOUND, HTTPStatus.FORBIDDEN, HTTPStatus.GONE)


def download(
    job: ModelJob, root: Callable[[Path, Fetch], bytes], staging: Path, tls: ssl.SSLContext, stopping: Callable[[], bool]
) -> None:
    """Bring everything that a job needs into the staging folder: ``metadata/`` and ``targets/``.

    Args:
        job: What is wanted, and where it is.
        root: Whom to trust: given the folder of the metadata, and how more of it is fetched.
        staging: The folder; what an earlier attempt has left in it is used.
        tls: Which web servers to believe, for ``https://``.
        stopping: Asked between two pieces.

    Raises:
        RolloutError: With the reason, as for the fleet; ``unreachable`` may pass by itself.
        Stopped: It was told to stop.
    """
    web = _Web(job.url.rstrip("/"), tls, stopping)
    try:
        metadata = staging / "metadata"
        found = trust.find(job, root(metadata, web.metadata), metadata, web.metadata)
        targets = staging / "targets"
        durable.make_folder(targets)
        wanted = (found.vectors, found.model)
        for path in targets.iterdir():
            if path.name.removesuffix(".part") not in {one.path for one in wanted}:
                path.unlink()
        for one in wanted:
            web.target(one, targets)
        durable.sync_folder(targets)
    except OSError as error:
        full = durable.is_full(error)
        raise RolloutError("disk_full" if full else "unreachable", f"{error.filename or staging}: {error.strerror}") from None


class _Web:
    """A repository on a web server."""

    def __init__(self, url: str, tls: ssl.SSLContext, stopping: Callable[[], bool]) -> None:
        self._url, self._tls, self._stopping = url, tls, stopping

    def metadata(self, name: str, limit: int) -> bytes | None:
        """A metadata file; one byte more than ``limit`` where there are more."""
        content = b""
        with self._get(f"metadata/{name}", 0) as answer:
            if answer.status in MISSING:
                return None
            self._expect(answer, name, HTTPStatus.OK)
            for piece in self._pieces(answer, name):
                content += piece
                if len(content) > limit:
                    return content[: limit + 1]
        return content

    def target(self, signed: Signed, folder: Path) -> None:
        """A target, of which there may be a part already."""
        final, part = folder / signed.path, folder / f"{signed.path}.part"
        if _is(final, signed):
            return
        have = part.stat().st_size if part.exists() else 0
        if have > signed.length:
            part.unlink()
            have = 0
        if have < signed.length:
            self._rest(signed, part, have)
        if not _is(part, signed):
            part.unlink()
            raise RolloutError("hash", f"{signed.path}: what the web server gave is not what was signed")
        part.replace(final)

    def _rest(self, signed: Signed, part: Path, have: int) -> None:
        with self._get(f"targets/{signed.path}", have) as answer:
            if answer.status in MISSING:
                raise RolloutError("not_found", f"{self._url}/targets/{signed.path}: not there ({answer.status})")
            self._expect(answer, signed.path, HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT)
            goes_on = answer.status == HTTPStatus.PARTIAL_CONTENT
            if goes_on and not (answer.headers.get("Content-Range") or "").startswith(f"bytes {have}-"):
                part.unlink(missing_ok=True)
                raise RolloutError("unreachable", f"{signed.path}: the web server gave another part than was asked for")
            have = have if goes_on else 0
            with open(part, "ab" if goes_on else "wb") as file:
                for piece in self._pieces(answer, signed.path):
                    have += len(piece)
                    if have > signed.length:
                        raise RolloutError("too_large", f"{signed.path}: more than the {signed.length} bytes that were signed")
                    file.write(piece)
                file.flush()
                os.fsync(file.fileno())
        if have < signed.length:
            raise RolloutError("unreachable", f"{signed.path}: cut after {have} of {signed.length} bytes")

    @contextmanager
    def _get(self, path: str, start: int) -> Iterator[HTTPResponse]:
        try:
            parts = urlsplit(f"{self._url}/{path}")
            port, host = parts.port, parts.hostname or ""
        except ValueError:
            raise RolloutError("invalid", f"{self._url}: not a URL") from None
        if parts.scheme == "https":
            connection: HTTPConnection = HTTPSConnection(host, port, timeout=IO_SECONDS, context=self._tls)
        else:
            connection = HTTPConnection(host, port, timeout=IO_SECONDS)
        headers = {"User-Agent": f"mien/{VERSION}", "Accept-Encoding": "identity"}
        if start:
            headers["Range"] = f"bytes={start}-"
        try:
            try:
                connection.request("GET", parts.path, headers=headers)
                answer = connection.getresponse()
            except (OSError, HTTPException, UnicodeError) as error:
                raise RolloutError(
                    "unreachable", f"{self._url}: no answer ({_why(error)}); check the url and the web server"
                ) from None
            with answer:  # else its socket stays open
                yield answer
        finally:
            connection.close()

    def _pieces(self, answer: HTTPResponse, name: str) -> Iterator[bytes]:
        while True:
            if self._stopping():
                raise Stopped
            try:
                piece = answer.read1(CHUNK)
            except (OSError, HTTPException, ValueError) as error:
                raise RolloutError("unreachable", f"{self._url}: {name} was cut ({_why(error)})") from None
            if not piece:
                return
            yield piece

    def _expect(self, answer: HTTPResponse, name: str, *codes: HTTPStatus) -> None:
        if answer.status not in codes:
            raise RolloutError(
                "unreachable", f"{self._url}: {name}: the web server says {answer.status}; redirects are not followed"
            )


def _is(path: Path, signed: Signed) -> bool:
    """Whether a file is what was signed."""
    if not path.is_file() or path.stat().st_size != signed.length:
        return False
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(CHUNK):
            digest.update(piece)
    return digest.hexdigest() == signed.sha256


def _why(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or str(error) or type(error).__name__)
