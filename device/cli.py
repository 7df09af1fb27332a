"""The command line: ``mien``."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import click

from device import settings as settings_file
from device.commands._files import FILE
from device.commands.egress import egress
from device.commands.enroll_words import enroll
from device.commands.settings_words import settings
from device.commands.soak_words import soak
from device.errors import MienError
from device.journal import prefix
from device.version import VERSION

RUNTIMES = ("auto", "ai-edge-litert", "tflite-runtime")


class Commands(click.Group):
    """Turns our errors into one line and an exit code, without a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except MienError as error:
            for line in str(error).splitlines():
                click.echo(f"{prefix('error')}mien: {line}", err=True)
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
    from device import log, notify
    from device.bound import bind
    from device.changes import changes, goodbye
    from device.checkup import Checkup
    from device.clock import this_boot
    from device.orders import Orders
    from device.process import protect
    from device.stop import Stop
    from device.watch import watch

    def read() -> settings_file.Settings:
        found = bind(settings_file.load(file))
        return found if camera is None else settings_file.with_camera(found, camera)

    protect(pixels=True)
    settings, clock = read(), this_boot()
    logger = log.set_up("watch", settings.log_level)
    made = changes(settings, logger)
    orders = Orders(settings, clock, logger, reread=read, doctor=lambda: Checkup(file))
    watch(settings, clock, logger, Stop().on_signals(), made, orders=orders, systemd=notify.from_environment())
    goodbye(made)


@main.command()
@with_settings
@click.option("--once", is_flag=True, help="Send what is in the spool, then end; at once when there is nothing.")
def send(file: Path | None, once: bool) -> None:
    """Send reports from the spool to the broker.

    Runs until it is told to stop. While the broker cannot be reached the reports wait in the spool.
    """
    from device import identity, log, notify
    from device.bound import bind_or_least
    from device.clock import this_boot
    from device.process import protect
    from device.send import send
    from device.stop import Stop

    protect(pixels=False)
    settings = bind_or_least(identity.named(settings_file.load(file)))
    logger = log.set_up("send", settings.log_level)
    send(settings, this_boot(), logger, Stop().on_signals(), once=once, systemd=notify.from_environment())


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
@click.option("--without", multiple=True, metavar="CHECK", help="Leave this one out, such as camera; may be repeated.")
def doctor(file: Path | None, as_json: bool, without: tuple[str, ...]) -> None:
    """Check everything, and say what to do.

    Camera, models, runtime, clock, disk and broker, one line each. Ends with 1 when anything is wrong.
    """
    from device.commands import doctor
    from device.process import protect

    sys.exit(doctor.run(file, protect(pixels=True), as_json=as_json, without=without))


@main.command()
@click.option("--json", "as_json", is_flag=True, help="Print the claims as JSON.")
@click.option("--frames", default=130, show_default=True, type=click.IntRange(39, 100_000), help="How many pictures to search for.")
def prove(as_json: bool, frames: int) -> None:
    """Prove on this machine that no picture stays or leaves.

    One line per claim with its evidence. Ends with 1 when one is wrong or could not be tried; most need root, and strace.
    """
    from device.commands import prove

    sys.exit(prove.run(frames, as_json=as_json))


main.add_command(settings)


@main.command()
@with_settings
@click.option("--format", "kind", default="text", show_default=True, type=click.Choice(("html", "text")), help="html is to print.")
@click.option("--language", type=click.Choice(("en", "de", "ru")), help="Instead of the one in the settings.")
@click.option("--out", type=FILE, metavar="FILE", help="Write it there instead of to the terminal.")
def notice(file: Path | None, kind: Any, language: Any, out: Path | None) -> None:
    """Make the notice for the people in view, from the settings in force.

    As HTML it has a QR code and the cards, on A4 pages fit to print.
    """
    from device.bound import bind
    from device.commands import notice
    from device.twin_keeper import in_force

    click.echo(notice.run(in_force(bind(settings_file.load(file))), kind, language, out), nl=False)


@main.command()
@with_settings
@click.option("--seconds", type=click.IntRange(0, 86_400), help="How long; 0 ends a pause.  [default: consent.pause_seconds]")
def pause(file: Path | None, seconds: int | None) -> None:
    """Pause the watching process on this device: it closes the camera within a second."""
    from device import order
    from device.clock import this_boot
    from device.contract_command import Command

    settings = settings_file.load(file)
    wanted = settings.consent.pause_seconds if seconds is None else seconds
    order.by_hand(settings.inbox_folder, this_boot(), Command(command="pause", seconds=wanted))


main.add_command(enroll)
main.add_command(egress)
main.add_command(soak)


@main.command()
@click.option("--json-schema", is_flag=True, required=True, help="Print JSON Schema (2020-12).")
@click.option("--message", metavar="TOPIC", help="Only this message, such as up/report.")
def contract(json_schema: bool, message: str | None) -> None:
    """Print the messages shared with the fleet."""
    from device import contract_schema
    from device.contract_schema import NAMED

    del json_schema
    if message is not None and message not in NAMED:
        raise click.BadParameter(f"there is no {message!r}; choose one of {', '.join(NAMED)}", param_hint="--message")
    click.echo(json.dumps(contract_schema.json_schema(message), indent=2))


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
@click.option("--choose", is_flag=True, help="Compare detectors and forms, and name the fastest form that is no worse.")
@click.option("--write", is_flag=True, help='With --choose: keep the choice, for form = "auto".')
@click.option("--settings", "file", type=FILE, metavar="FILE", help="With --choose: whose detector, tiles and state folder.")
def bench(*, as_json: bool, frames: int, runtime: str, choose: bool, write: bool, file: Path | None) -> None:
    """Time the models, and what is around them.

    With --choose, find the form of the face detector that is fastest on this device. It uses the settings file if there is one.
    """
    from device.commands import bench
    from device.commands import choose as choosing
    from device.process import protect

    if not choose and (write or file):
        raise click.UsageError("--write and --settings go with --choose")
    protect(pixels=True)  # which costs time, too
    if not choose:
        click.echo(bench.run(frames, runtime, as_json=as_json))
        return
    there = file is not None or os.path.exists(settings_file.SYSTEM_FILE)
    settings = settings_file.load(file) if there else settings_file.Settings()
    if runtime != "auto":
        settings = settings_file.with_models(settings, runtime=runtime)
    click.echo(choosing.run(settings, frames, write=write, as_json=as_json))


if __name__ == "__main__":
    main()
