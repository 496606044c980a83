"""The log of a training run that was evaluated every few steps: ``course.json`` beside a set's checkpoints."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from analysis.result import Provenance, Result
from analysis.table import Table
from models.errors import CheckpointError
from models.files import plain, told

COURSE = "course.json"


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
    points = field("points", list, "a list of points")
    steps = np.array([_step(point, n, where) for n, point in enumerate(points, 1)])
    accuracy = np.array([_row(point, n, tasks, where) for n, point in enumerate(points, 1)])
    _begun(steps, accuracy, tasks, per_task, where)
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
    )  # fmt: skip


def _step(point, number: int, where: str) -> int:
    step = point.get("step") if isinstance(point, dict) else None
    if not isinstance(step, int) or isinstance(step, bool) or step < 0:
        raise CheckpointError(f'{where}: point {number}, field "step" is missing or is not a number of steps.')
    return step


def _row(point, number: int, tasks: tuple[str, ...], where: str) -> list[float]:
    found = point.get("accuracy")
    row = [found.get(task) for task in tasks] if isinstance(found, dict) else [None]
    shares = [float(v) for v in row if isinstance(v, int | float) and 0 <= v <= 1]
    if not shares or len(shares) < sum(v is not None for v in row):
        raise CheckpointError(f'{where}: point {number}, field "accuracy" is not shares from 0 to 1 by task.')
    return [np.nan if v is None else float(v) for v in row]


def _begun(steps: np.ndarray, accuracy: np.ndarray, tasks: tuple[str, ...], per_task: int, where: str) -> None:
    """Raises ``CheckpointError`` for a point without a task whose training had begun."""
    begun = steps[:, None] > np.arange(len(tasks)) * per_task
    if (missing := np.argwhere(begun & np.isnan(accuracy))).size:
        point, task = missing[0]
        raise CheckpointError(f'{where}: point {point + 1}, field "accuracy" has nothing for {tasks[task]!r}.')
