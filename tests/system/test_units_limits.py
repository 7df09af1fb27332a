"""Limits of the units that only a kernel of one's own enforces: memory, swap, locked pages, processor time; in user-mode Linux."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.system import uml
from tests.system.debian import layer, need
from tests.system.settings import demonstration

pytestmark = [pytest.mark.system, pytest.mark.timeout(1200)]

SETTINGS = demonstration(
    camera='source = "composite"\nfps = 1',
    broker='url = "mqtt://127.0.0.1:1883"',
    further='[models]\ndetector = "short"\ntiles = 1',
)
# Watches until reports arrive, takes the memory of the watching process away, and waits until reports arrive again.
SCRIPT = r"""
set -eu
ip link set lo up
mount -t tmpfs tmpfs /var/lib/mien  # what is made on the file system of the machine outside belongs to root
systemd-tmpfiles --create mien.conf
give_up() { echo "never: $1"; systemctl status 'mien*' --no-pager; exit 1; }
until_true() { local end=$((SECONDS + 500)); until eval "$1"; do [ $SECONDS -lt $end ] || give_up "$1"; sleep 0.5; done; }
show() { systemctl show "$1" -p "$2" --value; }
seqs() { journalctl -u mien-send -o cat --no-pager | grep -o '{.*"delivered".*' || true; }
systemctl mask --runtime mien-egress.service mien-egress.timer  # the broker has an address
systemctl set-property --runtime mien-send IPAddressAllow=127.0.0.1
systemctl start --no-block mien.target
until_true '[ "$(show mien-watch ActiveState) $(show mien-send ActiveState)" = "active active" ]'
echo "began $(cut -d' ' -f1 /proc/uptime)"
until_true '[ $(seqs | wc -l) -ge 2 ]'
cd /sys/fs/cgroup/system.slice
echo "swap $(cat mien-watch.service/memory.swap.max) $(cat mien-send.service/memory.swap.max)"
echo "memory $(cat mien-watch.service/memory.max) $(cat mien-send.service/memory.max)"
echo "cpu $(cat mien-send.service/cpu.max)"
first=$(show mien-watch MainPID)
echo "locked $(awk '/VmLck/ {print $2}' /proc/$first/status)"
echo "rss $(awk '/VmRSS/ {print $2}' /proc/$first/status)"
systemctl set-property --runtime mien-watch MemoryMax=48M
until_true '[ "$(show mien-watch NRestarts)" -ge 1 ]'
journalctl -u mien-watch -o cat --no-pager | grep -m1 -o "killed by the OOM killer"
systemctl set-property --runtime mien-watch MemoryMax=512M
before=$(seqs | wc -l)
until_true '[ $(show mien-watch ActiveState) = active ] && [ $(seqs | wc -l) -ge $((before + 2)) ]'
seqs
"""


def test_a_process_over_its_memory_limit_is_killed_and_comes_back_and_no_report_is_lost(tmp_path: Path) -> None:
    need(("linux.uml", "user-mode-linux"))
    with layer(tmp_path) as (root, _):
        (root / "etc/mien/settings.toml").write_text(SETTINGS)
        for name in ("mien-watch", "mien-send"):  # every system call takes many times as long
            drop_in = root / f"etc/systemd/system/{name}.service.d/slow.conf"
            drop_in.parent.mkdir(parents=True)
            drop_in.write_text("[Service]\nTimeoutStartSec=600\nWatchdogSec=300\n")
        (root / "etc/mosquitto/conf.d/mien.conf").write_text("listener 1883\nallow_anonymous true\n")

        said = uml.run(root, SCRIPT, tmp_path / "console.log", seconds=1100).splitlines()

    figures = {line.split(" ", 1)[0]: line.split(" ", 1)[1].split() for line in said if not line.startswith("{")}
    assert figures["swap"] == ["0", "0"]
    assert figures["memory"] == [str(512 * 2**20), str(256 * 2**20)]
    assert figures["cpu"] == ["100000", "100000"]  # microseconds in so many: one processor
    assert int(figures["locked"][0]) > 0
    assert "killed by the OOM killer" in said
    seqs = [json.loads(line)["seq"] for line in said if line.startswith("{")]
    assert seqs == list(range(1, len(seqs) + 1))
