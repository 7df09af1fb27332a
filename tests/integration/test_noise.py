"""The real watching process with noise: reports in the spool, ε in the ledger, and what is said when either is not to be had."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.build import Device
from tests.conftest import Process, wait_for

Mien = Callable[..., Process]
NOISE = 'noise = "discrete-laplace"\ndemo = true\nmax_hold = 2\n'
PLENTY = NOISE + "epsilon_day = 1e9\n"  # windows of a fast scene last a moment; a day then earns enough


def stored(device: Device) -> list[Any]:
    return [json.loads(path.read_text())["report"] for path in sorted((device.folder / "spool" / "new").iterdir())]


def ledger(device: Device) -> Path:
    return device.folder / "state" / "ledger.json"


def test_every_noised_window_is_paid_for_and_says_so(device: Device, mien: Mien) -> None:
    device.write(top=PLENTY)

    watch = mien("watch", "--settings", device.settings)
    wait_for(lambda: len(watch.events()) > 8, 100, why="reports")
    assert watch.end() == 0, watch.complaints

    reports = stored(device)
    told = [made for made in reports if made["withheld"] in (None, "k")]
    assert told
    assert {made["privacy"]["noise"] for made in reports} == {"discrete-laplace"}
    assert {made["privacy"]["epsilon"] for made in reports} == {1.0}
    assert sum(made["privacy"]["windows"] for made in told) * 1_000_000 == json.loads(ledger(device).read_text())["page"]["spent"]
    assert all(made["people"] == sum(made["groups"]["emotion"].values()) for made in told if made["people"] is not None)
    assert [made["seq"] for made in reports] == list(range(1, len(reports) + 1))


def test_a_first_window_that_is_cut_short_has_not_earned_its_budget_and_is_withheld(device: Device, mien: Mien) -> None:
    device.write(top=NOISE + "epsilon_day = 17282\n", camera="")

    watch = mien("watch", "--settings", device.settings)
    wait_for((device.folder / "run" / "health.json").exists, why="watching has begun")
    assert watch.end() == 0, watch.complaints

    (made,) = stored(device)
    assert (made["withheld"], made["people"], made["groups"]) == ("budget", None, None)
    (said,) = watch.events("warning")
    assert "the privacy budget is spent" in said


def test_a_damaged_ledger_is_set_aside_and_said_and_figures_come_back_by_themselves(device: Device, mien: Mien) -> None:
    device.write(top=PLENTY)
    ledger(device).parent.mkdir()
    ledger(device).write_text('{"page": ')

    watch = mien("watch", "--settings", device.settings)
    wait_for((device.folder / "run" / "health.json").exists, why="watching has begun")
    health = json.loads((device.folder / "run" / "health.json").read_text())
    wait_for(lambda: (device.folder / "spool" / "new").is_dir() and device.held("new") > 2, why="reports")
    assert watch.end() == 0, watch.complaints

    assert None in {made["withheld"] for made in stored(device)}
    assert (health["health"], health["trouble"]) == ("degraded", "budget")  # as it began
    assert f"{ledger(device)}: the ε ledger is damaged or was changed; it was moved to" in watch.events("error")[0]


def test_settings_that_cannot_fit_the_budget_of_a_day_are_78_with_the_arithmetic(device: Device, mien: Mien) -> None:
    device.write(top='noise = "discrete-laplace"\n')

    watch = mien("watch", "--settings", device.settings)

    assert watch.wait() == 78
    (line,) = watch.complaints
    assert "epsilon_day: expected at least 17282: 17280 windows of 5 s a day and 2 for restarts cost 1 each" in line
    assert "(17280 + 2) × 1 = 17282" in line
    assert not (device.folder / "spool").exists()


@pytest.mark.parametrize("where", ["file/state", "/proc/state"])
def test_a_state_folder_that_cannot_be_used_is_73_and_one_line(device: Device, mien: Mien, where: str) -> None:
    (device.folder / "file").touch()
    folder = device.folder / where
    text = device.write(top=PLENTY).settings.read_text()
    device.settings.write_text(text.replace(f'state_folder = "{device.folder}/state"', f'state_folder = "{folder}"'))

    watch = mien("watch", "--settings", device.settings)

    assert watch.wait() == 73
    (line,) = watch.complaints
    assert line.startswith(f"mien: {folder}: cannot be used as the state folder (")


def test_doctor_says_how_much_of_the_budget_is_left_and_what_is_wrong_with_a_ledger(device: Device, mien: Mien) -> None:
    device.write(top=PLENTY)
    watch = mien("watch", "--settings", device.settings)
    wait_for(lambda: len(watch.events()) > 4, why="reports")
    watch.end()

    def budget() -> Any:
        doctor = mien("doctor", "--settings", device.settings, "--json")
        doctor.wait()
        return next(check for check in json.loads(doctor.out.read_text())["checks"] if check["name"] == "budget")

    good = budget()
    ledger(device).write_text("")
    bad = budget()

    assert (good["ok"], bad["ok"]) == (True, False)
    assert "left" in good["finding"]
    assert "the next start sets it aside" in bad["finding"]
