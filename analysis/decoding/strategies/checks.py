"""What a strategy's numbers must be: messages that name the number, what it was and what it may be."""

import math

from models.errors import InputError


def number(name: str, value: float, low: float, high: float | None = None, above: bool = False) -> float:
    """``value`` where it lies in [low, high], or (low, high] with ``above``; without ``high`` any finite one will do.

    Raises ``InputError``; so does NaN.
    """
    fits = isinstance(value, int | float) and not isinstance(value, bool)
    fits = fits and (low < value if above else low <= value)
    if fits and (math.isfinite(value) if high is None else value <= high):
        return value
    least = f"above {low:g}" if above else f"at least {low:g}"
    most = " and finite" if high is None else "" if high == math.inf else f" and at most {high:g}"
    raise InputError(f"{name} is {value}: it must be {least}{most}.")


def whole(name: str, value: int, low: int, high: int | None = None) -> int:
    """``value`` where it is a whole number in [low, high]. Raises ``InputError``."""
    if number(name, value, low, high) != int(value):
        raise InputError(f"{name} is {value}: it must be a whole number.")
    return int(value)
