"""A model from ``mien-fleet model publish`` to a device that counts with it: real processes, broker, web server, mutual TLS."""

from __future__ import annotations

import hashlib
import json
import signal
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from click.testing import CliRunner

from provisioning.cli import main
from tests.build import PERMISSIVE
from tests.conftest import MOSQUITTO, ROOT, Process, wait_for
from tests.repository import PACKAGED, Web, another, serve
from tests.world import BoxFiles, World

pytestmark = [
    pytest.mark.skipif(MOSQUITTO is None, reason="mosquitto is not installed: sudo apt install mosquitto mosquitto-clients"),
    pytest.mark.timeout(400),
]
NEW = hashlib.sha256(another()).hexdigest()
SHOP = 'setting = "retail"\njurisdiction = "DE"\nstaff_out_of_view = "the till is behind the camera"'  # as the identity says
QUICK = ("--soak", "0", "--trial", "0", "--timeout", "120")


class Site:
    """A fleet with a repository of models, and one device with its identity."""

    def __init__(self, world: World, start: Callable[..., Process]) -> None:
        self.world, self._start = world, start
        world.fleet("model", "init", *world.secret)
        self.served = world.folder / "models" / "repository"
        self.box = BoxFiles(world, "box", start)
        self.box.key.parent.mkdir()
        self.name = world.old_device(self.box, "SN-1", days=1)
        self.file = self.box.folder / "settings.toml"
        more = f'\n[models]\nroot_file = "{self.box.folder}/none"\ndetector = "short"\ntiles = 1\n'
        text = self.file.read_text().replace(PERMISSIVE, SHOP).replace("ca_file", "rollouts = true\nca_file")
        self.file.write_text(f"demo = true\n{text}{more}")

    def mien(self, command: str) -> Process:
        return self._start(sys.executable, "-m", "device.cli", command, "--settings", self.file)

    def publish(self, content: bytes) -> str:
        """The packaged model as another file, with its entry."""
        entry = PACKAGED["emotion"].model_copy(update={"sha256": hashlib.sha256(content).hexdigest()})
        folder = self.world.base / "new"
        folder.mkdir(exist_ok=True)
        (folder / "emotion.tflite").write_bytes(content)
        said = {"schema": 1, "models": {"emotion": entry.model_dump(mode="json", exclude_none=True)}}
        (folder / "manifest.json").write_text(json.dumps(said))
        card = str(ROOT / "models" / "emotion.md")
        out = self.world.fleet("model", "publish", str(folder / "emotion.tflite"), "--card", card, *self.world.secret)
        return out.split()[0]

    @property
    def status(self) -> dict[str, Any]:
        return dict(json.loads(self.world.fleet("rollout", "status", "--json")))

    @property
    def state(self) -> tuple[str, str]:
        found = self.status["rollout"]
        (member,) = found["members"]
        return found["state"], member["state"]

    def becomes(self, rollout: str, member: str) -> None:
        wait_for(lambda: self.state == (rollout, member), 150, why=f"{rollout}, {member}, not {self.status['rollout']}")

    @property
    def models(self) -> str:
        path = self.box.folder / "run" / "health.json"
        return path.read_text() if path.exists() else ""


@pytest.fixture
def site(world: World, start: Callable[..., Process]) -> Site:
    return Site(world, start)


@pytest.fixture
def web(site: Site) -> Iterator[Web]:
    with serve(site.served) as web:
        yield web


def test_a_model_is_rolled_out_while_services_and_device_are_killed_and_taken_back_when_a_person_wants_it(
    world: World, site: Site, web: Web
) -> None:
    services = [world.serve(), world.serve()]
    watch, send = site.mien("watch"), site.mien("send")
    target = site.publish(another())
    words = ("--canary", "5%", "--then", "50%", "--abort-above", "2%", *QUICK)
    assert target == f"emotion-{NEW[:8]}.tflite"

    world.fleet("rollout", "start", "--model", target, "--url", web.url, *words)
    wait_for(lambda: site.state[1] != "pending", 60, why="the job to be sent")
    services[0].end(signal.SIGKILL)
    wait_for(lambda: site.state[1] in ("verifying", "trial", "committed"), 120, why="the download")
    for process in (watch, send):
        process.end(signal.SIGKILL)
    watch, send = site.mien("watch"), site.mien("send")

    site.becomes("done", "committed")
    wait_for(lambda: NEW in site.models, 60, why="the new model in force")
    assert "one pass takes" in world.fleet("rollout", "status")

    world.fleet("rollout", "abort", "--back")
    site.becomes("aborted", "rolled_back")
    wait_for(lambda: PACKAGED["emotion"].sha256 in site.models, 60, why="the packaged model")
    assert [process.end() for process in (watch, send, services[1])] == [0, 0, 0]
    said = [json.loads(line) for line in world.fleet("audit").splitlines()]
    codes = ["started", "committed", "stage", "stage", "done", "aborted", "rolled_back"]
    assert [one["code"] for one in said if one["step"] == "rollout"] == codes


