"""What weights anywhere between checkpoints answer to a sample of items, and how likely the truth is to them: kept."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch

from analysis import kept
from models import fingerprint
from models.batches import batched
from models.errors import CheckpointError
from models.evaluation import given
from models.flow import Flow

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
_ROWS = 16  # prompts of a batch
_DECIMALS = 4  # of a loss, nats


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


def gathered(
    model: "MLLM | fingerprint.Unopened",
    wanted: Sequence[Wanted],
    progress: kept.Progress = kept.quiet,
    only_kept: bool = False,
) -> list[dict] | None:
    """Each measurement in its order: its numbers under its name, one an item, and the fields of its ``provenance``.

    What is kept is loaded, all else measured. ``progress`` is told the share done of what is missing and what comes
    next; what it raises stops the work. With ``only_kept`` None stands for what is not all there. Raises
    ``CheckpointError`` for weights that cannot be had.
    """
    plan = [
        kept.Cell(
            w.weights, {"measurement": w.what, "data": w.sample.source}, f"{w.sample.task}, {w.what} of {w.weights}",
            len(w.sample.items), w,
        )
        for w in wanted
    ]  # fmt: skip

    def measure(cell: kept.Cell, places: list[int]) -> Iterator[tuple[int, dict]]:
        what, items = cell.of.what, cell.of.sample.items
        ask = given if what == ANSWERS else losses
        return ((place, {what: value}) for place, value in ask(model, items, cell.weights, places))

    found = kept.gathered(ROOM, _VERSION, model, plan, measure, progress, only_kept)
    return None if None in found else found


def losses(
    mllm: "MLLM", items: "Sequence[EvalItem]", weights: "Weights", places: Sequence[int] | None = None
) -> Iterator[tuple[int, float]]:
    """``(place, loss)`` of each item (at ``places``): the negative log-likelihood of its true answer, nats an answer,
    summed over its tokens, its end left out.
    """

    def read(places: list[int], prompts: "list[Encoded]") -> list[float]:
        tails = [mllm.encoder.continuation(prompt, items[i].answer) for i, prompt in zip(places, prompts, strict=True)]
        return [round(nats, _DECIMALS) for nats in _nats(mllm, prompts, tails, weights)]

    places = range(len(items)) if places is None else places
    encode = lambda i: mllm.encode(items[i].picture(), items[i].question)  # noqa: E731
    return batched(places, encode, read, alike=lambda i: items[i].question, rows=_ROWS)


def _nats(mllm: "MLLM", prompts: "list[Encoded]", tails: list[list[int]], weights: "Weights") -> list[float]:
    """-log p of each tail after its prompt."""
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
