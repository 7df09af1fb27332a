"""Taking a device out of the fleet: its session ends now, and its certificates never work again."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping

from provisioning.authority import Authority
from provisioning.dynsec import Control
from provisioning.fleet import Fleet, renew_crl


def revoke(
    fleet: Fleet,
    authority: Authority,
    device: str,
    serials: Mapping[int, dt.datetime | None],
    control: Callable[[Fleet], Control] = Control,
) -> None:
    """Revoke a device's certificates, cut its session and clear what the broker keeps of it. Repeating it changes nothing.

    The list is written first: it holds whatever happens to the broker. The broker reads it on SIGHUP; until then a device that
    connects again reaches no topic.

    Args:
        fleet: Whose.
        authority: Its authority.
        device: The common name.
        serials: Serial numbers of the device's certificates, and when each ends (``None``: not known).
        control: How to reach the broker.

    Raises:
        BrokerError: The broker could not be told; the certificates are revoked all the same. Repeat it later.
    """
    authority.revoke_many(serials)
    renew_crl(fleet, authority)
    with control(fleet) as connection:
        connection.cut(device)
        connection.clear(device)  # after its last will
