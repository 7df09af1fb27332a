"""What the broker keeps of a device that is taken out of the fleet: nothing."""

from __future__ import annotations

from device.contract_messages import EVERY
from provisioning.mosquitto import RETAINED
from provisioning.revocation import revoke
from tests.conftest import wait_for
from tests.identities import Client
from tests.trial import Trial


def kept(trial: Trial) -> dict[str, bytes]:
    """What somebody new is told, up to a message that comes after all of it."""
    with trial.witness() as witness:
        witness.subscribe("mien/v1/+/up/#", "mien/v1/+/down/#")
        assert witness.publish("mien/v1/d2/up/reply/end", b"x")
        wait_for(lambda: ("mien/v1/d2/up/reply/end", b"x") in witness.received, why="the last message")
        return dict(witness.received[:-1])


def live(trial: Trial) -> Client:
    """A device with a session, whose last will is retained as the contract has it."""
    client = trial.client(trial.d1)
    client._client.will_set("mien/v1/d1/up/status", b'{"state": "lost"}', qos=1, retain=True)
    assert client.open()
    return client


def test_a_device_that_is_revoked_leaves_nothing_behind_not_even_its_last_will(trial: Trial) -> None:
    gone = live(trial)
    with trial.client(trial.service) as manager, trial.client(trial.d2) as other:
        for name in RETAINED:
            by = gone if name.startswith("up/") else manager
            assert by.publish(f"mien/v1/d1/{name}", b"{}", retain=True)
        assert other.publish("mien/v1/d2/up/status", b"{}", retain=True)
    assert set(kept(trial)) == {*(f"mien/v1/d1/{name}" for name in RETAINED), "mien/v1/d2/up/status"}

    revoke(trial.fleet, trial.authority, "d1", {trial.d1.serial: None})

    wait_for(gone.ended.is_set, why="the end of the session")
    assert set(kept(trial)) == {"mien/v1/d2/up/status"}
    gone.close()


def test_every_topic_whose_messages_are_retained_is_cleared() -> None:
    """Reports, renewals and what has an id are not retained; all else is."""
    passing = {name for name in EVERY if "{" in name or "renew" in name} | {"up/report"}

    assert set(EVERY) - passing <= set(RETAINED)
