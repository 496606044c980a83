"""Inside a conflict: which of two answers is ahead after each layer (logit lens), and how sure the model is.

Prompts are read a few at a time, half as many where memory is short.
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from models.flow import OutOfMemory
from models.instruments import LogitLens

if TYPE_CHECKING:
    from models.encoding import Encoded
    from models.mllm import MLLM

_LENS_NUMBERS = 2e7  # log-probabilities that one forward may keep


def relative_uncertainty(text: np.ndarray, image: np.ndarray) -> np.ndarray:
    """dH_rel = 2 (H_t - H_v) / (H_t + H_v) of entropies; 0 where both are 0."""
    text, image = np.asarray(text, dtype=float), np.asarray(image, dtype=float)
    total = text + image
    return np.divide(2 * (text - image), total, out=np.zeros_like(total), where=total > 0)


def switched(margin: np.ndarray) -> np.ndarray:
    """Where the lead changes along the last axis of ``margin`` ``[..., layers]``: bool ``[..., layers]``, True at the
    first layer of a new lead. A tie keeps the lead.
    """
    ahead = np.sign(np.asarray(margin, dtype=float))
    changed = np.zeros(ahead.shape, dtype=bool)
    for layer in range(1, ahead.shape[-1]):
        before = ahead[..., layer - 1]
        ahead[..., layer] = np.where(ahead[..., layer] == 0, before, ahead[..., layer])
        changed[..., layer] = ahead[..., layer] * before < 0
    return changed


def switches(margin: np.ndarray) -> np.ndarray:
    """How often the lead changes along the last axis of ``margin`` ``[..., layers]``."""
    return switched(margin).sum(-1)


def entropies(model: "MLLM", prompts: Sequence["Encoded"], checkpoint: str, batch: int) -> np.ndarray:
    """Entropy of the next-token distribution after each prompt, nats, ``[prompts]``."""
    found = np.zeros(len(prompts))

    def read(index: np.ndarray) -> None:
        logprobs = model.forward([prompts[i] for i in index], checkpoint).logits.log_softmax(-1)
        found[index] = -(logprobs.exp() * logprobs).sum(-1).double().cpu().numpy()

    _in_batches(prompts, batch, read)
    return found.clip(min=0.0)


def margins(model: "MLLM", prompts: Sequence["Encoded"], firsts: np.ndarray, checkpoint: str, batch: int) -> np.ndarray:
    """Log-probability of token ``firsts[:, 1]`` minus that of ``firsts[:, 0]`` after each layer, nats, ``[prompts,
    layers]``; not-a-number where both are the same token. Raises ``ModelError`` where a lens cannot read this model.
    """
    config = model.model.config.get_text_config()
    each = config.num_hidden_layers * config.vocab_size
    found = np.full((len(prompts), config.num_hidden_layers), np.nan)

    def read(index: np.ndarray) -> None:
        asked = [prompts[i] for i in index]
        lens = model.forward(asked, checkpoint, [LogitLens(k=sys.maxsize)]).readings.lens
        for row, i in enumerate(index):
            if firsts[i, 0] != firsts[i, 1]:
                seen, told = (_of_token(lens, row, token) for token in firsts[i])
                found[i] = told - seen

    _in_batches(prompts, max(min(batch, int(_LENS_NUMBERS // each)), 1), read)
    return found


def first_tokens(model: "MLLM", prompt: "Encoded", seen: str, told: str) -> list[int]:
    """The token that each of two answers begins with."""
    return [model.encoder.continuation(prompt, word)[0] for word in (seen, told)]


def _of_token(lens, row: int, token: int) -> np.ndarray:
    """Log-probability of one token after each layer, ``[layers]``, from a lens of the whole vocabulary."""
    ids, logprobs = lens.ids[:, row, 0], lens.logprobs[:, row, 0]
    return logprobs[np.arange(len(ids)), (ids == token).argmax(1)].astype(float)


def _in_batches(prompts: Sequence["Encoded"], rows: int, read: Callable[[np.ndarray], None]) -> None:
    """``read(indices)`` of prompts of one length, at most ``rows`` at once, half of them where memory is short.

    Raises ``OutOfMemory`` where it does not suffice for a single prompt.
    """
    waiting = list(_alike(prompts, rows))
    while waiting:
        index = waiting.pop(0)
        try:
            read(index)
        except OutOfMemory:
            if len(index) == 1:
                raise
            waiting = [half for some in (index, *waiting) for half in np.array_split(some, 2) if len(half)]


def _alike(prompts: Sequence["Encoded"], rows: int) -> Iterator[np.ndarray]:
    lengths = np.array([p.length for p in prompts])
    for length in np.unique(lengths):
        same = np.flatnonzero(lengths == length)
        yield from (same[i : i + rows] for i in range(0, len(same), rows))
