"""What may go wrong on the fleet manager's side and that a person can do something about.

The message says what was wrong, where, what was expected and what to do; it is printed as it is, without a traceback. Exit codes
are those of ``sysexits.h``, as on the device.
"""

from __future__ import annotations


class FleetError(Exception):
    """Base of every error that a user of ``mien-fleet`` may see."""

    exit_code: int = 1


class WordsError(FleetError):
    """What was asked for on the command line cannot be done."""

    exit_code = 2


class AuthorityError(FleetError):
    """A certificate cannot be issued, or the authority's own files are not what they should be.

    Attributes:
        code: For programs, and for the device that asked; one of ``CODES``.
    """

    exit_code = 65
    CODES = ("bad-csr", "bad-signature", "wrong-key", "weak-key", "bad-name", "bad-validity", "expired", "files", "passphrase")

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class FilesError(FleetError):
    """A folder or file of the fleet cannot be read or written."""

    exit_code = 73


class BrokerError(FleetError):
    """The broker cannot be started or reached, or refuses."""

    exit_code = 69
