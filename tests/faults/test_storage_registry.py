"""The disk of the fleet's registry is full: it is said, a box is told when to ask again, and it goes on."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from provisioning.registry import RegistryError
from tests.fleet import Box, Manager
from tests.limits import file_limit


def test_a_registry_on_a_full_disk_says_so_and_goes_on_once_there_is_room(tmp_path: Path) -> None:
    with closing(Manager(tmp_path).batch(serials={"SN0": None})) as manager:
        box = Box("SN0")

        with file_limit(4096):
            told = manager.csr(box)
            with pytest.raises(RegistryError) as caught:
                manager.batch("another")

        assert (told["said"], told["retry_after_s"]) == ("unavailable", 60)
        for said in (told["message"], str(caught.value)):
            assert f"{tmp_path}/registry.db: the registry cannot be used (" in said
            assert "check that the database is there and not full" in said
        assert manager.csr(box)["said"] == "waiting"  # for a person, as on any day
