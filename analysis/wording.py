"""Numbers, shares, differences, counts and lists as sentences, labels and tables say them, the same in every room.

A minus is a real one, what rounds to nothing has no sign, and what is not known is a dash.
"""

import math
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from analysis.statistics import Estimate

UNKNOWN, NO_INTERVAL = "–", "too few for an interval"
_ENCLOSED = ("„[^„“”]*[“”]", "“[^“”]*”", "«[^«»]*»", "»[^«»]*«", '"[^"]*"', r"\([^()]*\)")
_ASIDE = "\1"  # in the place of each letter in parentheses; "\0" of each in quotation marks
_END = re.compile(rf"(?<!\be\.g)(?<!\bi\.e)(?<!\bvs)[.?!…](?=\s+[^\sa-z{_ASIDE}])")  # an interval is of what was said
_QUOTED = 16  # words of an answer that a headline has room for


def number(value: float, digits: int = 0, sign: bool = False) -> str:
    """``"−1.5"``; with ``sign`` also ``"+1.5"``."""
    if math.isnan(value):
        return UNKNOWN
    shown = round(float(value), digits) or 0.0  # no minus before nothing
    return f"{shown:{'+' if sign and shown else ''}.{digits}f}".replace("-", "−")


def rough(value: float) -> str:
    """Two digits that count: ``"0.25"``, ``"120"``."""
    return f"{float(f'{value:.2g}'):g}"


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
    """An estimate's 95 % interval: ``"−1 to 11"``, or that it has none."""
    if math.isnan(of.low):
        return NO_INTERVAL
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
    if not of.known:
        return UNKNOWN
    return f"{percent(of.value)} ({between(of) if math.isnan(of.low) else f'{percent(of.low)} to {percent(of.high)}'})"


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
    """``text``, of which a headline has room for so many words, or as many letters where there are no spaces."""
    some, most = text.split(), 16 * words
    short = text if len(some) <= words else f"{' '.join(some[:words])} …"
    return short if len(short) <= most else f"{short[:most]}…"


def headline(said: str) -> tuple[str, str]:
    """The first sentence of a text, and the rest. A long quotation in it is shortened; the rest is then the whole text.

    A sentence does not end within quotation marks or parentheses. An answer that is quoted may have marks of its own,
    and half of a pair: behind the last mark without its other half, all is outside again.
    """
    outside = said
    for pattern in _ENCLOSED:
        fill = _ASIDE if pattern == _ENCLOSED[-1] else "\0"
        while (blank := re.sub(pattern, lambda found, fill=fill: fill * len(found[0]), outside)) != outside:
            outside = blank
    start = max(20, *(outside.rfind(mark) for mark in "„“”"))
    end = (found := _END.search(outside, start)) and found.end()
    first, rest = said[:end], said[end:].strip() if end else ""
    short = first
    for quoted in reversed([*re.finditer("\0+", outside[:end])]):
        at, to = quoted.span()
        if said[at] == "“":
            short = f"{short[: at + 1]}{brief(said[at + 1 : to - 1], _QUOTED)}{short[to - 1 :]}"
    return (first, rest) if short == first else (short, said)


def listed(names: Sequence[str]) -> str:
    """``"a"``, ``"a and b"``, ``"a, b and c"``; nothing where there are none."""
    return f"{', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else "".join(names)
