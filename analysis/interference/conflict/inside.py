"""Inside a conflict: which of two answers is ahead after each layer (logit lens), and how sure the model is."""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from models.batches import in_order
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

    def read(places: list[int], asked: list["Encoded"]) -> list[float]:
        logprobs = model.forward(asked, checkpoint).logits.log_softmax(-1)
        return (-(logprobs.exp() * logprobs).sum(-1).double()).tolist()

    return np.array(in_order(prompts, read, rows=batch)).clip(min=0.0)


def margins(model: "MLLM", prompts: Sequence["Encoded"], firsts: np.ndarray, checkpoint: str, batch: int) -> np.ndarray:
    """Log-probability of token ``firsts[:, 1]`` minus that of ``firsts[:, 0]`` after each layer, nats, ``[prompts,
    layers]``; not-a-number where both are the same token. Raises ``ModelError`` where a lens cannot read this model.
    """
    config = model.model.config.get_text_config()
    each = config.num_hidden_layers * config.vocab_size

    def read(places: list[int], asked: list["Encoded"]) -> list[np.ndarray]:
        lens = model.forward(asked, checkpoint, [LogitLens(k=sys.maxsize)]).readings.lens
        found = np.full((len(asked), config.num_hidden_layers), np.nan)
        for row, (first, second) in enumerate(firsts[places]):
            if first != second:
                found[row] = _of_token(lens, row, second) - _of_token(lens, row, first)
        return list(found)

    return np.stack(in_order(prompts, read, rows=max(min(batch, int(_LENS_NUMBERS // each)), 1)))


def first_tokens(model: "MLLM", prompt: "Encoded", seen: str, told: str) -> list[int]:
    """The token that each of two answers begins with."""
    return [model.encoder.continuation(prompt, word)[0] for word in (seen, told)]


def _of_token(lens, row: int, token: int) -> np.ndarray:
    """Log-probability of one token after each layer, ``[layers]``, from a lens of the whole vocabulary."""
    ids, logprobs = lens.ids[:, row, 0], lens.logprobs[:, row, 0]
    return logprobs[np.arange(len(ids)), (ids == token).argmax(1)].astype(float)
