"""How far one word is ahead of another as the first of an answer, by the scores of a decoding strategy."""

import math
from collections.abc import Mapping, Sequence
from copy import copy
from typing import TYPE_CHECKING

import torch

from models.generation import Choice, Strategy

if TYPE_CHECKING:
    from models.encoding import Encoded


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
