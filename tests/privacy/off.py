"""What ``switched_off.py`` has many of."""

from __future__ import annotations

from typing import NamedTuple


class Off(NamedTuple):
    """One protection.

    Attributes:
        what: It, in words, as docs/proof.md has it.
        file: Where it is.
        line: What of it is taken out.
        instead: What stands there then.
        test: Which test then fails, below ``tests/``.
    """

    what: str
    file: str
    line: str
    instead: str
    test: str
