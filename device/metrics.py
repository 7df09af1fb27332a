"""The device's health as Prometheus text, over HTTP on a Unix socket: ``curl --unix-socket metrics.sock http://localhost/metrics``.

Nothing listens on a network, and nothing here says more than the status that is published: coarse steps, and what waits in the
spool.
"""

from __future__ import annotations

import errno
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Thread
from typing import Any, Final, get_args

from device.contract import Health, Machine, Status, Trouble
from device.errors import OutputError
from device.version import VERSION

PATIENCE: Final = 2.0  # seconds for one who asks
PASSING: Final = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.ECONNABORTED)  # while others hold too much
LONGEST: Final = 4096  # bytes of a question
BACKLOG: Final = 4
TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"  # Prometheus' text format


def text(status: Status, *, connected: bool, delivered: int) -> str:
    """The metrics of a status, one family each.

    Args:
        status: As it would be published now.
        connected: Whether there is a connection to the broker.
        delivered: Reports that were stored elsewhere since this process began.
    """
    lines: list[str] = []

    def family(name: str, kind: str, about: str, *values: tuple[dict[str, str], float]) -> None:
        lines.extend((f"# HELP mien_{name} {about}", f"# TYPE mien_{name} {kind}"))
        for labels, value in values:
            marks = ",".join(f'{key}="{said}"' for key, said in labels.items())
            lines.append(f"mien_{name}{{{marks}}} {value:g}" if marks else f"mien_{name} {value:g}")

    def choice(name: str, about: str, label: str, among: tuple[Any, ...], chosen: str | None) -> None:
        family(name, "gauge", about, *(({label: str(one)}, float(one == chosen)) for one in among))

    family("build_info", "gauge", "Which software runs.", ({"version": VERSION}, 1))
    family("connected", "gauge", "Whether there is a connection to the broker.", ({}, connected))
    family("reports_delivered_total", "counter", "Reports stored elsewhere since this process began.", ({}, delivered))
    if (spool := status.spool) is not None:
        family("spool_waiting", "gauge", "Reports that wait to be sent.", ({}, spool.waiting))
        family("spool_dropped_total", "counter", "Reports lost to a full spool since it was made.", ({}, spool.dropped))
        family("spool_set_aside", "gauge", "Files in the spool that were no reports.", ({}, spool.set_aside))
    choice("health", "How the watching process is.", "health", get_args(Health), status.health)
    choice("trouble", "What is wrong with it.", "trouble", get_args(Trouble), status.trouble)
    if (machine := status.machine) is not None:
        for name, field in Machine.model_fields.items():
            value = getattr(machine, name)
            if isinstance(value, bool):
                family(f"machine_{name}", "gauge", "Told once an hour.", ({}, value))
            elif value is not None:
                choice(f"machine_{name}", "In coarse steps.", "step", _steps(field.annotation), value)
    return "\n".join(lines) + "\n"


def _steps(annotation: Any) -> tuple[str, ...]:
    """The words that a field may hold, of ``Literal[...]`` or ``Literal[...] | None``."""
    return tuple(one for part in get_args(annotation) for one in (get_args(part) or (part,)) if isinstance(one, str))


class Board:
    """What is said to whoever asks: ``said`` may be replaced at any time."""

    def __init__(self) -> None:
        self.said = ""


@contextmanager
def served(path: Path | None) -> Iterator[Board]:
    """Answer on a socket, in a thread, as long as the block lasts; with ``None``, nobody is answered.

    Raises:
        OutputError: The socket cannot be made there.
    """
    board = Board()
    if path is None:
        yield board
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.exists() and not path.is_socket() and not (path.is_file() and path.stat().st_size == 0):
                raise FileExistsError(errno.EEXIST, "there is a file that is no socket")
            path.unlink(missing_ok=True)
            before = os.umask(0o117)  # for this user and its group
            try:
                listening.bind(str(path))
            finally:
                os.umask(before)
        except OSError as error:
            raise OutputError(
                f"metrics_socket: {path} cannot be made ({error.strerror or error}); choose a folder that this user may write, and "
                "at most 100 characters"
            ) from error
        listening.listen(BACKLOG)
        Thread(target=_answer, args=(listening, board), daemon=True, name="metrics").start()
        try:
            yield board
        finally:
            path.unlink(missing_ok=True)
            with suppress(OSError):
                listening.shutdown(socket.SHUT_RDWR)


def _answer(listening: socket.socket, board: Board) -> None:
    while True:
        try:
            caller, _ = listening.accept()
        except OSError as error:
            if error.errno not in PASSING:
                return  # it was closed
            time.sleep(PATIENCE)
            continue
        with caller, suppress(OSError):
            caller.settimeout(PATIENCE)
            caller.sendall(reply(_question(caller), board.said))


def _question(caller: socket.socket) -> bytes:
    asked = b""
    while b"\r\n\r\n" not in asked and len(asked) < LONGEST and (more := caller.recv(LONGEST - len(asked))):
        asked += more
    return asked


def reply(question: bytes, said: str) -> bytes:
    """The answer to an HTTP request: what is said to ``GET /metrics`` (or ``/``), else 404 or 405."""
    method, _, rest = question.partition(b"\r\n")[0].partition(b" ")
    if method not in (b"GET", b"HEAD"):
        status, body = "405 Method Not Allowed", b""
    elif rest.partition(b" ")[0].partition(b"?")[0] not in (b"/", b"/metrics"):
        status, body = "404 Not Found", b""
    else:
        status, body = "200 OK", said.encode()
    head = f"HTTP/1.0 {status}\r\nContent-Type: {TYPE}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode()
    return head if method == b"HEAD" else head + body
