"""Runs at boot inside the machine, with its own Python: installs the package, tries the camera, then the services; leaves JSON.

Each part leaves what it found under its name in ``/var/trial.json``; the test outside judges.
"""

import json
import os
import subprocess
import sys
import time
import traceback
from pathlib import Path

FOUND = Path("/var/trial.json")
PYTHON = "/opt/mien/venv/bin/python"
VIVID = Path("/sys/bus/platform/drivers/vivid")
SETTINGS = """
device = "shelf-7"
window_seconds = 20
demo = true
noise = "off"
k = 2
[camera]
source = "v4l2:/dev/video0"
fps = 0.5
timeout_seconds = 20.0
[models]
detector = "short"
tiles = 1
[spool]
folder = "/var/lib/mien/spool"
[broker]
url = "mqtt://127.0.0.1:1883"
[policy]
setting = "research"
jurisdiction = "EU"
"""
SLOW = "[Service]\nTimeoutStartSec=1200\nWatchdogSec=600\n"  # an emulated processor, on a machine that is busy besides
PATIENCE = 600  # seconds that anything may take here


def run(*words):
    done = subprocess.run(words, check=False, capture_output=True, text=True, timeout=2 * PATIENCE)
    return {"code": done.returncode, "out": done.stdout[-4000:], "err": done.stderr[-4000:]}


def until(condition, seconds=PATIENCE):
    """What the condition says as soon as it is true, or at the end."""
    end = time.monotonic() + seconds
    while not (said := condition()) and time.monotonic() < end:
        time.sleep(0.5)
    return said


def install():
    return run("dpkg", "--install", "/t/mien.deb")


def doctor():
    return run("mien", "doctor")


def camera():
    """The adapter alone, on the device of ``vivid``; ``camera.py`` prints one JSON object."""
    run("modprobe", "vivid", "n_devs=1", "node_types=0x1", "num_inputs=1", "input_types=0")
    until(Path("/dev/video0").exists)
    done = run(PYTHON, "/t/camera.py")
    return json.loads(done["out"]) if done["code"] == 0 else done


class Broker:
    """What arrives at the broker, as topic and payload."""

    def __init__(self):
        self.file = Path("/var/arrived")
        with self.file.open("w") as out:
            words = ("stdbuf", "-oL", "mosquitto_sub", "-h", "127.0.0.1", "-V", "5", "-F", "%t %p", "-t", "mien/v1/shelf-7/up/#")
            self.process = subprocess.Popen(words, stdout=out)

    def arrived(self, end):
        pairs = (line.split(" ", 1) for line in self.file.read_text().splitlines(keepends=True) if line.endswith("\n"))
        return [json.loads(payload) for topic, payload in pairs if topic.endswith(end) and payload.strip()]


def state(unit):
    wanted = "ActiveState,SubState,NRestarts,Result,MainPID,MemoryCurrent"
    lines = run("systemctl", "show", "-p", wanted, unit)["out"].splitlines()
    return dict(line.split("=", 1) for line in lines)


def services():
    """The units as they are shipped, but for their time limits, from the camera to a broker on this machine."""
    Path("/etc/mien/settings.toml").write_text(SETTINGS)
    for unit in ("mien-watch", "mien-send"):
        folder = Path(f"/run/systemd/system/{unit}.service.d")
        folder.mkdir(parents=True)
        (folder / "slow.conf").write_text(SLOW)
    run("systemctl", "daemon-reload")
    broker, began = Broker(), time.monotonic()
    found = {"start": run("systemctl", "start", "--no-block", "mien.target")}
    found["reports"] = until(lambda: [r for r in broker.arrived("/up/report") if r["withheld"] == "k"])
    found["seconds"] = round(time.monotonic() - began)
    found["before"] = state("mien-watch.service")
    found["device"] = run("ls", "-l", "/dev/video0")["out"]
    (VIVID / "unbind").write_text("vivid.0")
    found["unplugged"] = until(lambda: [s for s in broker.arrived("/up/status") if s.get("trouble") == "camera"], 300)
    (VIVID / "bind").write_text("vivid.0")
    plugged, sofar = time.monotonic(), len(broker.arrived("/up/report"))
    found["again"] = until(lambda: [r for r in broker.arrived("/up/report")[sofar:] if r["withheld"] == "k"])
    found["again_seconds"] = round(time.monotonic() - plugged)
    found["after"] = {unit: state(f"mien-{unit}.service") for unit in ("watch", "send", "egress")}
    found["statuses"] = broker.arrived("/up/status")
    found["all"] = broker.arrived("/up/report")
    found["stop"] = run("systemctl", "stop", "mien-watch.service", "mien-send.service")
    found["stopped"] = {unit: state(f"mien-{unit}.service") for unit in ("watch", "send")}
    found["log"] = run("journalctl", "--no-pager", "-o", "cat", "-u", "mien-watch", "-u", "mien-send", "-u", "mien-egress")["out"]
    return found


def main():
    found = {"up": float(Path("/proc/uptime").read_text().split()[0]), "system": " ".join(os.uname())}
    found["init"] = Path("/proc/1/comm").read_text().strip()
    for part in (install, doctor, camera, services):
        began = time.monotonic()
        print(f"trial: {part.__name__}", file=sys.stderr, flush=True)
        try:
            found[part.__name__] = part()
        except BaseException:  # it is said outside
            found[part.__name__] = {"error": traceback.format_exc()}
        found[f"{part.__name__}_seconds"] = round(time.monotonic() - began)
        FOUND.write_text(json.dumps(found))
        os.sync()
    print("trial: over", file=sys.stderr, flush=True)


main()
