"""mien next to what people would pick instead: accuracy, time, size and memory, measured side by side in one run.

    python -m models.peers [--data DIR | FILE.npz] [--folder build/.peers] [--rounds 30] [--json]

The peers are installed into the folder first. Exit code 0: all were measured; 2: something was left out, and a line says why.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NoReturn

from rich.console import Console

from device.errors import MienError
from models.data import DataError, Rows
from models.peers.bench import load_rows, measure
from models.peers.catalogue import CONTESTANTS, Contestant, Scratch
from models.peers.install import install
from models.peers.port import ROOT, PeerError
from models.peers.processor import processor
from models.peers.table import show

WIDTH: Final = 132  # of the table where the terminal's is not known


class Parser(argparse.ArgumentParser):
    """Wrong words end with one line, like any other bad input."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"bench-peers: {message}; see {self.prog} --help\n")


def parser() -> argparse.ArgumentParser:
    """The command line."""
    words = Parser(prog="python -m models.peers", description=(__doc__ or "").splitlines()[0])
    words.add_argument(
        "--data",
        type=Path,
        default=ROOT.parent / "shared/data",
        metavar="PATH",
        help="FER+ rows: a folder with ferplus-valid.npz, or a file",
    )
    words.add_argument("--folder", type=Path, default=ROOT / "build/.peers", metavar="DIR", help="where the peers are installed")
    words.add_argument("--rounds", type=int, default=30, help="of timing, 16 faces and one frame each (default: 30)")
    words.add_argument("--json", action="store_true", help="one line of JSON instead of a table")
    return words


def installed(scratch: Scratch) -> tuple[list[Contestant], list[str]]:
    """Those contestants that can be installed, and the reasons why others cannot."""
    failed: dict[str, str] = {}
    for needs in dict.fromkeys(contestant.needs for contestant in CONTESTANTS):
        try:
            install(scratch, needs)
        except PeerError as error:
            failed[needs] = str(error)
    absent = {needs: dict.fromkeys(c.name for c in CONTESTANTS if c.needs == needs) for needs in failed}
    return [c for c in CONTESTANTS if c.needs not in failed], [f"{' and '.join(absent[n])}: {why}" for n, why in failed.items()]


def main(words: Sequence[str] | None = None) -> int:
    """Measure and print; returns the exit code."""
    args = parser().parse_args(words)
    if args.rounds < 1:
        parser().error("--rounds is 1 or more")
    missing: list[str] = []
    rows: Rows | None = None
    try:
        rows = load_rows(args.data)
    except DataError as error:
        missing.append(f"accuracy: {error}")
    scratch = Scratch(args.folder.resolve())
    try:
        ready, reasons = installed(scratch)
        figures, failures = measure(ready, scratch, rows, args.rounds)
    except (DataError, MienError, PeerError) as error:
        print(f"bench-peers: {error}", file=sys.stderr)
        return 2
    except OSError as error:  # a full disk, for one
        print(f"bench-peers: {error.filename or scratch.folder}: {error.strerror}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("bench-peers: stopped", file=sys.stderr)
        return 130
    missing += reasons + failures
    results: dict[str, Any] = {
        "n": len(rows) if rows else 0,
        "rounds": args.rounds,
        "processor": processor(),
        "contestants": figures,
        "not_measured": missing,
    }
    if args.json:
        print(json.dumps(results))
    else:
        show(results, Console(width=None if sys.stdout.isatty() else WIDTH))
    for reason in missing if args.json else ():
        print(f"bench-peers: not measured: {reason}", file=sys.stderr)
    return 2 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
