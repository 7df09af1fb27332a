"""Boxes that need a person: approval, replacement, and two that say they are one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from provisioning import manage
from provisioning.errors import WordsError
from tests.fleet import Box, Manager


@pytest.fixture
def box() -> Box:
    return Box("SN-1", hardware="a" * 16)


@pytest.fixture
def manager(tmp_path: Path, box: Box) -> Iterator[Manager]:
    """Batch berlin has SN-1 with its key, SN-2 without one; batch paris has SN-9."""
    made = Manager(tmp_path).batch("berlin", {"SN-1": box.id, "SN-2": None}).batch("paris", {"SN-9": None})
    yield made
    made.close()


def test_a_box_without_a_registered_key_waits_until_it_is_approved(manager: Manager) -> None:
    box = Box("SN-2")

    asked = manager.csr(box)
    waiting = [one for one in manage.devices(manager.registry) if one.state == "waiting"]
    manage.decide(manager.registry, "SN-2")

    assert (asked["said"], asked["retry_after_s"]) == ("waiting", 60)
    assert [one.serial for one in waiting] == ["SN-2"]
    manager.enrol(box)


def test_a_box_that_a_person_refuses_stays_out(manager: Manager) -> None:
    box = Box("SN-2")
    manager.csr(box)
    manage.decide(manager.registry, "SN-2", refuse=True)

    assert manager.csr(box)["said"] == "refused"


def test_two_boxes_that_ask_for_one_serial_are_both_named_and_none_is_let_in_by_mistake(manager: Manager) -> None:
    right, wrong = Box("SN-2"), Box("SN-2")

    manager.csr(wrong)
    said = manager.csr(right)
    with pytest.raises(WordsError, match="2 boxes ask for serial SN-2") as refused:
        manage.decide(manager.registry, "SN-2")
    manage.decide(manager.registry, "SN-2", key=right.id[:12])

    assert wrong.id[:12] in said["message"]
    assert right.id[:12] in said["message"]
    assert right.id[:12] in str(refused.value)
    assert wrong.id[:12] in str(refused.value)
    manager.enrol(right)
    assert manager.csr(wrong)["said"] == "serial_in_use"


def test_a_second_box_with_the_serial_of_an_enrolled_one_is_refused_and_both_are_named(manager: Manager) -> None:
    first, second = Box("SN-2"), Box("SN-2")
    manager.csr(first)
    manage.decide(manager.registry, "SN-2")
    manager.enrol(first)

    said = manager.csr(second)
    with pytest.raises(WordsError, match="say --replace"):
        manage.decide(manager.registry, "SN-2", key=second.id)

    assert said["said"] == "serial_in_use"
    assert first.id[:12] in said["message"]
    assert second.id[:12] in said["message"]


def test_a_box_that_replaces_another_has_the_one_live_certificate_and_only_after_it_works(manager: Manager) -> None:
    first, second = Box("SN-2"), Box("SN-2")
    manager.csr(first)
    manage.decide(manager.registry, "SN-2")
    old = manager.enrol(first)
    manager.csr(second)
    manage.decide(manager.registry, "SN-2", key=second.id, replace=True)

    given = manager.csr(second)
    manager.register(second, given["token"])
    before = list(manager.states("SN-2").values())
    manager.confirm(second, given["token"], given["device"])
    after = list(manager.states("SN-2").values())

    assert before == [f"{first.id[:12]} live", f"{second.id[:12]} registered"]
    assert after == [f"{first.id[:12]} superseded", f"{second.id[:12]} live"]
    assert given["device"] == old["device"]
    assert manager.csr(first)["said"] == "serial_in_use"
    assert list(manage.ended(manager.registry)) == [next(iter(manager.states("SN-2")))]


def test_a_copied_disk_in_another_box_is_noticed_and_both_are_named(manager: Manager, box: Box) -> None:
    manager.enrol(box)

    said = manager.csr(Box("SN-1", box.key, hardware="b" * 16, nonces=50))

    assert said["said"] == "two_boxes"
    assert "a" * 16 in said["message"]
    assert "b" * 16 in said["message"]


def test_another_key_than_the_registered_one_is_refused(manager: Manager, box: Box) -> None:
    said = manager.csr(Box("SN-1"))

    assert said["said"] == "key_not_registered"
    assert box.id[:12] in said["message"]
