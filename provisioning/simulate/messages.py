"""Messages of a simulated device: valid by the contract, and recognisable as simulated. Pure."""

from __future__ import annotations

from datetime import datetime
from random import Random
from typing import Final, Literal

from device.contract import CELLS, ModelHashes, Report, SpoolState, Status, dump

MODELS: Final = ModelHashes(face="sha256:" + "0" * 12, emotion="sha256:" + "0" * 12)  # no model has this hash
POLICY: Final = "simulated/EU@1"
SOFTWARE: Final = "simulated"
State = Literal["online", "lost", "offline"]


def report(seq: int, start: datetime, seconds: int, rng: Random, *, paused: bool = False) -> bytes:
    """A report about nobody.

    Args:
        seq: Of this device, from 1 on.
        start: UTC.
        seconds: Length of the window, at least 1.
        rng: Draws how many people there were.
        paused: Nobody was watched.
    """
    cells = {cell: rng.randrange(12) for cell in CELLS}
    said = {
        "schema": 1,
        "seq": seq,
        "span": {
            "start": start,
            "seconds": seconds,
            "windows": 1,
            "boot": "00000000",
            "clock": "synced",
        },
        "people": None if paused else sum(cells.values()),
        "groups": None if paused else {"emotion": cells, "opted_out": None},
        "withheld": "paused" if paused else None,
        "privacy": {
            "k": 5,
            "noise": "discrete-laplace",
            "epsilon": 1.0,
            "windows": 1,
            "policy": POLICY,
        },
        "quality": {"coverage": 1.0, "fps": 5.0, "throttled": False},
        "models": MODELS,
        "pauses": int(paused),
    }
    return dump(Report.model_validate(said))


def status(state: State, session: str, waiting: int = 0) -> bytes:
    """The retained status; ``waiting`` reports are not delivered yet."""
    spool = SpoolState(waiting=waiting, dropped=0, set_aside=0)
    return dump(Status(schema=1, state=state, session=session, software=SOFTWARE, models=MODELS, health="ok", spool=spool))
