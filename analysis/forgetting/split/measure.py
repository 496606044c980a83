"""Which of a task's lost answers are lost in form alone, and which in fact (SEFE, arXiv 2505.02486)."""

from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from analysis import kept
from analysis.forgetting import sets
from analysis.forgetting.split.ask import Again, Asked, again
from analysis.forgetting.split.options import RIGHT, options_of
from analysis.forgetting.split.result import ESSENTIAL, KEPT, SUPERFICIAL, Lost, Split, became
from analysis.result import Provenance, together
from models.answers import style_of
from models.errors import CheckpointError, InputError

if TYPE_CHECKING:
    from models.evaluation import Evaluation
    from models.mllm import MLLM


def later(evaluation: "Evaluation") -> tuple[str, ...]:
    """The checkpoints at which something can be lost: those of the second task on, in their order."""
    return tuple(evaluation.trained[task] for task in evaluation.tasks[1:])


def split(
    evaluation: "Evaluation",
    mllm: "MLLM",
    progress: kept.Progress = kept.quiet,
    checkpoint: str | None = None,
    only_kept: bool = False,
) -> Split | None:
    """Sort what ``checkpoint`` (default: that of the last task) lost; ``mllm`` has the set that ``evaluation`` is of.

    Only lost answers in another form than asked are asked again. What was asked before is loaded; else ``progress`` is
    told the share done, and may stop the work by raising. With ``only_kept`` nothing is asked, and None stands for what
    is not all there. Tasks that were not measured are left out.
    Raises ``CheckpointError`` for a checkpoint that no task came before, or where no earlier task was measured,
    ``InputError`` naming an item without a wrong option.
    """
    after = later(evaluation)
    if not after:
        raise CheckpointError("The set has a single task: nothing came after it that could have cost it anything.")
    name = checkpoint or after[-1]
    if name not in after:
        raise CheckpointError(f"No task came before checkpoint {name!r}. Choose one of: {', '.join(after)}.")
    earlier = evaluation.tasks[: after.index(name) + 1]
    tasks = [t for t in earlier if {evaluation.trained[t], name} <= set(evaluation.given.get(t, ()))]
    if not tasks:
        raise CheckpointError(f"No task before {name} was measured both right after its training and at {name}.")
    lost = [_lost(evaluation, task, name) for task in tasks]
    asked = [_asked(evaluation, task, some) for task, some in zip(tasks, lost, strict=True)]
    found = again(mllm, name, asked, progress, only_kept)
    if found is None:
        return None
    judged = [_judged(*each) for each in zip(lost, asked, found, strict=True)]
    then = [_right(evaluation, task, evaluation.trained[task]) for task in tasks]
    now = [_right(evaluation, task, name) for task in tasks]
    everything = tuple(x for some in judged for x in some)
    by = [g.provenance for g in found if g.provenance]
    by = together(by, checkpoint=name) if by else {**evaluation.provenance, "checkpoint": name, "seconds": 0}
    return Split(
        provenance=Provenance(**by),
        method=evaluation.method,
        checkpoint=name,
        tasks=tuple(became(*each) for each in zip(tasks, then, now, judged, strict=True)),
        all=became("all", np.concatenate(then), np.concatenate(now), everything),
        lost=everything,
    )


def _right(evaluation: "Evaluation", task: str, checkpoint: str) -> np.ndarray:
    return evaluation.scores[task][checkpoint] >= RIGHT


def kept_items(evaluation: "Evaluation", task: str, checkpoint: str) -> list[Lost]:
    """The items of a task that were right after it and are right at ``checkpoint``, told as lost ones are."""
    both = _right(evaluation, task, evaluation.trained[task]) & _right(evaluation, task, checkpoint)
    return [replace(x, verdict=KEPT) for x in _told(evaluation, task, checkpoint, both)]


def _lost(evaluation: "Evaluation", task: str, checkpoint: str) -> list[Lost]:
    """The lost items of a task; those in another form than asked have no verdict yet."""
    gone = _right(evaluation, task, evaluation.trained[task]) & ~_right(evaluation, task, checkpoint)
    told = _told(evaluation, task, checkpoint, gone)
    return [replace(x, verdict=ESSENTIAL) if x.form == x.style else x for x in told]


def _told(evaluation: "Evaluation", task: str, checkpoint: str, some: np.ndarray) -> list[Lost]:
    """What is known of ``some`` items (bool ``[items]``) from their answers alone."""
    own, given = evaluation.trained[task], evaluation.given[task]
    found = []
    for i in np.flatnonzero(some).tolist():
        item, then, now = evaluation.items[task][i], given[own][i], given[checkpoint][i]
        found.append(Lost(task, i, item.question, item.answer, item.style, then, now, style_of(now), ""))
    return found


def _asked(evaluation: "Evaluation", task: str, lost: list[Lost]) -> Asked:
    items, places = evaluation.items[task], [x.place for x in lost if not x.verdict]
    return Asked(task, tuple(items[i] for i in places), tuple(options_of(items, i) for i in places))


def _judged(lost: list[Lost], asked: Asked, found: Again) -> list[Lost]:
    """The lost items of a task, each with its verdict."""
    rows = iter(zip(asked.items, asked.options, found.logprob, found.tokens, found.answers, strict=True))
    judged = []
    for x in lost:
        if not x.verdict:
            item, options, logprob, tokens, answer = next(rows)
            x = replace(x, options=options, again=answer, back=bool(item.scored(answer) >= RIGHT))
            x = replace(x, **_chosen(options, np.array(logprob) / (tokens if x.style == "sentence" else 1)))
        judged.append(x)
    return judged


def _chosen(options: tuple[str, ...], scores: np.ndarray) -> dict:
    """What the scores of the options, the true one first, say of an item. A tie for the top is no knowledge."""
    odds = np.exp(scores - scores.max())
    best = int(odds[1:].argmax()) + 1
    known = odds[0] > odds[best]
    return {
        "verdict": SUPERFICIAL if known else ESSENTIAL,
        "top": options[0 if known else best],
        "probability": float(odds[0] / odds.sum()),
    }


@sets.remembered
def load(name: str, checkpoint: str | None = None) -> Split | None:
    """The split of the set ``name`` at ``checkpoint`` (default: the last task's), where nothing has to be asked for it;
    None where it has, or has but cannot be.

    Raises ``CheckpointError`` as ``sets.answers`` and ``split`` do.
    """
    answers = sets.answers(name)
    with suppress(InputError):  # an item without options: told to who wants it asked
        return sets.load(name, partial(split, answers, checkpoint=checkpoint))


def measured(
    name: str,
    progress: kept.Progress = kept.quiet,
    checkpoint: str | None = None,
) -> Split:
    """The same, and what is missing is asked of the model, which is opened for it."""
    answers = sets.answers(name)
    return load(name, checkpoint) or sets.measured(name, partial(split, answers, checkpoint=checkpoint), progress)
