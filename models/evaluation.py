"""Every checkpoint of a set on every task's evaluation set: the raw answers behind the accuracy matrix."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from scipy.stats import binomtest, bootstrap

from models.answers import score
from models.checkpoints import BASE, MANIFEST, Manifest
from models.errors import CheckpointError
from models.evalset import EvalItem, load
from models.files import told
from models.mllm import MLLM

ANSWERS = "answers.json"
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

    @cached_property
    def scores(self) -> dict[str, dict[str, np.ndarray]]:
        """``scores[task][checkpoint]``: float64 ``[items]``, 0 to 1."""
        return {
            task: {
                name: np.array(
                    [score(a, i.answer, i.style) for a, i in zip(answers, self.items[task], strict=True)], dtype=float
                )
                for name, answers in rows.items()
            }
            for task, rows in self.given.items()
        }

    def save(self, folder: Path) -> None:
        """Write the answers beside the set's manifest."""
        data = {"provenance": self.provenance, "given": self.given}
        (folder / ANSWERS).write_text(json.dumps(data, indent=0, ensure_ascii=False) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> "Evaluation":
        """Read the answers of a set. Raises ``CheckpointError`` where there are none, or they are of other sets."""
        manifest = Manifest.load(folder)
        try:
            data = json.loads((manifest.folder / ANSWERS).read_text(encoding="utf-8"))
            given, provenance = data["given"], data["provenance"]
        except (OSError, ValueError, KeyError) as error:
            raise CheckpointError(
                f"The set {manifest.folder.name} has not been measured (there is no readable {ANSWERS}): press Measure "
                "again."
            ) from error
        found = _empty(manifest, given, provenance)
        counts = {(task, name): len(rows[name]) for task, rows in given.items() for name in rows}
        wanted = {(task, name): len(found.items[task]) for task in found.tasks for name in found.checkpoints}
        if counts != wanted:
            raise CheckpointError(
                f"{told(manifest.folder / ANSWERS)} is not of these checkpoints and items: press Measure again."
            )
        return found


def _empty(manifest: Manifest, given: dict, provenance: dict) -> Evaluation:
    own = {c.task: c for c in manifest.checkpoints if c.task in manifest.order}
    without = [c.name for c in own.values() if c.eval is None]
    if without:
        raise CheckpointError(
            f'The set {manifest.folder.name} has no evaluation set for {", ".join(without)}: give each an "eval" in '
            f"{MANIFEST}."
        )
    return Evaluation(
        manifest.method,
        manifest.order,
        (BASE, *(c.name for c in manifest.checkpoints)),
        {task: own[task].name for task in manifest.order},
        {task: load(own[task].eval) for task in manifest.order},
        given,
        provenance,
    )


def evaluate(mllm: MLLM, progress: Callable[[float, str], None] = lambda share, what: None) -> Evaluation:
    """Ask every checkpoint of ``mllm`` every item; greedy answers, batches of one prompt length.

    ``progress(share, what)`` is called between batches of work; an exception it raises stops the run.
    """
    if not mllm.checkpoints:
        raise CheckpointError(f"{mllm.name} has no checkpoint set to measure.")
    began = time.perf_counter()
    found = _empty(mllm.checkpoints.manifest, {}, {})
    total, done = sum(map(len, found.items.values())) * len(found.checkpoints), 0
    given: dict[str, dict[str, list[str]]] = {}
    for task, items in found.items.items():
        given[task] = {name: [""] * len(items) for name in found.checkpoints}
        order = sorted(range(len(items)), key=lambda i: items[i].question)  # the same question has mostly one length
        for block in (order[i : i + _AT_ONCE] for i in range(0, len(order), _AT_ONCE)):
            prompts = [mllm.encode(items[i].picture(), items[i].question) for i in block]
            for name in found.checkpoints:
                progress(done / total, f"{name} on {task}")
                for i, answer in zip(block, mllm.answers(prompts, name), strict=True):
                    given[task][name][i] = answer
                done += len(block)
    provenance = mllm.provenance("all", seconds=time.perf_counter() - began)
    return Evaluation(found.method, found.tasks, found.checkpoints, found.trained, found.items, given, provenance)