def test_a_model_that_a_device_refuses_stops_the_rollout_by_itself(world: World, site: Site, web: Web) -> None:
    service, watch, send = world.serve(), site.mien("watch"), site.mien("send")
    target = site.publish(another())
    (path,) = (site.served / "targets").glob("*.tflite")
    path.write_bytes(another(9))

    world.fleet("rollout", "start", "--model", target, "--url", web.url, *QUICK)

    site.becomes("aborted", "rejected")
    assert site.status["rollout"]["reason"] == "1 of 1 devices have failed (hash): 100.0 %, where 2 % are allowed"
    wait_for(lambda: PACKAGED["emotion"].sha256 in site.models, 60, why="the packaged model in force")
    assert not (site.box.folder / "inbox" / "model" / "targets").exists()
    assert [process.end() for process in (watch, send, service)] == [0, 0, 0]


def wrong(world: World, *words: str) -> str:
    result = CliRunner().invoke(main, [*words[:2], str(world.folder), *words[2:]])
    assert result.exit_code not in (0, 1), result.output
    assert "Traceback" not in result.output
    return result.output


def test_a_user_s_mistakes_are_told_in_a_line(world: World, site: Site) -> None:
    file, card = str(ROOT / "models" / "face-int8.tflite"), str(ROOT / "models" / "face.md")
    start = ("rollout", "start", "--url", "http://127.0.0.1:1/", "--model")

    assert "'x' is not published; there is nothing yet" in wrong(world, *start, "x")
    assert "there is no rollout" in wrong(world, "rollout", "status")
    assert "cannot be read" in wrong(world, "model", "publish", "nothing.tflite", "--card", card, *world.secret)
    assert "no entry in" in wrong(world, "model", "publish", card, "--card", card, *world.secret)
    assert "no test vectors" in wrong(world, "model", "publish", file, "--card", card, "--vectors", card, *world.secret)
    target = world.fleet("model", "publish", file, "--card", card, *world.secret).split()[0]
    assert target.startswith("face-")
    assert "expected a percentage" in wrong(world, *start, target, "--canary", "a few")
    assert "percents that grow" in wrong(world, *start, target, "--canary", "50%", "--then", "5%")
    assert "no device has labels like store=x" in wrong(world, *start, target, "--group", "store=x")
    assert json.loads(world.fleet("model", "list", "--json"))["model"] == "face"
    assert "nothing ends soon" in world.fleet("model", "refresh", *world.secret)
    assert "version 2 of the root" in world.fleet("model", "renew-root", *world.secret)


def test_devices_follow_a_root_that_the_old_one_could_not_sign_because_its_keys_are_lost(
    world: World, site: Site, web: Web
) -> None:
    running = [world.serve(), site.mien("watch"), site.mien("send")]
    world.fleet("rollout", "start", "--model", site.publish(another()), "--url", web.url, *QUICK)
    site.becomes("done", "committed")
    for name in ("root-1", "root-2", "timestamp"):
        (world.folder / "models" / "keys" / f"{name}.pem").unlink()
    assert "replace-root" in wrong(world, "model", "renew-root", *world.secret)

    assert "version 2 of the root begins anew" in world.fleet("model", "replace-root", *world.secret)
    target = site.publish(another(2))
    world.fleet("rollout", "start", "--model", target, "--url", web.url, *QUICK)

    site.becomes("done", "committed")
    wait_for(lambda: hashlib.sha256(another(2)).hexdigest() in site.models, 60, why="the newer model in force")
    assert [process.end() for process in running] == [0, 0, 0]
