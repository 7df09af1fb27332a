"""What a device and its fleet say to each other."""

from __future__ import annotations

import json
from fractions import Fraction
from typing import Annotated, Any

import jsonschema
import pytest
from pydantic import ValidationError, create_model

from device.contract import (
    Ack,
    Contribution,
    EmotionCounts,
    Envelope,
    Groups,
    Report,
    Status,
    contributions,
    dump,
    topic,
)
from device.contract_messages import ENROLMENT, EVERY
from device.contract_schema import json_schema
from tests.build import envelope, report


def as_json(made: Report) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(dump(made))
    return loaded


@pytest.mark.parametrize("people", [{"neutral": 9, "happiness": 6}, {"neutral": 1}])
def test_a_report_validates_against_the_schema_that_is_printed(people: dict[Any, int]) -> None:
    message = as_json(report(counts=people))

    jsonschema.validate(message, json_schema())
    jsonschema.validate(message, json_schema("up/report"))


def test_the_schema_is_closed_upwards() -> None:
    message = {**as_json(report()), "faces": []}

    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(message, json_schema("up/report"))
    with pytest.raises(ValidationError):
        Report.model_validate(message)


def test_an_acknowledgement_may_hold_more_than_we_know() -> None:
    assert Ack.model_validate_json('{"seq": 7, "collector": "berlin"}').seq == 7


@pytest.mark.parametrize("change", [{"people": None}, {"groups": None}, {"withheld": "k"}])
def test_a_report_has_figures_or_a_reason_and_never_both(change: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Report.model_validate({**as_json(report()), **change})


def test_a_report_survives_the_spool_byte_for_byte() -> None:
    made = envelope(4182)

    again = Envelope.model_validate_json(dump(made))

    assert again == made
    assert again.payload() == made.payload()
    assert again.cloud_event("shelf-7") == made.cloud_event("shelf-7")


def test_cloud_events_have_an_id_of_their_own() -> None:
    first, second = envelope(1).cloud_event("shelf-7"), envelope(1).cloud_event("shelf-7")

    assert first["id"] != second["id"]
    assert first["source"] == "/mien/v1/shelf-7"
    assert first["type"] == "mien.report.v1"
    assert first["specversion"] == "1.0"


def test_times_are_published_in_utc_to_the_second() -> None:
    assert as_json(report())["span"]["start"] == "2026-11-22T12:00:00Z"


def test_a_message_that_is_too_long_is_refused_before_it_is_sent() -> None:
    with pytest.raises(ValueError, match="4096"):
        dump(Status(schema=1, state="online", session="00000000", software="x" * 5000))


def test_the_schema_names_the_topic_of_each_message() -> None:
    assert set(json_schema()["x-topics"]) == {topic("{device}", name) for name in EVERY} | set(ENROLMENT)


def test_a_report_is_well_below_the_limit() -> None:
    assert len(dump(report())) < 1024


def test_every_published_group_declares_what_a_track_adds_and_all_of_them_share_one_epsilon() -> None:
    declared = contributions()

    assert declared.keys() == Groups.model_fields.keys()
    assert sum(one.share for one in declared.values() if one.instead_of is None) <= 1
    assert declared["emotion"] == Contribution(per_track=1, share=Fraction(1))


HALF, MORE = Contribution(1, Fraction(1, 2)), Contribution(1, Fraction(2, 3))


@pytest.mark.parametrize(
    ("first", "second", "said"),
    [
        (Annotated[EmotionCounts, HALF], EmotionCounts, "group age: expected one Contribution"),
        (Annotated[EmotionCounts, HALF], Annotated[EmotionCounts, Contribution(0, Fraction(1, 2))], "per_track >= 1"),
        (Annotated[EmotionCounts, HALF], Annotated[EmotionCounts, MORE], "share 7/6 of the window's ε"),
    ],
)
def test_a_group_that_declares_nothing_or_too_much_is_refused(first: Any, second: Any, said: str) -> None:
    wider = create_model("Wider", emotion=(first, ...), age=(second, ...))

    with pytest.raises(ValueError, match=said):
        contributions(wider)


def test_a_negative_figure_is_a_figure() -> None:
    message = as_json(report())
    message["groups"]["emotion"]["fear"] = -2

    assert Report.model_validate(message).groups is not None
    jsonschema.validate(message, json_schema("up/report"))
