"""Which report goes next."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from device.backlog import LOOK_EVERY, Backlog
from device.spool import Spool
from tests.build import envelope


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    with closing(Spool(tmp_path, "watch")) as made:
        yield made


def test_what_is_new_goes_first_and_nothing_twice_also_beside_a_file_that_is_no_report(spool: Spool) -> None:
    backlog, now = Backlog(spool), 0.0
    for seq in (1, 2, 3):
        spool.put(envelope(seq))
    backlog.look(now)
    (spool.folder / "new" / "zzz").touch()
    for _ in range(3):
        now += LOOK_EVERY
        backlog.look(now)
    spool.put(envelope(4))
    backlog.look(now + LOOK_EVERY)

    went = []
    while backlog:
        went.append(backlog.next().name)
    assert [int(name[7:19]) for name in went if name != "zzz"] == [4, 1, 2, 3]
