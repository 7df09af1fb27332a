"""The repository of models, by The Update Framework (TUF 1.0, python-tuf): made, signed, and kept from expiring.

In the fleet's folder::

    models/keys/           root-1 to root-3 (any two sign), targets, snapshot, timestamp; encrypted; they stay here
    models/repository/     metadata/ and targets/: what any web server gives to devices, as it is
    models-root.json       whom a device trusts: a root, of which later ones are the heirs

``repository/metadata/models-root.json`` is that root with the word of the fleet's authority for it (``device/endorsed.py``).

Several processes may use one folder at a time, and each may die at any moment (``provisioning/metadata.py``).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydantic import ValidationError
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import Root, Snapshot, TargetFile, Targets, Timestamp

from device.contract_model import ENDORSED, EndorsedRoot, Release
from provisioning import files, rolekeys
from provisioning.metadata import GENERATION, PublishError, Store, generation_of
from provisioning.rolekeys import ONLINE, ROOTS, THRESHOLD

RENEW_BELOW: Final = {"targets": 60, "snapshot": 30, "timestamp": 10}  # days that are left: then it is signed anew
ENDORSE_BELOW: Final = 30  # days that are left of the authority's word


@dataclass(frozen=True, slots=True)
class Published:
    """A model in the repository; ``length`` in bytes."""

    target: str
    release: Release
    length: int


class Repository(Store):
    """The repository in a fleet's folder: see ``Store`` for the arguments."""

    def create(self, passphrase: bytes) -> None:
        """Make keys and an empty repository. What is there already stays: an interrupted run is continued.

        Raises:
            FilesError: The folder cannot be written.
        """
        for folder in (self.folder, self._keys):
            files.private_folder(folder)
        with self._alone():
            for folder in (self.metadata, self.targets):
                folder.mkdir(mode=0o755, parents=True, exist_ok=True)
            if not any(self.metadata.glob("*.root.json")):
                keys = rolekeys.create(self._keys, passphrase)
                self._write_root(self._new_root(1, int(self._now().timestamp()), keys), [keys[name] for name in ROOTS])
            self._tell_root(self._root())
            if not self.exists:
                self._publish(self._root(), rolekeys.load(self._keys, ONLINE, passphrase), Targets(1))

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
            keys: Where two of the root's keys are, if not with the others, of which none is needed.

        Raises:
            WordsError: There are not two keys of the root.
        """
        with self._alone():
            root = self._settled(passphrase)
            signers = rolekeys.some(keys or self._keys, ROOTS, THRESHOLD, passphrase, root.roles["root"].keyids)
            new = rolekeys.beside(self._keys, ONLINE, passphrase)
            for name in ONLINE:
                for keyid in list(root.roles[name].keyids):
                    root.revoke_key(keyid, name)
                root.add_key(new[name].public_key, name)
            root.version += 1
            root.expires = self._end("root")
            self._write_root(root, signers)
            self._opened(passphrase)
            self._tell_root(root)
        return root.version

    def replace_root(self, passphrase: bytes) -> int:
        """Begin with a new root that the old one has not signed, and new keys for everything. Returns its version.

        Devices follow it only once the fleet's authority has vouched for it (``endorse``). What is published stays so.

        Raises:
            PublishError: The metadata is damaged.
        """
        with self._alone():
            before = self._settled(passphrase)
            files.private_folder(self._keys)
            new = rolekeys.beside(self._keys, (*ROOTS, *ONLINE), passphrase)
            generation = max(int(self._now().timestamp()), generation_of(before) + 1)
            root = self._new_root(before.version + 1, generation, new)
            self._write_root(root, [new[name] for name in ROOTS])
            self._opened(passphrase)
            self._tell_root(root)
        return root.version

    def endorse(self, vouch: Callable[[bytes, int, int], EndorsedRoot]) -> bool:
        """Have the newest root vouched for, unless it is already, by the same authority and for long enough.

        Args:
            vouch: ``Authority.endorse``: the root, its generation and its version in, its word out.

        Returns:
            Whether anything is new.
        """
        path = self.metadata / ENDORSED
        with self._alone():
            root = self._root()
            new = vouch((self.metadata / f"{root.version}.root.json").read_bytes(), generation_of(root), root.version)
            with suppress(OSError, ValidationError):
                there = EndorsedRoot.model_validate_json(path.read_bytes())
                same = (there.root, there.signer, there.generation) == (new.root, new.signer, new.generation)
                if same and self._days_left(there.expires) >= min(ENDORSE_BELOW, self._days_left(new.expires)):
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

    # Roots

    def _new_root(self, version: int, generation: int, keys: Mapping[str, CryptoSigner]) -> Root:
        """A root that is nobody's heir."""
        root = Root(version, expires=self._end("root"), consistent_snapshot=True, unrecognized_fields={GENERATION: generation})
        for name in (*ROOTS, *ONLINE):
            root.add_key(keys[name].public_key, "root" if name in ROOTS else name)
        root.roles["root"].threshold = THRESHOLD
        return root

    def _tell_root(self, root: Root) -> None:
        files.write(self._root_file, (self.metadata / f"{root.version}.root.json").read_bytes(), 0o644)


def name_of(release: Release) -> str:
    """The target's name: the model's, and the beginning of its hash."""
    return f"{release.model}-{release.entry.sha256[:8]}.tflite"


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
