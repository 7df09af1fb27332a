"""What a person sees of twins on the command line, on both sides."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from device import durable
from device.cli import main as mien
from device.commands import doctor
from device.contract import dump
from device.contract_twin import ReportedTwin, TwinError
from device.errors import MienError
from device.settings import parse
from device.twin import Page, Wish, merged, message
from provisioning import groups, manage, twins
from provisioning.cli import main as mien_fleet
from tests.build import settings_text
from tests.fleet import Box, Manager


class Box7:
    """A device whose watching process has said something."""

    def __init__(self, folder: Path, *, twin: bool = True) -> None:
        text = settings_text(folder, top="k = 4", broker="twin = true" if twin else "")
        self.file, self.settings = folder / "settings.toml", parse(text, "f")
        self.file.write_text(text)

    def says(self, *errors: TwinError) -> None:
        wish = Wish(epoch=5, version=1, desired='{"k":7,"camera":{"fps":2}}')
        found = merged(self.settings, wish.desired)
        assert not isinstance(found, tuple)
        page = Page(applied=wish, epoch=5, version=2 if errors else 1, errors=errors)
        durable.write(self.settings.run_folder / "twin.json", dump(message(page, found)))

    def show(self, *words: str) -> str:
        result = CliRunner().invoke(mien, ["settings", "show", "--settings", str(self.file), *words])
        assert result.exit_code == 0, result.output
        return result.output


def test_each_setting_is_shown_with_where_it_comes_from(tmp_path: Path) -> None:
    box = Box7(tmp_path)
    box.says()

    shown = json.loads(box.show("--json"))["settings"]

    assert shown["k"] == {"value": 7, "from": "twin"}
    assert shown["window_seconds"] == {"value": 5, "from": "file"}
    assert shown["max_hold"] == {"value": 4, "from": "default"}
    assert "version 1 of epoch 5 is in force (camera.fps, k)" in box.show()


def test_a_rejected_wish_is_shown_with_its_reasons_and_what_stays(tmp_path: Path) -> None:
    box = Box7(tmp_path)
    box.says(TwinError(path="k", reason="expected 4 or more"))

    shown = box.show()

    assert "version 2 of epoch 5 was rejected; from the fleet stays: camera.fps, k" in shown
    assert "k: expected 4 or more" in shown
    with pytest.raises(MienError, match="expected 4 or more"):
        doctor._twin(box.settings)


@pytest.mark.parametrize(("twin", "words"), [(True, "mien watch has not said anything yet"), (False, "twin: off")])
def test_without_a_word_from_the_watching_process_the_file_is_shown(tmp_path: Path, twin: bool, words: str) -> None:
    box = Box7(tmp_path, twin=twin)

    assert words in box.show()
    assert json.loads(box.show("--json"))["settings"]["k"] == {"value": 4, "from": "file"}


def test_what_a_device_has_switched_off_is_not_taken_from_files_that_lie_around(tmp_path: Path) -> None:
    Box7(tmp_path).says()

    assert json.loads(Box7(tmp_path, twin=False).show("--json"))["settings"]["k"]["value"] == 4


class Fleet:
    """A fleet's folder with two devices, without a broker."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "fleet"
        secret = folder / "passphrase"
        secret.write_text("only for this test\n")
        secret.chmod(0o600)
        assert self.run("init", "--broker", "mqtts://localhost:8883", "--passphrase-file", str(secret))[0] == 0
        self.manager = Manager(folder / "manager", f"sqlite:///{self.folder}/registry.db").batch()
        self.names = []
        for serial, store in (("SN-1", "berlin-3"), ("SN-2", "hamburg-1")):
            box = Box(serial)
            manage.add_batch(self.manager.registry, "berlin", "retail", "DE", {serial: box.id})
            self.names.append(str(self.manager.enrol(box)["device"]))
            groups.set_label(self.manager.registry, self.names[-1], "store", store)

    def run(self, command: str, *words: str) -> tuple[int, str]:
        result = CliRunner().invoke(mien_fleet, [command, str(self.folder), *words])
        return result.exit_code, result.output


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    made = Fleet(tmp_path)
    yield made
    made.manager.close()


def test_a_manager_s_mistake_is_named_and_changes_nothing(fleet: Fleet) -> None:
    for words, said in {
        ("k=7",): "for which devices?",
        ("--all", "kk=7"): "did you mean k?",
        ("--all", "k"): "expected KEY=VALUE",
        ("--all", "window_seconds=1"): "window_seconds: expected",
        ("--device", "nobody", "k=7"): "there is no device 'nobody'",
        ("--group", "store=paris*", "k=7"): "no device has labels like store=paris*",
        ("--group", "paris", "k=7"): "expected LABEL=VALUE",
    }.items():
        code, output = fleet.run("set", *words)
        assert code == 2, words
        assert said in output
        assert "Traceback" not in output
    assert twins.twins(fleet.manager.registry) == []


def test_desired_and_reported_stand_side_by_side(fleet: Fleet) -> None:
    berlin, hamburg = fleet.names
    assert fleet.run("set", "--group", "store=berlin*", "k=7", "camera.fps=2") == (0, f"{berlin}: version 1\n")
    assert fleet.run("set", "--group", "store=berlin*", "k=7") == (0, f"{berlin}: nothing new\n")
    assert "It has not reported yet" in fleet.run("twin", berlin)[1]
    (twin,) = twins.twins(fleet.manager.registry, berlin)
    settings = merged(parse("", "f"), '{"k": 7}')
    assert not isinstance(settings, tuple)
    page = Page(applied=Wish(epoch=twin.epoch, version=1, desired='{"k":7}'), epoch=twin.epoch, version=1)
    twins.heard(fleet.manager.registry, berlin, dump(message(page, settings)))

    lines = fleet.run("twin", berlin)[1].splitlines()

    assert lines[0].startswith(f"{berlin}: applied, version 1 of epoch")
    assert ["k", "7", "7"] in [line.split() for line in lines]
    assert ["camera.fps", "2", "5.0"] in [line.split() for line in lines]
    assert "unset" in fleet.run("twin", hamburg)[1]
    found = json.loads(fleet.run("twin", "--json")[1])
    assert (found["device"], found["desired"], found["state"]) == (berlin, {"camera.fps": 2, "k": 7}, "applied")
    assert ReportedTwin.model_validate(found["reported"]).desired_version == 1
