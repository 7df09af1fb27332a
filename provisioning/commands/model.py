"""``mien-fleet model``: the repository of models, and what is in it."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import click
from pydantic import ValidationError

from device.contract_manifest import Models
from device.contract_model import MAX_MODEL_BYTES, MAX_VECTORS_BYTES, MODEL_NAMES, Release, Vectors
from provisioning import files
from provisioning import fleet as fleets
from provisioning.authority import Authority
from provisioning.commands.authority import FOLDER, PASSPHRASE
from provisioning.errors import AuthorityError, FilesError, WordsError
from provisioning.publish import Repository, name_of, sha256

FILE = click.Path(path_type=Path, dir_okay=False)


@click.group()
def model() -> None:
    """Models for devices: a signed repository (TUF), which any web server serves."""


@model.command("init")
@FOLDER
@PASSPHRASE
def model_init(folder: Path, passphrase_file: Path | None) -> None:
    """Make the keys and an empty repository in DIR/models. What is there already stays."""
    repository = Repository(fleets.load(folder).folder)
    repository.folder.mkdir(mode=0o700, exist_ok=True)
    passphrase = files.passphrase(passphrase_file)
    repository.create(passphrase)
    _endorse(repository, folder, passphrase)
    click.echo(f"{repository.folder} is ready. What now:")
    click.echo("  devices trust it        by themselves, where their settings say rollouts = true under [broker]")
    click.echo(f"  a web server serves     {repository.folder}/repository, as it is")
    click.echo(f"  take off this machine   two of {repository.folder}/keys/root-*.pem, each to a place of its own")


@model.command()
@FOLDER
@click.argument("file", type=FILE)
@click.option("--card", type=FILE, required=True, help="The model card: what it is, what it was tested on.")
@click.option("--manifest", type=FILE, help="Where its entry is.  [default: manifest.json beside FILE]")
@click.option("--vectors", type=FILE, help="Its test vectors.  [default: made here, python -m models.vectors]")
@PASSPHRASE
def publish(
    *, folder: Path, file: Path, card: Path, manifest: Path | None, vectors: Path | None, passphrase_file: Path | None
) -> None:
    """Sign the model in FILE, its card, its test vectors and its entry of the manifest, and put all into the repository.

    It goes to no device before mien-fleet rollout start.
    """
    repository = Repository(fleets.load(folder).folder)
    passphrase = files.passphrase(passphrase_file)
    content = _read(file, MAX_MODEL_BYTES, "a .tflite model")
    release = _release(manifest or file.parent / "manifest.json", file, content)
    said = _read(vectors, MAX_VECTORS_BYTES, "test vectors") if vectors else _made(file)
    try:
        Vectors.model_validate_json(said)
    except ValidationError as error:
        raise WordsError(f"{vectors or file}: no test vectors ({error.errors()[0]['msg']}); see python -m models.vectors") from None
    target = repository.publish(passphrase, content, release, said, _read(card, MAX_VECTORS_BYTES, "a model card"))
    _endorse(repository, folder, passphrase)
    click.echo(f"{target} is signed. Copy {repository.folder}/repository to the web server, then:")
    click.echo(f"  mien-fleet rollout start {folder} --model {target} --url https://… --canary 5% --then 50% --abort-above 2%")


@model.command("list")
@FOLDER
@click.option("--json", "as_json", is_flag=True, help="Print JSON lines, with all that was signed.")
def model_list(folder: Path, as_json: bool) -> None:
    """Show what is in the repository."""
    for one in Repository(fleets.load(folder).folder).releases():
        if as_json:
            said = {"target": one.target, "length": one.length, **one.release.model_dump(mode="json", exclude_none=True)}
            click.echo(json.dumps(said))
        else:
            click.echo(f"{one.target}  {one.length} bytes  sha256:{one.release.entry.sha256[:12]}  {one.release.entry.source}")


@model.command()
@FOLDER
@PASSPHRASE
def refresh(folder: Path, passphrase_file: Path | None) -> None:
    """Sign anew what ends soon. For a daily timer; copy the repository to the web server after it.

    Devices refuse what was signed too long ago, so that nobody can hold them at an old state.
    """
    repository = Repository(fleets.load(folder).folder)
    passphrase = files.passphrase(passphrase_file)
    done = repository.refresh(passphrase) + _endorse(repository, folder, passphrase)
    click.echo(f"signed anew: {', '.join(done)}" if done else "nothing ends soon")
    if (left := repository.days_left()) < 60:
        click.echo(f"soon: the root of the models ends in {left:.0f} days: mien-fleet model renew-root {folder}", err=True)


@model.command("renew-root")
@FOLDER
@click.option("--keys", type=click.Path(path_type=Path, file_okay=False), help="Where two of the root's keys are.")
@PASSPHRASE
def renew_root(folder: Path, keys: Path | None, passphrase_file: Path | None) -> None:
    """Sign a new root with two of its keys, and make new keys for everything else: before it ends, or when one of these was lost.

    Devices follow by themselves. If it is interrupted, run it again.
    """
    repository, passphrase = Repository(fleets.load(folder).folder), files.passphrase(passphrase_file)
    version = repository.renew_root(passphrase, keys)
    _endorse(repository, folder, passphrase)
    click.echo(f"version {version} of the root; copy {folder}/models/repository to the web server")


@model.command("replace-root")
@FOLDER
@PASSPHRASE
def replace_root(folder: Path, passphrase_file: Path | None) -> None:
    """Begin with a new root and new keys for everything: when the root's keys are lost, or somebody else has them.

    Devices follow because the fleet's authority says so; not where a root is installed as models.root_file. What is published
    stays so. If it is interrupted, run it again.
    """
    repository, passphrase = Repository(fleets.load(folder).folder), files.passphrase(passphrase_file)
    authority = Authority.open(folder, passphrase)  # without whom nobody follows
    version = repository.replace_root(passphrase)
    repository.endorse(authority.endorse)
    click.echo(f"version {version} of the root begins anew. What now:")
    click.echo(f"  a web server serves     {repository.folder}/repository, and nothing of before (rsync -a --delete)")
    click.echo(f"  take off this machine   two of {repository.folder}/keys/root-*.pem, each to a place of its own")
    click.echo(f"  by hand                 {folder}/models-root.json to each device that has a models.root_file")


def _endorse(repository: Repository, folder: Path, passphrase: bytes) -> list[str]:
    """Have the fleet's authority vouch for the newest root; where it cannot, devices need a file, and a person is told."""
    try:
        return ["the word for the root"] if repository.endorse(Authority.open(folder, passphrase).endorse) else []
    except (AuthorityError, FilesError) as error:
        click.echo(f"nobody vouches for the root of the models: {error}", err=True)
        click.echo(f"so devices need {folder}/models-root.json, as models.root_file says", err=True)
        return []


