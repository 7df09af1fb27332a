"""The subjects that may come down to this device, one line each."""

from __future__ import annotations

import os

from device.commands_down import CommandHandler
from device.downward import Context, Handler
from device.model_handler import ModelHandler
from device.renewal import RenewalHandler, can_renew
from device.twin_handler import TwinHandler


def handlers(context: Context) -> tuple[Handler, ...]:
    """A handler for each subject that the settings allow.

    Raises:
        SpoolError: What one has to remember cannot be read or written.
        IdentityError: A renewal that was begun cannot be ended.
    """
    made: list[Handler] = []
    if context.settings.broker.commands:
        made.append(CommandHandler(context))
    if context.settings.broker.twin:
        made.append(TwinHandler(context))
    if context.settings.broker.rollouts or os.path.exists(context.settings.models.root_file):
        made.append(ModelHandler(context))
    if can_renew(context.settings.broker):
        made.append(RenewalHandler(context))
    return tuple(made)
