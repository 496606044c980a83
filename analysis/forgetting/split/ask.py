"""Asking lost items again: as a choice among options, and with the form spelled out; kept on disk."""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
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
_AT_ONCE = 32  # items whose pictures are in memory
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
    mllm: "MLLM",
    checkpoint: str,
    asked: Sequence[Asked],
    progress: Callable[[float, str], None] = lambda share, what: None,
) -> list[Again]:
    """Ask ``checkpoint`` the items of every task; what was asked before is read from ``kept``.

    ``progress`` is told the share done of what is missing; what it raises stops the work, and whole tasks are kept.
    Raises ``CheckpointError`` or ``ModelError`` where the checkpoint is not there or memory is short.
    """
    wording = TUNED if catalog.embedded(mllm.name) else PLAIN
    made_by = fingerprint.of(mllm, checkpoint) if any(of.items for of in asked) else ""
    made_of = [_made_of(of, made_by, wording) for of in asked]
    found = [_load(key, of) for key, of in zip(made_of, asked, strict=True)]
    missing = [i for i, known in enumerate(found) if known is None]
    total, done = sum(len(asked[i].items) for i in missing), 0
    for i in missing:

        def told(share: float, of=asked[i], done=done) -> None:
            progress((done + share * len(of.items)) / total, f"{checkpoint} on {len(of.items)} items of {of.task}")

        found[i] = _ask(mllm, checkpoint, asked[i], wording, told)
        kept.save(ROOM, made_of[i], asdict(found[i]))
        done += len(asked[i].items)
    return found


def _made_of(asked: Asked, made_by: str, wording: dict[str, str]) -> dict:
    return {
        "version": _VERSION, "model": made_by, "data": fingerprint.of_items(asked.items), "options": asked.options,
        "wording": [wording.get(item.style) for item in asked.items],
    }  # fmt: skip


def _load(made_of: dict, asked: Asked) -> Again | None:
    if not asked.items:
        return Again()
    value = kept.load(ROOM, made_of)
    if value is None:
        return None
    rows = (tuple(map(tuple, value[name])) for name in ("logprob", "tokens"))
    return Again(*rows, tuple(value["answers"]), value["provenance"])


def _ask(mllm: "MLLM", checkpoint: str, asked: Asked, wording: dict[str, str], told: Callable[[float], None]) -> Again:
    began = time.perf_counter()
    logprob, tokens, answers = [], [], []
    for start in range(0, len(asked.items), _AT_ONCE):
        block = asked.items[start : start + _AT_ONCE]
        pictures = [item.picture() for item in block]
        for i, (item, picture) in enumerate(zip(block, pictures, strict=True)):
            told((start + i / 2) / len(asked.items))
            scores = mllm.score(mllm.encode(picture, item.question), asked.options[start + i], checkpoint)
            logprob.append(tuple(np.round(scores.logprob, _DECIMALS).tolist()))
            tokens.append(tuple(scores.tokens.tolist()))
        told((start + len(block) / 2) / len(asked.items))
        prompts = [
            mllm.encode(picture, instructed(item, wording)) for item, picture in zip(block, pictures, strict=True)
        ]
        answers += mllm.answers(prompts, checkpoint)
    provenance = mllm.provenance(checkpoint, seconds=time.perf_counter() - began)
    return Again(tuple(logprob), tuple(tokens), tuple(answers), provenance)
