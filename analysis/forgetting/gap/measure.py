"""Inside a task: courses, the stability gap in them (what old tasks lose right after a switch to a new one, and how
much of it comes back), and forgetting curves (accuracy since a task's training ended, as a power law and as an
exponential).

A course is the log of a training run that was evaluated every few steps: ``course.json`` beside a set's checkpoints.
Continual evaluation and its metrics: De Lange, van de Ven and Tuytelaars, arXiv 2205.13452.
"""

import json
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
from scipy.optimize import OptimizeWarning, curve_fit

from analysis.forgetting import sets
from analysis.forgetting.measure import measure as matrix_of
from analysis.result import Provenance, Result
from analysis.table import Table
from models.errors import CheckpointError, CrosstalkError, InputError
from models.files import plain, told

COURSE = "course.json"

WINDOW = 10
"""Steps in the shorter window of windowed forgetting, as in the paper's WF^10; the longer one is a task's steps."""

FIRST = 0.5
"""The share of a task's steps, from its start, within which the dip after the switch to it is looked for."""

_Z = 1.96

STEPS, TASKS = "steps", "tasks"
"""What time is counted in: within the logged course, or from checkpoint to checkpoint."""

NONE = (
    "No set on offer has a logged course. A course is a file course.json beside checkpoints.json: "
    '{"seed": 0, "steps_per_task": 100, "order": ["a", "b"], "items": 50, "definition": "what counts as right", '
    '"points": [{"step": 10, "accuracy": {"a": 0.5}}, ...]}.'
)

FEWEST = 6
"""Points that AICc of four unknowns (three parameters and the variance) needs."""

TOLD_FROM = 2.0
"""The difference of AICc below which two laws cannot be told apart (Burnham and Anderson 2002)."""

LAWS: dict[str, Callable] = {
    "power law": lambda t, a, b, c: a * (1 + t) ** -b + c,
    "exponential": lambda t, a, b, c: a * np.exp(-b * t) + c,
}
"""Each as a function of t and (a, b, c): a is what is lost in the end, b how fast, c what stays."""

FLAT = "no change"
ALL = "all tasks together"
_GONE = 1e-6  # what is left of a at the first point after 0 where b is largest
_STARTS = 6
_EXACT = 1e-12  # mean square below which a fit is as good as exact


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


@dataclass(frozen=True)
class Fit:
    """A law fitted by least squares: its parameters (a, b, c), its residual sum of squares ``rss``, its share of
    variance explained ``r2``, and Akaike's criterion for few points ``aicc`` (Gaussian residuals; lower is better)."""

    law: str
    parameters: tuple[float, float, float]
    rss: float
    r2: float
    aicc: float

    def at(self, t: np.ndarray) -> np.ndarray:
        """The fitted values."""
        a, b, c = self.parameters
        return np.full(np.shape(t), c) if self.law == FLAT else LAWS[self.law](np.asarray(t, dtype=float), a, b, c)

    @property
    def half(self) -> float:
        """t at which half of what is lost in the end is lost; not-a-number where nothing is."""
        a, b, _ = self.parameters
        if a <= 0 or b <= 0:
            return float("nan")
        return float(np.expm1(np.log(2) / b)) if self.law == "power law" else float(np.log(2) / b)


@dataclass(frozen=True)
class Points:
    """Accuracy ``y`` float64 ``[n]`` of ``task`` at ``t`` ``[n]`` since its training ended, in ``unit`` (steps or
    tasks). Of several tasks together (``names`` ``[n]`` says whose point it is) ``y`` is the share kept: accuracy
    divided by that right after the task's own training; ``without`` are those never learnt, which have none."""

    task: str
    unit: str
    t: np.ndarray
    y: np.ndarray
    names: tuple[str, ...]
    without: tuple[str, ...] = ()

    @property
    def together(self) -> bool:
        return self.task == ALL


