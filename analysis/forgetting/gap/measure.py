"""The stability gap: what old tasks lose right after a switch to a new one, and how much of it comes back.

Continual evaluation and its metrics: De Lange, van de Ven and Tuytelaars, arXiv 2205.13452.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from analysis.forgetting.gap.course import Course
from analysis.result import Provenance, Result
from analysis.table import Table

WINDOW = 10
"""Steps in the shorter window of windowed forgetting, as in the paper's WF^10; the longer one is a task's steps."""

FIRST = 0.5
"""The share of a task's steps, from its start, within which the dip after the switch to it is looked for."""

_Z = 1.96


@dataclass(frozen=True)
class Dip:
    """What a switch to task number ``to`` did to the tasks before it, or to one of them. Accuracies are 0 to 1.

    ``before`` is the accuracy at the switch, ``lowest`` the lowest within the first ``FIRST`` of the new task's steps,
    at training step ``step``; ``after`` the accuracy at the new task's end. ``noise`` is half the width of a 95 %
    interval of a difference of two such accuracies, as if they were measured on different items: on the same items,
    as here, it is too wide rather than too narrow.
    """

    to: int
    step: int
    before: float
    lowest: float
    after: float
    noise: float

    @property
    def depth(self) -> float:
        """How far accuracy falls; below zero where it only rises."""
        return self.before - self.lowest

    @property
    def back(self) -> float:
        """How much of it comes back by the end of the new task; below zero where more is lost after the dip."""
        return self.after - self.lowest

    @property
    def clear(self) -> bool:
        """Whether it falls by more than noise."""
        return self.depth > self.noise

    @property
    def returns(self) -> bool:
        """Whether a clear dip comes back by more than noise: the stability gap. What stays away is forgetting."""
        return self.clear and self.back > self.noise


@dataclass(frozen=True)
class Gap:
    """The numbers of one course with T tasks.

    ``acc`` ``[T]``: after each task, the mean accuracy of the tasks trained so far, which is all that evaluation at the
    ends of tasks shows. ``min_acc`` ``[T]``: the mean over the tasks before the k-th of their lowest accuracy since
    their own training ended, up to the k-th task's end (not-a-number after the first). ``wc_acc`` ``[T]``: worst-case
    accuracy, accuracy_k / k + (1 - 1/k) min_acc_k. ``windowed`` and ``windowed_task``: windowed forgetting, the
    largest drop between two evaluations at most ``WINDOW`` steps apart, or a task's steps apart, since a task's
    training began; the mean over tasks. ``dips``: of the mean of the old tasks, one a switch; ``each``:
    those of every task by itself, one tuple a task.
    """

    course: Course
    acc: np.ndarray
    min_acc: np.ndarray
    wc_acc: np.ndarray
    windowed: float
    windowed_task: float
    dips: tuple[Dip, ...]
    each: tuple[tuple[Dip, ...], ...]


@dataclass(frozen=True, kw_only=True)
class Gaps(Result):
    """Courses of several methods side by side; ``window`` and ``first`` are what they were measured with."""

    gaps: tuple[Gap, ...]
    window: int = WINDOW
    first: float = FIRST

    def table(self) -> Table:
        rows = []
        for gap in self.gaps:
            by, tasks = [gap.course.method, gap.course.seed], gap.course.tasks
            for name in ("acc", "min_acc", "wc_acc"):
                values = enumerate(getattr(gap, name))
                rows += [[*by, name, tasks[k], gap.course.end(k), value] for k, value in values]
            for window, value in ((self.window, gap.windowed), (gap.course.steps_per_task, gap.windowed_task)):
                rows.append([*by, f"windowed_forgetting_{window}", "", gap.course.end(len(tasks) - 1), value])
            for dip in gap.dips:
                at = [(gap.course.end(dip.to - 1), "before"), (dip.step, "lowest"), (gap.course.end(dip.to), "after")]
                rows += [[*by, f"old_tasks_{name}", tasks[dip.to], step, getattr(dip, name)] for step, name in at]
            rows += [[m, s, "accuracy", task, step, v] for m, s, step, task, v in gap.course.table().rows]
        return Table(["method", "seed", "number", "task", "step", "value"], rows)


def measure(courses: Sequence[Course]) -> Gaps:
    """The numbers of every course. Raises ``ValueError`` for none."""
    if not courses:
        raise ValueError("at least one course is needed")
    seconds = sum(c.provenance.seconds for c in courses)
    first = courses[0].provenance
    by = Provenance(first.model, first.checkpoint, first.dtype, first.device, first.seed, first.versions, seconds)
    return Gaps(provenance=by, gaps=tuple(map(gap, courses)))


def gap(course: Course) -> Gap:
    """The numbers of one course."""
    tasks = range(len(course.tasks))
    ends = np.stack([course.at(course.end(k)) for k in tasks])
    acc = np.array([ends[k, : k + 1].mean() for k in tasks])
    lowest = np.array([np.mean([_lowest(course, i, k) for i in range(k)]) if k else np.nan for k in tasks])
    worst = np.array([ends[k, k] / (k + 1) + (k / (k + 1) * lowest[k] if k else 0.0) for k in tasks])
    windowed = [float(np.mean([_windowed(course, i, w) for i in tasks])) for w in (WINDOW, course.steps_per_task)]
    dips = tuple(dip(course, k, range(k)) for k in tasks if k)
    each = tuple(tuple(dip(course, k, [i]) for k in tasks if k > i) for i in tasks)
    return Gap(course, acc, lowest, worst, *windowed, dips, each)


def _lowest(course: Course, task: int, until: int) -> float:
    """The lowest accuracy of a task from its own training's end to the end of task number ``until``."""
    values = course.accuracy[course.within(course.end(task), course.end(until)), task]
    return float(values.min()) if len(values) else float("nan")


def _windowed(course: Course, task: int, window: int) -> float:
    """The largest drop of a task between two points at most ``window`` steps apart, never below zero."""
    begun = course.steps > course.end(task - 1)
    steps, values = course.steps[begun], course.accuracy[begun, task]
    later = (steps[None] > steps[:, None]) & (steps[None] <= steps[:, None] + window)
    return float(np.max(np.where(later, values[:, None] - values[None], 0.0), initial=0.0))


def dip(course: Course, to: int, old: Sequence[int]) -> Dip:
    """What the switch to task number ``to`` did to the mean of the ``old`` tasks.

    Where nothing was measured within the first steps, lowest and what follows are not-a-number.
    """
    start, end, old = course.end(to - 1), course.end(to), list(old)
    before, after = course.at(start)[old], course.at(end)[old]
    first = np.flatnonzero(course.within(start, start + round(FIRST * course.steps_per_task)))
    means = course.accuracy[:, old].mean(1)
    at = first[np.argmin(means[first])] if len(first) else None
    low = np.full(len(old), np.nan) if at is None else course.accuracy[at, old]
    variance = (before * (1 - before) + low * (1 - low)).sum() / course.items / len(old) ** 2
    return Dip(
        to, start if at is None else int(course.steps[at]), float(before.mean()), float(low.mean()),
        float(after.mean()), float(_Z * np.sqrt(variance)),
    )  # fmt: skip
