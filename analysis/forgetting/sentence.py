"""What an accuracy matrix says, in plain words."""

import math
from typing import TYPE_CHECKING

import numpy as np

from analysis.wording import between, number, percent

if TYPE_CHECKING:
    from analysis.forgetting.measure import Forgetting


def sentence(found: "Forgetting") -> str:
    """What was learnt and what was lost; whether it was is told by the 95 % interval of backward transfer."""
    own = found.matrix[list(found.own), range(len(found.tasks))]
    last = found.matrix[found.own[-1]]
    gain = float((own - found.matrix[0]).mean())
    if math.isnan(found.mft) or math.isnan(found.mfn) or math.isnan(gain):
        return "Some cells were not measured, so what was learnt and lost cannot be summed up."
    if len(found.tasks) < 2:
        return (
            f"The set has one task, {found.tasks[0]}: right after its training it reaches {percent(found.mft)}, "
            f"{_against(gain)}. What later tasks cost earlier ones, and whether earlier ones help, takes two tasks at "
            "least."
        )
    said = f"Right after its own training a task reaches {percent(found.mft)} on average, {_against(gain)}."
    bwt = found.number("bwt")
    span = f"95 %: {between(bwt, sign=True)}"
    if bwt.high < 0:
        worst = int(np.argmax((own - last)[:-1]))
        return (
            f"{said} After the last task {percent(found.mfn)} is left: training on later tasks cost the earlier ones "
            f"{-100 * found.bwt:.0f} points on average ({span}), most of all {found.tasks[worst]} "
            f"({percent(own[worst])} → {percent(last[worst])})."
        )
    if bwt.low > 0:
        return (
            f"{said} After the last task it is {percent(found.mfn)}: later tasks even raised the earlier ones, by "
            f"{100 * found.bwt:.0f} points on average ({span})."
        )
    return (
        f"{said} After the last task it is {percent(found.mfn)}: later tasks did not clearly change the earlier ones "
        f"on average ({number(100 * bwt.value, sign=True)} points; {span})."
    )


def _against(gain: float) -> str:
    return f"{abs(100 * gain):.0f} points {'above' if gain >= 0 else 'below'} the base"


PREDICTED = ("more than two thirds", "between one and two thirds", "less than a third")
"""What ``outcome`` can be."""


def outcome(found: "Forgetting") -> str | None:
    """How much of the first task's accuracy right after its training is left after the last task.

    None where there is one task, or nothing was right.
    """
    if len(found.tasks) < 2:
        return None
    learnt, left = found.matrix[found.own[0], 0], found.matrix[found.own[-1], 0]
    if not learnt > 0 or left != left:
        return None
    return PREDICTED[0] if left > learnt * 2 / 3 else PREDICTED[1] if left >= learnt / 3 else PREDICTED[2]
