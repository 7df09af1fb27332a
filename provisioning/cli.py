"""The command line of the fleet manager: ``mien-fleet``."""

from __future__ import annotations

import json
import pkgutil
import sys
from importlib import import_module
from typing import TextIO

import click
from pydantic import ValidationError

from device.contract import ROOT
from device.contract_messages import EVERY, kind
from provisioning import commands
from provisioning.errors import FleetError, WordsError

NEED_A_DATABASE = {
    *("serve", "batch", "claim", "approve", "revoke", "label", "devices", "audit"),
    *("set", "twin", "restored", "command", "rollout", "simulate"),
}


class Commands(click.Group):
    """Prints an error of ours as it is, and ends with its exit code."""

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError:
            if args[0] in NEED_A_DATABASE:
                raise WordsError(f"{args[0]} needs a database; run pip install 'mien[fleet]'") from None
            raise

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except FleetError as error:
            click.echo(f"mien-fleet: {error}", err=True)
            ctx.exit(error.exit_code)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Look after a fleet of mien devices over MQTT."""


def _installed() -> list[click.Command]:
    """The commands of every module in ``provisioning/commands`` for which there is what it needs: most need a database."""
    found: list[click.Command] = []
    for module in sorted(one.name for one in pkgutil.iter_modules(commands.__path__) if not one.name.startswith("_")):
        try:
            found += import_module(f"provisioning.commands.{module}").COMMANDS
        except ModuleNotFoundError as error:
            if error.name not in {"alembic", "sqlalchemy"}:
                raise
    return found


for command in _installed():
    main.add_command(command)


@main.command()
@click.argument("messages", type=click.File("r", encoding="utf-8"), default="-")
def validate(messages: TextIO) -> None:
    """Check messages against the contract: lines of `TOPIC JSON`, as `mosquitto_sub -v` prints them.

    Prints one line for each that is wrong, and ends with 1 when there was any.
    """
    wrong = total = 0
    for number, line in enumerate(messages, start=1):
        topic, _, payload = line.strip().partition(" ")
        if not topic.startswith(f"{ROOT}/"):
            continue
        total += 1
        name = topic.removeprefix(f"{ROOT}/").partition("/")[2]
        message = kind(name)
        try:
            if message is None:
                raise ValueError(f"no message is published on …/{name}; expected one of {', '.join(EVERY)}")
            message.model_validate(json.loads(payload))
        except ValidationError as error:
            wrong += 1
            first = error.errors()[0]
            click.echo(f"line {number}: {topic}: {'.'.join(map(str, first['loc']))}: {first['msg']}")
        except ValueError as error:
            wrong += 1
            click.echo(f"line {number}: {topic}: {error}")
    click.echo(f"{total - wrong} of {total} messages are good")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
