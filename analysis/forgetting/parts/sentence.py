"""Which part forgets, in plain words, true whatever the numbers are."""

from typing import TYPE_CHECKING

import numpy as np

from analysis.wording import change, percent, plural

if TYPE_CHECKING:
    from analysis.forgetting.parts.result import Drift, KeyOverlap, Movement, Parts, Patching
    from analysis.statistics import Difference


def sentence(found: "Parts") -> str:
    """What was measured, what returns first; nothing where nothing was."""
    each = (found.patching, patching), (found.moved, movement), (found.keys, overlap), (found.drift, drift)
    said = " ".join(filter(None, (tell(part) for part, tell in each if part is not None)))
    if said and found.moved is None:
        said += " What returns and what moved was not measured yet with these choices: press Measure."
    return said


def movement(found: "Movement") -> str:
    """Which module moved most."""
    relative = found.relative
    if not found.change.any():
        return f"No weight differs between {found.before} and {found.after}."
    most, n = int(np.nanargmax(relative)), sum(map(len, found.modules))
    return (
        f"From {found.before} to {found.after}, {found.places[most]} moved most: by {_share(relative[most])} of the "
        f"size of its weights. The median over {n} modules is {_share(np.nanmedian(relative))} (|dW| / |W|)."
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
    start = "checkpoint before it" if found.since == "previous" else "base"
    keys = (
        f"Key elements are the {percent(found.share)} of a matrix that a task changed most since the {start} "
        f"({plural(int(found.matrices[0]), 'matrix', 'matrices')})."
    )
    said = (
        f"Two tasks share {_share(np.mean(shares))} of their key elements on average, where independent ones would "
        f"share {_share(chance)}."
    )
    of = f"Of {plural(len(pairs), 'pair')} of tasks"
    if not above:
        below = sum(bool(found.overlap[0, i, j] < found.low[0, i, j]) for i, j in pairs)
        fewer = f", and {below} fewer" if below else ""
        return f"{said} {of} none shares more than chance explains{fewer}. {keys}"
    most = f"{found.tasks[i]} and {found.tasks[j]}"
    return f"{said} {of} {above} share more than chance explains, most of all {most}. {keys}"


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
    whole, tried = found.whole.change, len(found.portions)
    basis = (
        f"On {found.n} items of {found.task}, a sample of those of the matrix, the checkpoint {found.base} scores "
        f"{percent(found.score)} and {found.donor} {percent(found.whole.score)}."
    )
    if whole.low <= 0:
        return (
            f"There is nothing to bring back: {found.donor} scores not clearly more than {found.base} on {found.task}, "
            f"{_points(whole)}. {basis}"
        )
    best = max(range(tried), key=lambda i: found.returned[i].change.value) if found.best is None else found.best
    back, title = found.returned[best].change, found.portions[best].title
    if found.best is None:
        said = "No part put back alone clearly brings anything back"
        return f"{said}: of {tried} tried, most returns with “{title}”, {_points(back)}. {basis}"
    return (
        f"Of {tried} parts put back alone, “{title}” returns most: {_points(back)}, "
        f"{_share(back.value / whole.value)} of what was lost. {_cost(found)}{basis}"
    )


def _cost(found: "Patching") -> str:
    """What the best part costs the last task."""
    if not found.cost:
        return ""
    cost = found.cost[found.best].change
    where = f"{found.n_last} items of {found.last}"
    if cost.clear:
        return f"It {'costs' if cost.value < 0 else 'brings'} {_points(cost)} on {where}. "
    return f"On {where} it neither clearly loses nor gains ({_points(cost)}). "


def _points(of: "Difference") -> str:
    return change(of, "95 % ")


def _share(share: float) -> str:
    """In per cent, above 100 too, with a decimal where a whole number would hide it."""
    return f"{100 * share:.{1 if share < 0.1 else 0}f} %"
