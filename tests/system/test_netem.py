"""A line that loses one packet in five, as the kernel's own netem makes it; in user-mode Linux."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from tests.build import put_reports, settings_text
from tests.system import uml
from tests.system.debian import layer, need

pytestmark = [pytest.mark.system, pytest.mark.timeout(1200)]
REPORTS = 150
MODULES = Path("/usr/lib/uml/modules")
LOAD = "import ctypes, os; raise SystemExit(ctypes.CDLL(None).syscall(313, os.open('/usr/local/sch_netem.ko', 0), b'', 0))"
SCRIPT = f"""
set -eu
python3 -c "{LOAD}"  # finit_module on x86-64; there is no insmod in this root
ip link set lo up
tc qdisc add dev lo root netem delay 75ms 25ms loss 20%
mkdir -p /run/mien
mosquitto -d -c /etc/mosquitto/netem.conf
mosquitto_sub -V mqttv5 -q 1 -F %J -t mien/v1/shelf-7/up/report -i fleet > /tmp/fleet.out &
until [ -e /proc/$!/fd/3 ] && ss -tn state established | grep -q :1883; do sleep 0.2; done
/opt/mien/bin/mien send --settings /etc/mien/settings.toml 2> /tmp/send.err &
end=$((SECONDS + 500))
until [ -z "$(ls /var/lib/mien/spool/new)" ] && grep -q '"seq":{REPORTS},' /tmp/fleet.out; do
  [ $SECONDS -lt $end ] || {{ tail -5 /tmp/send.err; break; }}
  sleep 0.5
done
echo "took $((SECONDS - end + 500))"
tc -s qdisc show dev lo
cat /tmp/fleet.out
"""


def test_a_line_that_is_slow_uneven_and_loses_a_fifth_of_all_packets_delivers_everything_in_order(tmp_path: Path) -> None:
    need(("linux.uml", "user-mode-linux"))
    put = put_reports(tmp_path / "put", REPORTS)
    with layer(tmp_path) as (root, _):
        state = root / "var/lib/mien"
        (root / "etc/mien/settings.toml").write_text(settings_text(Path("/var/lib/mien"), "mqtt://127.0.0.1:1883"))
        (root / "etc/mosquitto/netem.conf").write_text("listener 1883\nallow_anonymous true\nuser root\n")
        shutil.copy(next(MODULES.glob("*/kernel/net/sched/sch_netem.ko")), root / "usr/local/sch_netem.ko")
        shutil.copytree(tmp_path / "put", state / "spool", dirs_exist_ok=True)

        said = uml.run(root, SCRIPT, tmp_path / "console.log", seconds=800)

    print(said.split("{", 1)[0])
    arrived = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
    by_id = {one["properties"]["user-properties"]["id"]: one["payload"]["seq"] for one in arrived}
    assert by_id == {one.id: one.seq for one in put}
    assert list(by_id.values()) == sorted(by_id.values())
    dropped = re.search(r"dropped (\d+)", said)
    assert dropped is not None
    assert int(dropped[1]) > 20