def _read(path: Path, limit: int, what: str) -> bytes:
    content = files.read(path, what, "give its path")
    if len(content) > limit:
        raise WordsError(f"{path}: {len(content)} bytes; {what} has {limit} at most")
    return content


def _release(manifest: Path, file: Path, content: bytes) -> Release:
    """The entry of the manifest that is about this file, whichever form it is."""
    try:
        known = Models.model_validate_json(files.read(manifest, "a manifest", "give it with --manifest")).models
    except ValidationError as error:
        raise WordsError(f"{manifest}: no manifest ({error.errors()[0]['msg']}); give one with --manifest") from None
    hashed = sha256(content)
    for name in MODEL_NAMES:
        entry = known.get(name)
        forms = {} if entry is None else {form.sha256: form for form in entry.forms.values()}
        if entry is None or hashed not in {entry.sha256, *forms}:
            continue
        about = {} if hashed == entry.sha256 else {"shapes": forms[hashed].shapes, "quantization": forms[hashed].quantization}
        plain = entry.model_copy(update={"sha256": hashed, "form": None, "forms": {}, **about})
        stem = Path(name_of(Release(model=name, entry=plain, vectors="v", card="c"))).stem
        plain = plain.model_copy(update={"file": f"{stem}.tflite"})
        return Release(model=name, entry=plain, vectors=f"{stem}.vectors.json", card=f"{stem}.md")
    raise WordsError(f"{file}: no entry in {manifest} is about it (sha256 {hashed[:12]}…); release it there first")


def _made(file: Path) -> bytes:
    """Test vectors made here, by a process of its own: this one runs no models."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "vectors.json"
        done = subprocess.run(
            [sys.executable, "-m", "models.vectors", str(file), "--out", str(out)], capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            said = (done.stderr.strip() or "no reason given").splitlines()[-1]
            raise WordsError(f"{file}: its test vectors cannot be made here ({said}); make them elsewhere, and give --vectors")
        return out.read_bytes()


COMMANDS = (model,)
