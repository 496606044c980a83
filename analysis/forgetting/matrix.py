"""The answers behind the accuracy matrix, cell by cell: a checkpoint on a task. Each is kept as soon as it is whole.

A cell is known by the weights that answer (``models.fingerprint``) and by what they are asked, pictures and questions,
not by names: the base, and checkpoints that several sets share, are asked once. Truths are no part of it: an
evaluation set whose truths or scores were mended is scored anew without asking again.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from analysis import kept
from models import catalog, devices, fingerprint
from models.errors import CheckpointError
from models.evalset import EvalItem
from models.evaluation import Evaluation, given

if TYPE_CHECKING:
    from models.mllm import MLLM

ROOM = "forgetting"
_VERSION = 1  # of how a checkpoint is asked: another number makes kept cells stale

Cell = tuple[str, str]
"""A checkpoint and a task."""


def evaluate(mllm: "MLLM", progress: Callable[[float, str], None] = lambda share, what: None) -> Evaluation:
    """What every checkpoint of ``mllm`` answers to every item of its set.

    Cells measured before, here or by whoever ships them, are read; every other one is measured and kept, so that a run
    that was stopped or killed goes on where it was and loses at most the cell it was at. ``progress`` is told the
    share done of what is missing, and what comes next; what it raises stops the work. Raises ``CheckpointError`` or
    ``EvalSetError`` for a set that is not whole.
    """
    asked, made_of = _plan(mllm)
    values = {cell: value for cell, of in made_of.items() if (value := _load(of))}
    missing = [cell for cell in made_of if cell not in values]
    for done, (name, task) in enumerate(missing):

        def told(share: float, what: str, done=done, task=task) -> None:
            progress((done + share) / len(missing), f"{task}, {what}")

        of = made_of[name, task]
        values[name, task] = _load(of) or _measured(mllm, name, asked.items[task], of, told)
    return _filled(asked, values, mllm.name)


def at_hand(model: "MLLM") -> tuple[Evaluation, list[Cell]]:
    """What is kept of a set, and the cells that are not. ``model`` need not be open: of it, only its name, its set's
    manifest, and what is fingerprinted count. Raises as ``evaluate`` does.
    """
    asked, made_of = _plan(model)
    values = {cell: value for cell, of in made_of.items() if (value := _load(of))}
    return _filled(asked, values, model.name), [cell for cell in made_of if cell not in values]


def _plan(model: "MLLM") -> tuple[Evaluation, dict[Cell, dict]]:
    """The set without answers, and what each of its cells is made of, in the order of measuring."""
    if not model.checkpoints:
        raise CheckpointError(f"{model.name} has no checkpoint set to measure.")
    asked = Evaluation.unanswered(model.checkpoints.manifest)
    bits = None if catalog.embedded(model.name) else devices.quantization()
    data = {task: {"data": _asked(items), "n": len(items)} for task, items in asked.items.items()}
    made_of = {}
    for name in asked.checkpoints:
        by = {"measurement": "cell", "version": _VERSION, "model": fingerprint.of(model, name), "bits": bits}
        made_of |= {(name, task): {**by, **data[task]} for task in asked.tasks}
    return asked, made_of


def _asked(items: Sequence[EvalItem]) -> str:
    return fingerprint.of_items([EvalItem(item.image, item.question, "") for item in items])


def _load(made_of: dict) -> dict | None:
    value = kept.load(ROOM, made_of)
    return value if value and len(value["given"]) == made_of["n"] else None


def _measured(
    mllm: "MLLM", name: str, items: Sequence[EvalItem], made_of: dict, told: Callable[[float, str], None]
) -> dict:
    began = time.perf_counter()
    answers = given(mllm, items, name, told)
    value = {"given": answers, "provenance": mllm.provenance(name, seconds=time.perf_counter() - began)}
    kept.save(ROOM, made_of, value)
    return value


def _filled(asked: Evaluation, values: dict[Cell, dict], model: str) -> Evaluation:
    for (name, task), value in values.items():
        asked.given[task][name] = value["given"]
    return replace(asked, provenance=_together([value["provenance"] for value in values.values()], model))


def _together(sources: Sequence[dict], model: str) -> dict:
    """Who computed cells that may come from several machines, by the names they go by here."""
    versions = {name for source in sources for name in source["versions"]}
    return {
        "model": model,
        "checkpoint": "all",
        "dtype": _each(source["dtype"] for source in sources),
        "device": _each(source["device"] for source in sources),
        "seed": None,
        "versions": {name: _each(s["versions"].get(name, "unknown") for s in sources) for name in sorted(versions)},
        "seconds": round(sum(source["seconds"] for source in sources), 1),
    }


def _each(told: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(told))
