"""Bytes that are no message of any contract."""

from __future__ import annotations

HOSTILE = {
    "empty": b"",
    "not JSON": b"{",
    "no object": b"[]",
    "not UTF-8": b'{"serial": "\xff\xfe"}',
    "10,000 deep": b"[" * 10_000 + b"]" * 10_000,
    "4 KiB deep": b'{"a":' * 800,
    "1 MB": b'{"serial": "' + b"a" * 1_000_000 + b'"}',
    "a lone surrogate": b'{"serial": "\\ud800"}',
    "huge number": b'{"schema": ' + b"9" * 4000 + b"}",
}
