"""What weights anywhere between checkpoints answer to a sample of items, and how likely the truth is to them: kept."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch

from analysis import kept
from models import catalog, devices, fingerprint
from models.errors import CheckpointError
from models.evaluation import given
from models.flow import Flow, OutOfMemory

if TYPE_CHECKING:
    from models.checkpoints import Weights
    from models.encoding import Encoded
    from models.evalset import EvalItem
    from models.evaluation import Evaluation
    from models.mllm import MLLM

ROOM, _VERSION = "forgetting-path", 1
ITEMS, SEED = 100, 0
"""How many items of a task are asked, unless told, and what draws them."""

FEWEST, MOST, STEP = 20, 240, 20
"""How many may be chosen on the page."""

ANSWERS, LOSS = "answers", "loss"
_AT_ONCE, _ROWS = 64, 16  # items whose pictures are in memory, prompts in a batch
_DECIMALS = 4  # of a loss, nats
Told = Callable[[float, str], None]


@dataclass(frozen=True)
class Sample:
    """Some items of one task."""

    task: str
    items: "tuple[EvalItem, ...]"

    @cached_property
    def source(self) -> str:
        """Fingerprint of the items."""
        return fingerprint.of_items(self.items)


def samples(evaluation: "Evaluation", tasks: Sequence[str], count: int = ITEMS) -> list[Sample]:
    """As many items of each of ``tasks``, drawn by ``SEED``: ``count``, or all of the task that has the fewest.

    Raises ``CheckpointError`` for an unknown task.
    """
    if unknown := [task for task in tasks if task not in evaluation.tasks]:
        raise CheckpointError(f"There is no task {unknown[0]!r}. There are: {', '.join(evaluation.tasks)}.")
    count = max(min(count, *(len(evaluation.items[task]) for task in tasks)), 1)
    drawn = []
    for task in tasks:
        items = evaluation.items[task]
        chosen = np.random.default_rng(SEED).permutation(len(items))[:count]
        drawn.append(Sample(task, tuple(items[i] for i in sorted(chosen))))
    return drawn


@dataclass(frozen=True)
class Wanted:
    """One measurement: ``ANSWERS`` or ``LOSS`` of some weights on a sample."""

    what: str
    weights: "Weights"
    sample: Sample


def gathered(model: "MLLM", wanted: Sequence[Wanted], progress: Told = lambda share, what: None) -> list[dict]:
    """Each measurement in its order: its numbers under its name, one an item, and the fields of its ``provenance``.

    What was measured before is read from ``kept``, and ``model`` may then be an unopened one (``sets.unopened``); every
    other is measured and kept as soon as it is whole. ``progress`` is told the share done of what is missing and what
    comes next; what it raises stops the work. Raises ``CheckpointError`` for weights that cannot be had.
    """
    bits = None if catalog.embedded(model.name) else devices.quantization()
    made_of = [
        {"measurement": w.what, "version": _VERSION, "model": fingerprint.of(model, w.weights), "bits": bits,
         "data": w.sample.source, "n": len(w.sample.items)}
        for w in wanted
    ]  # fmt: skip
    found = [kept.load(ROOM, of) for of in made_of]
    missing = [i for i, value in enumerate(found) if value is None]
    for done, i in enumerate(missing):

        def told(share: float, what: str, done=done, task=wanted[i].sample.task) -> None:
            progress((done + share) / len(missing), f"{task}, {what}")

        if again := kept.load(ROOM, made_of[i]):  # asked twice in here, or by somebody else meanwhile
            found[i] = again
            continue
        began = time.perf_counter()
        measure = given if wanted[i].what == ANSWERS else losses
        values = measure(model, wanted[i].sample.items, wanted[i].weights, told)
        took = model.provenance(wanted[i].weights, seconds=time.perf_counter() - began)
        found[i] = {wanted[i].what: values, "provenance": took}
        kept.save(ROOM, made_of[i], found[i])
    return found


def together(found: Sequence[dict], model: str, checkpoint: str) -> dict:
    """Fields of the ``Provenance`` of all that was gathered, under the names that model and weights go by here."""
    seconds = sum(value["provenance"]["seconds"] for value in found)
    first = found[0]["provenance"]
    return {**first, "model": model, "checkpoint": checkpoint, "seed": SEED, "seconds": round(seconds, 1)}


def losses(
    mllm: "MLLM", items: "Sequence[EvalItem]", weights: "Weights", progress: Told = lambda share, what: None
) -> list[float]:
    """Negative log-likelihood of each item's true answer, nats an answer: summed over its tokens, its end left out."""
    found = [0.0] * len(items)
    order = sorted(range(len(items)), key=lambda i: items[i].question)  # the same question has mostly one length
    for start in range(0, len(order), _AT_ONCE):
        block = order[start : start + _AT_ONCE]
        progress(start / len(order), f"loss of {weights}: {start} of {len(order)} items")
        prompts = {i: mllm.encode(items[i].picture(), items[i].question) for i in block}
        for length in sorted({p.length for p in prompts.values()}):
            same = [i for i in block if prompts[i].length == length]
            for rows in (same[k : k + _ROWS] for k in range(0, len(same), _ROWS)):
                tails = [mllm.encoder.continuation(prompts[i], items[i].answer) for i in rows]
                for i, nats in zip(rows, _nats(mllm, [prompts[i] for i in rows], tails, weights), strict=True):
                    found[i] = round(nats, _DECIMALS)
    return found


def _nats(mllm: "MLLM", prompts: "list[Encoded]", tails: list[list[int]], weights: "Weights") -> list[float]:
    """-log p of each tail after its prompt; where memory is short in halves, down to one."""
    try:
        return _read(mllm, prompts, tails, weights)
    except OutOfMemory:
        if len(prompts) == 1:
            raise
    # out of the handler, whose error holds what was allocated
    half = len(prompts) // 2
    parts = [(prompts[some], tails[some]) for some in (slice(half), slice(half, None))]
    return [nats for part in parts for nats in _nats(mllm, *part, weights)]


def _read(mllm: "MLLM", prompts: "list[Encoded]", tails: list[list[int]], weights: "Weights") -> list[float]:
    counts = torch.tensor([len(tail) for tail in tails])
    width = int(counts.max())
    ids = torch.full((len(tails), width), mllm.tokenizer.pad_token_id or 0)
    for row, tail in enumerate(tails):
        ids[row, : len(tail)] = torch.tensor(tail)
    flow = Flow(mllm.model, prompts, edits=mllm.edits(weights))
    with mllm.using(weights):
        logits = flow.begin()[:, None]
        if width > 1:
            logits = torch.cat([logits, flow.more(ids[:, :-1])], dim=1)
    picked = logits.log_softmax(-1).gather(2, ids[:, :, None].to(logits.device))[:, :, 0].cpu().double()
    return (-picked.masked_fill(torch.arange(width)[None] >= counts[:, None], 0.0).sum(1)).tolist()
