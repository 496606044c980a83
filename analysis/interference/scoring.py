"""How likely each option is after each of several prompts: prompts of different length share a batch."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn.functional import pad

from models.batches import halved
from models.checkpoints import BASE
from models.flow import Flow
from models.instruments import PADDING

if TYPE_CHECKING:
    from models.encoding import Encoded
    from models.mllm import MLLM

_ROWS = 64  # prompts times options in a batch: rows of logits, each as wide as the vocabulary
_TOKENS = 32_768  # tokens in a batch's cache
_SPREAD = 1.6  # a batch's longest prompt, in lengths of its shortest: what is padded is computed for nothing


@dataclass(frozen=True)
class Posed:
    """A prompt and its options as tokens: ``tails[k]`` continue the prompt with option k."""

    prompt: "Encoded"
    tails: tuple[tuple[int, ...], ...]


def pose(model: "MLLM", prompt: "Encoded", options: Sequence[str]) -> Posed:
    """A prompt with its options, tokenized once for all checkpoints that will score it."""
    return Posed(prompt, tuple(tuple(model.encoder.continuation(prompt, option)) for option in options))


def logprobs(model: "MLLM", prompts: Sequence["Encoded"], options: Sequence[str], checkpoint: str = BASE) -> np.ndarray:
    """Log-probability of each option after each prompt, float64 ``[prompts, options]``, nats, summed over its tokens.

    The same as ``MLLM.score`` of each prompt, in as few forwards as memory allows. A prompt that occurs twice (the
    very same object) is read once, so both get the same numbers to the last bit. Raises ``ModelError`` or
    ``CheckpointError`` where the checkpoint is not there, and ``OutOfMemory`` where memory does not suffice for one
    prompt and one option.
    """
    distinct = {id(p): p for p in prompts}
    values = logprobs_each(model, [pose(model, p, options) for p in distinct.values()], checkpoint)
    found = dict(zip(distinct, values, strict=True))
    return np.stack([found[id(p)] for p in prompts])


def logprobs_each(model: "MLLM", posed: Sequence[Posed], checkpoint: str = BASE) -> list[np.ndarray]:
    """The same where every prompt has options of its own: float64 ``[options]`` for each, nats, in their order.

    Prompts with the same number of options share a batch. Raises as ``logprobs``.
    """
    found: dict[int, np.ndarray] = {}
    for batch in _batches(posed):
        prompts, options = [p.prompt for p in batch], list(zip(*(p.tails for p in batch), strict=True))
        at_once = max(min(_ROWS, _TOKENS // prompts[-1].length) // len(batch), 1)  # else the prompt is read again
        values = []
        for start in range(0, len(options), at_once):
            part = options[start : start + at_once]

            def read(rows: Sequence[int], part=part, prompts=prompts) -> Sequence[np.ndarray]:
                asked, tails = [prompts[i] for i in rows], [[option[i] for i in rows] for option in part]
                if len(rows) > 1:
                    return _scored(model, asked, tails, checkpoint)
                return [np.array(halved(tails, lambda some: _scored(model, asked, some, checkpoint)[0]))]

            # where memory is short in halves, of the prompts and then of the options, down to one of each
            values.append(np.stack(halved(range(len(prompts)), read)))
        found |= zip(map(id, batch), np.concatenate(values, axis=1), strict=True)
    return [found[id(p)] for p in posed]


def padded(encoded: "Encoded", length: int, token: int) -> "Encoded":
    """The same prompt with hidden tokens ``token`` in front, up to ``length``; every other token keeps its position."""
    missing = length - encoded.length
    if missing == 0:
        return encoded
    inputs = {
        key: pad(value, (missing, 0), value=token if key == "input_ids" else 0)
        if value.shape == (1, encoded.length) else value
        for key, value in encoded.inputs.items()
    }
    return replace(
        encoded, inputs=inputs, segments=pad(encoded.segments, (missing, 0), value=PADDING),
        positions=pad(encoded.positions, (missing, 0)),
        grids=tuple(replace(grid, start=grid.start + missing) for grid in encoded.grids),
        noise=None if encoded.noise is None else pad(encoded.noise, (0, 0, missing, 0)),
    )


def _batches(posed: Sequence[Posed]) -> list[list[Posed]]:
    batches: list[list[Posed]] = []
    for one in sorted(posed, key=lambda p: (len(p.tails), p.prompt.length)):
        last, length = batches[-1] if batches else [], one.prompt.length
        rows = (len(last) + 1) * len(one.tails)
        alike = last and len(last[0].tails) == len(one.tails) and length <= _SPREAD * last[0].prompt.length
        if alike and rows <= _ROWS and rows * length <= _TOKENS:
            last.append(one)
        else:
            batches.append([one])
    return batches


def _scored(model: "MLLM", batch: list["Encoded"], options: Sequence[Sequence], checkpoint: str) -> np.ndarray:
    """Log-probabilities ``[batch, options]``; ``options[k][i]`` are the tokens of option k after prompt i."""
    filler = model.tokenizer.pad_token_id or 0
    tails = [option[i] for i in range(len(batch)) for option in options]
    counts = torch.tensor([len(tail) for tail in tails])
    width, longest = int(counts.max()), max(prompt.length for prompt in batch)
    ids = torch.tensor([[*tail, *[filler] * (width - len(tail))] for tail in tails])
    rows = [padded(prompt, longest, filler) for prompt in batch]
    flow = Flow(model.model, rows, edits=model.edits(checkpoint))
    with model.using(checkpoint):
        first = flow.begin().repeat_interleave(len(options), dim=0)
        picked = [_picked(first[:, None], ids[:, :1])]
        if width > 1:
            flow.repeat(len(options))
            picked.append(_picked(flow.more(ids[:, :-1]), ids[:, 1:]))
    values = torch.cat(picked, dim=1).cpu().double()
    values = values.masked_fill(torch.arange(width)[None] >= counts[:, None], 0.0)
    return values.sum(1).reshape(len(batch), len(options)).numpy()


def _picked(logits: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
    """Log-probability of tokens ``ids`` ``[rows, n]`` under ``logits`` ``[rows, n, V]``."""
    chosen = logits.gather(2, ids[:, :, None].to(logits.device))[:, :, 0]
    return chosen - logits.logsumexp(-1)
