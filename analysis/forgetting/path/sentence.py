"""What the path and the merges show, in plain words, true whatever the numbers are."""

import math
from typing import TYPE_CHECKING

from analysis.wording import between, change, listed, percent, verdict

if TYPE_CHECKING:
    from analysis.forgetting.path.ask import Asked
    from analysis.forgetting.path.measure import Path
    from analysis.forgetting.path.merge import Merged


def path(found: "Path") -> str:
    """Whether there is a barrier between the two checkpoints, and which alpha is the best compromise."""
    between = f"{found.a} and {found.b}"
    hills = [barrier for barrier in found.barriers if barrier.clear]
    if hills:
        first = f"Between {between} there is a barrier on {listed([b.task for b in hills])}: "
    else:
        first = f"No barrier can be told between {between}: "
    went = [
        f"from {loss[0]:.2f} to {loss[-1]:.2f} nats an answer on {task}"
        for task, loss in zip(found.tasks, found.loss, strict=True)
    ]
    return f"{first}the loss goes {listed(went)}, {_above(found)}. {_best(found)}"


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


def _best(found: "Path") -> str:
    best, i = found.best, int(abs(found.alpha - found.best.alpha).argmin())
    each = listed([f"{task} {percent(found.accuracy[t, i])}" for t, task in enumerate(found.tasks)])
    mean = f"{percent(best.accuracy)} on average ({each})" if len(found.tasks) > 1 else percent(best.accuracy)
    n = f"n = {found.n} items of {'each task' if len(found.tasks) > 1 else found.tasks[0]}"
    of = f"of {len(found.alpha)} points"
    name = {0.0: found.a, 1.0: found.b}
    if best.alpha in name:
        return f"The best compromise {of} is an end, {name[best.alpha]}: {mean}; {n}."
    against = f"against the better end, {name[best.end]}: {change(best.gain)}"
    clear = "" if best.clear else ", which is no clear gain"
    return f"The best compromise {of} is alpha {best.alpha:g}: {mean}, {against}{clear}; {n}."


def merged(found: "Merged") -> str:
    """How the best merge compares with the last checkpoint and with joint training."""
    last, *others = found.rows
    of = f"{len(found.tasks)} tasks with {found.n} items each" if len(found.tasks) > 1 else f"{found.n} items"
    first = f"The last checkpoint, {last.label}, reaches {percent(last.mean.value)} over {of}"
    merges, references = [r for r in others if r.merged], [r for r in others if not r.merged]
    beside = listed([f"{r.label} {percent(r.mean.value)}" for r in references])
    said = f"{first}; trained on all tasks at once: {beside}." if references else f"{first}."
    if not merges:
        return said
    best = max(merges, key=lambda row: row.mean.value)
    which = f"Of {len(merges)} merges the best, “{best.label}”," if len(merges) > 1 else f"The merge “{best.label}”"
    which_way = verdict(best.gain, "better", "worse", "no clear difference")
    gain = f"{change(best.gain)} against the last checkpoint: {which_way}"
    return f"{said} {which} reaches {percent(best.mean.value)}, {gain}."


def asked(found: "Asked") -> str:
    """What the weights asked about answer, beside the checkpoints."""
    here = found.answers[found.here]
    p = percent(math.exp(found.logprob[found.here]))
    said = f"With {found.labels[found.here]} the model answers “{here}” with a probability of {p}"
    if found.truth is not None:
        right = found.scores[found.here]
        said += f", which is {'right' if right == 1 else 'wrong' if right == 0 else 'partly right'}"
    same = [name for i, name in enumerate(found.labels) if i != found.here and found.answers[i].lower() == here.lower()]
    others = len(found.labels) - 1
    if len(same) == others:
        told = " as well" if others == 1 else ""
        return f"{said}; {listed(same)} {'says' if others == 1 else 'say'} the same{told}."
    return f"{said}; {listed(same)} says the same." if same else f"{said}; no other says the same."
