"""The repository of models, by The Update Framework (TUF 1.0, python-tuf): made, signed, and kept from expiring.

In the fleet's folder::

    models/keys/           root-1 to root-3 (any two sign), targets, snapshot, timestamp; encrypted; they stay here
    models/repository/     metadata/ and targets/: what any web server gives to devices, as it is
    models-root.json       whom a device trusts: a root, of which later ones are the heirs

``repository/metadata/models-root.json`` is that root with the word of the fleet's authority for it (``device/endorsed.py``).

A version is published by its ``timestamp.json``, which is written last: whoever dies before that has changed nothing, and whoever
comes after writes the same versions again. Several processes may use one folder at a time.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from pydantic import ValidationError
from securesystemslib.signer import CryptoSigner
from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Metadata, MetaFile, Root, Snapshot, TargetFile, Targets, Timestamp
from tuf.api.serialization.json import JSONSerializer

from device.contract_model import ENDORSED, EndorsedRoot, Release
from provisioning import files, rolekeys
from provisioning.errors import FleetError, WordsError
from provisioning.rolekeys import ONLINE, ROOTS, THRESHOLD

R = TypeVar("R", Root, Targets, Snapshot, Timestamp)
S = TypeVar("S", Targets, Snapshot, Timestamp)

DAYS: Final = {"root": 730, "targets": 365, "snapshot": 60, "timestamp": 14}
RENEW_BELOW: Final = {"targets": 60, "snapshot": 30, "timestamp": 10}  # days that are left: then it is signed anew
SERIALIZER: Final = JSONSerializer(compact=False)


class PublishError(FleetError):
    """The repository of models is not what it should be, or a model cannot be published."""

    exit_code = 65


@dataclass(frozen=True, slots=True)
class Published:
    """A model in the repository; ``length`` in bytes."""

    target: str
    release: Release
    length: int


def utc_now() -> dt.datetime:
    return dt.datetime.now(dt.timezone.utc).replace(microsecond=0)


class Repository:
    """The repository in a fleet's folder.

    Args:
        fleet: The folder.
        now: The clock, UTC.
    """

    def __init__(self, fleet: Path, now: Callable[[], dt.datetime] = utc_now) -> None:
        self.folder, self._root_file, self._now = fleet / "models", fleet / "models-root.json", now
        self.metadata, self.targets = self.folder / "repository" / "metadata", self.folder / "repository" / "targets"

    @property
    def exists(self) -> bool:
        return (self.metadata / "timestamp.json").exists()

    def create(self, passphrase: bytes) -> None:
        """Make keys and an empty repository. What is there already stays: an interrupted run is continued.

        Raises:
            FilesError: The folder cannot be written.
        """
        for folder in (self.folder, self.folder / "keys"):
            files.private_folder(folder)
        with self._alone():
            keys = rolekeys.create(self.folder / "keys", passphrase)
            for folder in (self.metadata, self.targets):
                folder.mkdir(mode=0o755, parents=True, exist_ok=True)
            if not (self.metadata / "1.root.json").exists():
                root = Root(1, expires=self._end("root"), consistent_snapshot=True)
                for name in ROOTS:
                    root.add_key(keys[name].public_key, "root")
                root.roles["root"].threshold = THRESHOLD
                for name in ONLINE:
                    root.add_key(keys[name].public_key, name)
                self._write_root(root, [keys[name] for name in ROOTS])
            files.write(self._root_file, (self.metadata / "1.root.json").read_bytes(), 0o644)
            if not self.exists:
                self._publish(self._root(), keys, Targets(1))

    def publish(self, passphrase: bytes, content: bytes, release: Release, vectors: bytes, card: bytes) -> str:
        """Put a model into the repository; returns the name of its target. The same again changes nothing.

        Raises:
            PublishError, WordsError: The metadata is damaged; keys or passphrase are wrong.
            FilesError: The folder cannot be written.
        """
        target = name_of(release)
        with self._alone():
            root, keys = self._opened(passphrase)
            targets = self._read(Targets, root)
            files_of = {target: content, release.vectors: vectors, release.card: card}
            new = {name: TargetFile.from_data(name, data, ["sha256"]) for name, data in files_of.items()}
            new[target].unrecognized_fields["custom"] = {"mien": release.model_dump_json(exclude_none=True)}
            for name, data in files_of.items():
                files.write(self.targets / f"{new[name].hashes['sha256']}.{name}", data, 0o644)
            if any(targets.targets.get(name) != one for name, one in new.items()):
                targets.targets.update(new)
                self._publish(root, keys, targets)
        return target

    def refresh(self, passphrase: bytes) -> list[str]:
        """Sign anew what ends soon; returns the roles. For ``serve`` and a daily timer."""
        with self._alone():
            root = self._root()
            try:
                left = {
                    "targets": self._days_left(self._read(Targets, root).expires),
                    "snapshot": self._days_left(self._read(Snapshot, root).expires),
                    "timestamp": self._days_left(self._read(Timestamp, root).expires),
                }
            except PublishError:
                left = dict.fromkeys(RENEW_BELOW, 0.0)  # perhaps a new root was not carried through; opening does that, or fails
            due = [name for name, days in left.items() if days < RENEW_BELOW[name]]
            if due:
                root, keys = self._opened(passphrase)
                self._publish(root, keys, self._read(Targets, root) if "targets" in due else None)
        return due

    def renew_root(self, passphrase: bytes, keys: Path | None = None) -> int:
        """Sign a new root, with new keys for the other roles; devices follow by themselves. Returns its version.

        Args:
            passphrase: Of all keys.
            keys: Where two of the root's keys are, if not with the others.
        """
        with self._alone():
            root, _ = self._opened(passphrase)
            signers = rolekeys.some(keys or self.folder / "keys", ROOTS, THRESHOLD, passphrase)
            new = rolekeys.beside(self.folder / "keys", ONLINE, passphrase)
            for name in ONLINE:
                for keyid in list(root.roles[name].keyids):
                    root.revoke_key(keyid, name)
                root.add_key(new[name].public_key, name)
            root.version += 1
            root.expires = self._end("root")
            self._write_root(root, signers)
            self._opened(passphrase)
            files.write(self._root_file, (self.metadata / f"{root.version}.root.json").read_bytes(), 0o644)
        return root.version

    def endorse(self, vouch: Callable[[bytes], EndorsedRoot]) -> bool:
        """Have the newest root vouched for, unless it is already, by the same authority; returns whether anything is new."""
        path = self.metadata / ENDORSED
        with self._alone():
            root = (self.metadata / f"{self._root().version}.root.json").read_bytes()
            new = vouch(root)
            with suppress(OSError, ValidationError):
                there = EndorsedRoot.model_validate_json(path.read_bytes())
                if (there.root, there.signer) == (new.root, new.signer):
                    return False
            files.write(path, new.model_dump_json(by_alias=True), 0o644)
        return True

    def releases(self) -> list[Published]:
        """What is in the repository.

        Raises:
            PublishError: Its metadata is damaged.
        """
        targets = self._read(Targets, self._root()).targets
        try:
            known = {name: Release.model_validate_json(one.custom["mien"]) for name, one in targets.items() if one.custom}
        except (ValidationError, KeyError, TypeError) as error:
            raise PublishError(f"{self.metadata}: a release that this version does not know ({error}); update mien-fleet") from None
        return [Published(name, release, targets[name].length) for name, release in known.items()]

    def timestamp(self) -> int:
        """The version that devices must have seen."""
        return self._read(Timestamp, self._root()).version

    def days_left(self) -> float:
        """Until the root ends, after which nothing can be installed."""
        return self._days_left(self._root().expires)

    # Metadata

    def _opened(self, passphrase: bytes) -> tuple[Root, dict[str, CryptoSigner]]:
        """The root and the keys of the other roles; carries through a new root that somebody died over."""
        root, folder = self._root(), self.folder / "keys"
        wanted = {name: root.roles[name].keyids for name in ONLINE}
        if rolekeys.ids(rolekeys.beside(folder, ONLINE, passphrase, make=False)) == wanted:
            rolekeys.settle(folder, ONLINE)
        keys = rolekeys.load(folder, ONLINE, passphrase)
        if rolekeys.ids(keys) != wanted:
            raise PublishError(f"{folder}: not the keys that {root.version}.root.json names; restore models/ from one backup")
        try:
            self._read(Timestamp, root)
        except PublishError:
            if root.version == 1:
                raise
            before = self._load(Root, f"{root.version - 1}.root.json", None)
            self._publish(before, keys, self._read(Targets, before))
        return root, keys

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


def name_of(release: Release) -> str:
    """The target's name: the model's, and the beginning of its hash."""
    return f"{release.model}-{release.entry.sha256[:8]}.tflite"


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
