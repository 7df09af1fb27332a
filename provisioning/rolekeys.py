"""Keys of the roles that sign models: Ed25519, PKCS #8, encrypted, one file each.

They are made at once or not at all: a run that was interrupted finds what it had written, and makes the rest.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from securesystemslib.signer import CryptoSigner

from provisioning import files
from provisioning.errors import WordsError

ROOTS: Final = ("root-1", "root-2", "root-3")
THRESHOLD: Final = 2  # of them
ONLINE: Final = ("targets", "snapshot", "timestamp")


def create(folder: Path, passphrase: bytes) -> dict[str, CryptoSigner]:
    """Make the keys that are not there, and load all.

    Raises:
        WordsError: One is there, and the passphrase does not open it.
        FilesError: The folder cannot be written.
    """
    for name in (*ROOTS, *ONLINE):
        if not (folder / f"{name}.pem").exists():
            _make(folder / f"{name}.pem", passphrase)
    return load(folder, (*ROOTS, *ONLINE), passphrase)


def load(folder: Path, names: Iterable[str], passphrase: bytes) -> dict[str, CryptoSigner]:
    """Open these keys.

    Raises:
        FilesError: One is not there.
        WordsError: The passphrase is wrong, or a file is no key.
    """
    return {name: _load(folder / f"{name}.pem", passphrase) for name in names}


def some(folder: Path, names: Sequence[str], count: int, passphrase: bytes, keyids: Container[str]) -> list[CryptoSigner]:
    """Open so many of these keys, whichever are there.

    Args:
        folder: Where they are.
        names: All of them.
        count: How many are needed.
        passphrase: Of each.
        keyids: What a root calls them: another key of that name is none of them.

    Raises:
        WordsError: There are fewer.
    """
    there = load(folder, [name for name in names if (folder / f"{name}.pem").exists()], passphrase)
    found = [one for one in there.values() if one.public_key.keyid in keyids]
    if len(found) < count:
        what = f"{len(found)} of {', '.join(names)} that the root names; expected any {count}"
        raise WordsError(f"{folder}: {what}; give their folder with --keys. If they are lost: mien-fleet model replace-root")
    return found[:count]


def unsettled(folder: Path, names: Iterable[str]) -> bool:
    """Whether there are new keys beside those in use."""
    return any((folder / f"{name}.new.pem").exists() for name in names)


def beside(folder: Path, names: Iterable[str], passphrase: bytes, *, make: bool = True) -> dict[str, CryptoSigner]:
    """New keys beside those in use: those that an interrupted run has made, and (if wanted) the rest. ``settle`` uses them."""
    found = {}
    for name in names:
        path = folder / f"{name}.new.pem"
        if make and not path.exists():
            _make(path, passphrase)
        if path.exists():
            found[name] = _load(path, passphrase)
        elif (folder / f"{name}.pem").exists():
            found[name] = _load(folder / f"{name}.pem", passphrase)  # settled already
    return found


def ids(keys: dict[str, CryptoSigner]) -> dict[str, list[str]]:
    """As a root names the keys of its roles."""
    return {name: [key.public_key.keyid] for name, key in keys.items()}


def settle(folder: Path, names: Iterable[str]) -> None:
    """Put the new keys in the place of the old ones."""
    for name in names:
        if (folder / f"{name}.new.pem").exists():
            (folder / f"{name}.new.pem").replace(folder / f"{name}.pem")


def _make(path: Path, passphrase: bytes) -> None:
    key = Ed25519PrivateKey.generate()
    kind = serialization.BestAvailableEncryption(passphrase)
    files.write(path, key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, kind))


def _load(path: Path, passphrase: bytes) -> CryptoSigner:
    content = files.read(path, "an encrypted key", "restore it from a backup; if there is none: docs/rollouts.md, lost keys")
    try:
        return CryptoSigner(serialization.load_pem_private_key(content, passphrase))
    except (ValueError, TypeError):
        raise WordsError(f"{path}: the passphrase does not open it; give the one of mien-fleet model init") from None
