"""How far one word is ahead of another as the first of an answer, by the scores of a decoding strategy or layer by
layer, and how unsure a model is of that first token.
"""

import math
import sys
from collections.abc import Mapping, Sequence
from copy import copy
from typing import TYPE_CHECKING

import numpy as np
import torch

from models.batches import in_order
from models.generation import Choice, Strategy
from models.instruments import LogitLens

if TYPE_CHECKING:
    from models.encoding import Encoded
    from models.mllm import MLLM

_LENS_NUMBERS = 2e7  # log-probabilities that one forward may keep


def leading(tokenizer, word: str) -> set[int]:
    """The tokens that ``word`` begins with at the start of an answer: in small, title and capital letters, with and
    without a space before it."""
    spelt = [f"{space}{cased}" for cased in (word, word.capitalize(), word.upper()) for space in ("", " ")]
    return {tokenizer.encode(text, add_special_tokens=False)[0] for text in spelt}


class Margin:
    """A ``strategy`` of which the first step alone is read. Details, nats, to four digits: ``margin``, log p(word) -
    log p(other) by its ``scores``; ``blind``, the same by the logits of its second context, the prompt as a contrast
    takes the picture away (not-a-number where it has none).

    p(word) is the mass of all tokens that begin ``word`` and not ``other``, and the reverse. A strategy with a
    plausibility cut (``beta``) is read without it: where the cut removes one of the words, the rule's scores tell no
    margin, and the model's own in its place would be of another scale.
    """

    def __init__(self, strategy: Strategy, tokenizer, word: str = "yes", other: str = "no"):
        self.strategy = copy(strategy)
        if hasattr(strategy, "beta"):
            self.strategy.beta = 0.0
        one, two = leading(tokenizer, word), leading(tokenizer, other)
        self.sides = sorted(one - two), sorted(two - one)

    def contexts(self, encoded: "Encoded") -> "Sequence[Encoded]":
        found = self.strategy.contexts(encoded)
        self.layers = getattr(self.strategy, "layers", ())
        return found

    def choose(self, logits: torch.Tensor, step: int, *early: Mapping[int, torch.Tensor]) -> Choice:
        """Takes a token of ``word``, whatever is likeliest: an answer that ended at once would have no step to read."""
        margin = self._margin(self.strategy.scores(logits, step, *early))
        blind = self._margin(logits[1]) if len(logits) > 1 else math.nan
        return Choice(self.sides[0][0], {"margin": margin, "blind": blind})

    def _margin(self, scores: torch.Tensor) -> float:
        one, two = (float(scores[side].logsumexp(0)) for side in self.sides)
        return round(one - two, 4)


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
        lens = model.forward(asked, checkpoint, [LogitLens(k=sys.maxsize)]).readings.lens  # of the whole vocabulary
        found = np.full((len(asked), config.num_hidden_layers), np.nan)
        layers = np.arange(config.num_hidden_layers)
        for row, pair in enumerate(firsts[places]):
            ids, logprobs = lens.ids[:, row, 0], lens.logprobs[:, row, 0]
            if pair[0] != pair[1]:
                seen, told = (logprobs[layers, (ids == token).argmax(1)].astype(float) for token in pair)
                found[row] = told - seen
        return list(found)

    return np.stack(in_order(prompts, read, rows=max(min(batch, int(_LENS_NUMBERS // each)), 1)))


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
