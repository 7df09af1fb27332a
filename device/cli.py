"""The command line: ``mien``."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click

from device import settings as settings_file
from device.errors import MienError
from device.version import VERSION

RUNTIMES = ("auto", "ai-edge-litert", "tflite-runtime")
FILE = click.Path(path_type=Path, dir_okay=False)


class Commands(click.Group):
    """Turns our errors into one line and an exit code, without a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except MienError as error:
            for line in str(error).splitlines():
                click.echo(f"mien: {line}", err=True)
            ctx.exit(error.exit_code)


with_settings = click.option(
    "--settings", "file", type=FILE, metavar="FILE", help=f"The settings file.  [default: {settings_file.SYSTEM_FILE}]"
)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(VERSION, prog_name="mien")
def main() -> None:
    """Read expressions with a camera, publish anonymous counts over MQTT, keep no image.

    Two processes do the work: `watch` has the camera and no network, `send` has the network and no camera.
    A folder of small files, the spool, joins them.

    \b
    Try it:       mien demo
    Set it up:    mien settings example > settings.toml
                  mien doctor --settings settings.toml
    Run it:       mien watch --settings settings.toml
                  mien send  --settings settings.toml
    """  # noqa: D301 (click wants a real backspace)


@main.command()
@with_settings
@click.option("--camera", metavar="NAME[:ADDRESS]", help="Use this camera instead of the one in the settings.")
def watch(file: Path | None, camera: str | None) -> None:
    """Watch: camera in, reports out to the spool.

    Runs until it is told to stop (Ctrl-C, SIGTERM) or, on a recording, until its end.
    """
    from device import log
    from device.clock import this_boot
    from device.stop import Stop
    from device.watch import watch

    settings = settings_file.load(file)
    if camera is not None:
        settings = settings_file.with_camera(settings, camera)
    watch(settings, this_boot(), log.set_up("watch", settings.log_level), Stop().on_signals())


@main.command()
@with_settings
@click.option("--once", is_flag=True, help="Send what is in the spool, then end; at once when there is nothing.")
def send(file: Path | None, once: bool) -> None:
    """Send reports from the spool to the broker.

    Runs until it is told to stop. While the broker cannot be reached the reports wait in the spool.
    """
    from device import log
    from device.clock import this_boot
    from device.send import send
    from device.stop import Stop

    settings = settings_file.load(file)
    send(settings, this_boot(), log.set_up("send", settings.log_level), Stop().on_signals(), once=once)


@main.command()
@click.option(
    "--camera", default="composite", show_default=True, metavar="NAME[:ADDRESS]", help="composite, replay:FILE, v4l2:DEVICE."
)
@click.option("--broker", metavar="URL", help="Use a broker that is there (mqtt://host:port) instead of an embedded one.")
@click.option("--seconds", default=60, show_default=True, type=click.IntRange(10, 3600), help="How long to watch.")
@click.option("--window", default=10, show_default=True, type=click.IntRange(5, 900), help="Length of a window in seconds.")
@click.option(
    "--seed", default=0, show_default=True, type=click.IntRange(0, 2**32 - 1), help="Which script the composite scene follows."
)
@click.option("--json", "as_json", is_flag=True, help="Print the reports as JSON lines instead of drawing them.")
@click.option("--truth", type=FILE, metavar="FILE", help="Write what the composite scene really showed, per window, as JSON.")
@click.option("--picture", type=FILE, metavar="FILE", help="Save the last screen as an SVG picture.")
def demo(**options: Any) -> None:
    """Run all of it on this machine for a minute.

    An MQTT 5 broker, the two processes, and a screen that draws the reports as they arrive.
    """
    from device.commands import demo

    sys.exit(demo.run(demo.Options(**options)))


@main.command()
@with_settings
@click.option("--json", "as_json", is_flag=True, help="Print the results as JSON.")
def doctor(file: Path | None, as_json: bool) -> None:
    """Check everything, and say what to do.

    Camera, models, runtime, clock, disk and broker, one line each. Ends with 1 when anything is wrong.
    """
    from device.commands import doctor

    sys.exit(doctor.run(file, as_json=as_json))


@main.group()
def settings() -> None:
    """Explain, check, or print an example."""


@settings.command()
@with_settings
def explain(file: Path | None) -> None:
    """Say in plain words what the settings mean."""
    from device.commands import explain

    click.echo(explain.explain(settings_file.load(file)))


@settings.command()
@with_settings
def check(file: Path | None) -> None:
    """Check the settings; ends with 78 when a key is unknown or wrong."""
    settings_file.load(file)
    click.echo("the settings are good")


@settings.command()
def example() -> None:
    """Print a settings file with every key explained."""
    click.echo(settings_file.EXAMPLE.read_text(encoding="utf-8"), nl=False)


@main.command()
@click.option("--json-schema", is_flag=True, required=True, help="Print JSON Schema (2020-12).")
@click.option("--message", metavar="TOPIC", help="Only this message, such as up/report.")
def contract(json_schema: bool, message: str | None) -> None:
    """Print the messages shared with the fleet."""
    from device import contract

    del json_schema
    if message is not None and message not in contract.MESSAGES:
        raise click.BadParameter(f"there is no {message!r}; choose one of {', '.join(contract.MESSAGES)}", param_hint="--message")
    click.echo(json.dumps(contract.json_schema(message), indent=2))


@main.command()
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON.")
@click.option("--frames", default=200, show_default=True, type=click.IntRange(20, 100_000), help="How many frames to time.")
@click.option(
    "--runtime",
    default="auto",
    show_default=True,
    type=click.Choice(RUNTIMES),
    help="Which to time.",
)
def bench(as_json: bool, frames: int, runtime: str) -> None:
    """Time the models, and what is around them."""
    from device.commands import bench

    click.echo(bench.run(frames, runtime, as_json=as_json))


if __name__ == "__main__":
    main()