@dataclass(frozen=True, kw_only=True)
class ForgettingCurve(Result):
    """Points, both laws and a flat line fitted to them."""

    method: str
    points: Points
    power: Fit
    exponential: Fit
    flat: Fit

    @property
    def n(self) -> int:
        return len(self.points.t)

    @property
    def delta(self) -> float:
        """AICc of the exponential minus that of the power law: above zero the power law fits better."""
        return self.exponential.aicc - self.power.aicc

    @property
    def better(self) -> Fit | None:
        """The law that fits better; None where it cannot be told, or where neither beats a flat line."""
        best = self.power if self.delta > 0 else self.exponential
        told = abs(self.delta) >= TOLD_FROM and self.flat.aicc - best.aicc >= TOLD_FROM
        return best if told else None

    @property
    def falls(self) -> bool:
        """Whether some law describes the points better than a flat line."""
        return self.flat.aicc - min(self.power.aicc, self.exponential.aicc) >= TOLD_FROM

    def table(self) -> Table:
        fits = (self.power, self.exponential, self.flat)
        of = self.points
        rows = [
            [self.method, name, of.unit, t, y, *(float(f.at(t)) for f in fits)]
            for name, t, y in zip(of.names, of.t, of.y, strict=True)
        ]
        return Table(["method", "task", "unit", "t", "accuracy", *(f.law.replace(" ", "_") for f in fits)], rows)


def fit(t: np.ndarray, y: np.ndarray) -> tuple[Fit, Fit, Fit]:
    """Power law a (1 + t)^-b + c, exponential a exp(-b t) + c and a flat line, fitted to ``y`` at ``t``, both ``[n]``.

    a, b, c >= 0; least squares from several rates b. Raises ``InputError`` for fewer than ``FEWEST`` points, or for
    points that are all at one t.
    """
    t, y = np.asarray(t, dtype=float), np.asarray(y, dtype=float)
    if len(t) < FEWEST or np.ptp(t) == 0:
        raise InputError(f"A forgetting curve needs at least {FEWEST} points at different times; here are {len(t)}.")
    fits = (_fitted(law, t, y) for law in LAWS)
    return *fits, _judged(FLAT, (0.0, 0.0, float(y.mean())), t, y, 2)


def _fitted(law: str, t: np.ndarray, y: np.ndarray) -> Fit:
    shape = LAWS[law]
    soon = t[t > t.min()].min() - t.min()
    fastest = -np.log(_GONE) / (np.log1p(soon) if law == "power law" else soon)
    top = max(1.0, float(y.max()))
    found = []
    for b in np.geomspace(fastest / 1e4, fastest, _STARTS + 2)[1:-1]:
        # start from the a and c that fit best for this rate, moved inside the bounds
        decay = shape(t, 1.0, b, 0.0)
        (a, c), *_ = np.linalg.lstsq(np.stack([decay, np.ones_like(decay)], 1), y, rcond=None)
        start = float(np.clip(a, 0.0, top)), b, float(np.clip(c, 0.0, top))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", OptimizeWarning)  # of the covariance, which is not asked for
            bounds = [0.0, 0.0, 0.0], [top, fastest, top]
            found.append(curve_fit(shape, t, y, start, bounds=bounds, max_nfev=2000)[0])
    best = min(found, key=lambda p: float(((shape(t, *p) - y) ** 2).sum()))
    return _judged(law, tuple(map(float, best)), t, y, 4)


def _judged(law: str, parameters: tuple[float, float, float], t: np.ndarray, y: np.ndarray, unknowns: int) -> Fit:
    n, bare = len(t), Fit(law, parameters, 0.0, 0.0, 0.0)
    rss, total = float(((bare.at(t) - y) ** 2).sum()), float(((y - y.mean()) ** 2).sum())
    aic = n * np.log(max(rss / n, _EXACT)) + 2 * unknowns
    aicc = aic + 2 * unknowns * (unknowns + 1) / (n - unknowns - 1)
    return Fit(law, parameters, rss, 1 - rss / total if total else float("nan"), float(aicc))


def curve(method: str, points: Points, provenance: Provenance) -> ForgettingCurve:
    """Both laws on ``points``. Raises ``InputError`` for too few of them."""
    laws = dict(zip(("power", "exponential", "flat"), fit(points.t, points.y), strict=True))
    return ForgettingCurve(provenance=provenance, method=method, points=points, **laws)


def in_steps(course: Course, task: str = ALL) -> Points:
    """Accuracy of ``task`` at every point from the end of its own training on, in steps since."""
    lines, own = {}, {}
    for i, name in enumerate(course.tasks):
        end = course.end(i)
        since = course.steps >= end
        lines[name] = course.steps[since] - end, course.accuracy[since, i]
        own[name] = float(course.at(end)[i])
    return _points(lines, own, task, "steps")


def in_tasks(tasks: tuple[str, ...], matrix: np.ndarray, task: str = ALL) -> Points:
    """Accuracy of ``task`` after its own and every later training, in tasks since; ``matrix`` ``[T, T]``, row i after
    task i."""
    lines = {name: (np.arange(len(tasks) - i), matrix[i:, i]) for i, name in enumerate(tasks)}
    return _points(lines, {name: float(matrix[i, i]) for i, name in enumerate(tasks)}, task, "tasks")


