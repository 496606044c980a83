"""How likely each option is after each of several prompts: prompts of different length share a batch."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn.functional import pad

from models.checkpoints import BASE
from models.flow import Flow
from models.instruments import PADDING

if TYPE_CHECKING:
    from models.encoding import Encoded
    from models.mllm import MLLM

_ROWS = 64  # prompts times options in a batch: rows of logits, each as wide as the vocabulary
_TOKENS = 32_768  # tokens in a batch's cache
_SPREAD = 1.6  # a batch's longest prompt, in lengths of its shortest: what is padded is computed for nothing


def logprobs(model: "MLLM", prompts: Sequence["Encoded"], options: Sequence[str], checkpoint: str = BASE) -> np.ndarray:
    """Log-probability of each option after each prompt, float64 ``[prompts, options]``, nats, summed over its tokens.

    The same as ``MLLM.score`` of each prompt, in as few forwards as memory allows. A prompt that occurs twice (the
    very same object) is read once, so both get the same numbers to the last bit. Raises ``ModelError`` or
    ``CheckpointError`` where the checkpoint is not there, and ``ModelError`` where memory is short.
    """
    distinct = list({id(p): p for p in prompts}.values())
    found: dict[int, np.ndarray] = {}
    for batch in _batches(distinct, len(options)):
        at_once = max(min(_ROWS, _TOKENS // batch[-1].length) // len(batch), 1)  # else the prompt is read again
        parts = [options[i : i + at_once] for i in range(0, len(options), at_once)]
        values = np.concatenate([_scored(model, batch, part, checkpoint) for part in parts], axis=1)
        found |= zip(map(id, batch), values, strict=True)
    return np.stack([found[id(p)] for p in prompts])


def padded(encoded: "Encoded", length: int, token: int) -> "Encoded":
    """The same prompt with hidden tokens ``token`` in front, up to ``length``; every other token keeps its position."""
    missing = length - encoded.length
    if missing == 0:
        return encoded
    fill = {"input_ids": token}
    inputs = {
        key: pad(value, (missing, 0), value=fill.get(key, 0)) if value.shape == (1, encoded.length) else value
        for key, value in encoded.inputs.items()
    }
    return replace(
        encoded,
        inputs=inputs,
        segments=pad(encoded.segments, (missing, 0), value=PADDING),
        positions=pad(encoded.positions, (missing, 0)),
        grids=tuple(replace(grid, start=grid.start + missing) for grid in encoded.grids),
        noise=None if encoded.noise is None else pad(encoded.noise, (0, 0, missing, 0)),
    )


def _batches(prompts: list["Encoded"], options: int) -> list[list["Encoded"]]:
    batches: list[list[Encoded]] = []
    for prompt in sorted(prompts, key=lambda p: p.length):
        last = batches[-1] if batches else []
        rows = (len(last) + 1) * options
        fits = last and rows <= _ROWS and rows * prompt.length <= _TOKENS and prompt.length <= _SPREAD * last[0].length
        if fits:
            last.append(prompt)
        else:
            batches.append([prompt])
    return batches


def _scored(model: "MLLM", batch: list["Encoded"], options: Sequence[str], checkpoint: str) -> np.ndarray:
    filler = model.tokenizer.pad_token_id or 0
    tails = [model.encoder.continuation(prompt, option) for prompt in batch for option in options]
    counts = torch.tensor([len(tail) for tail in tails])
    width = int(counts.max())
    ids = torch.full((len(tails), width), filler)
    for row, tail in enumerate(tails):
        ids[row, : len(tail)] = torch.tensor(tail)
    longest = max(prompt.length for prompt in batch)
    flow = Flow(model.model, [padded(prompt, longest, filler) for prompt in batch])
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
