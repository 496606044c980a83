"""Asking lost items again: as a choice among options, and with the form spelled out; kept on disk."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from analysis import kept
from analysis.forgetting.split.options import PLAIN, TUNED, instructed
from models import catalog, fingerprint

if TYPE_CHECKING:
    from models.evalset import EvalItem
    from models.mllm import MLLM

ROOM = "forgetting-split"
_VERSION = 1  # of what is measured: another number makes kept entries stale
_DECIMALS = 4  # of a log-probability, nats


@dataclass(frozen=True)
class Again:
    """What a checkpoint said to items asked again. For every item: log-probability of each option, nats, summed over
    its ``tokens``, and the greedy answer to the question with the form spelled out. ``provenance`` are the fields of
    ``Provenance``; empty where nothing was asked.
    """

    logprob: tuple[tuple[float, ...], ...] = ()
    tokens: tuple[tuple[int, ...], ...] = ()
    answers: tuple[str, ...] = ()
    provenance: dict = field(default_factory=dict, compare=False)


@dataclass(frozen=True)
class Asked:
    """Items of one task to be asked again, each with its options."""

    task: str
    items: "tuple[EvalItem, ...]"
    options: tuple[tuple[str, ...], ...]


def again(
    mllm: "MLLM | fingerprint.Unopened",
    checkpoint: str,
    asked: Sequence[Asked],
    progress: kept.Progress = kept.quiet,
    only_kept: bool = False,
) -> list[Again] | None:
    """Ask ``checkpoint`` the items of every task; what was asked before is loaded.

    ``progress`` is told the share done of what is missing; what it raises stops the work. With ``only_kept`` nothing is
    asked, and None stands for what is not all there. Raises ``CheckpointError`` or ``ModelError`` where the checkpoint
    is not there or memory is short.
    """
    wording = TUNED if catalog.embedded(mllm.name) else PLAIN
    some = [of for of in asked if of.items]
    plan = [
        kept.Cell(
            checkpoint,
            {"data": fingerprint.of_items(of.items), "options": of.options,
             "wording": [wording.get(item.style) for item in of.items]},
            f"{checkpoint} on {of.task}", len(of.items), of,
        )
        for of in some
    ]  # fmt: skip
    measure = lambda cell, places: _ask(mllm, checkpoint, cell.of, wording, places)  # noqa: E731
    found = kept.gathered(ROOM, _VERSION, mllm, plan, measure, progress, only_kept)
    if None in found:
        return None
    values = iter(found)
    return [_again(next(values)) if of.items else Again() for of in asked]


def _again(value: dict) -> Again:
    rows = (tuple(map(tuple, value[name])) for name in ("logprob", "tokens"))
    return Again(*rows, tuple(value["answers"]), value["provenance"])


def _ask(
    mllm: "MLLM", checkpoint: str, asked: Asked, wording: dict[str, str], places: Sequence[int]
) -> Iterator[tuple[int, dict]]:
    items = asked.items
    encode = lambda i: mllm.encode(items[i].picture(), instructed(items[i], wording))  # noqa: E731
    for i, answer in mllm.answers_each(places, encode, checkpoint, alike=lambda i: items[i].question):
        scores = mllm.score(mllm.encode(items[i].picture(), items[i].question), asked.options[i], checkpoint)
        logprob = np.round(scores.logprob, _DECIMALS)
        yield i, {"logprob": logprob, "tokens": scores.tokens, "answers": answer}
