"""Courses, and the stability gap in them: what old tasks lose right after a switch to a new one, and how much of it
comes back.

A course is the log of a training run that was evaluated every few steps: ``course.json`` beside a set's checkpoints.
Continual evaluation and its metrics: De Lange, van de Ven and Tuytelaars, arXiv 2205.13452.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from analysis.result import Provenance, Result
from analysis.table import Table
from models.errors import CheckpointError
from models.files import plain, told

COURSE = "course.json"

WINDOW = 10
"""Steps in the shorter window of windowed forgetting, as in the paper's WF^10; the longer one is a task's steps."""

FIRST = 0.5
"""The share of a task's steps, from its start, within which the dip after the switch to it is looked for."""

_Z = 1.96


@dataclass(frozen=True, kw_only=True)
class Course(Result):
    """Accuracy on every task while one task after another is trained.

    ``steps``: int64 ``[points]``, training steps done, over all tasks, ascending. ``accuracy``: float64 ``[points,
    tasks]``, 0 to 1, in the order ``tasks`` of training, ``steps_per_task`` steps each, on ``items`` held-out items of
    each task; not-a-number where a task's training had not begun. ``definition`` says what counts as right.
    """

    method: str
    seed: int
    tasks: tuple[str, ...]
    steps_per_task: int
    items: int
    definition: str
    steps: np.ndarray
    accuracy: np.ndarray

    def end(self, task: int) -> int:
        """The step at which the training of task number ``task`` ends; -1 is the start of the first one."""
        return (task + 1) * self.steps_per_task

    def within(self, after: int, until: int) -> np.ndarray:
        """Which points lie after step ``after``, up to step ``until``: bool ``[points]``."""
        return (self.steps > after) & (self.steps <= until)

    def at(self, step: int) -> np.ndarray:
        """Accuracy ``[tasks]`` at the last point up to ``step``; not-a-number before the first one."""
        before = np.flatnonzero(self.steps <= step)
        return self.accuracy[before[-1]] if len(before) else np.full(len(self.tasks), np.nan)

    def table(self) -> Table:
        rows = [
            [self.method, self.seed, int(step), task, value]
            for step, row in zip(self.steps, self.accuracy, strict=True)
            for task, value in zip(self.tasks, row, strict=True)
        ]
        return Table(["method", "seed", "step", "task", "accuracy"], rows)


def load(folder: Path, model: str) -> Course | None:
    """The course of a checkpoint set that was trained from ``model``; None where none was logged.

    Raises ``CheckpointError`` naming the file and the field.
    """
    file = folder / COURSE
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{told(file)} cannot be read as JSON: {plain(error)}.") from error
    return parse(data, folder.name, model, told(file))


def parse(data, method: str, model: str, where: str = COURSE) -> Course:
    """A course from what ``course.json`` holds. ``where`` is how messages call the file."""

    def field(key: str, kind: type, what: str):
        value = data.get(key) if isinstance(data, dict) else None
        if not isinstance(value, kind) or isinstance(value, bool) or value in ("", [], 0) and key != "seed":
            raise CheckpointError(f'{where}: field "{key}" is missing or is not {what}.')
        return value

    tasks = tuple(field("order", list, "a list of task names"))
    per_task, items = (field(key, int, "a whole number above 0") for key in ("steps_per_task", "items"))
    steps, accuracy = [], []
    for number, point in enumerate(field("points", list, "a list of points"), 1):
        step, found = (point.get(key) if isinstance(point, dict) else None for key in ("step", "accuracy"))
        if not isinstance(step, int) or isinstance(step, bool) or step < 0:
            raise CheckpointError(f'{where}: point {number}, field "step" is missing or is not a number of steps.')
        row = [found.get(task) for task in tasks] if isinstance(found, dict) else [None]
        shares = [v for v in row if isinstance(v, int | float) and 0 <= v <= 1]
        if not shares or len(shares) < sum(v is not None for v in row):
            raise CheckpointError(f'{where}: point {number}, field "accuracy" is not shares from 0 to 1 by task.')
        steps.append(step)
        accuracy.append([np.nan if v is None else float(v) for v in row])
    steps, accuracy = np.array(steps), np.array(accuracy)
    begun = steps[:, None] > np.arange(len(tasks)) * per_task
    if (missing := np.argwhere(begun & np.isnan(accuracy))).size:
        point, task = missing[0]
        raise CheckpointError(f'{where}: point {point + 1}, field "accuracy" has nothing for {tasks[task]!r}.')
    if len(steps) < 2 or (np.diff(steps) <= 0).any():
        raise CheckpointError(f'{where}: field "points" needs at least two, their steps ascending.')
    versions, seconds = data.get("versions"), data.get("seconds")
    return Course(
        provenance=Provenance(
            model, "during training", str(data.get("dtype", "as trained")), str(data.get("device", "not told")),
            field("seed", int, "a whole number"), versions if isinstance(versions, dict) else {},
            float(seconds) if isinstance(seconds, int | float) else 0.0,
        ),
        method=method, seed=data["seed"], tasks=tasks, steps_per_task=per_task, items=items,
        definition=field("definition", str, "a text that says what counts as right"), steps=steps, accuracy=accuracy,
    )


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
    training began, never below zero; the mean over tasks. ``dips``: of the mean of the old tasks, one a switch;
    ``each``: those of every task by itself, one tuple a task.
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
    """The numbers of every course, of which there must be one."""
    by = replace(courses[0].provenance, seconds=sum(c.provenance.seconds for c in courses))
    return Gaps(provenance=by, gaps=tuple(map(gap, courses)))


def gap(course: Course) -> Gap:
    """The numbers of one course."""
    tasks = range(len(course.tasks))
    ends = np.stack([course.at(course.end(k)) for k in tasks])
    acc = np.array([ends[k, : k + 1].mean() for k in tasks])
    lowest, windowed = np.full(len(tasks), np.nan), []
    for k in tasks[1:]:
        since = [course.accuracy[course.within(course.end(i), course.end(k)), i] for i in range(k)]
        lowest[k] = np.mean([values.min() if len(values) else np.nan for values in since])
    worst = np.array([ends[k, k] / (k + 1) + (k / (k + 1) * lowest[k] if k else 0.0) for k in tasks])
    for window in (WINDOW, course.steps_per_task):
        drops = []
        for i in tasks:
            begun = course.steps > course.end(i - 1)
            steps, values = course.steps[begun], course.accuracy[begun, i]
            later = (steps[None] > steps[:, None]) & (steps[None] <= steps[:, None] + window)
            drops.append(np.max(np.where(later, values[:, None] - values[None], 0.0), initial=0.0))
        windowed.append(float(np.mean(drops)))
    dips = tuple(dip(course, k, range(k)) for k in tasks if k)
    each = tuple(tuple(dip(course, k, [i]) for k in tasks if k > i) for i in tasks)
    return Gap(course, acc, lowest, worst, *windowed, dips, each)


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
    step, noise = start if at is None else int(course.steps[at]), float(_Z * np.sqrt(variance))
    return Dip(to, step, float(before.mean()), float(low.mean()), float(after.mean()), noise)
