"""What the documents say is true of this tree."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest

from device import errors
from device.contract_schema import json_schema
from device.plug import names
from device.settings import Settings, parse
from device.settings_policy import PolicySettings
from device.watch import load_nets

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
FOREIGN = re.compile(r"(^|/)(\.|build/)")  # environments, and what is built or fetched
TOPS = [path for path in ROOT.iterdir() if not FOREIGN.search(f"{path.name}/")]  # whole systems run in build/ while others test
DOCUMENTS = sorted(
    path
    for top in TOPS
    for path in (top.rglob("*.md") if top.is_dir() else [top])
    if path.suffix == ".md" and not FOREIGN.search(path.relative_to(ROOT).as_posix())
)


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def test_the_readme_begins_with_the_two_commands_and_a_picture() -> None:
    lines = README.splitlines()

    assert lines[:4] == ["```", "make demo", "make test", "```"]
    assert lines[5].startswith("![")
    for target in ("demo", "test"):
        assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)


def test_every_mien_command_in_the_readme_exists() -> None:
    commands = set(re.findall(r"\.venv/bin/mien ((?:settings )?\w+)", README))

    assert commands >= {"doctor", "watch", "send", "settings example"}
    for command in commands:
        words = [sys.executable, "-m", "device.cli", *command.split(), "--help"]
        ended = subprocess.run(words, cwd=ROOT, capture_output=True, check=False)
        assert ended.returncode == 0, command


def test_the_report_in_the_readme_is_a_report() -> None:
    (sample,) = blocks("json")

    jsonschema.validate(json.loads(sample), json_schema("up/report"))


def test_the_report_in_the_readme_comes_from_the_models_that_are_shipped() -> None:
    named = json.loads(blocks("json")[0])["models"]
    shipped = load_nets(Settings(policy=PolicySettings(setting="research", jurisdiction="EU"))).hashes.model_dump()

    for name, start in named.items():
        assert shipped[name].startswith(start)


def test_the_cameras_in_the_readme_exist() -> None:
    sources = re.findall(r'`(source = "(\w+)[^`]*)`', README)

    assert {name for _, name in sources} == set(names("device.cameras")) - {n for n in names("device.cameras") if n.startswith("_")}
    for line, _ in sources:
        parse(f"[camera]\n{line}", "README.md")


def test_the_exit_codes_in_the_readme_are_those_of_the_errors() -> None:
    told = {int(code) for code in re.findall(r"^\| (\d+) \|", README, re.MULTILINE)}
    used = {error.exit_code for error in vars(errors).values() if isinstance(error, type) and issubclass(error, errors.MienError)}

    assert told == used | {0, 2}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_between_documents_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", document.read_text()):
        assert (document.parent / target).exists(), f"{document.name} links to {target}"
