"""A command on its way from the sending process to the watching one: a small file in the inbox."""

from __future__ import annotations

from pathlib import Path
from typing import Literal
from uuid import uuid4

from pydantic import BaseModel, ConfigDict, Field

from device import inbox
from device.clock import Clock
from device.contract_command import LONGEST, Command, CommandId


class Order(BaseModel):
    """A command, and until when it may be begun."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_: Literal[1] = Field(1, alias="schema")
    id: CommandId
    command: Command
    boot: str = Field(max_length=64, description="Of this boot the time below is; of no other.")
    until: float = Field(description="Seconds on the monotonic clock.", allow_inf_nan=False)

    def in_time(self, clock: Clock) -> bool:
        """Whether it may be begun now. One from before the last start of the machine may not: nobody knows how old it is."""
        return self.boot == clock.boot and 0 < self.until - clock.now() <= LONGEST


def leave(folder: Path, order: Order) -> None:
    """Leave a command in the inbox; the same one again replaces it. Raises SpoolError when the inbox cannot be written."""
    inbox.put_command(folder, order.id, order.model_dump_json(by_alias=True).encode())


def by_hand(folder: Path, clock: Clock, command: Command) -> None:
    """Leave a command of somebody at this device. Raises SpoolError when the inbox cannot be written."""
    leave(folder, Order(schema=1, id=f"hand-{uuid4().hex}", command=command, boot=clock.boot, until=clock.now() + LONGEST))


def answer_file(run_folder: Path, name: str) -> Path:
    """Where the watching process says what became of a command."""
    return run_folder / "answers" / f"{name}.json"
