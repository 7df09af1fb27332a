"""What privacy costs, measured by real processes."""

from __future__ import annotations

from pathlib import Path

import pytest

from device.cameras.composite import Painter
from device.commands import _cost, bench
from device.commands._cost import Share
from device.errors import MienError
from device.nets.cards import NO_THANKS
from device.proof import protections
from device.proof.protections import PROTECTIONS, Protection, weakened
from device.scene import Figure
from tests.cards import show


def test_the_share_is_the_median_with_an_interval_and_quartiles_around_it() -> None:
    share = Share.of([n / 1000 for n in range(101)])

    assert share.share == pytest.approx(0.05)
    assert (share.low, share.high) == (0.040, 0.060)  # ranks 40 and 60 of 101: the binomial's 95 %
    assert share.first_quarter == pytest.approx(0.0245)
    assert share.last_quarter == pytest.approx(0.0755)


def test_three_real_processes_take_turns_and_all_that_they_take_is_told() -> None:
    cost = _cost.measure(1, "auto")

    assert cost.turns == _cost.LEAST_TURNS
    assert min(cost.ms_bare, cost.ms_protected) > 1
    assert cost.everything.low <= cost.everything.share <= cost.everything.high
    assert set(cost.as_json()) == {"share", "interval_95", "quartiles", "cards", "ms_protected", "ms_bare", "turns"}


def test_who_shows_a_card_is_left_out_of_what_is_timed_and_read_where_cards_are_not_looked_for() -> None:
    holder = Figure(1, 0.5, 0.4, 100, (("happiness", 1.0),), (1.0, 0.95, 0.9), (60, 40, 30), (40, 60, 90), mirrored=False)
    picture = show(Painter(640, 480, 0).paint((holder,)), NO_THANKS, 320, 384, 75)
    nets = bench.load("auto")

    read = [scene.look(scene.draw()) for scene in (bench.Scene(nets, [picture], cards=cards) for cards in (True, False))]

    assert read == [0, 1]


def test_a_process_that_ends_by_itself_is_told_and_not_timed(tmp_path: Path) -> None:
    bare = weakened(tmp_path, PROTECTIONS)

    with _cost._running("nothing", bare, "no such runtime") as child, pytest.raises(MienError, match="ended by itself"):
        _cost._asked(child)


def test_a_copy_without_protections_has_none_of_their_lines(tmp_path: Path) -> None:
    folder = weakened(tmp_path, PROTECTIONS)

    for protection in PROTECTIONS:
        text, ours = (path / protection.file for path in (folder / "device", protections.DEVICE))
        assert text.read_text() != ours.read_text()
        for line, _ in protection.lines:
            assert line in ours.read_text()
            assert line not in text.read_text()


def test_a_protection_whose_line_has_changed_is_told_with_the_file(tmp_path: Path) -> None:
    gone = Protection("gone", "types.py", (("no such line\n", ""),))

    with pytest.raises(MienError, match=r"device/types.py: expected just one 'no such line', and it is there 0 times"):
        weakened(tmp_path, [gone])
