"""What the sending process publishes, keeps and says, event by event."""

from __future__ import annotations

from device.backlog import LOOK_EVERY
from device.publishers import Connected, Delivered, Disconnected, NotListening, Refused
from device.sender import REFUSED_WAIT, STATUS_EVERY, TOO_LARGE_WAIT, UNCONFIRMED
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
    assert b.published == list(range(1, UNCONFIRMED + 1))

    b.took(1)

    assert b.published == list(range(1, UNCONFIRMED + 2))


def test_a_report_that_is_made_while_many_old_ones_wait_goes_before_them_and_they_in_order(bench: Make) -> None:
    count = 3 * UNCONFIRMED
    b = bench(count).happens(Connected())
    put_reports(b.folder / "spool", 1)

    b.later(LOOK_EVERY).took(1)
    while on_the_way := set(b.published).intersection(b.held("new")):
        b.took(*sorted(on_the_way))

    live = count + 1
    assert b.published.index(live) == UNCONFIRMED
    assert [seq for seq in b.published if seq != live] == list(range(1, count + 1))
    assert b.statuses[-1]["spool"]["dropped"] == 0


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


def test_a_report_that_is_too_large_is_said_and_stays_and_others_go_on(bench: Make) -> None:
    b = bench(3).happens(Connected())

    b.happens(Delivered(1), Refused(b.token(1), "too large", alone=True)).took(2, 3).later(REFUSED_WAIT + 1)

    assert (b.held("new"), b.published) == ([1], [1, 2, 3])
    assert b.said() == ["too large. This report stays in the spool, others go on"]
    assert (b.sender.refusal, b.sender.flushed()) == ("too large", "too large")
    b.happens(Disconnected("the broker restarts, with a larger limit", 1.0), Connected())
    b.later(TOO_LARGE_WAIT).took(1)
    assert (b.held("new"), b.sender.refusal) == ([], "")


def test_an_online_status_is_kept_for_minutes_only_a_farewell_for_ever(bench: Make) -> None:
    """So that nothing is left of a device that died while its broker could not tell."""
    b = bench().happens(Connected())

    (birth,) = b.publisher.messages.values()

    assert birth.expiry is not None
    assert 2 * STATUS_EVERY < birth.expiry <= 4 * STATUS_EVERY
    assert b.sender.status("offline").expiry is None


def test_the_status_counts_connections_and_how_often_a_copy_of_this_device_took_its_place(bench: Make) -> None:
    b = bench().happens(Connected())

    for end in Disconnected("a copy", 1.0, taken_over=True), Disconnected("the network", 1.0):
        b.happens(end, Connected())

    assert [(status["connections"], status["taken_over"]) for status in b.statuses] == [(1, 0), (2, 1), (3, 1)]


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
