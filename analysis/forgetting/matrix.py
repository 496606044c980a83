"""The answers behind the accuracy matrix, cell by cell: a checkpoint on a task. Each is kept as soon as it is whole.

A cell is known by the weights that answer (``models.fingerprint``) and by what they are asked, pictures and questions,
not by names: the base, and checkpoints that several sets share, are asked once. Truths are no part of it: an
evaluation set whose truths or scores were mended is scored anew without asking again.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from analysis import kept
from analysis.result import together
from models import fingerprint
from models.errors import CheckpointError
from models.evalset import EvalItem
from models.evaluation import Evaluation, given

if TYPE_CHECKING:
    from models.mllm import MLLM

ROOM = "forgetting"
_VERSION = 1  # of how a checkpoint is asked: another number makes kept cells stale

Cell = tuple[str, str]
"""A checkpoint and a task."""


def evaluate(mllm: "MLLM", progress: kept.Progress = kept.quiet) -> Evaluation:
    """What every checkpoint of ``mllm`` answers to every item of its set.

    Cells measured before, here or by whoever ships them, are loaded; every other one is measured and kept, so that a
    run that was stopped or killed goes on where it was. ``progress`` is told the share done of what is missing, and
    what comes next; what it raises stops the work. Raises ``CheckpointError`` or ``EvalSetError`` for a set that is not
    whole.
    """
    return _gathered(mllm, progress)[0]


def load(model: "MLLM | fingerprint.Unopened") -> tuple[Evaluation, list[Cell]]:
    """What is kept of a set, and the cells that are not. Raises as ``evaluate`` does."""
    return _gathered(model, only_kept=True)


def _gathered(
    model: "MLLM | fingerprint.Unopened", progress: kept.Progress = kept.quiet, only_kept: bool = False
) -> tuple[Evaluation, list[Cell]]:
    if not model.checkpoints:
        raise CheckpointError(f"{model.name} has no checkpoint set to measure.")
    asked = Evaluation.unanswered(model.checkpoints.manifest)
    cells = [(name, task) for name in asked.checkpoints for task in asked.tasks]
    by = {task: {"measurement": "cell", "data": _asked(items)} for task, items in asked.items.items()}
    plan = [
        kept.Cell(name, by[task], f"{task}, {name}", len(asked.items[task]), asked.items[task]) for name, task in cells
    ]

    def measure(cell: kept.Cell, places: list[int]) -> Iterator[tuple[int, dict]]:
        for place, answer in given(model, cell.of, cell.weights, places):
            yield place, {"given": answer}

    found = kept.gathered(ROOM, _VERSION, model, plan, measure, progress, only_kept)
    for (name, task), value in zip(cells, found, strict=True):
        if value:
            asked.given[task][name] = value["given"]
    by = together([value["provenance"] for value in found if value], model.name, "all")
    return replace(asked, provenance=by), [cell for cell, value in zip(cells, found, strict=True) if value is None]


def _asked(items: Sequence[EvalItem]) -> str:
    return fingerprint.of_items([EvalItem(item.image, item.question, "") for item in items])
