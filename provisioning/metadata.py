"""The metadata of the repository of models on the disk: read, checked, signed, written (TUF 1.0, python-tuf).

A version is published by its ``timestamp.json``, which is written last: whoever dies before that has changed nothing, and whoever
comes after writes the same versions again. A new root is written first, and carried through by whoever opens the keys next.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final, TypeVar

from securesystemslib.signer import CryptoSigner
from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Metadata, MetaFile, Root, Snapshot, Targets, Timestamp
from tuf.api.serialization.json import JSONSerializer

from provisioning import files, rolekeys
from provisioning.errors import FleetError, WordsError
from provisioning.rolekeys import ONLINE, ROOTS

R = TypeVar("R", Root, Targets, Snapshot, Timestamp)
S = TypeVar("S", Targets, Snapshot, Timestamp)

DAYS: Final = {"root": 730, "targets": 365, "snapshot": 60, "timestamp": 14}
GENERATION: Final = "generation"  # in the root: when its first forerunner was made, seconds since 1970
SERIALIZER: Final = JSONSerializer(compact=False)


class PublishError(FleetError):
    """The repository of models is not what it should be, or a model cannot be published."""

    exit_code = 65


def utc_now() -> dt.datetime:
    return dt.datetime.now(dt.timezone.utc).replace(microsecond=0)


def generation_of(root: Root) -> int:
    """Which of the fleet's roots this is an heir of: those of a later one have a greater number."""
    found = root.unrecognized_fields.get(GENERATION, 0)
    return found if isinstance(found, int) else 0


class Store:
    """Keys and metadata in a fleet's folder.

    Args:
        fleet: The folder.
        now: The clock, UTC.
    """

    def __init__(self, fleet: Path, now: Callable[[], dt.datetime] = utc_now) -> None:
        self.folder, self._root_file, self._now = fleet / "models", fleet / "models-root.json", now
        self.metadata, self.targets = self.folder / "repository" / "metadata", self.folder / "repository" / "targets"
        self._keys = self.folder / "keys"

    @property
    def exists(self) -> bool:
        return (self.metadata / "timestamp.json").exists()

    def _settled(self, passphrase: bytes) -> Root:
        """The newest root; the keys that were made for it are put in their places, where somebody died before that."""
        root = self._root()
        for names, keyids in (
            (ONLINE, {keyid for name in ONLINE for keyid in root.roles[name].keyids}),
            (ROOTS, set(root.roles["root"].keyids)),
        ):
            if rolekeys.unsettled(self._keys, names):
                there = rolekeys.beside(self._keys, names, passphrase, make=False)
                if {one.public_key.keyid for one in there.values()} == keyids:
                    rolekeys.settle(self._keys, names)
        return root

    def _opened(self, passphrase: bytes) -> tuple[Root, dict[str, CryptoSigner]]:
        """The root and the keys of the other roles; carries through a new root that somebody died over."""
        root = self._settled(passphrase)
        keys = rolekeys.load(self._keys, ONLINE, passphrase)
        if any([key.public_key.keyid] != root.roles[name].keyids for name, key in keys.items()):
            raise PublishError(
                f"{self._keys}: not the keys that {root.version}.root.json names; restore models/ from one backup, "
                "or run mien-fleet model renew-root"
            )
        held = self._held(root)
        if held.version != root.version:
            self._publish(held, keys, self._read(Targets, held))
        return root, keys

    def _held(self, root: Root) -> Root:
        """The newest root under which what is there holds: not this one, while it is not carried through."""
        for version in range(root.version, 0, -1):
            with suppress(PublishError):
                one = root if version == root.version else self._load(Root, f"{version}.root.json", None)
                self._read(Timestamp, one)
                return one
        self._read(Timestamp, root)  # and says what is wrong
        raise AssertionError

    def _publish(self, root: Root, keys: dict[str, CryptoSigner], targets: Targets | None) -> None:
        """Sign and write from the innermost outwards: targets (if changed), snapshot, timestamp.

        Args:
            root: By which what is there is checked.
            keys: What is written is signed with.
            targets: The new ones.
        """
        there = self.exists
        timestamp = self._read(Timestamp, root) if there else Timestamp(1)
        snapshot = self._read(Snapshot, root) if there else Snapshot(1)
        for signed in filter(None, (targets, snapshot, timestamp)):
            signed.version += there  # a new one has version 1
        if targets is not None:
            self._sign(targets, keys["targets"], f"{targets.version}.targets.json")
            snapshot.meta["targets.json"] = MetaFile(targets.version)
        self._sign(snapshot, keys["snapshot"], f"{snapshot.version}.snapshot.json")
        timestamp.snapshot_meta = MetaFile(snapshot.version)
        self._sign(timestamp, keys["timestamp"], "timestamp.json")

    def _sign(self, signed: Targets | Snapshot | Timestamp, key: CryptoSigner, name: str) -> None:
        signed.expires = self._end(signed.type)
        metadata: Metadata[Any] = Metadata(signed)
        metadata.sign(key)
        files.write(self.metadata / name, metadata.to_bytes(SERIALIZER), 0o644)

    def _write_root(self, root: Root, signers: Sequence[CryptoSigner]) -> None:
        metadata = Metadata(root)
        for signer in signers:
            metadata.sign(signer, append=True)
        files.write(self.metadata / f"{root.version}.root.json", metadata.to_bytes(SERIALIZER), 0o644)

    def _root(self) -> Root:
        versions = sorted(int(path.name.partition(".")[0]) for path in self.metadata.glob("*.root.json"))
        if not versions:
            raise WordsError(f"{self.folder}: there is no repository of models; make it with mien-fleet model init")
        return self._load(Root, f"{versions[-1]}.root.json", None)

    def _read(self, kind: type[S], root: Root) -> S:
        """The current version of a role, which only its own keys can have written."""
        if kind is Timestamp:
            return self._load(kind, "timestamp.json", root)
        if kind is Snapshot:
            return self._load(kind, f"{self._read(Timestamp, root).snapshot_meta.version}.snapshot.json", root)
        return self._load(kind, f"{self._read(Snapshot, root).meta['targets.json'].version}.targets.json", root)

    def _load(self, kind: type[R], name: str, root: Root | None) -> R:
        """Read and check; a root is checked by itself."""
        path = self.metadata / name
        content = files.read(path, "signed metadata", "restore models/ from a backup")
        try:
            metadata: Metadata[Any] = Metadata.from_bytes(content)
            signed = metadata.signed
            if not isinstance(signed, kind):
                raise RepositoryError(f"it is {signed.type}")
            checker: Any = root or signed
            checker.verify_delegate(signed.type, metadata.signed_bytes, metadata.signatures)
        except RepositoryError as error:
            raise PublishError(f"{path}: not what this fleet has signed ({error}); restore models/ from a backup") from None
        return signed

    def _end(self, role: str) -> dt.datetime:
        return self._now() + dt.timedelta(days=DAYS[role])

    def _days_left(self, end: dt.datetime) -> float:
        return (end - self._now()) / dt.timedelta(days=1)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        if not self.folder.is_dir():
            raise WordsError(f"{self.folder}: there is no repository of models; make it with mien-fleet model init")
        with files.locked(self.folder / "lock"):
            yield
