"""The unit of the watching process around the real picamera2 and libcamera: what it forbids is nothing that these need."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.system.debian import layer, need
from tests.system.nspawn import booted
from tests.system.picamera2_root import prepared
from tests.system.settings import demonstration

pytestmark = [pytest.mark.system, pytest.mark.timeout(1200)]

SETTINGS = demonstration(camera='source = "picamera2"\nwidth = 320\nheight = 240')
# The unit as it is, in a root that has libcamera.
DROP_IN = """[Service]
RootDirectory=/camera
MountAPIVFS=yes
BindPaths=/var/lib/mien
BindReadOnlyPaths=/etc/mien
Environment=PYTHONPATH=/site:/t PYTHONDONTWRITEBYTECODE=1
ExecStart=
ExecStart=/usr/bin/python3 -m device.entry watch --settings /etc/mien/settings.toml
"""


@pytest.mark.parametrize("netlink", [True, False], ids=["as it is", "without AF_NETLINK"])
def test_a_camera_of_libcamera_works_inside_and_needs_netlink(tmp_path: Path, netlink: bool) -> None:
    need(("systemd-nspawn", "systemd-container"))
    picture = np.full((240, 320, 3), 128, np.uint8)
    with layer(tmp_path) as (root, _), prepared([picture]) as camera:
        (root / "etc/mien/settings.toml").write_text(SETTINGS)
        drop_in = root / "etc/systemd/system/mien-watch.service.d/camera.conf"
        drop_in.parent.mkdir(parents=True)
        families = "" if netlink else "RestrictAddressFamilies=\nRestrictAddressFamilies=AF_UNIX\n"
        drop_in.write_text(DROP_IN + families)
        (root / "camera").mkdir()
        (tmp_path / "over").mkdir()
        with booted(root, tmp_path / "boot.log", f"--overlay={camera}:{tmp_path / 'over'}:/camera") as machine:
            machine.run("systemctl", "start", "--no-block", "mien-watch")

            if netlink:
                machine.wait(lambda: '"event": "report"' in machine.journal("mien-watch"), "a report")
                assert machine.unit("mien-watch")["ActiveState"] == "active"
            else:
                machine.wait(lambda: "No such device" in machine.journal("mien-watch"), "libcamera to give up")
                assert '"event": "report"' not in machine.journal("mien-watch")
