"""Where the ``mien`` command begins: Ctrl-C during the imports ends it without a word."""

from __future__ import annotations

import signal


def main() -> None:
    """Run the command line."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # commands that have something to end cleanly listen for themselves
    from device.cli import main

    main(prog_name="mien")  # also as python -m device.entry, which is how the package starts it


if __name__ == "__main__":
    main()
