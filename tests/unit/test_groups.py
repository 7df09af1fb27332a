"""What is wanted of a group is wanted of whoever joins it, too."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from provisioning import groups, twins
from provisioning.errors import WordsError
from tests.fleet import Box, Manager


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    made = Manager(tmp_path)
    yield made
    made.close()


def enrolled(manager: Manager, *serials: str) -> list[str]:
    boxes, batch = [Box(serial) for serial in serials], f"with-{serials[0]}"
    manager.batch(batch, {box.serial: box.id for box in boxes})
    return [manager.enrol(box, batch)["device"] for box in boxes]


def desired(manager: Manager, device: str) -> tuple[int, dict[str, object]]:
    (found,) = twins.twins(manager.registry, device)
    return found.version, dict(found.desired)


def test_a_device_that_gets_a_label_later_gets_what_its_group_wants(manager: Manager) -> None:
    first, second = enrolled(manager, "SN-1", "SN-2")
    groups.set_label(manager.registry, first, "store", "berlin-1")
    groups.wish(manager.registry, [first], {"window_seconds": 1800}, ["store=berlin*"])
    groups.wish(manager.registry, [second], {"k": 9})

    assert groups.set_label(manager.registry, second, "store", "hamburg-1") is None
    assert groups.set_label(manager.registry, second, "store", "berlin-2") == 2

    assert desired(manager, second) == (2, {"k": 9, "window_seconds": 1800})
    assert groups.set_label(manager.registry, second, "store", "berlin-3") is None
    assert desired(manager, first) == (1, {"window_seconds": 1800})


def test_what_was_wanted_of_a_device_alone_is_not_undone_by_a_label_that_lets_it_join_nothing(manager: Manager) -> None:
    (device,) = enrolled(manager, "SN-1")
    groups.set_label(manager.registry, device, "store", "berlin-1")
    groups.wish(manager.registry, [device], {"window_seconds": 1800}, ["store=berlin*"])
    groups.wish(manager.registry, [device], {"window_seconds": 600})

    assert groups.set_label(manager.registry, device, "store", "berlin-2") is None
    assert groups.set_label(manager.registry, device, "floor", "1") is None

    assert desired(manager, device) == (2, {"window_seconds": 600})


def test_both_labels_are_needed_where_a_group_names_two(manager: Manager) -> None:
    (device,) = enrolled(manager, "SN-1")
    groups.wish(manager.registry, [], {"k": 9}, ["store=berlin*", "floor=1"])

    assert groups.set_label(manager.registry, device, "store", "berlin-1") is None
    assert groups.set_label(manager.registry, device, "floor", "1") == 1


def test_a_device_that_leaves_keeps_what_it_has_and_is_wanted_nothing_new_of(manager: Manager) -> None:
    (device,) = enrolled(manager, "SN-1")
    groups.set_label(manager.registry, device, "store", "berlin-1")
    groups.wish(manager.registry, [device], {"k": 9}, ["store=berlin*"])

    assert groups.set_label(manager.registry, device, "store", None) is None

    assert desired(manager, device) == (1, {"k": 9})


def test_of_two_groups_the_newer_wish_counts_and_what_was_taken_back_is_wanted_of_nobody(manager: Manager) -> None:
    (device,) = enrolled(manager, "SN-1")
    groups.wish(manager.registry, [], {"k": 7, "window_seconds": 600}, ["store=berlin*"])
    groups.wish(manager.registry, [], {"k": 8}, ["floor=1"])
    groups.wish(manager.registry, [], {"k": 9}, ["store=berlin*"])
    groups.wish(manager.registry, [], {"window_seconds": None}, ["store=berlin*"])
    groups.wish(manager.registry, [], {"k": None}, ["floor=1"])

    assert groups.listed(manager.registry) == [(["store=berlin*"], {"k": 9})]
    groups.set_label(manager.registry, device, "floor", "1")
    groups.set_label(manager.registry, device, "store", "berlin-1")
    assert desired(manager, device) == (1, {"k": 9})


def test_what_is_wanted_of_all_is_wanted_of_a_box_that_is_enrolled_later_once(manager: Manager) -> None:
    (first,) = enrolled(manager, "SN-1")
    groups.wish(manager.registry, [first], {"k": 9}, [])
    assert groups.welcome(manager.registry) == 0

    (second,) = enrolled(manager, "SN-2")

    assert groups.welcome(manager.registry) == 1
    assert desired(manager, second) == (1, {"k": 9})
    groups.wish(manager.registry, [second], {"k": None})
    assert groups.welcome(manager.registry) == 0
    assert desired(manager, second) == (2, {})


def test_a_box_that_is_named_before_it_is_seen_gets_what_all_and_its_group_want(manager: Manager) -> None:
    groups.wish(manager.registry, [], {"k": 9}, [])
    groups.wish(manager.registry, [], {"window_seconds": 600}, ["store=berlin*"])
    (device,) = enrolled(manager, "SN-1")

    assert groups.set_label(manager.registry, device, "store", "berlin-1") == 1

    assert desired(manager, device) == (1, {"k": 9, "window_seconds": 600})
    assert groups.welcome(manager.registry) == 0


def test_what_one_device_cannot_accept_is_wanted_of_no_group(manager: Manager) -> None:
    (device,) = enrolled(manager, "SN-1")

    with pytest.raises(WordsError):
        groups.wish(manager.registry, [device], {"window_seconds": 1}, ["store=berlin*"])

    assert groups.listed(manager.registry) == []
