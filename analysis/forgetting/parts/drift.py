"""How far hidden states on a task's items drift once later tasks are trained: linear CKA, layer by layer."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from analysis import kept
from analysis.forgetting.parts.items import of_task
from analysis.forgetting.parts.measure import ROOM, trained
from analysis.forgetting.parts.result import Drift
from analysis.result import Provenance
from analysis.statistics import cka
from models.batches import batched
from models.instruments import HiddenStates

if TYPE_CHECKING:
    from models import fingerprint
    from models.encoding import Encoded
    from models.evalset import EvalItem
    from models.mllm import MLLM

_VERSION = 1  # of what is measured: another number makes kept entries stale
_SHUFFLES = 20


def drift(
    model: "MLLM | fingerprint.Unopened",
    task: str,
    n: int,
    seed: int = 0,
    progress: kept.Progress = kept.quiet,
    only_kept: bool = False,
) -> Drift | None:
    """CKA of the last prompt token's states, of a task's own checkpoint and each later one, on ``n`` of its items.

    That token is where the answer begins, and the same for every checkpoint, whatever they then answer. None for the
    last task, which no checkpoint follows. Loaded where it is kept; else ``progress`` is told the share done, and what
    it raises stops the work; with ``only_kept`` None. Raises ``InputError`` for an unknown task or one without items,
    ``ModelError`` where states cannot be read.
    """
    manifest = model.checkpoints.manifest
    some, own = of_task(manifest, task, n, seed), trained(manifest)
    names = tuple(c.name for c in own.values())[list(own).index(task) :]
    if len(names) < 2:
        return None
    by = {"measurement": "drift", "data": some.data, "shuffles": _SHUFFLES}
    cell = kept.Cell(list(names), by, "hidden states", called=f"{names[0]} to {names[-1]}")
    measure = lambda: _measured(model, some.items, names, progress)  # noqa: E731
    value = kept.single(ROOM, _VERSION, model, cell, measure, progress, only_kept)
    return value and Drift(
        provenance=Provenance(**value["provenance"]), task=task, n=len(some.items), checkpoints=names,
        cka=np.array(value["cka"], dtype=float), chance=np.array(value["chance"], dtype=float),
    )  # fmt: skip


def _measured(model: "MLLM", items: "Sequence[EvalItem]", names: Sequence[str], progress: kept.Progress) -> dict:
    states = []
    for i, name in enumerate(names):
        progress(i / len(names), f"hidden states of {name} on {len(items)} items")
        states.append(_states(model, items, name))
    found = [of_states(states[0], each) for each in states]
    return {"cka": [own for own, _ in found], "chance": [chance for _, chance in found]}


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

    def read(places: list[int], prompts: "list[Encoded]") -> np.ndarray:
        hidden = model.forward(prompts, checkpoint, [HiddenStates()]).readings.hidden
        return hidden.states[1:, :, 0].swapaxes(0, 1).astype(np.float64)

    encode = lambda i: model.encode(items[i].picture(), items[i].question)  # noqa: E731
    found = dict(batched(range(len(items)), encode, read, alike=lambda i: items[i].question))
    return np.stack([found[i] for i in range(len(items))], axis=1)
