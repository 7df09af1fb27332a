"""The command line of the fleet manager: ``mien-fleet``."""

from __future__ import annotations

import json
import sys
from typing import TextIO

import click
from pydantic import ValidationError

from device.contract import MESSAGES, ROOT


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Look after a fleet of mien devices over MQTT."""


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
        message = MESSAGES.get(name)
        try:
            if message is None:
                raise ValueError(f"no message is published on …/{name}; expected one of {', '.join(MESSAGES)}")
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
