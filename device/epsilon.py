"""ε in the settings: read exactly, kept in its range, and checked against what a day may cost. Pure."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation

from pydantic import ValidationInfo

from device.noise import MICRO, RESERVE, Budget, micro


class Number(float):
    """A number of the file that remembers how it was written: an ε is taken from the text, never from a float."""

    text: str

    def __new__(cls, text: str) -> Number:
        number = super().__new__(cls, text)
        number.text = text
        return number


def exact(value: object) -> Decimal:
    """An ε as it was written; at most six decimals, so that millionths count it."""
    try:
        exact = Decimal(value.text if isinstance(value, Number) else str(value))
        if abs(exact.adjusted()) > 9:  # or making a fraction of 1e999999999 would take for ever
            raise ValueError
        micro(exact)
    except (InvalidOperation, ValueError, OverflowError) as error:
        raise ValueError("expected a decimal number of at most six decimals") from error
    return exact


def a_window(epsilon: Decimal) -> Decimal:
    """What one window may cost."""
    if not Decimal("0.01") <= epsilon <= 5:
        raise ValueError("expected 0.01 to 5")
    return epsilon


def a_day(epsilon: Decimal, info: ValidationInfo) -> Decimal:
    """What a day may cost: enough for the windows of a day, or nothing is started."""
    known = info.data
    if epsilon <= 0 or (epsilon > 500 and not known.get("demo")):
        raise ValueError("expected more than 0 and at most 500 (more, for demonstrations, with demo = true)")
    if known.get("noise") != "off" and {"epsilon_window", "window_seconds"} <= known.keys():
        budget = Budget(known["window_seconds"], micro(known["epsilon_window"]), micro(epsilon))
        if budget.needed > budget.day:
            count, cost, needed = budget.windows_a_day, budget.window / MICRO, budget.needed / MICRO
            raise ValueError(
                f"expected at least {needed:g}: {count} windows of {budget.window_seconds} s a day and {RESERVE} for restarts cost "
                f"{cost:g} each, ({count} + {RESERVE}) × {cost:g} = {needed:g}; raise epsilon_day, lower epsilon_window, or make "
                "window_seconds longer"
            )
    return epsilon
