"""The whole memory of a process that has seen canary pictures is searched: 0 hits, and more than 0 without any one protection."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from device.proof import memory
from device.proof.canary import STAGES
from device.proof.protections import PROTECTIONS, Protection, weakened
from device.proof.search import UnreadableError

FRAMES = -(-1000 // len(STAGES))  # a thousand in all
pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def subject() -> Iterator[memory.Subject]:
    with searched() as running:
        yield running


@contextmanager
def searched(code: Path = memory.HERE) -> Iterator[memory.Subject]:
    """A process that may be searched."""
    try:
        with memory.subject(code) as running:
            yield running
    except UnreadableError as error:
        pytest.skip(str(error))


def outside_layers(answer: memory.Answer) -> Counter[str]:
    """What was found, without the layers of the models, which are overwritten within a second."""
    return Counter({place: hits for place, hits in answer.found.items() if " layer " not in place})


@pytest.mark.parametrize("stage", STAGES)
def test_a_thousand_pictures_leave_nothing_in_memory_whichever_stage_fails(subject: memory.Subject, stage: str) -> None:
    answer = subject.run(stage, FRAMES)

    assert answer.read > FRAMES
    assert (answer.failed > 0) == (stage not in ("nothing", "greed"))
    assert not answer.found


def test_frames_crops_and_input_tensors_are_gone_at_once_and_layers_within_a_second(subject: memory.Subject) -> None:
    assert not outside_layers(subject.run("nothing", 9, wait=False))
    assert not subject.run("nothing", 9).found


@pytest.mark.parametrize("form", memory.FORMS)
def test_a_picture_that_is_kept_is_found_in_each_form(subject: memory.Subject, form: str) -> None:
    assert subject.plant(form)
    assert not subject.search()


def test_memory_that_was_freed_without_wiping_holds_nothing(subject: memory.Subject) -> None:
    assert not subject.forgotten()


@pytest.mark.parametrize("protection", PROTECTIONS, ids=lambda protection: protection.name)
def test_without_this_protection_the_search_finds_something(protection: Protection, tmp_path: Path) -> None:
    with searched(weakened(tmp_path, [protection])) as running:
        if protection.stage == "forgotten":
            found = running.forgotten()
        elif protection.wait:
            found = running.run(protection.stage, 6).found
        else:
            found = outside_layers(running.run(protection.stage, 6, wait=False))

    assert found


def test_the_document_names_each_protection_and_its_line() -> None:
    text = (Path(__file__).parents[2] / "docs" / "proof.md").read_text()

    for protection in PROTECTIONS:
        assert f"| `{protection.name}` |" in text
        assert f"`device/{protection.file}`" in text
