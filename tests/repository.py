"""A fleet's repository of models for tests: really signed, and served by a real web server that can be told to misbehave."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from device.contract_manifest import Entry
from device.contract_model import ModelJob, Release, Trial, Vectors
from device.manifest import read_manifest
from device.tflite import ModelFile
from models.vectors import make
from provisioning.publish import Repository

PASSPHRASE = b"only for this test"
PACKAGED = read_manifest()
EMOTION = PACKAGED.file("emotion")
JOB = "0123456789abcdef"


@dataclass
class Now:
    """A clock that a test sets, UTC."""

    at: dt.datetime = field(default_factory=lambda: dt.datetime.now(dt.timezone.utc).replace(microsecond=0))

    def __call__(self) -> dt.datetime:
        return self.at

    def move(self, days: float) -> None:
        self.at += dt.timedelta(days=days)


def another(number: int = 1) -> bytes:
    """The packaged emotion model as another file: what follows a flatbuffer means nothing."""
    return EMOTION.path.read_bytes() + bytes([number] * 16)


_VECTORS: dict[str, Vectors] = {}


def vectors_of(file: ModelFile = EMOTION) -> Vectors:
    """The test vectors of a packaged emotion model; made once."""
    if file.sha256 not in _VECTORS:
        _VECTORS[file.sha256] = make(file, "emotion")
    return _VECTORS[file.sha256]


def release_of(content: bytes, entry: Entry | None = None, **other: Any) -> Release:
    sha256 = hashlib.sha256(content).hexdigest()
    stem = f"emotion-{sha256[:8]}"
    made = (entry or PACKAGED["emotion"]).model_copy(update={"sha256": sha256, "file": f"{stem}.tflite"})
    return Release(**{"model": "emotion", "entry": made, "vectors": f"{stem}.vectors.json", "card": f"{stem}.md", **other})


@dataclass
class Shop:
    """A fleet's repository, and what a device needs to use it."""

    fleet: Path
    now: Now = field(default_factory=Now)

    def __post_init__(self) -> None:
        self.fleet.mkdir(parents=True, exist_ok=True)
        self.repository = Repository(self.fleet, self.now)
        self.repository.create(PASSPHRASE)
        self.timestamp = self.repository.timestamp()

    @property
    def root(self) -> bytes:
        return (self.fleet / "models-root.json").read_bytes()

    @property
    def served(self) -> Path:
        return self.fleet / "models" / "repository"

    def publish(self, content: bytes | None = None, vectors: bytes | None = None, **other: Any) -> str:
        content = another() if content is None else content
        said = vectors_of().model_dump_json(by_alias=True).encode() if vectors is None else vectors
        target = self.repository.publish(PASSPHRASE, content, release_of(content, **other), said, b"# card\n")
        self.timestamp = self.repository.timestamp()
        return target

    def job(self, target: str, url: str = "http://127.0.0.1:1", job: str = JOB, **other: Any) -> ModelJob:
        said = {"job": job, "target": target, "url": url, "timestamp": self.timestamp, "trial": Trial(seconds=0)}
        return ModelJob(**{**said, **other})

    def stage(self, inbox: Path, job: ModelJob) -> None:
        """Everything in the inbox, as the sending process leaves it."""
        metadata, targets = inbox / "model" / "metadata", inbox / "model" / "targets"
        for folder in (metadata / "root_history", targets):
            folder.mkdir(parents=True, exist_ok=True)
        timestamp = json.loads((self.served / "metadata" / "timestamp.json").read_text())
        snapshot = f"{timestamp['signed']['meta']['snapshot.json']['version']}.snapshot.json"
        content = (self.served / "metadata" / snapshot).read_bytes()
        newest = f"{json.loads(content)['signed']['meta']['targets.json']['version']}.targets.json"
        (metadata / "timestamp.json").write_text(json.dumps(timestamp))
        (metadata / "snapshot.json").write_bytes(content)
        (metadata / "targets.json").write_bytes((self.served / "metadata" / newest).read_bytes())
        for path in (self.served / "metadata").glob("*.root.json"):
            (metadata / "root_history" / path.name).write_bytes(path.read_bytes())
        for path in (self.served / "targets").iterdir():
            (targets / path.name).write_bytes(path.read_bytes())
        self.leave(inbox, job)

    def leave(self, inbox: Path, job: ModelJob) -> None:
        inbox.mkdir(parents=True, exist_ok=True)
        (inbox / "model.json").write_text(job.model_dump_json())


@dataclass
class Web:
    """A web server over a folder.

    Attributes:
        cut: Bytes of a target's body after which the connection is cut, once per number.
        endless: Send a target again and again for ever.
        status: Answer everything below ``targets/`` with this instead.
        ranges: Whether parts can be asked for.
        asked: Path and ``Range`` of every request.
    """

    folder: Path
    url: str = ""
    cut: list[int] = field(default_factory=list)
    endless: bool = False
    status: int = 0
    ranges: bool = True
    asked: list[tuple[str, str | None]] = field(default_factory=list)
    hang: threading.Event | None = None

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        wanted = request.headers.get("Range")
        self.asked.append((request.path, wanted))
        path = self.folder / request.path.lstrip("/")
        target = request.path.startswith("/targets/") and request.path.endswith(".tflite")
        if not path.is_file() or (target and self.status):
            request.send_error(self.status or 404)
            return
        content, start = path.read_bytes(), 0
        if wanted and self.ranges:
            start = int(wanted.removeprefix("bytes=").rstrip("-"))
            request.send_response(206)
            request.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        else:
            request.send_response(200)
        body = content[start:]
        if not (self.endless and target):
            request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        if target and self.cut:
            request.wfile.write(body[: self.cut.pop(0)])
            if self.hang is not None:
                request.wfile.flush()
                self.hang.wait(30)
            return
        request.wfile.write(body)
        while self.endless and target:
            request.wfile.write(content)


@contextmanager
def serve(folder: Path) -> Iterator[Web]:
    """The folder on a free port of this machine."""
    web = Web(folder)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            try:
                web.answer(self)
            except OSError:
                self.close_connection = True  # the client has had enough

        def log_message(self, *_: Any) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    web.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield web
    finally:
        if web.hang is not None:
            web.hang.set()
        server.shutdown()
        thread.join()
        server.server_close()
