"""What the path and the merges show, in plain words, true whatever the numbers are."""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

from analysis.wording import between, change, listed, percent, verdict

if TYPE_CHECKING:
    from analysis.forgetting.path.ask import Asked, Standing
    from analysis.forgetting.path.measure import Path
    from analysis.forgetting.path.merge import Merged

_WORDS = 6  # of an answer that is quoted: the table has all of it
WAYS = ("better", "worse", "no clear difference")


def on_the_line(found: "Standing") -> str:
    """What was measured of a line, and what a point of it answers."""
    return _standing(found, path, "The line between these checkpoints")


def of_merges(found: "Standing") -> str:
    """What was measured of merges, and what one of them answers."""
    return _standing(found, merged, "A merge of this set")


def _standing(found: "Standing", told: Callable, what: str) -> str:
    said = f"{what} was not measured yet: press Measure." if found.measured is None else told(found.measured)
    return f"{said} {asked(found.here)}" if found.here else said


def path(found: "Path") -> str:
    """Whether there is a barrier between the two checkpoints, and which alpha is the best compromise."""
    hills, best = [b for b in found.barriers if b.clear], found.best
    i = int(abs(found.alpha - best.alpha).argmin())
    between = f"{found.a} and {found.b}"
    barrier = f"Between {between} there is a barrier on {listed([b.task for b in hills])}"
    if not hills:
        barrier = f"No barrier can be told between {between}"
    average = " on average" if len(found.tasks) > 1 else ""
    end = {0.0: found.a, 1.0: found.b}[best.end]
    if best.clear:
        first = f"{barrier}; alpha {best.alpha:g} is clearly better than either end: {percent(best.accuracy)}{average}."
    else:
        accuracy = found.mean[-1 if best.end else 0]
        first = f"{barrier}; no point between is clearly better than {end}: {percent(accuracy)}{average}."
    each = listed([f"{task} {percent(found.accuracy[t, i])}" for t, task in enumerate(found.tasks)])
    at = f"Of {len(found.alpha)} points alpha {best.alpha:g} is best ({each}; {change(best.gain)} against {end})"
    went = [
        f"from {loss[0]:.2f} to {loss[-1]:.2f} nats an answer on {task}"
        for task, loss in zip(found.tasks, found.loss, strict=True)
    ]
    n = f"n = {found.n} items of {'each task' if len(found.tasks) > 1 else found.tasks[0]}"
    return f"{first} {at}. The loss goes {listed(went)}, {_above(found)}; {n}, a sample of those of the matrix."


def _above(found: "Path") -> str:
    rises = [
        f"by up to {b.height.value:.2f} nats ({between(b.height, 2, sign=True, times=1)}) on {b.task}, "
        f"at alpha {b.alpha:g}"
        for b in found.barriers
        if b.height.value
    ]
    if not rises:
        return "nowhere above a straight line between its ends"
    return f"and rises above a straight line between its ends {listed(rises)}"


def merged(found: "Merged") -> str:
    """How the best merge compares with the last checkpoint and with joint training."""
    last, *others = found.rows
    merges, references = [r for r in others if r.merged], [r for r in others if not r.merged]
    of = f"{len(found.tasks)} tasks with {found.n} items each" if len(found.tasks) > 1 else f"{found.n} items"
    first = f"The last checkpoint, {last.label}, reaches {percent(last.mean.value)} over {of}"
    beside = f"; {listed([f'{r.label} {percent(r.mean.value)}' for r in references])}" if references else ""
    basis = f"{first}{beside} (a sample of the items of the matrix)."
    if not merges:
        return basis
    best = max(merges, key=lambda row: row.mean.value)
    which = f"Of {len(merges)} merges the best" if len(merges) > 1 else "The merge"
    gain = f"{change(best.gain)} against the last checkpoint: {best_of(found)}"
    return f"{which} reaches {percent(best.mean.value)}, {gain}. It is “{best.label}”. {basis}"


def best_of(found: "Merged") -> str | None:
    """How the best merge compares with the last checkpoint: one of ``WAYS``; None without a merge."""
    merges = [row for row in found.rows if row.merged]
    return verdict(max(merges, key=lambda row: row.mean.value).gain, *WAYS) if merges else None


def asked(found: "Asked") -> str:
    """What the weights asked about answer, beside the checkpoints."""
    here = found.answers[found.here]
    words = here.split()
    quoted = " ".join(words[:_WORDS]) + ("…" if len(words) > _WORDS else "")
    p = percent(math.exp(found.logprob[found.here]))
    said = f"With {found.labels[found.here]} the model answers “{quoted}” with a probability of {p}"
    if found.truth is not None:
        right = found.scores[found.here]
        said += f", which is {'right' if right == 1 else 'wrong' if right == 0 else 'partly right'}"
    same = [name for i, name in enumerate(found.labels) if i != found.here and found.answers[i].lower() == here.lower()]
    others = len(found.labels) - 1
    if len(same) == others:
        told = " as well" if others == 1 else ""
        return f"{said}; {listed(same)} {'says' if others == 1 else 'say'} the same{told}."
    return f"{said}; {listed(same)} says the same." if same else f"{said}; no other says the same."
