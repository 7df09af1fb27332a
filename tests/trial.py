"""A fleet whose broker runs as ``mien-fleet broker``, for tests of what the broker lets through."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from provisioning.authority import Authority
from provisioning.fleet import Fleet
from tests.conftest import Process, wait_for
from tests.identities import Client, Identity, claim, device


@dataclass
class Trial:
    """A fleet whose broker runs as ``mien-fleet broker``, two devices, two claims, and a witness who may reach everything.

    The witness is the only addition to the configuration: two lines at the end of the ACL file.
    """

    fleet: Fleet
    authority: Authority
    begin: Callable[[], Process]
    broker: Process = field(init=False)

    def __post_init__(self) -> None:
        acl = self.fleet.folder / "broker" / "acl"
        acl.write_text(acl.read_text() + "\nuser witness\ntopic readwrite #\n")
        folder = self.fleet.folder
        self.d1, self.d2, self.witness_identity = (device(self.authority, folder, name) for name in ("d1", "d2", "witness"))
        self.b1, self.b2 = (claim(self.authority, folder, batch) for batch in ("b1", "b2"))
        self.service = Identity(*self.fleet.service)
        self.start()

    def start(self) -> None:
        self.broker = self.begin()
        wait_for(lambda: "listening on" in self.broker.err.read_text() or not self.broker.running, 60, why="the broker")
        assert self.broker.running, self.broker.err.read_text()

    def client(self, identity: Identity | None, **more: object) -> Client:
        return Client(self.fleet.ca, self.fleet.port, identity, **more)  # type: ignore[arg-type]

    def witness(self) -> Client:
        return self.client(self.witness_identity)
