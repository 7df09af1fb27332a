"""The power is cut while something is remembered: settings, commands, models, keys. What was told is so, and can be read."""

from __future__ import annotations

import hashlib
import shutil
import sys
from pathlib import Path

import pytest

from device.identity import Key, own
from device.manifest import FOLDER, read_manifest
from device.model_store import Models, in_force
from device.settings import parse
from device.twin_keeper import TwinKeeper
from tests.build import SetClock, recorded, settings_text
from tests.conftest import ROOT
from tests.faults.replay import after_every_power_cut
from tests.faults.strace import Log, record
from tests.repository import EMOTION, another
from tests.watching import Watching

pytestmark = [
    pytest.mark.timeout(240),
    pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed: sudo apt install strace"),
]
OTHERS = ("run", "fleet", "root.json")  # on a tmpfs, or not this device's


def done_by(program: str, tmp_path: Path) -> Log:
    root = tmp_path / "device"
    root.mkdir()
    program = "import sys\nfrom pathlib import Path\nfrom functools import partial\nsay = partial(print, flush=True)\n" + program
    return record([sys.executable, "-c", program, root], root, tmp_path / "strace.txt", ROOT, OTHERS)


TWIN = """
import json
from device import inbox
from tests.twins import Device

device = Device(Path(sys.argv[1]))
for version, desired in enumerate(({"k": 5}, {"k": 6}, {"camera": {"fps": 400}}, {"k": 7}), start=1):
    wish = json.dumps({"epoch": 1, "version": version, "desired": desired}).encode()
    inbox.put_slot(device.settings.inbox_folder, "twin", wish)
    say("wished", version)
    device.keeper.wants(1.0)
    k = device.keeper.before(device.settings).k
    device.keeper.works()
    device.keeper.wants(2.0)
    say("told", version, k)
"""


def test_settings_of_the_fleet_are_one_version_after_any_power_cut_and_never_older_than_was_told(tmp_path: Path) -> None:
    log = done_by(TWIN, tmp_path)

    def look(folder: Path, said: list[str]) -> None:
        words = [line.split() for line in "".join(said).splitlines()]
        wished, told = (max([0, *(int(word[1]) for word in words if word[0] == what)]) for what in ("wished", "told"))
        logger, entries = recorded()
        keeper = TwinKeeper(parse(settings_text(folder, top="k = 4", broker="twin = true"), "f"), logger)
        k = keeper.before(keeper._base).k
        keeper.works()
        assert [entry for entry in entries if entry["log_level"] == "error"] == []
        in_turn = [4, 5, 6, 6, 7]
        assert k in in_turn[max(told, wished) : min(wished + 2, 5)]
        assert keeper._page.trying is None

    count = after_every_power_cut(log, look)
    assert count > 50


COMMANDS = """
from tests.watching import Watching

watching = Watching(Path(sys.argv[1]))
for name, command, seconds in (("a1", "pause", 600), ("a2", "resume", None), ("a3", "pause", 900)):
    watching.left(name, command, seconds)
    watching.look()
    assert watching.answer(name)[0] == "succeeded"
    say("done", name)
"""


def test_a_command_that_was_answered_is_known_after_any_power_cut_and_not_done_again(tmp_path: Path) -> None:
    log = done_by(COMMANDS, tmp_path)

    def look(folder: Path, said: list[str]) -> None:
        done = len("".join(said).split()) // 2
        watching = Watching(folder).again("0badcafe")
        assert [entry for entry in watching.entries if entry["log_level"] == "error"] == []
        begun = set(watching.orders._memory.known)
        assert begun >= {f"a{number}" for number in range(1, done + 1)}
        paused = watching.paused
        if done:
            watching.left(f"a{done}", "pause", 60).look()  # it comes again
        if len(begun) == done:
            assert paused == watching.paused == (done in (1, 3))

    count = after_every_power_cut(log, look)
    assert count > 50


MODELS = """
import ssl
from device import inbox
from device.download import download
from tests.model_device import Device
from tests.repository import another, serve

device = Device(Path(sys.argv[1]))
staging = device.settings.inbox_folder / inbox.STAGING
for number in (1, 2):
    with serve(device.shop.served) as web:
        job = device.shop.job(device.shop.publish(another(number)), web.url, str(number) * 16)
        download(job, lambda *_: device.shop.root, staging, ssl.create_default_context(), lambda: False)
    inbox.put_slot(device.settings.inbox_folder, "model", job.model_dump_json().encode())
    say("handed over", number)
    device.run()
    device.pass_trial()
    say("committed", number)
"""


@pytest.mark.parametrize("every", [25, pytest.param(1, marks=(pytest.mark.system, pytest.mark.timeout(900)))])
def test_the_model_in_force_is_whole_after_any_power_cut_and_the_one_that_was_committed(tmp_path: Path, every: int) -> None:
    log = done_by(MODELS, tmp_path)
    hashes = [EMOTION.sha256, *(hashlib.sha256(another(number)).hexdigest() for number in (1, 2))]

    def look(folder: Path, said: list[str]) -> None:
        committed = max([0, *(int(line.split()[1]) for line in "".join(said).splitlines() if line.startswith("committed"))])
        text = settings_text(folder) + f'\n[models]\nroot_file = "{tmp_path}/device/root.json"\n'
        settings, (logger, entries) = parse(text, "f"), recorded()
        models = Models(settings, SetClock(), logger)
        models.before(settings)
        assert [entry for entry in entries if entry["log_level"] == "error"] == []
        file = in_force(read_manifest(FOLDER), settings).file("emotion")
        assert hashlib.sha256(file.path.read_bytes()).hexdigest() == file.sha256
        assert file.sha256 in hashes[committed:]
        left = {path.name for path in (settings.state_folder / "models").glob("*")}
        assert left <= {f"{sha256}.tflite" for sha256 in hashes}

    count = after_every_power_cut(log, look, every=every)
    assert count * every > 1000


def test_a_key_that_the_fleet_was_told_of_is_still_there_after_any_power_cut(tmp_path: Path) -> None:
    program = """
from device.identity import Key, write
for number in range(3):
    say("has", number, Key.open(Path(sys.argv[1]) / "identity" / f"{number}.key").sha256)
    write(Path(sys.argv[1]) / "identity" / "device.pem", b"%d" % number * 900, mode=0o644)
    say("certificate", number)
"""
    log = done_by(program, tmp_path)

    def look(folder: Path, said: list[str]) -> None:
        words = [line.split() for line in "".join(said).splitlines()]
        for _, number, sha256 in (word for word in words if word[0] == "has"):
            assert Key.open(folder / "identity" / f"{number}.key").sha256 == sha256
        newest = max([-1, *(int(word[1]) for word in words if word[0] == "certificate")])
        pem = folder / "identity" / "device.pem"
        assert newest == -1 or pem.read_bytes() in {b"%d" % number * 900 for number in (newest, newest + 1)}
        assert own(pem) is None

    count = after_every_power_cut(log, look)
    assert count > 20
