"""How far hidden states on a task's items drift once later tasks are trained: linear CKA, layer by layer."""

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from analysis import kept
from analysis.forgetting.parts.items import of_task
from analysis.forgetting.parts.measure import ROOM, Progress, quiet, trained
from analysis.forgetting.parts.result import Drift
from analysis.result import Provenance
from analysis.statistics import cka
from models import fingerprint
from models.flow import OutOfMemory
from models.instruments import HiddenStates

if TYPE_CHECKING:
    from models.encoding import Encoded
    from models.evalset import EvalItem
    from models.mllm import MLLM

_VERSION = 1  # of what is measured: another number makes kept entries stale
_ROWS = 32  # prompts of one forward
_AT_ONCE = 64  # items whose pictures are in memory
_SHUFFLES = 20


def drift(model: "MLLM", task: str, n: int, seed: int = 0, progress: Progress = quiet) -> Drift | None:
    """CKA of the last prompt token's states, of a task's own checkpoint and each later one, on ``n`` of its items.

    That token is where the answer begins, and the same for every checkpoint, whatever they then answer. None for the
    last task, which no checkpoint follows. Read from ``kept`` where it was measured; else ``progress`` is told the
    share done, and what it raises stops the work. Raises ``InputError`` for an unknown task or one without items,
    ``ModelError`` where states cannot be read.
    """
    manifest = model.checkpoints.manifest
    some, own = of_task(manifest, task, n, seed), trained(manifest)
    names = tuple(c.name for c in own.values())[list(own).index(task) :]
    if len(names) < 2:
        return None
    made_of = {
        "measurement": "drift", "version": _VERSION, "items": some.data, "shuffles": _SHUFFLES,
        "checkpoints": [fingerprint.of(model, name) for name in names],
    }  # fmt: skip
    if (value := kept.load(ROOM, made_of)) is None:
        value = _measured(model, some.items, names, progress)
        kept.save(ROOM, made_of, value)
    return Drift(
        provenance=Provenance(**value["provenance"]), task=task, n=len(some.items), checkpoints=names,
        cka=np.array(value["cka"], dtype=float), chance=np.array(value["chance"], dtype=float),
    )  # fmt: skip


def _measured(model: "MLLM", items: "Sequence[EvalItem]", names: Sequence[str], progress: Progress) -> dict:
    began, states = time.perf_counter(), []
    for i, name in enumerate(names):
        progress(i / len(names), f"hidden states of {name} on {len(items)} items")
        states.append(_states(model, items, name))
    found = [of_states(states[0], each) for each in states]
    return {
        "cka": [own for own, _ in found], "chance": [chance for _, chance in found],
        "provenance": model.provenance(f"{names[0]} to {names[-1]}", seconds=time.perf_counter() - began),
    }  # fmt: skip


def of_states(own: np.ndarray, later: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """CKA of states ``[layers, items, d]`` layer by layer, and its mean over seeded shuffles of one side's items."""
    orders = [np.random.default_rng(seed).permutation(own.shape[1]) for seed in range(_SHUFFLES)]
    pairs = list(zip(own, later, strict=True))
    return (
        np.array([cka(x, y) for x, y in pairs]),
        np.array([np.mean([cka(x, y[order]) for order in orders]) for x, y in pairs]),
    )


def _states(model: "MLLM", items: "Sequence[EvalItem]", checkpoint: str) -> np.ndarray:
    """States of the last prompt token after each layer, float64 ``[layers, items, d]``."""
    found: list[np.ndarray | None] = [None] * len(items)
    for start in range(0, len(items), _AT_ONCE):
        block = range(start, min(start + _AT_ONCE, len(items)))
        prompts = {i: model.encode(items[i].picture(), items[i].question) for i in block}
        by_length: dict[int, list[int]] = {}
        for i, prompt in prompts.items():
            by_length.setdefault(prompt.length, []).append(i)
        for same in by_length.values():
            for at in range(0, len(same), _ROWS):
                rows = same[at : at + _ROWS]
                for i, of_item in zip(rows, _read(model, [prompts[i] for i in rows], checkpoint), strict=True):
                    found[i] = of_item
    return np.stack(found, axis=1)


def _read(model: "MLLM", batch: "list[Encoded]", checkpoint: str) -> np.ndarray:
    """``[prompts, layers, d]`` of one forward, of two halves where memory is short."""
    try:
        hidden = model.forward(batch, checkpoint, [HiddenStates()]).readings.hidden
        return hidden.states[1:, :, 0].swapaxes(0, 1).astype(np.float64)
    except OutOfMemory:
        if len(batch) == 1:
            raise
    half = len(batch) // 2  # out of the handler, whose error holds what was read so far
    return np.concatenate([_read(model, some, checkpoint) for some in (batch[:half], batch[half:])])
