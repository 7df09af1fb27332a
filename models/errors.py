"""How the commands of this package end: a mistake of the user's, a full disk or Ctrl-C is one line, never a traceback."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

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
        0; 2 where something that the user gave, or the disk, is at fault; 130 after Ctrl-C.
    """
    try:
        work()
    except (DataError, MienError) as error:
        return _say(name, str(error), 2)
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
    try:
        print(result, flush=True)
    except OSError as error:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), sys.stdout.fileno())  # or Python tries once more at its end, and complains
        raise DataError(f"the result cannot be written ({error.strerror})") from error


def _say(name: str, message: str, code: int) -> int:
    print(f"{name}: {' '.join(message.splitlines())}", file=sys.stderr)
    return code
