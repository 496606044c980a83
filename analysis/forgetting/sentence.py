"""What an accuracy matrix says, in plain words."""

import math
from typing import TYPE_CHECKING

import numpy as np

from analysis.wording import between, percent, points, verdict

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
            f"The set has one task, {found.tasks[0]}: it is learnt to {percent(found.mft)}, {_against(gain)}. "
            "What later tasks cost earlier ones, and whether earlier ones help, takes two tasks at least."
        )
    changed, before = found.number("bwt"), f"{percent(found.mft)} learnt, {percent(found.mfn)} kept"
    size = f"{points(abs(found.bwt), sign=False)} on average (95 %: {between(-changed if found.bwt < 0 else changed)})"
    by = f"Right after its own training a task reaches {percent(found.mft)} on average, {_against(gain)}."
    worst = int(np.argmax((own - last)[:-1]))
    most = f"Most was lost of {found.tasks[worst]}: {percent(own[worst])} → {percent(last[worst])}."
    return verdict(
        changed,
        above=f"{before}: later tasks even raised the earlier ones, by {size}. {by}",
        below=f"{before}: later tasks cost the earlier ones {size}. {most} {by}",
        neither=(
            f"{before}: later tasks did not clearly change the earlier ones ({points(found.bwt)} on average; 95 %: "
            f"{between(changed, sign=True)}). {by}"
        ),
    )


def _against(gain: float) -> str:
    return f"{points(abs(gain), sign=False)} {'above' if gain >= 0 else 'below'} the base"


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
