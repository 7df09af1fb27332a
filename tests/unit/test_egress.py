"""Whom the sending process may talk to: what is found, and for how long it counts."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from device.cli import main
from device.egress import KEPT, MOST, Known, hosts, is_address, later, look_up, name_servers
from device.errors import BrokerError, OutputError
from device.settings import Settings

RESOLV = """# made by DHCP
nameserver 192.0.2.53
nameserver fe80::1%eth0
nameserver
search corner-shop.example
nameserver nonsense
"""


def settings(url: str, publisher: str = "mqtt") -> Settings:
    return Settings.model_validate({"broker": {"url": url, "publisher": publisher}})


def test_the_brokers_host_and_those_of_the_file_are_looked_up_each_once() -> None:
    also = "models.example  # the web server of the models\n\nbroker.example\n# nobody\n"

    found = hosts(settings("mqtts://broker.example:8883"), also)

    assert found == ("broker.example", "models.example")
    assert hosts(settings("mqtt://broker.example:1883", "stdout")) == ()


def test_name_servers_are_read_as_addresses_without_an_interface() -> None:
    assert name_servers(RESOLV) == ("192.0.2.53", "fe80::1")


def test_an_address_stays_for_a_day_after_it_was_last_found() -> None:
    first = later(Known(), ("broker.example",), ("192.0.2.1",), now=100.0)
    second = later(first, ("broker.example",), ("192.0.2.2",), now=200.0)

    assert set(later(second, ("broker.example",), (), now=99.0 + KEPT).seen) == {"192.0.2.1", "192.0.2.2"}
    assert set(later(second, ("broker.example",), (), now=100.0 + KEPT).seen) == {"192.0.2.2"}


def test_nothing_stays_of_another_host_or_of_an_earlier_boot() -> None:
    known = Known(hosts=("broker.example",), seen={"192.0.2.1": 5000.0})

    assert later(known, ("other.example",), ("192.0.2.9",), now=5001.0).seen == {"192.0.2.9": 5001.0}
    assert later(known, ("broker.example",), (), now=10.0).seen == {}


def test_the_list_does_not_grow_without_end_and_the_newest_stay() -> None:
    known = Known()
    for number in range(200):
        known = later(known, ("broker.example",), (f"192.0.2.{number}",), now=float(number))

    assert len(known.seen) == MOST
    assert "192.0.2.199" in known.seen


def test_an_address_needs_no_name_server() -> None:
    assert [is_address(host) for host in ("192.0.2.1", "2001:db8::1", "broker.example")] == [True, True, False]
    assert look_up("127.0.0.1") == ("127.0.0.1",)
    assert look_up("::1") == ("::1",)


def test_a_host_without_an_address_is_named() -> None:
    with pytest.raises(BrokerError, match=r"broker\.\.example: has no address .*check broker\.url"):
        look_up("broker..example")


def test_what_is_known_survives_in_its_file_and_a_damaged_one_is_empty(tmp_path: Path) -> None:
    file, known = tmp_path / "known.json", Known(hosts=("a",), seen={"192.0.2.1": 1.5})

    known.write(file)
    assert Known.read(file) == known
    file.write_text("{")
    assert Known.read(file) == Known.read(None) == Known.read(tmp_path / "none") == Known()
    with pytest.raises(OutputError, match="cannot be written"):
        known.write(file / "below")


def egress(tmp_path: Path, url: str, *words: str) -> tuple[int, list[str]]:
    file = tmp_path / "settings.toml"
    file.write_text(f'[broker]\nurl = "{url}"\n')
    done = CliRunner().invoke(main, ["egress", "--settings", str(file), *words])
    return done.exit_code, done.output.splitlines()


def test_the_command_prints_the_addresses_alone_where_no_name_is_involved(tmp_path: Path) -> None:
    also = tmp_path / "egress"
    also.write_text("::1\n")

    assert egress(tmp_path, "mqtt://127.0.0.1:1883", "--also", str(also)) == (0, ["127.0.0.1", "::1"])


def test_a_host_that_is_not_found_ends_with_69_but_what_was_known_is_allowed_still(tmp_path: Path) -> None:
    known = tmp_path / "known.json"
    words = ("--known", str(known), "--also", str(tmp_path / "none"))
    egress(tmp_path, "mqtt://broker..example:1883", *words)
    known.write_text(later(Known.read(known), ("broker..example",), ("192.0.2.1",), now=time.monotonic()).model_dump_json())

    code, said = egress(tmp_path, "mqtt://broker..example:1883", *words)

    assert code == 69
    assert "192.0.2.1" in said
    assert said[-1].startswith("mien: broker..example: has no address")


@pytest.fixture
def systemctl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """A function that says what ``systemctl`` does on this machine."""
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")

    def does(script: str) -> None:
        program = tmp_path / "bin" / "systemctl"
        program.parent.mkdir(exist_ok=True)
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)

    return does


def test_what_was_found_is_remembered_once_it_is_in_force(tmp_path: Path, systemctl: Callable[[str], None]) -> None:
    known = tmp_path / "known.json"
    words = ("--known", str(known), "--apply", "one.service", "--apply", "two.service")

    systemctl(f'echo "$3 $(test -e {known} && echo known)" >> {tmp_path}/asked; test "$3" = one.service')
    refused, said = egress(tmp_path, "mqtt://127.0.0.1:1883", *words)
    assert (refused, said[-1]) == (1, "mien: two.service: systemd refused (); run as root")
    assert not known.exists()

    systemctl(f'echo "$3 $(test -e {known} && echo known)" >> {tmp_path}/asked')
    assert egress(tmp_path, "mqtt://127.0.0.1:1883", *words) == (0, ["127.0.0.1"])
    assert Known.read(known).hosts == ("127.0.0.1",)
    assert (tmp_path / "asked").read_text().splitlines() == ["one.service ", "two.service "] * 2
