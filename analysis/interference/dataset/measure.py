"""Every item of evaluation sets, as it is and disturbed, by every chosen checkpoint: raw answers, kept on disk."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from analysis import kept
from analysis.interference.dataset.conditions import CONDITIONS, KINDS, ORIGIN, ItemSet, disturbed
from analysis.interference.scoring import Posed, logprobs_each, pose
from models.checkpoints import BASE
from models.errors import InputError

if TYPE_CHECKING:
    from models import fingerprint
    from models.mllm import MLLM

ROOM = "interference"
_VERSION = 1  # of what is measured: another number makes kept entries stale
_AT_ONCE = 64  # items whose pictures are in memory
_BYTES = 512e6  # of prompts that are kept for the next checkpoint
_DECIMALS = 4  # of a log-probability, nats


@dataclass(frozen=True)
class Panel:
    """One set as results need it: for every item the index of the right option, how many options there are, and its
    segment. ``data`` is the fingerprint of the items.
    """

    kind: str
    name: str
    data: str
    right: tuple[int, ...]
    choices: tuple[int, ...]
    segments: tuple[str | None, ...]


@dataclass(frozen=True)
class Block:
    """What one checkpoint of a model said to one set under one condition.

    ``logprob``: for every item the log-probability of each option, nats, summed over its tokens; None where the
    condition could not be made of the item. ``provenance`` are the fields of ``Provenance``; it is no part of what
    makes two blocks equal.
    """

    panel: Panel
    model: str
    checkpoint: str
    condition: str
    logprob: tuple[tuple[float, ...] | None, ...]
    provenance: dict = field(compare=False)


def panel_of(items: ItemSet) -> Panel:
    """The set as results need it."""
    asked = items.questions
    return Panel(
        items.kind, items.name, items.data, tuple(q.options.truth for q in asked),
        tuple(len(q.options.texts) for q in asked), tuple(q.item.segment for q in asked),
    )  # fmt: skip


def measure(
    model: "MLLM | fingerprint.Unopened",
    sets: Sequence[ItemSet],
    checkpoints: Sequence[str] = (BASE,),
    conditions: Sequence[str] = CONDITIONS,
    progress: kept.Progress = kept.quiet,
    only_kept: bool = False,
) -> list[Block]:
    """One block for each set, condition and checkpoint; of ``conditions`` those that the set's kind has, and origin.

    Blocks that were measured before, here or by whoever ships them, are loaded; every other one is measured and kept.
    ``progress`` is told the share done of what is missing, and what comes next; what it raises stops the work. With
    ``only_kept`` nothing is measured, and what is not kept is left out. Raises ``InputError`` for an unknown condition
    or no checkpoint, ``EvalSetError`` for an item that cannot be read, ``CheckpointError`` for an unknown checkpoint.
    """
    if unknown := [c for c in conditions if c not in CONDITIONS]:
        raise InputError(f"There is no condition {unknown[0]!r}. There are: {', '.join(CONDITIONS)}.")
    if not checkpoints:
        raise InputError("No checkpoint was chosen: choose at least one.")
    plan, panels = [], {id(items): panel_of(items) for items in sets}
    for items in sets:
        by = {"measurement": "dataset", "data": items.data, "kind": items.kind}
        count = len(items.questions)
        plan += [
            kept.Cell(name, {**by, "condition": c}, f"{name} on {items.kind}, {c}", count, (items, c))
            for c in (ORIGIN, *(c for c in KINDS[items.kind].conditions if c in conditions))
            for name in dict.fromkeys(checkpoints)
        ]

    written = _Written(model)

    def score(cell: kept.Cell, places: list[int]) -> Iterator[tuple[int, dict]]:
        for start in range(0, len(places), _AT_ONCE):
            some = places[start : start + _AT_ONCE]
            posed = {i: prompt for i in some if (prompt := written.of(*cell.of, i))}
            found = dict(zip(posed, logprobs_each(model, list(posed.values()), cell.weights), strict=True))
            for i in some:
                yield i, {"logprob": np.round(found[i], _DECIMALS) if i in found else None}

    found = kept.gathered(ROOM, _VERSION, model, plan, score, progress, only_kept)
    blocks = []
    for cell, value in zip(plan, found, strict=True):
        if value:
            items, condition = cell.of
            logprob = tuple(None if row is None else tuple(map(float, row)) for row in value["logprob"])
            # the same weights may be on offer under two names
            by = {**value["provenance"], "model": model.name, "checkpoint": cell.weights}
            blocks.append(Block(panels[id(items)], model.name, cell.weights, condition, logprob, by))
    return blocks


class _Written:
    """Prompts with their options, of one set and condition at a time: the next checkpoint is asked the same ones, and
    to disturb a picture takes about as long as to score it. No more are kept than ``_BYTES``.
    """

    def __init__(self, model: "MLLM"):
        self._model, self._known, self._prompts, self._bytes = model, None, {}, 0

    def of(self, items: ItemSet, condition: str, place: int) -> Posed | None:
        """The item at ``place``; None where the condition cannot be made of it."""
        if self._known != (id(items), condition):
            self._known, self._prompts, self._bytes = (id(items), condition), {}, 0
        if place in self._prompts:
            return self._prompts[place]
        question = items.questions[place]
        prompt = disturbed(self._model, question, place, condition)
        posed = prompt and pose(self._model, prompt, question.options.texts)
        size = sum(value.nbytes for value in prompt.inputs.values()) if prompt else 0
        if self._bytes + size <= _BYTES:
            self._prompts[place], self._bytes = posed, self._bytes + size
        return posed


def together(blocks: Sequence[Block], more: Sequence[Block]) -> tuple[Block, ...]:
    """``blocks`` and ``more`` of them, each once: what was measured again takes the place of what it repeats."""
    found = {(b.panel, b.model, b.checkpoint, b.condition): b for b in (*blocks, *more)}
    return tuple(found.values())
