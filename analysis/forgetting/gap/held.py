"""The logged courses of the sets on offer, and the points that a forgetting curve is fitted to."""

import contextlib
from functools import lru_cache
from pathlib import Path

from analysis.forgetting import sets
from analysis.forgetting.gap.course import COURSE, Course, load
from analysis.forgetting.gap.curves import ALL, ForgettingCurve, curve, in_steps, in_tasks
from analysis.forgetting.gap.measure import Gaps, measure
from analysis.forgetting.measure import measure as matrix_of
from models import catalog
from models.errors import CheckpointError, CrosstalkError, InputError

STEPS, TASKS = "steps", "tasks"
"""What time is counted in: within the logged course, or from checkpoint to checkpoint."""


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


def tasks(name: str) -> tuple[str, ...]:
    """The tasks of a set, in their order."""
    return sets.manifest(name).order


def gaps(names: list[str]) -> Gaps | None:
    """The stability gap of these sets, side by side; None where none of them has a course."""
    known, _ = courses()
    chosen = [known[name] for name in known if name in names]
    return measure(chosen) if chosen else None


def curves(name: str) -> list[ForgettingCurve]:
    """In steps: the curve of all tasks of a logged set together, then that of each with enough points."""
    found = [forgetting_curve(name)]
    for task in tasks(name):
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
