"""What the sending process publishes, keeps and says, event by event."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from structlog.typing import FilteringBoundLogger

from device import health, plug
from device import send as send_module
from device.errors import BrokerError, SpoolError
from device.health import WatchHealth
from device.publishers import Connected, Delivered, Disconnected, Event, Message, NotListening, Publisher, Received, Refused
from device.send import REFUSED_WAIT, RESEND_AFTER, STATUS_EVERY, UNCONFIRMED, Sender, send
from device.settings import Settings, parse
from device.spool import Limits, Spool, seq_of
from tests.build import HASHES, HandPublisher, SetClock, envelope, put_reports, recorded, settings_text

ACK = "mien/v1/shelf-7/down/ack"


@dataclass
class Bench:
    """A sender with a spool, a publisher whose events the test makes, and a clock that it sets."""

    folder: Path
    acknowledge: str = "broker"
    clock: SetClock = field(default_factory=lambda: SetClock(1000.0))
    publisher: HandPublisher = field(default_factory=HandPublisher)

    def __post_init__(self) -> None:
        self.settings = parse(settings_text(self.folder, broker=f'acknowledge = "{self.acknowledge}"'), "settings.toml")
        self.log: FilteringBoundLogger
        self.entries: list[Any]
        self.log, self.entries = recorded()
        self.spool = Spool(self.folder / "spool", "send")
        port: Publisher = self.publisher  # the type checker sees that it is a real one
        self.sender = Sender(self.settings, self.spool, port, self.clock, session="5e55104a", log=self.log)

    def happens(self, *events: Event) -> Bench:
        """Handle these, then publish what is due."""
        for event in events:
            self.sender.handle(event)
        self.sender.pump()
        return self

    def later(self, seconds: float) -> Bench:
        self.clock.move(seconds)
        return self.happens()

    def acknowledged(self, seq: int) -> Bench:
        return self.happens(Received(ACK, b'{"seq": %d}' % seq))

    @property
    def published(self) -> list[int]:
        """The reports that were published, each time that they were."""
        return [json.loads(message.payload)["seq"] for _, message in self.publisher.reports]

    def token(self, seq: int) -> int:
        """Of the last publish of this report."""
        return [token for token, message in self.publisher.reports if json.loads(message.payload)["seq"] == seq][-1]

    def took(self, *seqs: int) -> Bench:
        """The broker took these."""
        return self.happens(*(Delivered(self.token(seq)) for seq in seqs))

    def held(self, name: str) -> list[int]:
        return sorted(seq_of(path) for path in (self.folder / "spool" / name).iterdir())

    def said(self, *levels: str) -> list[str]:
        return [entry["event"] for entry in self.entries if entry["log_level"] in (levels or ("warning", "error"))]

    @property
    def statuses(self) -> list[Any]:
        return [json.loads(message.payload) for message in self.publisher.messages.values() if message.topic.endswith("up/status")]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Callable[..., Bench]]:
    """A function that puts reports into a spool and sets up a sender: ``bench(3)``."""
    made: list[Bench] = []

    def make(count: int = 0, acknowledge: str = "broker") -> Bench:
        put_reports(tmp_path / "spool", count)
        made.append(Bench(tmp_path, acknowledge))
        return made[-1]

    yield make
    for one in made:
        one.spool.close()


Make = Callable[..., Bench]


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


def test_what_a_full_spool_dropped_is_counted_and_reported_at_once(bench: Make, tmp_path: Path) -> None:
    with closing(Spool(tmp_path / "spool", "watch", Limits(files=3))) as spool:
        for seq in range(1, 8):
            spool.put(envelope(seq))
    b = bench().happens(Connected())
    assert b.statuses[-1]["spool"] == {"waiting": 3, "dropped": 0, "set_aside": 0}

    b.took(5)

    assert b.said() == ["reports are missing from the spool: dropped because it was full, or removed"]
    assert b.statuses[-1]["spool"]["dropped"] == 4


def test_what_was_dropped_while_it_was_on_its_way_is_counted_once(bench: Make) -> None:
    b = bench(4).happens(Connected()).took(1)
    b.happens(Disconnected("it broke", 1.0))
    for seq in (2, 3):
        (b.folder / "spool" / "new" / f"report-{seq:012d}.json").unlink()

    b.happens(Connected(), Disconnected("it broke", 1.0), Connected()).took(4).later(STATUS_EVERY)

    assert b.statuses[-1]["spool"]["dropped"] == 2


def test_reports_that_were_delivered_and_deleted_are_not_counted_as_dropped(bench: Make) -> None:
    bench(3).happens(Connected()).took(1, 2, 3).spool.close()
    b = bench(1)

    b.happens(Connected()).took(4).later(STATUS_EVERY)

    assert b.statuses[-1]["spool"]["dropped"] == 0
    assert not b.said()


def test_reports_taken_out_of_order_are_not_counted_as_dropped(bench: Make) -> None:
    b = bench(3).happens(Connected())

    b.took(3, 1, 2).later(STATUS_EVERY)

    assert b.statuses[-1]["spool"]["dropped"] == 0


def test_a_file_that_is_not_a_report_is_set_aside_said_once_and_holds_nothing_up(bench: Make) -> None:
    b = bench(2)
    (b.folder / "spool" / "new" / "report-000000000001.json").write_bytes(b'{"kind": "rep')

    b.happens(Connected()).took(2).later(STATUS_EVERY)

    assert b.published == [2]
    assert [line for line in b.said() if "was not a report" in line] == b.said()[:1]
    assert b.statuses[-1]["spool"] == {"waiting": 0, "dropped": 0, "set_aside": 1}
    assert b.sender.idle is False  # the status is on its way


def test_a_report_that_goes_while_it_is_looked_at_is_not_called_bad(bench: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    b = bench(1)
    listed = b.spool.waiting()
    listed[0].unlink()
    monkeypatch.setattr(b.spool, "waiting", lambda: listed)

    b.happens(Connected())

    assert not b.said()


def test_a_file_that_cannot_be_read_does_not_hold_up_the_others(bench: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    b = bench(2)
    real = b.spool.read

    def failing(path: Path) -> Any:
        if seq_of(path) == 1:
            raise SpoolError(f"{path}: cannot read the report (Input/output error); check the disk")
        return real(path)

    monkeypatch.setattr(b.spool, "read", failing)

    b.happens(Connected()).took(2).later(1).later(1)

    assert b.published == [2]
    assert len(b.said()) == 1
    assert b.held("new") == [1]


def test_the_status_says_who_sends_what_is_watched_and_how_it_is(bench: Make) -> None:
    b = bench(2)
    health.write(b.settings.run_folder, WatchHealth(at=b.clock.now(), health="degraded", trouble="disk", models=HASHES))

    b.happens(Connected())

    assert b.statuses[0] | {"software": "?"} == {
        "schema": 1,
        "state": "online",
        "session": "5e55104a",
        "software": "?",
        "models": HASHES.model_dump(),
        "health": "degraded",
        "trouble": "disk",
        "spool": {"waiting": 2, "dropped": 0, "set_aside": 0},
    }


def test_the_status_comes_on_its_schedule_and_after_each_connection(bench: Make) -> None:
    b = bench().happens(Connected())

    b.later(STATUS_EVERY - 1)
    assert len(b.statuses) == 1
    b.later(1)
    assert len(b.statuses) == 2
    b.happens(Disconnected("it broke", 1.0), Connected())
    assert len(b.statuses) == 3


@pytest.mark.parametrize(
    ("left", "trouble"),
    [
        (None, "stopped"),
        (b"", "stopped"),
        (b'{"at": 1000.0, "health": "o', "stopped"),
        (b'{"at": 1000.5, "health": "ok", "trouble": null, "models": null}', "stopped"),
        (b'{"at": 969.0, "health": "ok", "trouble": null, "models": null}', "stopped"),
        (b'{"at": NaN, "health": "ok", "trouble": null, "models": null}', "stopped"),
        (b'{"at": 971.0, "health": "ok", "trouble": null, "models": null}', None),
        (b'{"at": 999.0, "health": "degraded", "trouble": "camera", "models": null}', "camera"),
    ],
    ids=["missing", "empty", "half", "later", "old", "no number", "good", "trouble"],
)
def test_health_that_is_missing_damaged_old_or_of_another_boot_means_that_nobody_watches(
    tmp_path: Path, left: bytes | None, trouble: str | None
) -> None:
    if left is not None:
        (tmp_path / "health.json").write_bytes(left)

    found = health.read(tmp_path, now=1000.0)

    assert found.trouble == trouble
    assert found.health == ("degraded" if trouble else "ok")


class Opened(HandPublisher):
    """A publisher for ``send`` itself: answers every message with one kind of event."""

    def __init__(self, answer: Callable[[int], Event], greeting: Event | None = None) -> None:
        super().__init__()
        self.events.get()
        self.events.put(greeting or Connected())
        self._answer = answer
        self.closed = False

    def publish(self, message: Message) -> int:
        token = super().publish(message)
        self.events.put(Delivered(token) if message.retain else self._answer(token))
        return token

    def close(self, farewell: Message | None, timeout: float) -> None:
        self.closed = True
        if farewell is not None:
            self.publish(farewell)


@pytest.fixture
def send_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Opened], list[Any]]:
    """A function that runs ``send --once`` against a publisher and returns its log."""
    settings: Settings = parse(settings_text(tmp_path), "settings.toml")
    monkeypatch.setattr(send_module, "POLL", 0.01)

    def run(publisher: Opened) -> list[Any]:
        class Module:
            open_publisher = staticmethod(lambda *_: publisher)

        monkeypatch.setattr(plug, "find", lambda *_: Module)
        clock = Ticking()
        log, entries = recorded()
        send(settings, clock, log, lambda: False, once=True)
        return entries

    return run


class Ticking(SetClock):
    """Each look at it takes a tenth of a second."""

    def now(self) -> float:
        self.move(0.1)
        return self.at


def test_once_ends_when_everything_is_delivered_and_says_offline(tmp_path: Path, send_once: Callable[[Opened], list[Any]]) -> None:
    put_reports(tmp_path / "spool", 30)
    publisher = Opened(Delivered)

    entries = send_once(publisher)

    assert entries[-1] | {"delivered": 30, "waiting": 0} == entries[-1]
    assert json.loads(list(publisher.messages.values())[-1].payload)["state"] == "offline"


def test_once_ends_with_the_reason_when_a_report_is_refused(tmp_path: Path, send_once: Callable[[Opened], list[Any]]) -> None:
    put_reports(tmp_path / "spool", 2)
    publisher = Opened(lambda token: Refused(token, "Not authorized"))

    with pytest.raises(BrokerError, match=r"Not authorized.*Nothing was lost"):
        send_once(publisher)

    assert publisher.closed
    assert len(list((tmp_path / "spool" / "new").iterdir())) == 2


def test_once_gives_a_broker_that_is_not_there_some_seconds_and_ends_with_the_reason(
    tmp_path: Path, send_once: Callable[[Opened], list[Any]]
) -> None:
    put_reports(tmp_path / "spool", 2)

    with pytest.raises(BrokerError, match=r"nobody there\. Nothing was lost: the reports are in .*spool"):
        send_once(Opened(Delivered, Disconnected("nobody there", 1.0)))


def test_a_long_backlog_is_listed_a_few_times_and_not_for_every_report(bench: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    b = bench(10 * UNCONFIRMED)
    listings: list[int] = []
    waiting = b.spool.waiting

    def counted() -> list[Path]:
        listings.append(len(listings))
        return waiting()

    monkeypatch.setattr(b.spool, "waiting", counted)

    b.happens(Connected())
    while b.held("new"):
        b.took(*(seq for seq in b.held("new") if seq in b.published))

    assert b.published == list(range(1, 10 * UNCONFIRMED + 1))
    assert len(listings) <= 5
