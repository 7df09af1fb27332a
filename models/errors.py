"""How the commands of this package end: a mistake of the user's, a full disk or Ctrl-C is one line, never a traceback."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from io import TextIOWrapper

from device.errors import MienError

STOPPED = 130  # exit code after Ctrl-C, as shells have it


class DataError(Exception):
    """A data file is missing or is not what it should be; the message is one line for the user."""


def run(name: str, work: Callable[[], object]) -> int:
    """Do the work of a command; returns its exit code.

    Args:
        name: Of the command, before the line on stderr.
        work: What to do.

    Returns:
        0; 2 where something that the user gave, the disk or the memory is at fault; 130 after Ctrl-C.
    """
    try:
        _open_stderr()
        work()
    except (DataError, MienError) as error:
        return _say(name, str(error), 2)
    except MemoryError:
        return _say(name, "not enough memory; give less at once, or smaller pictures", 2)
    except OSError as error:
        return _say(name, f"{error.filename or 'a file'}: {error.strerror or error}", 2)
    except KeyboardInterrupt:
        return _say(name, "stopped", STOPPED)
    return 0


def tell(result: str) -> None:
    """Print what a command found out, all of it, at once.

    Raises:
        DataError: Nobody takes it, or the disk is full.
    """
    if sys.stdout is None:  # closed by who started this
        raise DataError("the result cannot be written (stdout is closed)")
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal that has no dash
    try:
        print(result, flush=True)
    except OSError as error:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), sys.stdout.fileno())  # or Python tries once more at its end, and complains
        raise DataError(f"the result cannot be written ({error.strerror})") from error


def _open_stderr() -> None:
    """Where stderr is closed, what is written there goes nowhere; else it would go to stdout, or into the next file opened."""
    if sys.stderr is None:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 2)
        sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115 (for the rest of the process)


def _say(name: str, message: str, code: int) -> int:
    erase = "\r\033[K" if sys.stderr.isatty() else ""  # a progress bar
    print(f"{erase}{name}: {' '.join(message.splitlines())}", file=sys.stderr)
    return code
