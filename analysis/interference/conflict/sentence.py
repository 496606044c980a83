"""What a conflict shows, in plain words, whether or not the paper's law holds."""

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from analysis.interference.conflict.balance import Fit, NearAndFar
    from analysis.interference.conflict.measure import Conflicts, Oscillation


def sentence(found: "Conflicts") -> str:
    """What was seen, in plain words, whether or not the paper's law holds."""
    counted, total = int(found.counted.sum()), len(found.seen)
    if not counted:
        return f"None of the {total} conflicts counts: no item was right from text alone and from the picture alone."
    said = (
        f"Of {total} conflicts, {counted} are answered rightly from either side alone; the answer follows the text in "
        f"{100 * found.following_text:.0f} % of them."
    )
    return " ".join(filter(None, [said, _law(found.fitted), _inside(found.oscillation)]))


def _law(curve: "Fit") -> str:
    if curve.reason:
        return f"No curve was fitted: {curve.reason}."
    if np.isnan(curve.low):
        return "Whether relative uncertainty matters cannot be told: the slope could be zero, so no balance point."
    numbers = f"{curve.balance:+.2f} (95 % {curve.low:+.2f} to {curve.high:+.2f})"
    if curve.beyond:
        measured = f"{curve.start:+.2f} to {curve.end:+.2f}"
        place = f"the balance point would be at {numbers}, beyond what was measured ({measured})"
    else:
        place = f"the balance point is at {numbers}"
    if curve.slope > 0:
        return f"Against the paper's law, the text is followed more where it is less sure; {place}."
    said = f"As in the paper, the surer the text, the more it is followed; {place}"
    if curve.start > 0 or curve.end < 0:
        sure = "less sure" if curve.start > 0 else "surer"
        return f"{said}. Every item is {sure} in the text, so nothing is known of equal certainty."
    lean = (
        "towards the picture" if curve.high < 0 else "towards the text" if curve.low > 0 else "to neither side clearly"
    )
    return f"{said}: at equal certainty it leans {lean}."


def _inside(compared: "NearAndFar | None") -> str:
    if compared is None:
        return ""
    numbers = f"{compared.near:.2f} against {compared.far:.2f} (n = {compared.n} each)"
    if compared.low > 0:
        return f"Near the balance point the lead changes more often between layers than far from it: {numbers}."
    if compared.high < 0:
        return f"Against the paper, the lead changes less often near the balance point than far from it: {numbers}."
    return (
        f"Changes of the lead between layers do not differ clearly near the balance point and far from it: {numbers}."
    )


def oscillating(found: "Oscillation") -> str:
    """Who is ahead from layer to layer in one input."""
    last, times = found.leaders[-1], found.switches
    if not times:
        return f"No conflict is visible between layers: “{last}” leads after every layer."
    changes = "once" if times == 1 else f"{times} times"
    pair = f"“{found.seen}” (picture) and “{found.told}” (text)"
    return f"The lead between {pair} changes {changes}; “{last}” has it at the end."
