"""Restarts, which wait for the end of the window, and doctors, which work while people are watched."""

from __future__ import annotations

import json

from device import order
from device.errors import CameraError, MienError, SettingsError
from device.settings import Settings, parse
from tests.build import settings_text
from tests.watching import Watching


def test_a_restart_waits_until_the_run_is_over_and_has_succeeded_when_the_next_one_works(watching: Watching) -> None:
    w = watching
    w.orders.before(w.settings)
    assert not w.orders.wants(w.clock.now())

    w.left("a1", "restart").look()
    w.orders.works()  # of the run that is to end
    assert w.orders.wants(w.clock.now())
    assert w.answer("a1") == ("accepted", None)

    w.orders.before(w.settings)
    w.orders.works()
    w.look()
    assert not w.orders.wants(w.clock.now())
    assert w.answer("a1") == ("succeeded", None)


def test_a_process_that_was_killed_before_its_restart_has_restarted(watching: Watching) -> None:
    again = watching.left("a1", "restart").look().again()
    again.orders.before(again.settings)

    again.orders.works()

    assert not again.orders.wants(again.clock.now())
    assert again.look().answer("a1") == ("succeeded", None)


def test_a_restart_reads_the_settings_file_again(watching: Watching) -> None:
    other = parse(settings_text(watching.folder, top="k = 7"), "settings.toml")
    watching.file = lambda: other
    assert watching.orders.before(watching.settings).k == 5

    watching.left("a1", "restart").look()

    assert watching.orders.before(watching.settings).k == 7
    watching.orders.works()
    assert watching.orders.before(watching.settings).k == 7


def test_a_settings_file_that_is_wrong_changes_nothing(watching: Watching) -> None:
    def wrong() -> Settings:
        raise SettingsError("settings.toml:3: k: expected 3 to 100")

    watching.file = wrong
    watching.orders.before(watching.settings)
    watching.left("a1", "restart").look()

    assert watching.orders.before(watching.settings) == watching.settings

    assert watching.look().answer("a1") == ("failed", "settings")
    assert any("stay in force" in entry["event"] for entry in watching.entries)


def test_settings_that_do_not_work_are_taken_back(watching: Watching) -> None:
    watching.file = lambda: parse(settings_text(watching.folder, top="k = 7"), "settings.toml")
    watching.orders.before(watching.settings)
    watching.left("a1", "restart").look()
    watching.orders.before(watching.settings)

    taken_back = watching.orders.failed(CameraError("no camera"))

    assert taken_back
    assert watching.orders.before(watching.settings).k == 5
    assert watching.look().answer("a1") == ("failed", "settings")


def test_a_run_that_fails_without_a_restart_is_nobodys_fault(watching: Watching) -> None:
    watching.orders.before(watching.settings)
    watching.orders.works()

    assert not watching.orders.failed(MienError("the camera is gone"))


def test_a_doctor_works_while_people_are_watched_and_tells_what_it_found(watching: Watching) -> None:
    w = watching.left("a1", "doctor").look().look()
    assert (w.answer("a1"), w.doctors) == (None, 1)

    w.found = {"models": "ok", "spool": "wrong"}
    w.look()

    said = json.loads(order.answer_file(w.settings.run_folder, "a1").read_bytes())
    assert said["findings"] == {"camera": "ok", "models": "ok", "spool": "wrong"}
    assert w.look().doctors == 1


def test_a_doctor_that_was_interrupted_begins_again_while_there_is_time(watching: Watching) -> None:
    w = watching.left("a1", "doctor").look()

    again = w.again().look()
    assert again.doctors == 1
    again.found = {}
    assert again.look().answer("a1") == ("succeeded", None)


def test_a_doctor_that_finds_no_end_has_failed(watching: Watching) -> None:
    watching.left("a1", "doctor").look().found = "timeout"

    assert watching.look().answer("a1") == ("failed", "timeout")
