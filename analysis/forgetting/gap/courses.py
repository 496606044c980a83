"""The logged courses of the sets on offer, and the points that a forgetting curve is fitted to."""

import contextlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from analysis.forgetting import sets
from analysis.forgetting.gap.course import COURSE, Course, load
from analysis.forgetting.gap.curves import ALL, FLAT, LAWS, ForgettingCurve, curve, in_steps, in_tasks
from analysis.forgetting.gap.measure import Gaps, measure
from analysis.forgetting.measure import measure as matrix_of
from analysis.result import Result
from analysis.table import Table
from models import catalog
from models.errors import CheckpointError, CrosstalkError, InputError

STEPS, TASKS = "steps", "tasks"
"""What time is counted in: within the logged course, or from checkpoint to checkpoint."""

NONE = (
    "No set on offer has a logged course. A course is a file course.json beside checkpoints.json: "
    '{"seed": 0, "steps_per_task": 100, "order": ["a", "b"], "items": 50, "definition": "what counts as right", '
    '"points": [{"step": 10, "accuracy": {"a": 0.5}}, ...]}.'
)


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
    found, fitted, why = gaps(names), None, ""
    if found is None:
        raise CheckpointError(NONE if not known else "Choose a method whose training was logged.")
    try:
        fitted = forgetting_curve(of, unit, task)
    except CrosstalkError as error:
        why = str(error)
    return Inside(provenance=found.provenance, gaps=found, curve=fitted, why=why, wrong=wrong)


def courses() -> tuple[dict[str, Course], dict[str, str]]:
    """The course of every set that has one; and what is wrong with those that cannot be read."""
    found, wrong = {}, {}
    for name, entry in sets.offered().items():
        try:
            if course := _of(entry):
                found[name] = course
        except CrosstalkError as error:
            wrong[name] = str(error)
    return found, wrong


def of(name: str) -> Course | None:
    """The course of a set; None where none was logged. Raises ``CheckpointError`` for a file that cannot be read."""
    return _of(sets.entry(name))


def _of(entry: catalog.Entry) -> Course | None:
    file = entry.checkpoint_folder / COURSE
    changed = file.stat().st_mtime_ns if file.is_file() else 0
    return _read(entry.checkpoint_folder, entry.name, changed)


@lru_cache(maxsize=32)
def _read(folder: Path, model: str, changed: int) -> Course | None:
    return load(folder, model)


def gaps(names: list[str]) -> Gaps | None:
    """The stability gap of these sets, side by side; None where none of them has a course."""
    known, _ = courses()
    chosen = [known[name] for name in known if name in names]
    return measure(chosen) if chosen else None


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
