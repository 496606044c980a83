"""Some of a task's evaluation items, drawn by seed."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from analysis.forgetting.parts.measure import trained
from models import evalset, fingerprint
from models.errors import InputError

if TYPE_CHECKING:
    from models.evalset import EvalItem
    from models.manifest import Manifest

LEAST = 2
"""Items below which nothing can be said of their differences."""


@dataclass(frozen=True)
class Subset:
    """Items of a task, in the order of its set."""

    task: str
    items: "Sequence[EvalItem]"

    @cached_property
    def data(self) -> str:
        """Fingerprint of the items."""
        return fingerprint.of_items(self.items)


def of_task(manifest: "Manifest", task: str, n: int, seed: int = 0) -> Subset:
    """``n`` items of ``task`` (all, where there are fewer), drawn by ``seed`` without repetition.

    Raises ``InputError`` for an unknown task, one without an evaluation set, or fewer than 2 items.
    """
    own = trained(manifest)
    if task not in own:
        raise InputError(f"There is no task {task!r} in {manifest.folder.name}. There are: {', '.join(own)}.")
    if own[task].eval is None:
        raise InputError(f'The task {task} has no evaluation set: give its checkpoint an "eval" in checkpoints.json.')
    items = evalset.load(own[task].eval)
    if min(n, len(items)) < LEAST:
        raise InputError(f"{min(n, len(items))} item of {task} says nothing: take at least {LEAST}.")
    some = np.sort(np.random.default_rng(seed).permutation(len(items))[:n])
    return Subset(task, tuple(items[i] for i in some))
