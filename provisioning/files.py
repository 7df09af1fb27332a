"""Files of the fleet: secrets are 0600 in folders 0700, and a file is replaced as a whole."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from provisioning.errors import FilesError, WordsError


def private_folder(path: Path) -> Path:
    """Make a folder that its owner alone may enter.

    Raises:
        FilesError: It cannot be made.
    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.chmod(0o700)
    except OSError as error:
        raise FilesError(f"{path}: cannot be made ({error.strerror}); choose a folder that you may write") from None
    return path


def write(path: Path, content: bytes | str, mode: int = 0o600) -> Path:
    """Replace a file as a whole: written beside, fsynced, renamed, the folder fsynced.

    Raises:
        FilesError: It cannot be written; the old file is as it was.
    """
    data = content.encode() if isinstance(content, str) else content
    beside = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
        with open(handle, "wb") as file:
            os.fchmod(handle, mode)
            file.write(data)
            file.flush()
            os.fsync(handle)
        beside.rename(path)
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        with suppress(OSError):
            beside.unlink()
        raise FilesError(f"{path}: cannot be written ({error.strerror}); make room, or check who owns the folder") from None
    return path


def read(path: Path, what: str, advice: str) -> bytes:
    """A file's content.

    Raises:
        FilesError: There is none, or it cannot be read; ``what`` it should be and the ``advice`` stand in the message.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise FilesError(f"{path}: cannot be read ({error.strerror}); expected {what}; {advice}") from None


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Wait until no other process is inside; several ``mien-fleet serve`` share one authority."""
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise FilesError(f"{path}: cannot be opened ({error.strerror}); check who owns the folder") from None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def passphrase(file: Path | None, credential: str = "mien-fleet-passphrase") -> bytes:
    """The passphrase of the authority's keys: from a file, or from systemd's credentials.

    Args:
        file: Its first line counts; ``None`` for ``$CREDENTIALS_DIRECTORY/mien-fleet-passphrase``.
        credential: Name of the credential.

    Raises:
        WordsError: There is none, or it is shorter than 12 characters, or others may read the file.
    """
    credentials, given = os.environ.get("CREDENTIALS_DIRECTORY"), file is not None
    how = "(umask 077; openssl rand -base64 24 > passphrase) and --passphrase-file passphrase"
    if file is None:
        if credentials is None:
            raise WordsError(
                f"no passphrase for the authority's keys; make one with {how}, or LoadCredential={credential}:… in systemd"
            )
        file = Path(credentials) / credential
    try:
        content = file.read_bytes()
        mode = file.stat().st_mode
    except OSError as error:
        raise WordsError(f"{file}: the passphrase cannot be read ({error.strerror}); make one with {how}") from None
    if mode & 0o077 and given:
        raise WordsError(f"{file}: others may read the passphrase (mode {mode & 0o777:04o}); run chmod 600 {file}")
    secret = content.partition(b"\n")[0].strip()
    if len(secret) < 12:
        raise WordsError(
            f"{file}: the passphrase has {len(secret)} characters; expected 12 or more on the first line, as {how} makes"
        )
    return secret