def _points(lines: dict[str, tuple[np.ndarray, np.ndarray]], own: dict[str, float], task: str, unit: str) -> Points:
    if task != ALL:
        if task not in lines:
            raise InputError(f"There is no task {task!r}. There are: {', '.join(lines)}.")
        t, y = lines[task]
        return Points(task, unit, t.astype(float), y, (task,) * len(t))
    kept = {name: (t, y / own[name]) for name, (t, y) in lines.items() if own[name] > 0 and len(t) > 1}
    without = tuple(name for name in lines if not own[name] > 0)
    if not kept:
        raise InputError("No task was learnt, so there is nothing to be forgotten.")
    names = tuple(name for name, (t, _) in kept.items() for _ in t)
    t, y = (np.concatenate([pair[i] for pair in kept.values()]).astype(float) for i in (0, 1))
    return Points(ALL, unit, t, y, names, without)


@dataclass(frozen=True, kw_only=True)
class Inside(Result):
    """What happens inside the tasks of some sets (``gaps``), and the forgetting ``curve`` of one of them; ``why``
    there is none, and why the courses of other sets could not be read (``wrong``, by their names)."""

    gaps: Gaps
    curve: ForgettingCurve | None
    why: str = ""
    wrong: dict[str, str]

    def table(self) -> Table:
        """Of the curve the points and what each law gives there, in the columns of the courses."""
        of, rows = self.curve, []
        for method, task, unit, t, *values in of.table().rows if of else ():
            for name, value in zip(("kept" if of.points.together else "accuracy", *LAWS, FLAT), values, strict=True):
                rows.append([method, "", f"curve in {unit}: {name}", task, t, value])
        found = self.gaps.table()
        return Table(found.columns, [*found.rows, *rows])


def inside(names: list[str], of: str, unit: str, task: str) -> Inside:
    """Both, of the sets ``names`` and of the set ``of``. Raises ``CheckpointError`` where no course was logged."""
    known, wrong = courses()
    chosen, fitted, why = [known[name] for name in known if name in names], None, ""
    if not chosen:
        raise CheckpointError(NONE if not known else "Choose a method whose training was logged.")
    try:
        fitted = forgetting_curve(of, unit, task)
    except CrosstalkError as error:
        why = str(error)
    found = measure(chosen)
    return Inside(provenance=found.provenance, gaps=found, curve=fitted, why=why, wrong=wrong)


def courses() -> tuple[dict[str, Course], dict[str, str]]:
    """The course of every set that has one; and what is wrong with those that cannot be read."""
    found, wrong = {}, {}
    for name in sets.offered():
        try:
            if course := of(name):
                found[name] = course
        except CrosstalkError as error:
            wrong[name] = str(error)
    return found, wrong


_read = lru_cache(maxsize=32)(lambda folder, model, changed: load(folder, model))


def of(name: str) -> Course | None:
    """The course of a set; None where none was logged. Raises ``CheckpointError`` for a file that cannot be read."""
    entry = sets.entry(name)
    file = entry.checkpoint_folder / COURSE
    return _read(entry.checkpoint_folder, entry.name, file.stat().st_mtime_ns if file.is_file() else 0)


def curves(name: str) -> list[ForgettingCurve]:
    """In steps: the curve of all tasks of a logged set together, then that of each with enough points."""
    found = [forgetting_curve(name)]
    for task in sets.manifest(name).order:
        with suppress(InputError):
            found.append(forgetting_curve(name, STEPS, task))
    return found


def forgetting_curve(name: str, unit: str = STEPS, task: str = ALL) -> ForgettingCurve:
    """Both laws on what a set's course (``STEPS``) or its accuracy matrix (``TASKS``) has of ``task``.

    Raises ``CheckpointError`` where that was not measured, ``InputError`` where there are too few points.
    """
    if unit == STEPS:
        course = of(name)
        if course is None:
            raise CheckpointError(
                f"No course was logged for {name}: accuracy inside its tasks was not measured. Counted in tasks, the "
                "accuracy matrix has points."
            )
        return curve(name, in_steps(course, task), course.provenance)
    found = matrix_of(sets.answers(name))
    return curve(name, in_tasks(found.tasks, found.matrix[list(found.own)], task), found.provenance)
