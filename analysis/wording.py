"""Numbers, shares, differences, counts and lists as sentences, labels and tables say them, the same in every room.

A minus is a real one, what rounds to nothing has no sign, and what is not known is a dash.
"""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from analysis.statistics import Estimate

UNKNOWN = "–"


def number(value: float, digits: int = 0, sign: bool = False) -> str:
    """``"−1.5"``; with ``sign`` also ``"+1.5"``."""
    if math.isnan(value):
        return UNKNOWN
    shown = round(float(value), digits) or 0.0  # no minus before nothing
    return f"{shown:{'+' if sign and shown else ''}.{digits}f}".replace("-", "−")


def signed(value: float, digits: int = 2) -> str:
    """A number with its sign."""
    return number(value, digits, sign=True)


def nats(value: float) -> str:
    """``"−1.50 nats"``."""
    return f"{signed(value)} nats"


def percent(share: float) -> str:
    """``"12 %"``; shares that rounding would make nothing or all are told as such."""
    if math.isnan(share):
        return UNKNOWN
    return "< 1 %" if 0 < share < 0.01 else "> 99 %" if 0.99 < share < 1 else f"{number(100 * share)} %"


def points(share: float, digits: int = 0, sign: bool = True) -> str:
    """A difference of shares: ``"+5 points"``, ``"−1 point"``, ``"0 points"``."""
    told = number(100 * share, digits, sign)
    return f"{told} point{'' if told.lstrip('+−') == '1' else 's'}"


def between(of: "Estimate", digits: int = 0, sign: bool = False, times: float = 100) -> str:
    """An estimate's 95 % interval: ``"−1 to 11"``."""
    return f"{number(times * of.low, digits, sign)} to {number(times * of.high, digits, sign)}"


def estimate(
    of: "Estimate", digits: int = 0, sign: bool = False, times: float = 100, unit: str = "", p: bool = False
) -> str:
    """A number with its ``unit`` and its interval: ``"63 (58 to 68)"``, the number alone where that has none.

    With ``p`` also the p of a difference, where it has one: ``"+5 (+1 to +9; p = 0.02)"``.
    """
    told = number(times * of.value, digits, sign) + unit
    if not of.known or math.isnan(of.low):
        return told
    beside = f"; p = {of.p:.2g}" if p and not math.isnan(of.p) else ""
    return f"{told} ({between(of, digits, sign, times)}{beside})"


def share(of: "Estimate") -> str:
    """A share with its interval: ``"63 % (58 % to 68 %)"``."""
    return f"{percent(of.value)} ({percent(of.low)} to {percent(of.high)})" if of.known else UNKNOWN


def change(of: "Estimate", level: str = "", digits: int = 0) -> str:
    """A difference of shares with its interval: ``"+5 points (−1 to +11)"``; ``level`` stands before the interval."""
    return f"{points(of.value, digits)} ({level}{between(of, digits, sign=True)})"


def verdict(of: "Estimate", above: str, below: str, neither: str = "") -> str:
    """``above`` or ``below`` where the whole interval is above or below zero, else ``neither``."""
    return above if of.low > 0 else below if of.high < 0 else neither


def plural(count: int, one: str, more: str = "") -> str:
    """``"1 seed"``, ``"3 seeds"``; ``more`` where an s does not make it."""
    return f"{count} {one if count == 1 else more or one + 's'}"


def ninth(x: float, y: float) -> str:
    """The part of a picture that a point in fractions of it lies in: ``"top left"``, ``"middle"``."""
    down, across = (min(max(int(3 * v), 0), 2) for v in (y, x))
    return f"{('top', '', 'bottom')[down]} {('left', '', 'right')[across]}".strip() or "middle"


def brief(text: str, words: int = 3) -> str:
    """``text``, of which a headline has room for so many words."""
    some = text.split()
    return text if len(some) <= words else f"{' '.join(some[:words])} …"


def listed(names: Sequence[str]) -> str:
    """``"a"``, ``"a and b"``, ``"a, b and c"``; nothing where there are none."""
    return f"{', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else "".join(names)
