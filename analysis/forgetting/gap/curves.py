"""Forgetting curves: accuracy since a task's training ended, as a power law and as an exponential; and the logged
courses and curves of the sets on offer."""

import contextlib
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.optimize import OptimizeWarning, curve_fit

from analysis.forgetting import sets
from analysis.forgetting.gap.measure import COURSE, Course, Gaps, load, measure
from analysis.forgetting.measure import measure as matrix_of
from analysis.result import Provenance, Result
from analysis.table import Table
from models.errors import CheckpointError, CrosstalkError, InputError

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


@dataclass(frozen=True)
class Fit:
    """A law fitted by least squares: its parameters (a, b, c), its residual sum of squares ``rss``, its share of
    variance explained ``r2``, and Akaike's criterion for few points ``aicc`` (Gaussian residuals; lower is better).
    """

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
    divided by that right after the task's own training; ``without`` are those never learnt, which have none.
    """

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
    task i.
    """
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
    there is none, and why the courses of other sets could not be read (``wrong``, by their names).
    """

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
        with contextlib.suppress(InputError):
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
