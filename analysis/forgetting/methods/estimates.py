"""Metrics of continual learning with intervals: a bootstrap that draws the same items for every run.

Every metric is a sum over tasks of means over items (or a ratio of two), so a draw of items is one product.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from analysis.forgetting.measure import drawn_items
from analysis.forgetting.methods.run import Run
from analysis.statistics import Estimate

ACCURACIES = ("mft", "mfn", "maa", "bwt", "fwt")
SHARES = ("superficial", "essential", "superficial_of_lost")
METRICS = (*ACCURACIES, *SHARES)
"""By name: MFT, MFN, MAA, BWT and FWT as in ``analysis.forgetting.measure``; of the items that were right after their
own task, the shares lost in form alone and in fact; and of those lost, the share lost in form alone."""

_NAN = float("nan")


@dataclass(frozen=True)
class Seeded(Estimate):
    """A metric of a method, or its paired difference to another's: the mean over seeds, whose interval is over items,
    and the value in each seed (``seeds``), whose spread the interval does not have in it.
    """

    seeds: tuple[float, ...] = ()

    @property
    def clear(self) -> bool:
        """Whether the interval leaves out zero, and every seed agrees on the sign."""
        return super().clear and len({value > 0 for value in self.seeds}) == 1


class Draws:
    """What 2,000 bootstrap draws of items make of each run's metrics; items are drawn within tasks (seeded)."""

    def __init__(self, runs: Sequence[Run], seed: int = 0):
        sizes = {task: scores.shape[1] for task, scores in runs[0].scores.items()}
        self._weights = {task: drawn_items(task, n, seed) for task, n in sizes.items()}  # as of the accuracy matrix
        self._runs = tuple(runs)  # kept, since they are known by their identity
        self._known: dict[tuple[int, str], tuple[float, np.ndarray]] = {}

    def of(self, run: Run, metric: str) -> tuple[float, np.ndarray]:
        """A metric's value and what it is in each draw ``[draws]``; not-a-number where it is not known."""
        key = (id(run), metric)
        if key not in self._known:
            above, below = parts(run, metric)
            value, drawn = self.summed(above)
            if below is not None:
                whole, of_whole = self.summed(below)
                value = value / whole if whole else _NAN
                with np.errstate(divide="ignore", invalid="ignore"):
                    drawn = np.where(of_whole > 0, drawn / of_whole, _NAN)
            self._known[key] = (value, drawn)
        return self._known[key]

    def summed(self, per_item: dict[str, np.ndarray]) -> tuple[float, np.ndarray]:
        """The sum over tasks of the mean over items, and what it is in each draw."""
        value = sum(float(items.mean()) for items in per_item.values())
        return value, sum(self._weights[task] @ items for task, items in per_item.items())

    def estimate(self, runs: Sequence[Run], metric: str) -> Seeded:
        """A metric over runs that differ in their seed."""
        found = [self.of(run, metric) for run in runs]
        values = tuple(value for value, _ in found)
        return self._seeded(values, np.mean([drawn for _, drawn in found], axis=0))

    def mean(self, scores: dict[str, np.ndarray]) -> Seeded:
        """The mean over tasks of the accuracy of one checkpoint; ``scores`` ``[items]`` by task."""
        value, drawn = self.summed({task: items / len(scores) for task, items in scores.items()})
        return self._seeded((value,), drawn)

    def change(self, runs: Sequence[Run], against: Sequence[Run], metric: str) -> Seeded | None:
        """A metric of ``runs`` minus that of ``against``, over the seeds both have; None where they share none."""
        other = {run.seed: run for run in against}
        pairs = [(self.of(run, metric), self.of(other[run.seed], metric)) for run in runs if run.seed in other]
        if not pairs:
            return None
        values = tuple(a - b for (a, _), (b, _) in pairs)
        return self._seeded(values, np.mean([a - b for (_, a), (_, b) in pairs], axis=0))

    def _seeded(self, values: tuple[float, ...], drawn: np.ndarray) -> Seeded:
        n = sum(weights.shape[1] for weights in self._weights.values())
        return Seeded(float(np.mean(values)), *_interval(drawn), n, values)


def _interval(drawn: np.ndarray) -> tuple[float, float]:
    known = drawn[np.isfinite(drawn)]
    if len(known) < len(drawn) / 2:
        return _NAN, _NAN
    low, high = np.quantile(known, (0.025, 0.975))
    return float(low), float(high)


def parts(run: Run, metric: str) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray] | None]:
    """What a metric is made of: numbers ``[items]`` by task, whose means over items sum to it, and where it is a ratio
    the same of what is below the line. Not-a-number where losses were not split, and where one task alone was taught
    what takes two.
    """
    if len(run.order) == 1 and metric not in ("mft", "mfn", "maa"):
        return {task: np.full(rows.shape[1], _NAN) for task, rows in run.scores.items()}, None
    if metric in SHARES:
        return _share(run, metric)
    tasks, found = len(run.order), {}
    for j, task in enumerate(run.order):
        rows = run.scores[task]
        own, last, nothing = rows[j + 1], rows[-1], np.zeros(rows.shape[1])
        if metric == "mft":
            found[task] = own / tasks
        elif metric == "mfn":
            found[task] = last / tasks
        elif metric == "maa":
            found[task] = sum(rows[i + 1] / (i + 1) for i in range(j, tasks)) / tasks
        elif metric == "bwt":
            found[task] = (last - own) / (tasks - 1) if j < tasks - 1 else nothing
        else:
            found[task] = (rows[j] - rows[0]) / (tasks - 1) if j else nothing
    return found, None


def _share(run: Run, metric: str) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    below = run.lost if metric == "superficial_of_lost" else run.right
    if run.superficial is None:
        above = {task: np.full(len(items), _NAN) for task, items in below.items()}
    elif metric == "essential":
        above = {task: lost & ~run.superficial[task] for task, lost in run.lost.items()}
    else:
        above = {task: lost & run.superficial[task] for task, lost in run.lost.items()}
    return _counts(above), _counts(below)


def _counts(items: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Numbers whose mean over a task's items is their count."""
    return {task: some * float(len(some)) for task, some in items.items()}
