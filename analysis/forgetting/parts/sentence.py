"""Which part forgets, in plain words, true whatever the numbers are."""

from typing import TYPE_CHECKING

import numpy as np

from analysis.wording import change, percent, plural

if TYPE_CHECKING:
    from analysis.forgetting.parts.result import Drift, KeyOverlap, Movement, Parts, Patching
    from analysis.statistics import Difference


def sentences(found: "Parts") -> list[str]:
    """What was measured, in the order of the page; nothing of what was not."""
    said = [
        tell(part)
        for part, tell in (
            (found.patching, patching), (found.moved, movement), (found.keys, overlap), (found.drift, drift),
        ) if part is not None
    ]  # fmt: skip
    return [s for s in said if s]


def sentence(found: "Parts") -> str:
    """All ``sentences`` as one text."""
    return " ".join(sentences(found))


def movement(found: "Movement") -> str:
    """Which module moved most."""
    relative = found.relative
    if not found.change.any():
        return f"No weight differs between {found.before} and {found.after}."
    most, n = int(np.nanargmax(relative)), sum(map(len, found.modules))
    return (
        f"From {found.before} to {found.after}, {found.places[most]} moved most: by {_share(relative[most])} of the "
        f"size of its weights (|dW| / |W|; median over {n} modules {_share(np.nanmedian(relative))})."
    )


def overlap(found: "KeyOverlap") -> str:
    """Whether tasks changed the same elements most."""
    pairs = [(i, j) for i, j in found.pairs() if not np.isnan(found.overlap[0, i, j])]
    if not pairs:
        return ""
    shares = [found.overlap[0, i, j] for i, j in pairs]
    chance = float(np.mean([found.expected[0, i, j] for i, j in pairs]))
    above = sum(bool(found.overlap[0, i, j] > found.high[0, i, j]) for i, j in pairs)
    i, j = pairs[int(np.argmax(shares))]
    n, of = int(found.matrices[0]), f"{plural(len(pairs), 'pair')} of tasks"
    start = "checkpoint before it" if found.since == "previous" else "base"
    said = (
        f"Of each task's key elements (the {percent(found.share)} of a matrix that it changed most since the {start}), "
        f"two tasks share {_share(np.mean(shares))} on average, where independent ones would share {_share(chance)} "
        f"({of}, {n} matrices)"
    )
    if not above:
        below = sum(bool(found.overlap[0, i, j] < found.low[0, i, j]) for i, j in pairs)
        fewer = f", and in {below} of {len(pairs)} fewer" if below else ""
        return f"{said}: in no pair more than chance explains{fewer}."
    most = f"{found.tasks[i]} and {found.tasks[j]}"
    return f"{said}; {above} of {len(pairs)} share more than chance explains, most of all {most}."


def drift(found: "Drift") -> str:
    """Where hidden states of old items ended up."""
    last = found.cka[-1]
    if np.isnan(last).all():
        return f"The hidden states of {found.n} {found.task} items are all the same, so their drift cannot be told."
    least = int(np.nanargmin(last))
    return (
        f"On {found.n} items of {found.task}, hidden states after {found.checkpoints[-1]} differ most from those right "
        f"after {found.checkpoints[0]} in layer {least + 1}: CKA {last[least]:.2f}, where 1 is the same up to rotation "
        f"and size, and shuffled items give {found.chance[-1, least]:.2f}."
    )


def patching(found: "Patching") -> str:
    """Which part brings the old task back, and what that costs."""
    old = f"On {found.n} items of {found.task}, the checkpoint {found.base} scores {percent(found.score)}"
    whole, tried = found.whole.change, len(found.portions)
    if whole.low <= 0:
        return (
            f"{old}, and the checkpoint {found.donor} not clearly more ({_change(whole)}): there is nothing to bring "
            "back."
        )
    said = f"{old}, the checkpoint {found.donor} {percent(found.whole.score)}."
    if found.best is None:
        best = max(range(tried), key=lambda i: found.returned[i].change.value)
        return (
            f"{said} No part put back alone clearly brings anything back: of {tried} tried, most returns with "
            f"“{found.portions[best].title}”, {_change(found.returned[best].change)}."
        )
    most = found.returned[found.best].change
    said += (
        f" Of {tried} parts put back alone, most returns with “{found.portions[found.best].title}”: {_change(most)}, "
        f"{_share(most.value / whole.value)} of what was lost"
    )
    return f"{said}{_cost(found)}."


def _cost(found: "Patching") -> str:
    """What the best part costs the last task."""
    if not found.cost:
        return ""
    cost = found.cost[found.best].change
    where = f"{found.n_last} items of {found.last}"
    if cost.clear:
        return f"; it {'costs' if cost.value < 0 else 'brings'} {_change(cost)} on {where}"
    return f"; on {where} it neither clearly loses nor gains ({_change(cost)})"


def _change(of: "Difference") -> str:
    return change(of, "95 % ")


def _share(share: float) -> str:
    """In per cent, above 100 too, with a decimal where a whole number would hide it."""
    return f"{100 * share:.{1 if share < 0.1 else 0}f} %"
