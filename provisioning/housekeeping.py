"""What must not be forgotten: certificates that have ended go onto the revocation list, and the list is renewed in time.

Each process looks for what is new every half minute. Once a day it compares its whole list with the registry: several machines may
serve, each with a copy of the fleet's folder, and a certificate that one of them has listed must be on the lists of all.
"""

from __future__ import annotations

import datetime as dt
from typing import Final

import structlog

from provisioning import fleet as fleets
from provisioning import manage
from provisioning.authority import Authority
from provisioning.fleet import Fleet
from provisioning.registry import Registry
from provisioning.routes import Answer, Context, Subject, Tick

EVERY: Final = 30.0  # seconds between two looks
HOURLY: Final = 3600.0
STRANGERS: Final = 10_000  # steps in the audit log about boxes that are on no list; older ones go
DAILY: Final = 86_400.0  # seconds between two thorough ones


def look_after_certificates(fleet: Fleet, authority: Authority, registry: Registry) -> None:
    """Put what has ended on the revocation list, and renew the list before it ends; several processes may do so at once.

    Raises:
        FleetError: The authority's files or the registry cannot be used.
    """
    if numbers := manage.ended(registry):
        authority.revoke_many({int(number, 16): dt.datetime.fromtimestamp(end, dt.timezone.utc) for number, end in numbers.items()})
        manage.on_the_list(registry, numbers)
        structlog.get_logger(process="serve").info("revoked", certificates=len(numbers))
    fleets.renew_crl(fleet, authority)


def compare(fleet: Fleet, authority: Authority, registry: Registry) -> None:
    """Put on the list what the registry knows to have ended and the list has not, and say what ends soon.

    Raises:
        FleetError: The authority's files or the registry cannot be used.
    """
    listed, log = authority.revoked(), structlog.get_logger(process="serve")
    ended = {int(number, 16): end for number, end in manage.ended(registry, thorough=True).items()}
    if missing := {
        number: dt.datetime.fromtimestamp(end, dt.timezone.utc) for number, end in ended.items() if number not in listed
    }:
        authority.revoke_many(missing)
        log.info("revoked", certificates=len(missing))
    fleets.renew_crl(fleet, authority)
    for line in fleets.ending(fleet):
        log.warning("soon", what=line)


def subject(context: Context) -> Subject:
    """Also without a broker: one whose list has expired lets nobody in, this service included."""

    def work(_: int) -> list[Answer]:
        look_after_certificates(context.fleet, context.authority, context.registry)
        return []

    def daily(_: int) -> list[Answer]:
        compare(context.fleet, context.authority, context.registry)
        return []

    def hourly(_: int) -> list[Answer]:
        if gone := context.registry.forget_strangers(STRANGERS):
            structlog.get_logger(process="serve").info("forgotten", steps=gone, about="boxes that are on no list")
        return []

    ticks = Tick(work, EVERY, offline=True), Tick(hourly, HOURLY, offline=True), Tick(daily, DAILY, offline=True)
    return Subject(ticks=ticks)
