"""What every checkpoint of a set answers to every task's evaluation set: the raw answers behind the accuracy matrix."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import binomtest, bootstrap

from models.errors import CheckpointError
from models.evalset import EvalItem, load
from models.files import told
from models.manifest import BASE, MANIFEST, Manifest

if TYPE_CHECKING:
    from models.checkpoints import Weights
    from models.mllm import MLLM


FEW = 8
"""Of fewer items no bootstrap is told: drawn from so few, an interval is far too narrow, or has no width at all."""


def interval(scores: np.ndarray) -> tuple[float, float]:
    """95 % interval of a mean score: Wilson where every score is 0 or 1, else a percentile bootstrap (seeded), which
    of fewer than ``FEW`` items is not-a-number."""
    if np.isin(scores, (0, 1)).all():
        found = binomtest(int(scores.sum()), len(scores)).proportion_ci(method="wilson")
        return found.low, found.high
    if len(scores) < FEW:
        return np.nan, np.nan
    draws = bootstrap((scores,), np.mean, n_resamples=2000, method="percentile", rng=np.random.default_rng(0))
    return draws.confidence_interval.low, draws.confidence_interval.high


def auc(scores: np.ndarray, truth: np.ndarray, other: np.ndarray | None = None) -> tuple:
    """Area under the ROC curve of ``scores`` float64 ``[items]`` against ``truth`` bool ``[items]``, 0 to 1: how often
    a true item has more than a false one, ties as half. Minus that of ``other`` scores of the items, where given.

    Value, 95 % interval (DeLong, DeLong and Clarke-Pearson 1988) and n; nothing where a score is not a number, or
    with fewer than two true or two false items.
    """
    some = np.array([scores] if other is None else [scores, other])
    if np.isnan(some).any() or min(truth.sum(), (~truth).sum()) < 2:
        return ()
    won = [(np.sign(of[truth][:, None] - of[~truth]) + 1) / 2 for of in some]  # [true, false]
    won = won[0] - won[1] if other is not None else won[0]
    reach = 1.96 * np.sqrt(sum(won.mean(1 - axis).var(ddof=1) / won.shape[axis] for axis in (0, 1)))
    low, high = np.clip(won.mean() + [-reach, reach], 0 if other is None else -1, 1)
    return float(won.mean()), float(low), float(high), len(truth)


def at_equal_recall(said: np.ndarray, scores: np.ndarray, truth: np.ndarray) -> tuple[tuple, tuple]:
    """False alarms (the share of false items that are called true) of ``scores`` float64 ``[items]`` by a threshold
    that gives the recall of the answers ``said`` bool ``[items]``, halfway between the last true item that it takes and
    the first that it leaves (of items that tie all or none). Then how many more (+) or fewer (-) ``said`` has.

    Of each the value, its 95 % interval and n; nothing where a score is not a number, or all items are true or false.
    Bootstrap over true and false items apart (seeded), the threshold found anew in each draw; no interval where there
    are fewer than ``FEW`` of either.
    """
    groups = [np.flatnonzero(truth), np.flatnonzero(~truth)]
    if np.isnan(scores).any() or not all(map(len, groups)):
        return (), ()
    rng = np.random.default_rng(0)
    here, gone = (np.vstack([of, of[rng.integers(len(of), size=(1000, len(of)))]]) for of in groups)  # as it is, first
    count, ranked = said[here].sum(1), -np.sort(-scores[here], axis=1)
    last, first = (ranked[np.arange(len(ranked)), np.clip(i, 0, ranked.shape[1] - 1)] for i in (count - 1, count))
    least = np.where(count > 0, (last + first) / 2, np.inf)
    alarms = (scores[gone] >= least[:, None]).mean(1)
    few = min(map(len, groups)) < FEW
    return tuple(
        (float(of[0]), *([np.nan] * 2 if few else map(float, np.percentile(of[1:], (2.5, 97.5)))), len(groups[1]))
        for of in (alarms, said[gone].mean(1) - alarms)
    )


@dataclass(frozen=True)
class Evaluation:
    """``given[task][checkpoint]`` are the answers to ``items[task]``, in their order.

    ``checkpoints`` are ``"base"``, those of the tasks in order, then references; ``trained`` maps a task
    to the checkpoint that was trained on it last.
    """

    method: str
    tasks: tuple[str, ...]
    checkpoints: tuple[str, ...]
    trained: dict[str, str]
    items: dict[str, list[EvalItem]]
    given: dict[str, dict[str, list[str]]]
    provenance: dict

    @classmethod
    def unanswered(cls, manifest: Manifest, also: str = "", checkpoints: Sequence[str] = ()) -> "Evaluation":
        """A set's tasks, checkpoints (all, or those named) and items, and no answers yet; with ``also`` the tasks and
        items of those further evaluation sets, which no checkpoint was trained on last.

        Raises ``CheckpointError`` for a task without an evaluation set, ``EvalSetError`` for a set that is damaged.
        """
        names = tuple(checkpoints) or (BASE, *(c.name for c in manifest.checkpoints))
        if also:
            sets = manifest.also.get(also, {})
            if not sets:
                raise CheckpointError(f'{told(manifest.folder / MANIFEST)}: field "also" has no sets for {also!r}.')
            items = {task: load(path) for task, path in sets.items()}
            return cls(manifest.method, tuple(sets), names, {}, items, {task: {} for task in sets}, {})
        own = {c.task: c for c in manifest.checkpoints if c.task in manifest.order}
        without = [c.name for c in own.values() if c.eval is None]
        if without:
            raise CheckpointError(
                f'{told(manifest.folder / MANIFEST)}: field "eval" is missing for {", ".join(without)}: name the '
                "evaluation set of each task there."
            )
        return cls(
            manifest.method,
            manifest.order,
            names,
            {task: own[task].name for task in manifest.order},
            {task: load(own[task].eval) for task in manifest.order},
            {task: {} for task in manifest.order},
            {},
        )

    @cached_property
    def scores(self) -> dict[str, dict[str, np.ndarray]]:
        """``scores[task][checkpoint]``: float64 ``[items]``, 0 to 1, each by the rule of its item."""
        return {
            task: {name: scored(self.items[task], answers) for name, answers in rows.items()}
            for task, rows in self.given.items()
        }


def scored(items: Sequence[EvalItem], answers: Sequence[str]) -> np.ndarray:
    """How right each answer is, by the rule of its item: float64 ``[items]``, 0 to 1."""
    return np.array([item.scored(answer) for item, answer in zip(items, answers, strict=True)], dtype=float)


def given(
    mllm: "MLLM", items: Sequence[EvalItem], checkpoint: "Weights" = BASE, places: Iterable[int] | None = None
) -> Iterator[tuple[int, str]]:
    """``(place, answer)``, greedy, of one checkpoint, or weights made of several, to each of ``items``, or to those at
    ``places``; batch after batch, not in their order.
    """
    places = range(len(items)) if places is None else places
    encode = lambda i: mllm.encode(items[i].picture(), items[i].question)  # noqa: E731
    return mllm.answers_each(places, encode, checkpoint, alike=lambda i: items[i].question)
