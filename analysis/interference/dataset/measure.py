"""Every item of evaluation sets, as it is and disturbed, by every chosen checkpoint: raw answers, kept on disk."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from analysis import kept
from analysis.interference.dataset.conditions import CONDITIONS, KINDS, ORIGIN, ItemSet, disturbed
from analysis.interference.scoring import logprobs_each, pose
from models import fingerprint
from models.checkpoints import BASE
from models.errors import InputError

if TYPE_CHECKING:
    from models.mllm import MLLM

ROOM = "interference"
_VERSION = 1  # of what is measured: another number makes kept entries stale
_AT_ONCE = 64  # items whose pictures are in memory
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
    model: "MLLM",
    sets: Sequence[ItemSet],
    checkpoints: Sequence[str] = (BASE,),
    conditions: Sequence[str] = CONDITIONS,
    progress: Callable[[float, str], None] = lambda share, what: None,
) -> list[Block]:
    """One block for each set, condition and checkpoint; of ``conditions`` those that the set's kind has, and origin.

    Blocks that were measured before, here or by whoever ships them, are read from ``kept``; every other one is kept
    as soon as it is whole, so that a run that was stopped goes on where it was. A prompt is written once and scored by
    all checkpoints. ``progress`` is told the share done of what is missing, and what comes next; what it raises stops
    the work. Raises ``InputError`` for an unknown condition or no checkpoint, ``EvalSetError`` for an item that cannot
    be read, ``CheckpointError`` or ``ModelError`` for an unknown checkpoint.
    """
    if unknown := [c for c in conditions if c not in CONDITIONS]:
        raise InputError(f"There is no condition {unknown[0]!r}. There are: {', '.join(CONDITIONS)}.")
    if not checkpoints:
        raise InputError("No checkpoint was chosen: choose at least one.")
    checkpoints = list(dict.fromkeys(checkpoints))
    for name in checkpoints:
        with model.using(name):  # an unknown one is told before anything is measured
            pass
    made_by = {name: fingerprint.of(model, name) for name in checkpoints}
    plan = [(items, condition) for items in sets for condition in (ORIGIN, *_of_kind(items.kind, conditions))]
    panels = {id(items): panel_of(items) for items in sets}
    found: dict[tuple[int, str, str], Block] = {}
    for items, condition in plan:
        panel = panels[id(items)]
        for name in checkpoints:
            if block := load(panel, condition, model.name, name, made_by[name]):
                found[id(items), condition, name] = block
    missing = [
        (items, condition, names)
        for items, condition in plan
        if (names := [c for c in checkpoints if (id(items), condition, c) not in found])
    ]
    total, done = sum(len(items.questions) * len(names) for items, _, names in missing), 0
    for items, condition, names in missing:
        panel, so_far, amount = panels[id(items)], done, len(items.questions) * len(names)

        def told(share: float, name: str, so_far=so_far, amount=amount, items=items, condition=condition) -> None:
            what = f"{name} on {len(items.questions)} {items.kind} items, {condition}"
            progress((so_far + share * amount) / total, what)

        for block in _measured(model, items, panel, condition, names, told):
            kept.save(ROOM, _made_of(panel, condition, made_by[block.checkpoint]), _value(block))
            found[id(items), condition, block.checkpoint] = block
        done += amount
    return [found[id(items), condition, name] for items, condition in plan for name in checkpoints]


def load(panel: Panel, condition: str, model: str, checkpoint: str, made_by: str) -> Block | None:
    """A block that was measured before; ``made_by`` is the fingerprint of the model with its checkpoint."""
    value = kept.load(ROOM, _made_of(panel, condition, made_by))
    if value is None or len(value["logprob"]) != len(panel.right):
        return None
    logprob = tuple(None if row is None else tuple(map(float, row)) for row in value["logprob"])
    # the same weights may be on offer under two names
    provenance = {**value["provenance"], "model": model, "checkpoint": checkpoint}
    return Block(panel, model, checkpoint, condition, logprob, provenance)


def _of_kind(kind: str, conditions: Sequence[str]) -> list[str]:
    return [c for c in KINDS[kind].conditions if c in conditions]


def _made_of(panel: Panel, condition: str, made_by: str) -> dict:
    return {
        "measurement": "dataset", "version": _VERSION, "model": made_by, "data": panel.data, "kind": panel.kind,
        "condition": condition,
    }  # fmt: skip


def _value(block: Block) -> dict:
    return {"logprob": block.logprob, "provenance": block.provenance}


def _measured(
    model: "MLLM",
    items: ItemSet,
    panel: Panel,
    condition: str,
    names: Sequence[str],
    told: Callable[[float, str], None],
) -> list[Block]:
    """The blocks of one set and condition, of all checkpoints ``names``."""
    asked, each = items.questions, 1 / len(names)
    rows: dict[str, list[tuple[float, ...] | None]] = {name: [None] * len(asked) for name in names}
    seconds = dict.fromkeys(names, 0.0)
    for start in range(0, len(asked), _AT_ONCE):
        share = start / len(asked)
        told(share, names[0])
        began = time.perf_counter()
        some = range(start, min(start + _AT_ONCE, len(asked)))
        prompts = {i: disturbed(model, asked[i], i, condition) for i in some}
        posed = {i: pose(model, p, asked[i].options.texts) for i, p in prompts.items() if p is not None}
        shared = (time.perf_counter() - began) * each
        for n, name in enumerate(names):
            told(share + n * each * len(some) / len(asked), name)
            began = time.perf_counter()
            for i, logprob in zip(posed, logprobs_each(model, list(posed.values()), name), strict=True):
                rows[name][i] = tuple(np.round(logprob, _DECIMALS).tolist())
            seconds[name] += shared + time.perf_counter() - began
    return [
        Block(panel, model.name, name, condition, tuple(rows[name]), model.provenance(name, seconds=seconds[name]))
        for name in names
    ]


def together(blocks: Sequence[Block], more: Sequence[Block]) -> tuple[Block, ...]:
    """``blocks`` and ``more`` of them, each once: what was measured again takes the place of what it repeats."""
    found = {(b.panel, b.model, b.checkpoint, b.condition): b for b in (*blocks, *more)}
    return tuple(found.values())
