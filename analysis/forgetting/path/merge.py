"""Several checkpoints merged by weights (task arithmetic), measured on every task beside the last and the joint one."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from analysis import kept
from analysis.forgetting.path.measure import known, own
from analysis.forgetting.path.points import ANSWERS, ITEMS, SEED, Wanted, gathered, samples
from analysis.result import Provenance, Result, plain, together
from analysis.statistics import Difference, Estimate, difference, ends, mean
from analysis.table import Table
from models.checkpoints import BASE, Merge, Weights
from models.evaluation import Evaluation, scored

if TYPE_CHECKING:
    from models.mllm import MLLM

AVERAGE, SUM, LAST = "average", "sum", "last only"
PRESETS = (AVERAGE, SUM, LAST)
_NEAR = 0.005  # of a weight: what a slider with two decimals rounds away


@dataclass(frozen=True)
class Row:
    """One candidate: ``weights`` by checkpoint (of a checkpoint as it is, its own name at 1). Accuracy 0 to 1 by task
    ``[tasks]`` and over all (``mean``); ``gain`` over the last checkpoint on the same items, None for it.
    """

    label: str
    weights: tuple[tuple[str, float], ...]
    merged: bool
    accuracy: np.ndarray
    mean: Estimate = ends("low", "high")
    gain: Difference | None = None


@dataclass(frozen=True, kw_only=True)
class Merged(Result):
    """Merges, the last checkpoint and the references on ``n`` items of each task.

    ``rows[0]`` is the last task's checkpoint, then references (trained on all tasks at once), then merges.
    """

    tasks: tuple[str, ...]
    n: int
    rows: tuple[Row, ...]

    def table(self) -> Table:
        rows = [
            [row.label, str(Merge(row.weights)), task, self.n, row.accuracy[t]]
            for row in self.rows
            for t, task in enumerate(self.tasks)
        ]
        rows += [[row.label, str(Merge(row.weights)), "all", row.mean.n, row.mean.value] for row in self.rows]
        return Table(["name", "weights", "task", "n", "accuracy"], rows)

    def to_json(self) -> dict:
        return plain(self)


def preset(names: Sequence[str], name: str) -> Merge:
    """One of ``PRESETS`` of the T checkpoints ``names``: all at 1/T, all at 1, or the last one alone."""
    weight = {AVERAGE: 1 / len(names), SUM: 1.0, LAST: 0.0}[name]
    return Merge((*((checkpoint, weight) for checkpoint in names[:-1]), (names[-1], 1.0 if name == LAST else weight)))


def of_weights(names: Sequence[str], weights: Sequence[float]) -> Merge:
    """The merge with one weight for each of ``names``; a preset where it is one, to two decimals."""
    merge = Merge(tuple(zip(names, map(float, weights), strict=True)))
    for name in PRESETS:
        same = preset(names, name)
        if all(abs(a - b) <= _NEAR for (_, a), (_, b) in zip(same.weights, merge.weights, strict=True)):
            return same
    return merge


def label(names: Sequence[str], weights: Weights) -> str:
    """What a merge is called: a preset's name, or its weights; a checkpoint by its own name."""
    if isinstance(weights, str):
        return weights
    if name := next((name for name in (AVERAGE, SUM) if weights == preset(names, name)), ""):
        return name
    return " + ".join(f"{weight:g} {name}" for name, weight in weights.weights if weight) or BASE


def measure(
    model: "MLLM",
    merges: Sequence[Merge],
    count: int = ITEMS,
    progress: kept.Progress = kept.quiet,
    only_kept: bool = False,
) -> Merged | None:
    """Ask ``merges``, the last checkpoint and the references the same ``count`` items of every task (drawn by seed).

    What was measured before is loaded. ``progress`` is told what comes next; what it raises stops the work. With
    ``only_kept`` nothing is asked, ``model`` may be unopened, and None stands for what is not all there. Raises
    ``CheckpointError`` for unknown checkpoints and weights out of bounds.
    """
    evaluation = Evaluation.unanswered(model.checkpoints.manifest)
    chosen = samples(evaluation, evaluation.tasks, count)
    names = tuple(own(model.checkpoints.manifest).values())
    references = [name for name in evaluation.checkpoints if name not in (BASE, *names)]
    known(evaluation, (name for m in merges for name, _ in m.weights))
    others = dict.fromkeys(m for m in merges if m != preset(names, LAST))
    candidates: list[Weights] = [names[-1], *references, *others]
    wanted = [Wanted(ANSWERS, c, sample) for c in candidates for sample in chosen]
    found = gathered(model, wanted, progress, only_kept)
    if found is None:
        return None
    answers = iter(found)
    scores = [[scored(sample.items, next(answers)[ANSWERS]) for sample in chosen] for _ in candidates]
    labels = [label(names, c) for c in candidates]
    by = together([value["provenance"] for value in found], model.name, "merged", SEED)
    return merged(Provenance(**by), evaluation.tasks, labels, candidates, np.array(scores))


def merged(
    provenance: Provenance, tasks: tuple[str, ...], labels: Sequence[str], candidates: Sequence[Weights],
    scores: np.ndarray,
) -> Merged:  # fmt: skip
    """The result of raw ``scores`` ``[candidates, tasks, items]``, 0 to 1; the first is the last task's checkpoint."""
    rows = []
    for i, (name, weights, of) in enumerate(zip(labels, candidates, scores, strict=True)):
        single = isinstance(weights, str)
        rows.append(
            Row(
                name, ((weights, 1.0),) if single else weights.weights, not single, of.mean(1), mean(of.ravel()),
                difference(of.ravel(), scores[0].ravel()) if i else None,
            )
        )  # fmt: skip
    return Merged(provenance=provenance, tasks=tasks, n=scores.shape[2], rows=tuple(rows))
