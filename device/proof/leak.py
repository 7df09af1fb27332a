"""A program that leaks a picture on purpose: the tracer must find it, or it would prove nothing.

``python -m device.proof.leak WAY FILE``: takes the canary from a file and lets it out by ``write``, ``send`` or ``map``.
"""

from __future__ import annotations

import mmap
import os
import socket
import sys
from pathlib import Path

from device import process


def main(way: str, file: str) -> None:
    """Leak, with the protections of the real processes in force."""
    process.protect(pixels=True)
    content = Path(file).read_bytes()
    leaked = Path(file + ".leaked")
    if way == "write":
        leaked.write_bytes(content)
    elif way == "send":
        ours, theirs = socket.socketpair()
        with ours, theirs:
            for at in range(0, len(content), 4096):
                ours.send(content[at : at + 4096])
                theirs.recv(4096, socket.MSG_WAITALL)
    else:
        with leaked.open("w+b") as out:
            os.truncate(leaked, len(content))
            with mmap.mmap(out.fileno(), len(content)) as mapped:
                mapped[:] = content


if __name__ == "__main__":
    main(*sys.argv[1:3])
