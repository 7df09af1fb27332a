"""``mien prove``: every claim about privacy, tried on this machine, one line each with its evidence."""

from __future__ import annotations

import json
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

import click

from device.proof.claims import STEPS, Claim, try_all


def run(frames: int, *, as_json: bool) -> int:
    """Try everything, print it, and return the exit code: 0 when all claims hold, else 1."""
    with (
        tempfile.TemporaryDirectory(prefix="mien-prove-") as folder,
        click.progressbar(range(STEPS), label="proving", file=sys.stderr) as bar,
    ):
        claims = try_all(Path(folder), frames, lambda: bar.update(1))
        bar.update(STEPS)
    ok = all(claim.ok for claim in claims)
    if as_json:
        click.echo(json.dumps({"ok": int(ok), "claims": [asdict(claim) for claim in claims]}, indent=2, ensure_ascii=False))
    else:
        for claim in claims:
            _print(claim)
    return 0 if ok else 1


def _print(claim: Claim) -> None:
    if claim.ok:
        mark = click.style("proven    ", fg="green")
    elif claim.hits is None:
        mark = click.style("not proven", fg="yellow")
    else:
        mark = click.style("WRONG     ", fg="red", bold=True)
    click.echo(f"{mark}  {claim.claim}")
    click.echo(f"{'':<12}{claim.evidence}")
    if claim.hits is not None:
        click.echo(f"{'':<12}found where it must not be: {claim.hits}; where it was put: {claim.control}")
