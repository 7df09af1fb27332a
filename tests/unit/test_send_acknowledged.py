"""Reports are kept until a collector has stored them."""

from __future__ import annotations

import pytest

from device.publishers import Connected, Received
from device.sender import RESEND_AFTER, UNCONFIRMED
from tests.sending import ACK, Make


def test_with_a_collector_delivered_reports_are_kept_until_it_acknowledges_them(bench: Make) -> None:
    b = bench(4, "collector").happens(Connected()).took(1, 2, 3, 4)
    assert b.held("sent") == [1, 2, 3, 4]

    b.acknowledged(2)
    assert b.held("sent") == [3, 4]

    b.acknowledged(4)
    assert b.held("sent") == [4]  # the newest stays: it holds the number


@pytest.mark.parametrize(
    "payload", [b"", b"2", b'{"seq": "two"}', b'{"seq": -1}', b'{"sequence": 2}', b"\xff", b'{"seq": 2' + b" " * 5000]
)
def test_what_is_not_an_acknowledgement_is_ignored_and_said(bench: Make, payload: bytes) -> None:
    b = bench(3, "collector").happens(Connected()).took(1, 2, 3)

    b.happens(Received(ACK, payload))

    assert b.held("sent") == [1, 2, 3]
    assert "is not an acknowledgement" in b.said()[0]


def test_an_acknowledgement_may_say_more_than_we_understand(bench: Make) -> None:
    b = bench(3, "collector").happens(Connected()).took(1, 2, 3)

    b.happens(Received(ACK, b'{"seq": 2, "since": "tomorrow"}'))

    assert b.held("sent") == [3]


def test_an_acknowledgement_of_what_was_never_sent_is_ignored_and_said(bench: Make) -> None:
    b = bench(3, "collector").happens(Connected()).took(1, 2, 3)

    b.acknowledged(4)

    assert b.held("sent") == [1, 2, 3]
    assert "was never sent" in b.said()[0]


def test_an_acknowledgement_that_goes_back_deletes_nothing_more(bench: Make) -> None:
    b = bench(3, "collector").happens(Connected()).took(1, 2, 3).acknowledged(2)

    b.acknowledged(1)

    assert b.held("sent") == [3]
    assert not b.said()


def test_an_acknowledgement_may_be_about_what_was_sent_before_a_crash(bench: Make) -> None:
    """Published, stored by the collector, and then the device fell over before it had noted that."""
    b = bench(3, "collector").happens(Connected())

    b.acknowledged(2)
    b.took(1, 2, 3)
    b.later(RESEND_AFTER + 1)

    assert not b.said()
    assert b.published == [1, 2, 3, 3]  # 1 and 2 are known to be stored
    assert b.acknowledged(3).held("sent") == [3]


def test_acknowledgements_of_somebody_else_mean_nothing(bench: Make) -> None:
    b = bench(2, "collector").happens(Connected()).took(1, 2)

    b.happens(Received("mien/v1/shelf-8/down/ack", b'{"seq": 2}'))

    assert b.held("sent") == [1, 2]


def test_without_progress_of_the_collector_the_same_bytes_are_sent_again(bench: Make) -> None:
    b = bench(2, "collector").happens(Connected()).took(1, 2)

    b.later(RESEND_AFTER - 1)
    assert b.published == [1, 2]
    b.later(1)

    assert b.published == [1, 2, 1, 2]
    messages = [message for _, message in b.publisher.reports]
    assert messages[:2] == messages[2:]


def test_progress_of_the_collector_puts_the_resend_off(bench: Make) -> None:
    b = bench(3, "collector").happens(Connected()).took(1, 2, 3)

    b.later(RESEND_AFTER - 1).acknowledged(1).later(RESEND_AFTER - 1)
    assert b.published == [1, 2, 3]

    b.later(1)
    assert b.published == [1, 2, 3, 2, 3]


def test_a_collector_that_comes_back_gets_everything_without_waiting_a_minute_for_each_batch(bench: Make) -> None:
    b = bench(25, "collector").happens(Connected())
    while b.held("new"):
        b.took(*b.published[-UNCONFIRMED:])
    b.publisher.messages.clear()

    b.later(RESEND_AFTER)
    while b.published[-1] < 25:
        b.took(*range(b.held("sent")[0], b.published[-1] + 1)).acknowledged(b.published[-1])

    assert b.published == list(range(1, 26))


def test_a_broker_that_has_taken_a_report_is_enough_where_there_is_no_collector(bench: Make) -> None:
    b = bench(2).happens(Connected()).took(1, 2)

    b.later(RESEND_AFTER + 1)

    assert b.published == [1, 2]
