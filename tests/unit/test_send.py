"""What the sending process publishes, keeps and says, event by event."""

from __future__ import annotations

from device.publishers import Connected, Delivered, Disconnected, NotListening, Refused
from device.sender import REFUSED_WAIT, STATUS_EVERY, UNCONFIRMED
from tests.build import put_reports
from tests.sending import ACK, Make


def test_nothing_is_published_before_there_is_a_connection(bench: Make) -> None:
    b = bench(2)

    b.happens()

    assert not b.publisher.messages


def test_on_connection_the_status_comes_first_then_the_reports_in_order(bench: Make) -> None:
    b = bench(3)

    b.happens(Connected())

    topics = [message.topic for message in b.publisher.messages.values()]
    assert topics == ["mien/v1/shelf-7/up/status", *["mien/v1/shelf-7/up/report"] * 3]
    assert b.published == [1, 2, 3]
    assert next(iter(b.publisher.messages.values())).retain


def test_a_report_stays_in_the_spool_until_the_broker_has_taken_it(bench: Make) -> None:
    b = bench(3).happens(Connected())
    assert b.held("new") == [1, 2, 3]

    b.took(2)

    assert (b.held("new"), b.held("sent")) == ([1, 3], [2])


def test_delivered_reports_are_deleted_except_the_newest(bench: Make) -> None:
    b = bench(3).happens(Connected())

    b.took(1, 2, 3)

    assert (b.held("new"), b.held("sent")) == ([], [3])
    assert b.sender.delivered == 3


def test_a_report_is_published_once_while_it_is_on_its_way(bench: Make) -> None:
    b = bench(2).happens(Connected())

    b.later(1).later(1)

    assert b.published == [1, 2]


def test_only_so_many_are_on_their_way_at_once(bench: Make) -> None:
    b = bench(UNCONFIRMED + 5).happens(Connected())
    assert len(b.publisher.messages) == UNCONFIRMED

    b.took(1)

    assert len(b.publisher.messages) == UNCONFIRMED + 1


def test_after_a_lost_connection_the_same_bytes_are_published_under_the_same_id(bench: Make) -> None:
    b = bench(2).happens(Connected()).took(1)

    b.happens(Disconnected("it broke", 1.0), Connected())

    first, again = (message for _, message in b.publisher.reports[-2:])
    assert b.published == [1, 2, 2]
    assert first == again


def test_a_confirmation_that_comes_from_before_the_connection_broke_moves_nothing(bench: Make) -> None:
    b = bench(1).happens(Connected())
    token = b.token(1)

    b.happens(Disconnected("it broke", 1.0), Delivered(token))

    assert b.held("new") == [1]


def test_reports_that_come_while_connected_are_sent(bench: Make) -> None:
    b = bench().happens(Connected())

    put_reports(b.folder / "spool", 1)
    b.later(0.25)

    assert b.published == [1]


def test_a_message_is_marked_as_the_contract_says(bench: Make) -> None:
    b = bench(1).happens(Connected())

    ((_, message),) = b.publisher.reports

    assert message.attributes["type"] == "mien.report.v1"
    assert message.attributes["source"] == "/mien/v1/shelf-7"
    assert message.expiry == 7 * 24 * 3600
    assert not message.retain


def test_a_refused_report_is_held_back_and_tried_again(bench: Make) -> None:
    b = bench(1).happens(Connected())

    b.happens(Refused(b.token(1), "Not authorized")).later(REFUSED_WAIT - 1)
    assert b.published == [1]
    assert b.held("new") == [1]

    b.later(1.5)
    assert b.published == [1, 1]


def test_a_refusal_is_said_once_until_something_changes(bench: Make) -> None:
    b = bench(3).happens(Connected())

    b.happens(*(Refused(b.token(seq), "Not authorized") for seq in (1, 2, 3)))
    for _ in range(3):
        b.later(REFUSED_WAIT)
        b.happens(*(Refused(b.token(seq), "Not authorized") for seq in (1, 2, 3)))
    assert len(b.said()) == 1
    assert "Not authorized" in b.said()[0]
    assert "The reports stay in the spool" in b.said()[0]

    b.later(REFUSED_WAIT)
    b.took(1).happens(Refused(b.token(2), "Not authorized"))
    assert len(b.said()) == 2


def test_a_refused_status_is_said_once_and_holds_no_report_back(bench: Make) -> None:
    b = bench(1).happens(Connected())
    status = next(token for token, message in b.publisher.messages.items() if message.retain)

    b.happens(Refused(status, "too large")).took(1)
    b.later(STATUS_EVERY)
    b.happens(Refused(max(b.publisher.messages), "too large"))

    assert b.said() == ["the broker refuses the status or the notice: too large"]
    assert b.held("new") == []


def test_a_lost_connection_is_said_once_per_reason(bench: Make) -> None:
    b = bench()

    for reason in ("no route", "no route", "no route", "refused", "refused"):
        b.happens(Disconnected(reason, 1.0))

    assert b.said("warning") == ["not connected: no route", "not connected: refused"]


def test_not_being_allowed_to_listen_is_said(bench: Make) -> None:
    b = bench(acknowledge="collector").happens(Connected())

    b.happens(NotListening(ACK, "Not authorized"))

    assert b.said() == [f"{ACK}: the broker does not let this device listen (Not authorized); check its access list"]
