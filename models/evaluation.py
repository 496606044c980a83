"""What every checkpoint of a set answers to every task's evaluation set: the raw answers behind the accuracy matrix."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import binomtest, bootstrap

from models.errors import CheckpointError
from models.evalset import EvalItem, load
from models.files import told
from models.manifest import BASE, MANIFEST, Manifest

if TYPE_CHECKING:
    from models.checkpoints import Weights
    from models.mllm import MLLM

_AT_ONCE = 64  # items whose pictures are in memory


def interval(scores: np.ndarray) -> tuple[float, float]:
    """95 % interval of a mean score: Wilson where every score is 0 or 1, else a percentile bootstrap (seeded)."""
    if np.isin(scores, (0, 1)).all():
        found = binomtest(int(scores.sum()), len(scores)).proportion_ci(method="wilson")
        return found.low, found.high
    draws = bootstrap((scores,), np.mean, n_resamples=2000, method="percentile", rng=np.random.default_rng(0))
    return draws.confidence_interval.low, draws.confidence_interval.high


@dataclass(frozen=True)
class Evaluation:
    """``given[task][checkpoint]`` are the answers to ``items[task]``, in their order.

    ``checkpoints`` are ``"base"``, those of the tasks in order, then references; ``trained`` maps a task
    to the checkpoint that was trained on it last.
    """

    method: str
    tasks: tuple[str, ...]
    checkpoints: tuple[str, ...]
    trained: dict[str, str]
    items: dict[str, list[EvalItem]]
    given: dict[str, dict[str, list[str]]]
    provenance: dict

    @classmethod
    def unanswered(cls, manifest: Manifest) -> "Evaluation":
        """A set's tasks, checkpoints and items, and no answers yet.

        Raises ``CheckpointError`` for a task without an evaluation set, ``EvalSetError`` for a set that is damaged.
        """
        own = {c.task: c for c in manifest.checkpoints if c.task in manifest.order}
        without = [c.name for c in own.values() if c.eval is None]
        if without:
            raise CheckpointError(
                f'{told(manifest.folder / MANIFEST)}: field "eval" is missing for {", ".join(without)}: name the '
                "evaluation set of each task there."
            )
        return cls(
            manifest.method,
            manifest.order,
            (BASE, *(c.name for c in manifest.checkpoints)),
            {task: own[task].name for task in manifest.order},
            {task: load(own[task].eval) for task in manifest.order},
            {task: {} for task in manifest.order},
            {},
        )

    @cached_property
    def scores(self) -> dict[str, dict[str, np.ndarray]]:
        """``scores[task][checkpoint]``: float64 ``[items]``, 0 to 1, each by the rule of its item."""
        return {
            task: {name: scored(self.items[task], answers) for name, answers in rows.items()}
            for task, rows in self.given.items()
        }


def scored(items: Sequence[EvalItem], answers: Sequence[str]) -> np.ndarray:
    """How right each answer is, by the rule of its item: float64 ``[items]``, 0 to 1."""
    return np.array([item.scored(answer) for item, answer in zip(items, answers, strict=True)], dtype=float)


def given(
    mllm: "MLLM",
    items: Sequence[EvalItem],
    checkpoint: "Weights" = BASE,
    progress: Callable[[float, str], None] = lambda share, what: None,
) -> list[str]:
    """What one checkpoint, or weights made of several, answers to ``items``, in their order; greedy.

    ``progress(share, what)`` is called between batches of work; an exception it raises stops the run.
    """
    answers = [""] * len(items)
    order = sorted(range(len(items)), key=lambda i: items[i].question)  # the same question has mostly one length
    for start in range(0, len(order), _AT_ONCE):
        block = order[start : start + _AT_ONCE]
        progress(start / len(order), f"{checkpoint}: {start} of {len(order)} items")
        prompts = [mllm.encode(items[i].picture(), items[i].question) for i in block]
        for i, answer in zip(block, mllm.answers(prompts, checkpoint), strict=True):
            answers[i] = answer
    return answers
