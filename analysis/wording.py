"""Numbers and lists as sentences and labels say them, the same in every room."""

from collections.abc import Sequence


def percent(share: float) -> str:
    """``"12 %"``; shares that rounding would make nothing or all are told as such."""
    if 0 < share < 0.01:
        return "< 1 %"
    return "> 99 %" if 0.99 < share < 1 else f"{100 * share:.0f} %"


def signed(value: float, digits: int = 2) -> str:
    """A number with its sign, the minus a real one; what rounds to nothing has none."""
    return f"{round(value, digits):+.{digits}f}".replace("-", "−") if round(value, digits) else f"{0:.{digits}f}"


def listed(names: Sequence[str]) -> str:
    """``"a"``, ``"a and b"``, ``"a, b and c"``; nothing where there are none."""
    return f"{', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else "".join(names)
